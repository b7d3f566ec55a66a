//! Renders hints of the library as commands.

use std::fmt::Write as _;

use entail::{CredentialRef, Hint, Request};

use super::command_line::{name_option, shell_word};

/// The command line, or the words, for each hint.
pub fn remedies(hints: &[Hint]) -> Vec<String> {
    hints.iter().map(remedy).collect()
}

/// The command line, or the words, for a hint.
pub fn remedy(hint: &Hint) -> String {
    match hint {
        Hint::SetCredential { scope, provider } => {
            format!("entail credential set {scope} {provider}")
        }
        Hint::OptIn { scope, provider } => format!("entail inherit {scope} {provider}"),
        Hint::EnableCredential { credential } => {
            format!("entail credential enable {}", place(credential))
        }
        Hint::RotateCredential { credential } => {
            format!("entail credential rotate {}", place(credential))
        }
        Hint::LiftMandatory { credential } => format!(
            "entail credential set {} --keep-secret --no-mandatory",
            place(credential)
        ),
        Hint::AllowModels { credential } => format!(
            "entail credential set {} --keep-secret --models PATTERN",
            place(credential)
        ),
        Hint::SetDefaultModel { scope, provider } => format!("entail model {scope} {provider} MODEL"),
        Hint::NameModel => "name a model: --model MODEL".to_owned(),
        Hint::OmitCredentialName => "ask without --name".to_owned(),
        Hint::NameProviders { .. } => "name the other providers with --provider".to_owned(),
        Hint::EnterSecret { .. } => {
            "enter it at the prompt, or give it by --from-env, --from-file or standard input"
                .to_owned()
        }
        Hint::SendHeartbeat => {
            "on a machine with a signer: entail heartbeat send, from a timer".to_owned()
        }
        Hint::EnterSecretAgain => {
            "enter the secret again: entail credential rotate, or add --stdin".to_owned()
        }
        Hint::SetParameter { field } => format!("give it by --param {field}=VALUE"),
        Hint::ChooseMode { modes } => format!("name a mode: --mode {}", modes.join("|")),
        Hint::AllowUnsafeHttp => {
            "if that network is trusted, add --allow-unsafe-http".to_owned()
        }
        Hint::ListScopes => "entail project list".to_owned(),
        Hint::ListCredentials { scope } => format!("entail credential list {scope}"),
        Hint::ListPolicies => "entail policy list".to_owned(),
        Hint::ListKeys => "entail key list".to_owned(),
        Hint::RotateSigner => "entail key rotate signer".to_owned(),
        Hint::ActivatePolicy { organization } => {
            format!("entail policy activate {organization} POLICY")
        }
        Hint::EndShadow { organization } => {
            format!("entail policy shadow {organization} --off")
        }
        Hint::CheckPolicy { organization } => {
            let organization = organization.as_ref().map_or("ORG", |path| path.as_str());
            format!(
                "entail policy show {organization}, and, to roll back to the previous policy: entail policy rollback {organization}"
            )
        }
        Hint::CreateHome { .. } => "entail init ORGANIZATION".to_owned(),
        Hint::UnlockIdentity => {
            "give its passphrase at the prompt, or by --passphrase-file FILE".to_owned()
        }
        Hint::SupplyIdentity => {
            "copy the identity to this machine, or give one by --identity-fd".to_owned()
        }
        Hint::RotateIdentity => "entail key rotate identity".to_owned(),
        Hint::AddOwnRecipient { recipient, organization } => {
            let (of, only) = organization.as_ref().map_or_else(Default::default, |name| {
                (format!(" of {name}"), format!(" --organization {name}"))
            });
            format!(
                "on a machine that opens the secrets{of}: entail key add-recipient {recipient}{only}; or copy an identity that opens them to this machine"
            )
        }
        Hint::SupplyRecoveryKey => {
            "add --recovery FILE with an identity that opens it, or for each share of one".to_owned()
        }
        Hint::TrustOwners { owners } => format!(
            "if you know that it is right, add --owner {}",
            owners.join(" --owner ")
        ),
        Hint::RestoreBackup => "entail restore BACKUP --accept-rollback".to_owned(),
        Hint::VerifyStore => "entail verify".to_owned(),
        Hint::AcceptRestore => "if you know of that restore: entail restore --accept-rollback; without the owner key here, copy anchor.json and keys/keyring.jsonl from the machine that restored".to_owned(),
        Hint::AcceptRollback => "put the file back, or, if you know that the database is right: entail restore --accept-rollback".to_owned(),
        Hint::CheckKeyProgram => {
            "run the program by hand, and check [key-programs] in settings.toml".to_owned()
        }
        Hint::CollectSignatures => {
            "let other owners sign the proposal: entail key sign FILE; then: entail key apply FILE"
                .to_owned()
        }
        Hint::ApplyRestore => {
            "entail restore BACKUP --accept-rollback --proposal FILE".to_owned()
        }
        Hint::ChooseRequiredOwners { owners: 1 } => "add --required 1".to_owned(),
        Hint::ChooseRequiredOwners { owners } => {
            format!("add --required with a number from 1 to {owners}")
        }
        Hint::MakeChangeAgain => "make the change again".to_owned(),
        // Hints of later versions of the library.
        _ => "see: entail help".to_owned(),
    }
}

/// A credential as arguments.
fn place(credential: &CredentialRef) -> String {
    let name = name_option(credential.name.as_str());
    format!("{} {}{name}", credential.scope, credential.provider)
}

/// The command that explains a request, with all of its options.
pub fn explain(request: &Request) -> String {
    let mut command = format!("entail explain {} {}", request.scope, request.provider);
    let mut option = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = write!(command, " {name} {}", shell_word(value));
    };
    if let Some(model) = &request.model {
        option("--model", model.as_str());
    }
    if let Some(name) = &request.credential {
        option("--name", name.as_str());
    }
    for (name, value) in &request.attributes {
        option("--attribute", &format!("{name}={value}"));
    }
    command
}
