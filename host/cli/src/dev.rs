//! A throwaway organization to try things on: real keys from the environment
//! where there are any, placeholders elsewhere.

use entail::policy::Inheritance;
use entail::{
    Change, CredentialName, CredentialRef, Entail, Home, Provider, ProviderId, Request,
    RuleChanges, ScopePath, Secret, SecretEdit, SetCredential,
};
use serde_json::json;

use crate::failure::Failure;
use crate::input::conventional_value;
use crate::inquire::{matrix, matrix_json, print_explanation, print_matrix};
use crate::output::{Style, print_json, say, tell};
use crate::session::Session;

/// Providers that get a placeholder, so that there is something to see.
const SHOWN: [&str; 2] = ["openai", "anthropic"];

pub async fn dev(session: &Session) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("entail-dev-")
        .tempdir()
        .map_err(|error| Failure::io("a temporary folder", &error))?;
    let home = Home::create(&folder.path().join("home"), None).await?;
    let session = session.at(home.directory());
    let entail = session.open()?;
    let found = populate(&session, &entail).await?;
    // Kept from here on: it is for whoever reads the output.
    let folder = folder.keep();

    let scopes = entail.scopes(&session.principal, None).await?;
    let matrix = matrix(&session, &entail, &scopes).await?;
    if session.common.json {
        print_json(
            &json!({"home": home.directory().to_string_lossy(), "keys_from_environment": found, "matrix": matrix_json(&matrix)}),
        );
        return Ok(());
    }
    let home = home.directory().display();
    say!("A throwaway organization, acme, in {home}");
    match found.as_slice() {
        [] => say!("No provider's key is in the environment, so its keys are placeholders."),
        found => say!(
            "It uses the keys found in the environment for: {}.",
            found.join(", ")
        ),
    }
    heading("What every scope gets:  entail status");
    print_matrix(&matrix);
    heading("A grant:  entail explain acme/evals openai");
    print_explanation(
        &entail
            .explain(&session.principal, &asked("acme/evals")?)
            .await?,
    );
    heading("A refusal:  entail explain acme/agents openai");
    print_explanation(
        &entail
            .explain(&session.principal, &asked("acme/agents")?)
            .await?,
    );
    heading("To go on:");
    say!("  export ENTAIL_HOME={home}");
    for command in [
        "entail run acme/evals -- sh -c 'echo \"the key ends in ${OPENAI_API_KEY#\"${OPENAI_API_KEY%????}\"}\"'",
        "entail inherit acme/agents openai",
        "entail credential set acme mistral",
        "entail credential rotate acme openai",
        "entail doctor",
    ] {
        say!("  {command}");
    }
    say!("To be rid of it: rm -r {}", folder.display());
    Ok(())
}

fn heading(text: &str) {
    say!("");
    say!(Style::Heading => text);
}

fn asked(scope: &str) -> Result<Request, Failure> {
    Ok(Request::new(path(scope)?, provider("openai")?))
}

fn path(text: &str) -> Result<ScopePath, Failure> {
    Ok(text.parse().map_err(entail::Error::from)?)
}

fn provider(text: &str) -> Result<ProviderId, Failure> {
    Ok(text.parse().map_err(entail::Error::from)?)
}

/// Makes the scopes and credentials; returns the providers whose keys were found
/// in the environment.
async fn populate(session: &Session, entail: &Entail) -> Result<Vec<String>, Failure> {
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
            // A variable set to nonsense is no reason to show nothing.
            match entail.change(me, &set("acme", provider, fields)?).await {
                Ok(_) => {
                    found.push(provider.id.to_string());
                    continue;
                }
                Err(error) => {
                    tell!(Style::Warn => "note:"; " {}: {error}", provider.id);
                }
            }
        }
        if SHOWN.contains(&provider.id.as_str()) {
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

/// The fields of the first mode that the environment suffices for.
fn from_environment(provider: &Provider) -> Result<Option<Vec<(String, Secret)>>, Failure> {
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

fn placeholder(whose: &str) -> Vec<(String, Secret)> {
    vec![(
        "api_key".to_owned(),
        Secret::from(format!("placeholder-key-of-{whose}-0000")),
    )]
}

fn set(scope: &str, provider: &Provider, fields: Vec<(String, Secret)>) -> Result<Change, Failure> {
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
