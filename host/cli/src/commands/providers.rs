//! `entail providers`: lists the providers, or shows one.

use clap::Args;
use entail::{Catalog, Error, Home, ProviderId};

use crate::error::{CliError, ErrorCode};
use crate::output::{Cell, Style, Table, convert, out, print_json};
use crate::session::Session;
use entail_api::provider::{Authentication, Field, Mode, Provider, Providers};

#[derive(Args)]
pub struct ProvidersArgs {
    /// Show this provider in full
    pub provider: Option<ProviderId>,
}

pub fn providers(session: &Session, args: &ProvidersArgs) -> Result<(), CliError> {
    // Without a home there are the built-in providers.
    let catalog = if Home::exists(&session.home_directory()?) {
        session.home()?.catalog()?
    } else {
        Catalog::new(None).map_err(Error::from)?
    };
    if let Some(id) = &args.provider {
        let provider = catalog.get(id).ok_or_else(|| unknown_provider(id))?;
        let provider: Provider = convert(provider)?;
        if session.global.json {
            print_json(&provider);
        } else {
            print_provider(&provider);
        }
        return Ok(());
    }
    let all: Vec<&entail::Provider> = catalog.iter().collect();
    let providers = Providers {
        providers: convert(&all)?,
    };
    if session.global.json {
        print_json(&providers);
    } else {
        print_list(&providers);
    }
    Ok(())
}

/// The error of an id that no provider has.
pub fn unknown_provider(id: &ProviderId) -> CliError {
    CliError::new(ErrorCode::NotFound, format!("there is no provider {id}"))
        .with_remedies(vec!["entail providers".to_owned()])
}

fn print_list(providers: &Providers) {
    let mut table = Table::with_headings(["PROVIDER", "NAME", "SECRETS", "VARIABLES"]);
    for provider in &providers.providers {
        let secrets = || provider.fields.iter().filter(|field| field.secret);
        let names: Vec<&str> = secrets().map(|field| field.name.as_str()).collect();
        let variables: Vec<&str> = secrets().flat_map(variables).collect();
        table.row([
            provider.id.as_str().into(),
            provider.name.as_str().into(),
            names.join(", ").into(),
            variables.join(", ").into(),
        ]);
    }
    table.print();
}

fn variables(field: &Field) -> impl Iterator<Item = &str> {
    field
        .environment
        .iter()
        .map(|variable| variable.name.as_str())
}

fn print_provider(provider: &Provider) {
    out!(Style::Heading => &provider.name; " ({})", provider.id);
    let mut properties = Table::default();
    let mut row = |name: &str, value: &str| properties.labelled(&format!("  {name}"), value);
    row("documentation", &provider.docs);
    row(
        "base URL",
        provider
            .base_url
            .as_deref()
            .unwrap_or("each credential sets it"),
    );
    if provider.hosts.is_empty() {
        row("keys may go to", "the host of the base URL");
    } else {
        row("keys may go to", &provider.hosts.join(", "));
    }
    for mode in &provider.modes {
        row(
            &format!("mode {}", mode.name),
            &format!("{} — {}", mode.required.join(", "), authentication(mode)),
        );
    }
    properties.print();
    print_fields(provider);
    out!(Style::Faint => "clients");
    print_clients(provider);
}

fn authentication(mode: &Mode) -> String {
    match &mode.authentication {
        Authentication::Headers(headers) => headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
            .join("; "),
        Authentication::AwsSigV4 { service } => format!("AWS Signature Version 4 for {service}"),
        Authentication::GoogleServiceAccount { .. } => {
            "an access token that the service account signs for".to_owned()
        }
    }
}

fn print_fields(provider: &Provider) {
    let mut fields = Table::with_headings(["  FIELD", "WHAT", "KIND", "VARIABLES"]);
    for field in &provider.fields {
        let kind = if field.secret { "secret" } else { "public" };
        let names: Vec<&str> = variables(field).collect();
        let suffix = if field.file { " (path of a file)" } else { "" };
        fields.row([
            format!("  {}", field.name).into(),
            field.label.as_str().into(),
            kind.into(),
            format!("{}{suffix}", names.join(", ")).into(),
        ]);
    }
    fields.print();
}

/// Prints what the provider's clients read, and which variables a command gets.
fn print_clients(provider: &Provider) {
    let mut clients = Table::default();
    let mut row = |name: &str, value: String| {
        clients.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    for field in &provider.fields {
        for variable in field.environment.iter().filter(|v| !v.read_by.is_empty()) {
            row(
                &variable.name,
                format!("read by {}", variable.read_by.join(", ")),
            );
        }
        for by in &field.client_arguments {
            row(
                &field.name,
                format!("not read by {}: pass it as {}", by.client, by.argument),
            );
        }
    }
    // One client takes a URL for the name of a variable, which helps no reader.
    let patterns = provider.unset_env.iter().map(String::as_str);
    let patterns: Vec<&str> = patterns.filter(|pattern| !pattern.contains(':')).collect();
    if !patterns.is_empty() {
        row("unset", patterns.join(", "));
    }
    for kept in &provider.keep_env {
        row(&kept.name, format!("kept: {}", kept.reason));
    }
    for block in &provider.block_ambient {
        row(
            &block.name,
            format!("set to {}, against {}", block.value, block.reason),
        );
    }
    clients.print();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn every_built_in_provider_has_the_form_of_the_output() {
        let catalog = Catalog::new(None).unwrap();
        for provider in catalog.iter() {
            let output: Provider = convert(provider).unwrap();
            assert_eq!(output.id, provider.id.as_str());
            assert_eq!(output.fields.len(), provider.fields.len());
        }
    }
}
