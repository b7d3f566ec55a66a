//! Commands that show what is granted, and why.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum as _;
use entail::policy::{Attributes, Finding, Inheritance, Outcome, Refusal};
use entail::{
    AttributeName, AttributeValue, Authentication, Catalog, CommandEnvironment, Entail, Error,
    Explanation, Field, Home, Kept, Lease, Principal, Provider, ProviderId, Request, ScopePath,
    Secret, Shield, VariableValue, mask,
};
use serde_json::{Value, json};

use crate::args::{
    AttributeArgs, ExplainArgs, Format, ProvidersArgs, RequestArgs, ResolveArgs, StatusArgs,
};
use crate::attributes::parse_attributes;
use crate::failure::Failure;
use crate::output::{Cell, Line, Style, Table, exactly, print_json, say, tell};
use crate::remedy::{explain as explain_command, remedies};
use crate::request_target;
use crate::session::Session;
use crate::times::time;
use crate::unknown_providers;

/// Refusals that say no more than that nobody meant the scope to have one.
pub const UNREMARKABLE: [&str; 2] = ["no-credential", "not-opted-in"];

pub async fn resolve(session: &Session, args: &ResolveArgs) -> Result<(), Failure> {
    let mut options = Vec::new();
    if args.reveal {
        options.push("--reveal".to_owned());
    }
    if args.format != Format::Text
        && let Some(format) = args.format.to_possible_value()
    {
        options.extend(["--format".to_owned(), format.get_name().to_owned()]);
    }
    let request = request(session, "resolve", &args.request, &options).await?;
    let entail = session.open_unlocked()?;
    let format = if session.common.json {
        Format::Json
    } else {
        args.format
    };
    if !args.reveal && matches!(format, Format::Env | Format::Dotenv | Format::Shell) {
        // A mask in a variable would fail at the provider, far from here.
        return Err(
            Failure::invalid("this format is for programs, and prints secrets")
                .with_remedies(vec!["add --reveal".to_owned()]),
        );
    }
    if format != Format::Text {
        session.check_output_is_free()?;
    }
    let lease = granted(&entail, &session.principal, &request).await?;
    let shown = |secret: &Secret| match args.reveal {
        true => secret.expose_text().unwrap_or_default().to_owned(),
        false => mask(secret),
    };
    match format {
        Format::Text => print_lease(&lease, shown),
        Format::Json => print_json(&lease_json(&lease, shown)),
        Format::Env | Format::Dotenv | Format::Shell => {
            let leases = [lease];
            let kept = Kept::default();
            let environment = CommandEnvironment::new(entail.catalog(), &leases, &kept)?;
            for (name, value) in environment.granted_variables() {
                print_variable(name, &value, format)?;
            }
        }
    }
    Session::settle(&entail).await;
    Ok(())
}

/// Resolves; a refusal comes with what would lift it.
pub async fn granted(
    entail: &Entail,
    principal: &Principal,
    request: &Request,
) -> Result<Lease, Failure> {
    match entail.resolve(principal, request).await {
        Ok(lease) => Ok(lease),
        Err(Error::Refused { refusal, .. }) => {
            Err(refused_with_remedies(entail, principal, request, refusal).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// A refusal, with what would lift it.
pub async fn refused_with_remedies(
    entail: &Entail,
    principal: &Principal,
    request: &Request,
    refusal: Refusal,
) -> Failure {
    let mut remedies = match entail.explain(principal, request).await {
        Ok(explanation) => remedies(&explanation.hints()),
        Err(_) => Vec::new(),
    };
    if remedies.is_empty() {
        remedies.push(explain_command(request));
    }
    Failure::from(Error::Refused {
        scope: request.scope.clone(),
        provider: request.provider.clone(),
        refusal,
    })
    .with_remedies(remedies)
}

async fn request(
    session: &Session,
    command: &str,
    args: &RequestArgs,
    options: &[String],
) -> Result<Request, Failure> {
    let (scope, provider) = request_target::of_request(session, command, args, options).await?;
    Ok(Request {
        scope,
        provider,
        model: args.model.clone(),
        credential: args.name.clone(),
        attributes: attributes(&args.attributes)?,
        kept: Vec::new(),
    })
}

/// What was said of a request.
pub fn attributes(
    args: &AttributeArgs,
) -> Result<BTreeMap<AttributeName, AttributeValue>, Failure> {
    parse_attributes(&args.attributes)
}

fn print_lease(lease: &Lease, shown: impl Fn(&Secret) -> String) {
    Line::plain(format_args!("{} {}: ", lease.scope(), lease.provider()))
        .then_styled(Style::Good, "granted")
        .print();
    let mut table = Table::default();
    let mut row = |name: &str, value: String| {
        table.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    row(
        "credential",
        format!(
            "{} of {}, version {} ({})",
            lease.name(),
            lease.holder(),
            lease.version(),
            lease.mode()
        ),
    );
    if let Some(model) = lease.model() {
        row("model", model.to_string());
    }
    if let Some(url) = lease.base_url() {
        row("base URL", url.to_owned());
    }
    if let Some(end) = lease.expires_at_ms() {
        row("expires", time(end));
    }
    for (name, value) in lease.parameters() {
        row(name, value.clone());
    }
    for (name, secret) in lease.secrets() {
        row(name, shown(secret));
    }
    table.print();
}

fn lease_json(lease: &Lease, shown: impl Fn(&Secret) -> String) -> Value {
    let secrets: serde_json::Map<String, Value> = lease
        .secrets()
        .map(|(name, secret)| (name.to_owned(), shown(secret).into()))
        .collect();
    json!({
        "scope": lease.scope(),
        "provider": lease.provider(),
        "holder": lease.holder(),
        "credential": lease.name(),
        "id": lease.id(),
        "version": lease.version(),
        "mode": lease.mode(),
        "model": lease.model(),
        "base_url": lease.base_url(),
        "hosts": lease.hosts(),
        "expires_at_ms": lease.expires_at_ms(),
        "parameters": lease.parameters(),
        "secrets": secrets,
        "revision": lease.revision(),
        "policy": lease.policy(),
    })
}

/// Prints a variable, secret or not.
pub fn print_variable(
    name: &str,
    value: &VariableValue<'_>,
    format: Format,
) -> Result<(), Failure> {
    let text = match value {
        VariableValue::Public(text) => text,
        VariableValue::Secret(secret) => secret.expose_text().unwrap_or_default(),
        VariableValue::SecretFile(_) => {
            tell!(Style::Warn => "note:"; " {name} names a file, which only `entail run` can provide"
            );
            return Ok(());
        }
    };
    // A shell or a program reads it. What a value consists of was checked when it was
    // entered.
    exactly(&assignment(name, text, format)?);
    Ok(())
}

fn assignment(name: &str, value: &str, format: Format) -> Result<String, Failure> {
    Ok(match format {
        Format::Shell => format!("export {name}='{}'", value.replace('\'', r"'\''")),
        // Single quotes leave nothing to expand; a value that has some, or several
        // lines, goes into double ones with all that a shell would expand escaped.
        Format::Dotenv if !value.contains(['\'', '\n']) => format!("{name}='{value}'"),
        Format::Dotenv => {
            let escaped = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('$', r"\$")
                .replace('`', r"\`")
                .replace('\n', r"\n");
            format!("{name}=\"{escaped}\"")
        }
        _ if value.contains('\n') => {
            return Err(Failure::invalid(format!(
                "{name} has several lines, which this format cannot hold"
            )));
        }
        _ => format!("{name}={value}"),
    })
}

pub async fn explain(session: &Session, args: &ExplainArgs) -> Result<(), Failure> {
    let request = request(session, "explain", &args.request, &[]).await?;
    let entail = session.open()?;
    let explanation = entail.explain(&session.principal, &request).await?;
    if session.common.json {
        print_json(&json!({
            "revision": explanation.revision,
            "policy": explanation.policy,
            "facts": *explanation.facts,
            "decision": explanation.decision,
            "remedies": remedies(&explanation.hints()),
            "identity_open": entail.can_unseal(),
        }));
    } else {
        print_explanation(&explanation);
        let granted = matches!(explanation.decision.outcome, Outcome::Granted(_));
        if granted && !entail.can_unseal() {
            tell!(Style::Warn => "note:"; " the identity is locked or not here, so whether the secret opens is not known"
            );
        }
    }
    Ok(())
}

/// The chain as a small tree, each candidate with what became of it, then the
/// outcome, and for a refusal what would lift it.
pub fn print_explanation(explanation: &Explanation) {
    let facts = &explanation.facts;
    let scope = facts.chain.first().map_or("", |scope| scope.path.as_str());
    say!(Style::Heading => format_args!("{scope} {}", facts.request.provider)
    );
    let last = facts.chain.len().saturating_sub(1);
    let mut table = Table::default();
    for (position, scope) in facts.chain.iter().enumerate() {
        let (branch, stem) = if position == last {
            ("└─", "   ")
        } else {
            ("├─", "│  ")
        };
        let link = match scope.inheritance {
            _ if position == last => "",
            Inheritance::Isolated => "isolated: looks no further",
            Inheritance::Inherit => "inherits when it has none of its own",
            Inheritance::FallBack => "inherits when it has no usable one",
        };
        table.row([
            format!("{branch} {}", scope.path).into(),
            Cell::new(link, Style::Faint),
        ]);
        if scope.credentials.is_empty() {
            table.row([format!("{stem}· none").into()]);
        }
        for finding in &explanation.decision.trail {
            let Some(credential) = scope
                .credentials
                .iter()
                .find(|c| c.id == finding.credential)
            else {
                continue;
            };
            table.row([
                format!("{stem}• {}", credential.name).into(),
                Cell::new(&finding.code, finding_style(explanation, finding)),
                Cell::new(said(&finding.attributes), Style::Faint),
            ]);
        }
    }
    table.print();
    if !explanation.decision.attributes.is_empty() {
        let attributes = said(&explanation.decision.attributes);
        say!(Style::Faint => attributes);
    }
    match &explanation.decision.outcome {
        Outcome::Granted(grant) => {
            let holder = facts.chain.iter().find_map(|scope| {
                let credential = scope
                    .credentials
                    .iter()
                    .find(|c| c.id == grant.credential)?;
                Some(format!("{} of {}", credential.name, scope.path))
            });
            let model = grant
                .model
                .as_ref()
                .map_or(String::new(), |model| format!(", for {model}"));
            say!(Style::Good => "granted"; ": {}{model}",
                holder.unwrap_or_default()
            );
        }
        Outcome::Refused(refusal) => {
            say!(Style::Bad => "refused"; ": {} ({})",
                refusal.message.shown(),
                refusal.code
            );
            for remedy in remedies(&explanation.hints()) {
                say!(Style::Faint => "  try:"; " {remedy}");
            }
        }
    }
}

/// What else a policy said: `rule: robots, balanced-by: session`.
fn said(attributes: &Attributes) -> String {
    let said: Vec<String> = attributes
        .iter()
        .map(|(name, value)| format!("{}: {}", name.shown(), value.shown()))
        .collect();
    said.join(", ")
}

/// A policy chooses the codes, but only what is granted looks like it.
fn finding_style(explanation: &Explanation, finding: &Finding) -> Style {
    let is_granted = match &explanation.decision.outcome {
        Outcome::Granted(grant) => grant.credential == finding.credential,
        Outcome::Refused(_) => false,
    };
    match finding.code.as_str() {
        "chosen" if is_granted => Style::Good,
        "alternate" | "shadowed" | "name-mismatch" => Style::Plain,
        "not-opted-in" | "not-shared" => Style::Warn,
        _ => Style::Bad,
    }
}

/// What a scope gets for a provider.
pub enum Standing {
    Granted(Box<Lease>),
    /// It is refused for want of a credential, and nobody in the chain holds one.
    Nothing(Failure),
    Failed(Failure),
}

impl Standing {
    /// A policy chooses the code of a refusal, so what is `held` decides with it.
    fn of(failure: Failure, provider: &ProviderId, held: Option<&BTreeSet<ProviderId>>) -> Self {
        let wants = failure
            .refusal()
            .is_some_and(|code| *code == "no-credential");
        match held.is_some_and(|held| !held.contains(provider)) && wants {
            true => Standing::Nothing(failure),
            false => Standing::Failed(failure),
        }
    }
}

/// The providers that somebody in the chain of a scope holds a credential for.
async fn held(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
) -> Result<BTreeSet<ProviderId>, Error> {
    let mut held = BTreeSet::new();
    for path in scope.chain() {
        let scope = entail.scope(&session.principal, &path).await?;
        held.extend(scope.credentials.iter().map(|c| c.provider.clone()));
    }
    Ok(held)
}

/// What every scope gets for every provider, by really resolving.
pub async fn matrix(
    session: &Session,
    entail: &Entail,
    scopes: &[ScopePath],
) -> Result<Vec<(ScopePath, Vec<(ProviderId, Standing)>)>, Failure> {
    let mut matrix = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let mut row = Vec::new();
        // Why it cannot be known shows in the answers.
        let held = held(session, entail, scope).await.ok();
        for provider in entail.catalog().iter() {
            let request = Request::new(scope.clone(), provider.id.clone());
            let standing = match entail.probe(&session.principal, &request).await {
                Ok(lease) => Standing::Granted(Box::new(lease)),
                // It would be the same for all, and each would take its time.
                Err(error @ Error::NotRecorded { .. }) => return Err(error.into()),
                Err(error) => Standing::of(error.into(), &provider.id, held.as_ref()),
            };
            row.push((provider.id.clone(), standing));
        }
        // A scope may be removed after it was listed.
        let gone = |(_, standing): &(ProviderId, Standing)| matches!(standing, Standing::Failed(failure) if failure.code() == "not-found");
        if !row.iter().any(gone) {
            matrix.push((scope.clone(), row));
        }
    }
    Ok(matrix)
}

pub async fn status(session: &Session, args: &StatusArgs) -> Result<(), Failure> {
    let under = request_target::of_status(session, args)?;
    let entail = session.open_unlocked()?;
    let scopes = entail.scopes(&session.principal, under.as_ref()).await?;
    let matrix = matrix(session, &entail, &scopes).await?;
    if session.common.json {
        print_json(&matrix_json(&matrix));
    } else {
        print_matrix(&matrix);
    }
    unknown_providers::note(session, &entail, scopes).await?;
    Session::settle(&entail).await;
    // What is not a refusal is a fault, and not to be overlooked.
    let mut cells = matrix.into_iter().flat_map(|(scope, row)| {
        row.into_iter()
            .map(move |(provider, standing)| (scope.clone(), provider, standing))
    });
    match cells.find_map(|(scope, provider, standing)| match standing {
        Standing::Failed(failure) if failure.exit_number() != 10 => {
            Some((scope, provider, failure))
        }
        _ => None,
    }) {
        None => Ok(()),
        Some((scope, provider, failure)) => Err(Failure::new(
            failure.exit_number(),
            failure.code(),
            format!("{scope} {provider}: {}", failure.message()),
        )
        .with_remedies(vec!["entail doctor".to_owned()])),
    }
}

pub fn matrix_json(matrix: &[(ScopePath, Vec<(ProviderId, Standing)>)]) -> Value {
    let cell = |(provider, standing): &(ProviderId, Standing)| match standing {
        Standing::Granted(lease) => json!({
            "provider": provider, "granted": true, "holder": lease.holder(),
            "credential": lease.name(), "version": lease.version(), "model": lease.model(),
        }),
        Standing::Nothing(failure) | Standing::Failed(failure) => json!({
            "provider": provider, "granted": false, "code": failure.code(),
            "refusal": failure.refusal(), "message": failure.message(),
        }),
    };
    let rows: Vec<Value> = matrix
        .iter()
        .map(|(scope, row)| json!({"scope": scope, "providers": row.iter().map(cell).collect::<Vec<_>>()}))
        .collect();
    json!({"status": rows})
}

/// Prints the providers that anybody has something for; the others would be
/// columns of dashes.
pub fn print_matrix(matrix: &[(ScopePath, Vec<(ProviderId, Standing)>)]) {
    let used: BTreeSet<&ProviderId> = matrix
        .iter()
        .flat_map(|(_, row)| row)
        .filter(|(_, standing)| !matches!(standing, Standing::Nothing(_)))
        .map(|(provider, _)| provider)
        .collect();
    if used.is_empty() {
        say!("no scope has a credential for any provider");
        return;
    }
    let mut table = Table::with_headings(
        std::iter::once("SCOPE").chain(
            matrix
                .iter()
                .take(1)
                .flat_map(|(_, row)| row)
                .filter(|(provider, _)| used.contains(provider))
                .map(|(provider, _)| provider.as_str()),
        ),
    );
    for (scope, row) in matrix {
        let cells = row
            .iter()
            .filter(|(provider, _)| used.contains(provider))
            .map(|(_, standing)| match standing {
                Standing::Nothing(_) => Cell::new("–", Style::Faint),
                Standing::Granted(lease) if lease.holder() == scope => {
                    Cell::new("own", Style::Good)
                }
                Standing::Granted(lease) => {
                    Cell::new(format!("from {}", lease.holder()), Style::Good)
                }
                Standing::Failed(failure) => match failure.refusal() {
                    Some(code) if UNREMARKABLE.contains(&code.as_str()) => {
                        Cell::new(code, Style::Warn)
                    }
                    // A policy chooses the code, and may not make it look like a grant.
                    Some(code) => Cell::new(format!("refused: {code}"), Style::Bad),
                    None => Cell::new(format!("error: {}", failure.code()), Style::Bad),
                },
            });
        table.row(std::iter::once(scope.as_str().into()).chain(cells));
    }
    table.print();
}

pub fn providers(session: &Session, args: &ProvidersArgs) -> Result<(), Failure> {
    // Without a home the built-in ones are there.
    let catalog = if Home::exists(&session.home_folder()?) {
        session.home()?.catalog()?
    } else {
        Catalog::new(None).map_err(Error::from)?
    };
    if let Some(id) = &args.provider {
        let provider = catalog.get(id).ok_or_else(|| {
            Failure::new(18, "not-found", format!("there is no provider {id}"))
                .with_remedies(vec!["entail providers".to_owned()])
        })?;
        if session.common.json {
            print_json(&json!(provider));
        } else {
            print_provider(provider);
        }
        return Ok(());
    }
    if session.common.json {
        let all: Vec<&Provider> = catalog.iter().collect();
        print_json(&json!({"providers": all}));
        return Ok(());
    }
    let mut table = Table::with_headings(["PROVIDER", "NAME", "SECRETS", "VARIABLES"]);
    for provider in catalog.iter() {
        let secrets = provider.fields.iter().filter(|field| field.secret);
        let names: Vec<&str> = secrets.clone().map(|field| field.name.as_str()).collect();
        let variables: Vec<&str> = secrets.flat_map(Field::variables).collect();
        table.row([
            provider.id.as_str().into(),
            provider.name.as_str().into(),
            names.join(", ").into(),
            variables.join(", ").into(),
        ]);
    }
    table.print();
    Ok(())
}

fn print_provider(provider: &Provider) {
    say!(Style::Heading => &provider.name; " ({})", provider.id);
    let mut facts = Table::default();
    let mut fact = |name: &str, value: &str| {
        facts.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    fact("documentation", &provider.docs);
    fact(
        "base URL",
        provider
            .base_url
            .as_deref()
            .unwrap_or("each credential names its own"),
    );
    fact(
        "keys may go to",
        &if provider.hosts.is_empty() {
            "the host of the base URL".to_owned()
        } else {
            provider.hosts.join(", ")
        },
    );
    for mode in &provider.modes {
        let by = match &mode.authentication {
            Authentication::Headers(headers) => headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
                .join("; "),
            Authentication::AwsSigV4 { service } => {
                format!("AWS Signature Version 4 for {service}")
            }
            Authentication::GoogleServiceAccount { .. } => {
                "an access token that the service account signs for".to_owned()
            }
        };
        fact(
            &format!("mode {}", mode.name),
            &format!("{} — {by}", mode.required.join(", ")),
        );
    }
    facts.print();
    let mut fields = Table::with_headings(["  FIELD", "WHAT", "KIND", "VARIABLES"]);
    for field in &provider.fields {
        fields.row([
            format!("  {}", field.name).into(),
            field.label.as_str().into(),
            if field.secret {
                "secret".into()
            } else {
                "public".into()
            },
            variables(field).into(),
        ]);
    }
    fields.print();
    print_clients(provider);
}

/// What its clients read, and what a command gets of it.
fn print_clients(provider: &Provider) {
    let mut clients = Table::default();
    let mut row = |name: &str, value: String| {
        clients.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    for field in &provider.fields {
        let read = field.environment.iter().filter(|v| !v.read_by.is_empty());
        for variable in read {
            let clients = variable.read_by.join(", ");
            row(&variable.name, format!("read by {clients}"));
        }
        for by in &field.unread_by {
            let argument = &by.argument;
            row(
                &field.name,
                format!("not read by {}: pass it as {argument}", by.client),
            );
        }
    }
    // One client takes a URL for the name of a variable: of no use to a reader.
    let patterns: Vec<&str> = provider.clears.iter().map(String::as_str).collect();
    let patterns: Vec<&str> = patterns.into_iter().filter(|p| !p.contains(':')).collect();
    if !patterns.is_empty() {
        row("cleared", patterns.join(", "));
    }
    for kept in &provider.keeps {
        row(&kept.name, format!("stays: {}", kept.reason));
    }
    for shield in &provider.shields {
        let Shield {
            name,
            value,
            reason,
            ..
        } = shield;
        row(name, format!("is set to {value}, against {reason}"));
    }
    say!(Style::Faint => "clients");
    clients.print();
}

fn variables(field: &Field) -> String {
    let names: Vec<&str> = field.variables().collect();
    let suffix = if field.file { " (path of a file)" } else { "" };
    format!("{}{suffix}", names.join(", "))
}
