//! `entail resolve`: shows the credential that a scope gets.

use clap::{Args, ValueEnum as _};
use entail::policy::Refusal;
use entail::{CommandEnvironment, Entail, Error, Kept, Lease, Principal, Request, Secret, mask};

use crate::args::format::Format;
use crate::args::request::RequestArgs;
use crate::args::request_target;
use crate::error::CliError;
use crate::output::{Cell, Line, Style, Table, print_json, print_variable, time};
use crate::session::Session;
use crate::suggest::remedy::{explain as explain_command, remedies};
use entail_api::resolve::Lease as LeaseOutput;

#[derive(Args)]
pub struct ResolveArgs {
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the secrets
    #[arg(long)]
    pub reveal: bool,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

pub async fn resolve(session: &Session, args: &ResolveArgs) -> Result<(), CliError> {
    let request = request(session, "resolve", &args.request, &options(args)).await?;
    let entail = session.open_unlocked()?;
    let format = if session.global.json {
        Format::Json
    } else {
        args.format
    };
    if !args.reveal && matches!(format, Format::Env | Format::Dotenv | Format::Shell) {
        // A masked value in a variable would fail at the provider, far from here.
        return Err(
            CliError::invalid("this format is for programs, and prints secrets")
                .with_remedies(vec!["add --reveal".to_owned()]),
        );
    }
    if format != Format::Text {
        session.check_output_is_free()?;
    }
    let lease = granted(&entail, &session.principal, &request).await?;
    match format {
        Format::Text => print_text(&to_output(&lease, args.reveal)),
        Format::Json => print_json(&to_output(&lease, args.reveal)),
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

/// The options that a suggestion repeats.
fn options(args: &ResolveArgs) -> Vec<String> {
    let mut options = Vec::new();
    if args.reveal {
        options.push("--reveal".to_owned());
    }
    if args.format != Format::Text
        && let Some(format) = args.format.to_possible_value()
    {
        options.extend(["--format".to_owned(), format.get_name().to_owned()]);
    }
    options
}

/// Makes the request of `resolve` or `explain`.
///
/// # Errors
///
/// Fails if the scope, the provider or an attribute is missing or not valid.
pub async fn request(
    session: &Session,
    command: &str,
    args: &RequestArgs,
    options: &[String],
) -> Result<Request, CliError> {
    let (scope, provider) = request_target::of_request(session, command, args, options).await?;
    Ok(Request {
        scope,
        provider,
        model: args.model.clone(),
        credential: args.name.clone(),
        attributes: args.attributes.parse()?,
        kept: Vec::new(),
    })
}

/// Resolves a request. The error of a refusal has the remedies that would lift it.
///
/// # Errors
///
/// Fails if the request is refused, or cannot be resolved.
pub async fn granted(
    entail: &Entail,
    principal: &Principal,
    request: &Request,
) -> Result<Lease, CliError> {
    match entail.resolve(principal, request).await {
        Ok(lease) => Ok(lease),
        Err(Error::Refused { refusal, .. }) => {
            Err(refused_with_remedies(entail, principal, request, refusal).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// The error of a refusal, with the remedies that would lift it.
pub async fn refused_with_remedies(
    entail: &Entail,
    principal: &Principal,
    request: &Request,
    refusal: Refusal,
) -> CliError {
    let mut remedies = match entail.explain(principal, request).await {
        Ok(explanation) => remedies(&explanation.hints()),
        Err(_) => Vec::new(),
    };
    if remedies.is_empty() {
        remedies.push(explain_command(request));
    }
    CliError::from(Error::Refused {
        scope: request.scope.clone(),
        provider: request.provider.clone(),
        refusal,
    })
    .with_remedies(remedies)
}

fn to_output(lease: &Lease, reveal: bool) -> LeaseOutput {
    LeaseOutput {
        scope: lease.scope().to_string(),
        provider: lease.provider().to_string(),
        holder: lease.holder().to_string(),
        credential: lease.name().to_string(),
        id: lease.id().to_string(),
        version: lease.version(),
        mode: lease.mode().to_owned(),
        model: lease.model().map(ToString::to_string),
        base_url: lease.base_url().map(str::to_owned),
        hosts: lease.hosts().to_vec(),
        expires_at_ms: lease.expires_at_ms(),
        parameters: lease.parameters().clone(),
        secrets: lease
            .secrets()
            .map(|(name, secret)| (name.to_owned(), shown(secret, reveal)))
            .collect(),
        revision: lease.revision(),
        policy: lease.policy().to_owned(),
    }
}

/// A secret for output: masked, or the value.
pub fn shown(secret: &Secret, reveal: bool) -> String {
    if reveal {
        secret.expose_text().unwrap_or_default().to_owned()
    } else {
        mask(secret)
    }
}

/// Prints a lease.
pub fn print_text(lease: &LeaseOutput) {
    Line::plain(format_args!("{} {}: ", lease.scope, lease.provider))
        .then_styled(Style::Good, "granted")
        .print();
    let mut table = Table::default();
    let mut row = |name: &str, value: &str| {
        table.row([Cell::new(format!("  {name}"), Style::Faint), value.into()]);
    };
    let LeaseOutput {
        credential,
        holder,
        version,
        mode,
        ..
    } = lease;
    row(
        "credential",
        &format!("{credential} of {holder}, version {version} ({mode})"),
    );
    if let Some(model) = &lease.model {
        row("model", model);
    }
    if let Some(url) = &lease.base_url {
        row("base URL", url);
    }
    if let Some(end) = lease.expires_at_ms {
        row("expires", &time(end));
    }
    for (name, value) in lease.parameters.iter().chain(&lease.secrets) {
        row(name, value);
    }
    table.print();
}
