//! `entail dev`: creates a throwaway organization to try things out, with keys from the
//! environment if there are any, and placeholders otherwise.

use entail::policy::Inheritance;
use entail::{
    Change, CredentialName, CredentialRef, Entail, Home, Provider, ProviderId, Request,
    RuleChanges, ScopePath, Secret, SecretEdit, SetCredential,
};

use super::explain::to_output;
use super::status::collect_status;
use crate::args::secret_input::conventional_value;
use crate::error::CliError;
use crate::output::{Style, err, out, print_explanation, print_json, print_matrix};
use crate::session::Session;
use entail_api::project::DevHome;

/// Providers that get a placeholder, so that the output is not empty.
const PLACEHOLDERS: [&str; 2] = ["openai", "anthropic"];

pub async fn dev(session: &Session) -> Result<(), CliError> {
    let directory = tempfile::Builder::new()
        .prefix("entail-dev-")
        .tempdir()
        .map_err(|error| CliError::io("a temporary directory", &error))?;
    let home = Home::create(&directory.path().join("home"), None).await?;
    let session = session.at(home.directory());
    let entail = session.open()?;
    let keys_from_environment = populate(&session, &entail).await?;
    // The home is for the reader of the output, so it is not removed.
    let directory = directory.keep();

    let scopes = entail.scopes(&session.principal, None).await?;
    let created = DevHome {
        home: home.directory().to_string_lossy().into_owned(),
        keys_from_environment,
        matrix: collect_status(&session, &entail, &scopes).await?.status,
    };
    if session.global.json {
        print_json(&created);
        return Ok(());
    }
    out!("A throwaway organization, acme, in {}", created.home);
    match created.keys_from_environment.as_slice() {
        [] => out!("The environment has no provider's key, so its keys are placeholders."),
        found => out!(
            "It uses the keys found in the environment for: {}.",
            found.join(", ")
        ),
    }
    heading("What every scope gets:  entail status");
    print_matrix(&created.matrix);
    heading("A grant:  entail explain acme/evals openai");
    print_example(&session, &entail, "acme/evals").await?;
    heading("A refusal:  entail explain acme/agents openai");
    print_example(&session, &entail, "acme/agents").await?;
    heading("What to try next:");
    out!("  export ENTAIL_HOME={}", created.home);
    for command in NEXT {
        out!("  {command}");
    }
    out!("To remove it: rm -r {}", directory.display());
    Ok(())
}

/// Commands to try next.
const NEXT: [&str; 5] = [
    "entail run acme/evals -- sh -c 'echo \"the key ends in ${OPENAI_API_KEY#\"${OPENAI_API_KEY%????}\"}\"'",
    "entail inherit acme/agents openai",
    "entail credential set acme mistral",
    "entail credential rotate acme openai",
    "entail doctor",
];

async fn print_example(session: &Session, entail: &Entail, scope: &str) -> Result<(), CliError> {
    let request = Request::new(path(scope)?, provider("openai")?);
    let explanation = entail.explain(&session.principal, &request).await?;
    print_explanation(&to_output(entail, &explanation)?);
    Ok(())
}

fn heading(text: &str) {
    out!("");
    out!(Style::Heading => text);
}

fn path(text: &str) -> Result<ScopePath, CliError> {
    Ok(text.parse().map_err(entail::Error::from)?)
}

fn provider(text: &str) -> Result<ProviderId, CliError> {
    Ok(text.parse().map_err(entail::Error::from)?)
}

/// Creates the scopes and credentials. Returns the providers whose keys were found in the
/// environment.
async fn populate(session: &Session, entail: &Entail) -> Result<Vec<String>, CliError> {
    let me = &session.principal;
    for scope in ["acme", "acme/agents", "acme/evals", "acme/evals/staging"] {
        entail
            .change(
                me,
                &Change::AddScope {
                    scope: path(scope)?,
                },
            )
            .await?;
    }
    let mut found = Vec::new();
    for provider in entail.catalog().iter() {
        if let Some(fields) = from_environment(provider)? {
            // A variable may contain an invalid key; then a placeholder is used.
            match entail.change(me, &set("acme", provider, fields)?).await {
                Ok(_) => {
                    found.push(provider.id.to_string());
                    continue;
                }
                Err(error) => {
                    err!(Style::Warn => "note:"; " {}: {error}", provider.id);
                }
            }
        }
        if PLACEHOLDERS.contains(&provider.id.as_str()) {
            let fields = placeholder("acme");
            entail.change(me, &set("acme", provider, fields)?).await?;
        }
    }
    let openai = entail.provider(&provider("openai")?)?;
    entail
        .change(
            me,
            &set("acme/evals/staging", openai, placeholder("staging"))?,
        )
        .await?;
    entail
        .change(
            me,
            &Change::SetInheritance {
                scope: path("acme/evals")?,
                provider: None,
                inheritance: Inheritance::Inherit,
            },
        )
        .await?;
    Ok(found)
}

/// The fields of the first mode that the environment has all required fields of.
fn from_environment(provider: &Provider) -> Result<Option<Vec<(String, Secret)>>, CliError> {
    for mode in &provider.modes {
        let mut fields = Vec::new();
        for field in provider
            .fields
            .iter()
            .filter(|field| mode.takes(&field.name))
        {
            if let Some(value) = conventional_value(field)? {
                fields.push((field.name.clone(), value));
            }
        }
        let given = |name: &String| fields.iter().any(|(given, _)| given == name);
        let secret = fields
            .iter()
            .any(|(name, _)| provider.field(name).is_some_and(|field| field.secret));
        if secret && mode.required.iter().all(given) {
            return Ok(Some(fields));
        }
    }
    Ok(None)
}

fn placeholder(holder: &str) -> Vec<(String, Secret)> {
    vec![(
        "api_key".to_owned(),
        Secret::from(format!("placeholder-key-of-{holder}-0000")),
    )]
}

fn set(
    scope: &str,
    provider: &Provider,
    fields: Vec<(String, Secret)>,
) -> Result<Change, CliError> {
    Ok(Change::SetCredential(Box::new(SetCredential {
        credential: CredentialRef {
            scope: path(scope)?,
            provider: provider.id.clone(),
            name: CredentialName::default(),
        },
        mode: None,
        fields,
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    })))
}
