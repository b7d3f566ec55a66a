//! Commands that change what is there.

use std::path::Path;

use entail::policy::{Inheritance, Sharing};
use entail::{
    Applied, Change, CredentialRef, Edit, Entail, Home, RuleChanges, Scope, ScopePath, SecretEdit,
    SetCredential, now_ms, quoted,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::args::{
    CredentialArgs, CredentialCommand, InheritArgs, InitArgs, ModelArgs, ProjectCommand,
    RollbackArgs, RotateArgs, SetArgs,
};
use crate::failure::{Failure, named};
use crate::input;
use crate::output::{Cell, Style, Table, print_json, say, say_dry_run};
use crate::policy_compare;
use crate::session::Session;

pub async fn init(session: &Session, args: &InitArgs) -> Result<(), Failure> {
    let organization = &args.organization;
    if !organization.is_organization() {
        return Err(
            Failure::invalid(format!("{organization} is a project, not an organization"))
                .with_remedies(vec![format!("entail project add {organization}")]),
        );
    }
    let folder = session.home_folder()?;
    let made = !Home::exists(&folder);
    if made && session.common.dry_run {
        Home::check_new(&folder)?;
        answer(
            session,
            json!({"organization": organization, "home": folder, "home_made": made, "dry_run": true}),
            &[
                Some(format!("would make the home {}", folder.display())),
                Some(format!("would make the organization {organization}")),
            ],
        );
        if !session.common.json {
            say_dry_run();
        }
        return Ok(());
    }
    if made {
        make_home(session, args, &folder).await?;
    } else if args.passphrase {
        return Err(Failure::invalid(format!(
            "{} is a home already, and its identity has the passphrase that it has",
            folder.display()
        )));
    }
    let entail = session.open()?;
    let applied = apply(
        session,
        &entail,
        Change::AddScope {
            scope: organization.clone(),
        },
    )
    .await?;
    if applied.is_none() {
        return Ok(());
    }
    answer(
        session,
        json!({"organization": organization, "home": folder, "home_made": made}),
        &[
            made.then(|| {
                format!(
                    "made the home {} (keep a copy of its keys folder)",
                    folder.display()
                )
            }),
            Some(format!("made the organization {organization}")),
            Some(format!("next: entail credential set {organization} openai")),
        ],
    );
    Ok(())
}

/// Makes the home, unless another process is faster.
async fn make_home(session: &Session, args: &InitArgs, folder: &Path) -> Result<(), Failure> {
    let passphrase = match args.passphrase {
        true => Some(session.new_passphrase()?),
        false => None,
    };
    match Home::create(folder, passphrase.as_ref()).await {
        Err(_) if passphrase.is_none() && Home::exists(folder) => Ok(()),
        made => Ok(made.map(drop)?),
    }
}

pub async fn project(session: &Session, command: ProjectCommand) -> Result<(), Failure> {
    let entail = session.open()?;
    match command {
        ProjectCommand::Add { scope } => {
            if scope.is_organization() {
                return Err(
                    Failure::invalid(format!("{scope} is an organization, not a project"))
                        .with_remedies(vec![format!("entail init {scope}")]),
                );
            }
            let applied = apply(
                session,
                &entail,
                Change::AddScope {
                    scope: scope.clone(),
                },
            )
            .await?;
            if applied.is_none() {
                return Ok(());
            }
            answer(
                session,
                json!({"project": scope}),
                &[
                    Some(format!("made the project {scope}; it inherits nothing yet")),
                    Some(format!("next: entail inherit {scope} openai")),
                ],
            );
        }
        ProjectCommand::Remove { scope } => {
            let applied = apply(
                session,
                &entail,
                Change::RemoveProject {
                    scope: scope.clone(),
                },
            )
            .await?;
            if applied.is_none() {
                return Ok(());
            }
            answer(
                session,
                json!({"removed": scope}),
                &[Some(format!("removed {scope} and its credentials"))],
            );
        }
        ProjectCommand::List { scope } => list(session, &entail, scope.as_ref()).await?,
    }
    Ok(())
}

async fn list(
    session: &Session,
    entail: &Entail,
    under: Option<&ScopePath>,
) -> Result<(), Failure> {
    let scopes = entail.scopes(&session.principal, under).await?;
    if session.common.json {
        print_json(&json!({"scopes": scopes}));
        return Ok(());
    }
    for scope in &scopes {
        say!("{}{scope}", "  ".repeat(scope.depth()));
    }
    Ok(())
}

pub async fn credential(session: &Session, command: CredentialCommand) -> Result<(), Failure> {
    let entail = session.open()?;
    if !session.common.dry_run {
        session.destroy_due(&entail).await?;
    }
    match command {
        CredentialCommand::Set(args) => set(session, &entail, &args).await,
        CredentialCommand::Rotate(args) => rotate(session, &entail, &args).await,
        CredentialCommand::Rollback(args) => roll_back(session, &entail, &args).await,
        CredentialCommand::List { scope } => list_credentials(session, &entail, &scope).await,
        CredentialCommand::Show(args) => show_credential(session, &entail, &args).await,
        CredentialCommand::Disable(args) => switch(session, &entail, &args, false).await,
        CredentialCommand::Enable(args) => switch(session, &entail, &args, true).await,
        CredentialCommand::Remove(args) => {
            let credential = reference(&args);
            let applied = apply(session, &entail, Change::RemoveCredential { credential }).await?;
            if applied.is_none() {
                return Ok(());
            }
            done(session, &args, "is removed, its secret destroyed", None);
            Ok(())
        }
    }
}

async fn set(session: &Session, entail: &Entail, args: &SetArgs) -> Result<(), Failure> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    // Before a secret is asked for.
    let scope = entail.scope(&session.principal, &id.scope).await?;
    if args.keep_secret && scope.credential(&id.provider, &id.name).is_none() {
        return Err(Failure::invalid(format!(
            "{} has no {} credential {} whose secret could be kept",
            id.scope, id.provider, id.name
        )));
    }
    let rules = rule_changes(args)?;
    let present = scope
        .credential(&id.provider, &id.name)
        .map(|c| c.version.mode.as_str());
    let fields = input::fields(provider, &args.input, present, !args.keep_secret)?;
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: reference(id),
        mode: args.input.mode.clone(),
        fields,
        rules,
        secret: if args.keep_secret {
            SecretEdit::Keep
        } else {
            SecretEdit::Given
        },
        grace_ms: 0,
    }));
    let Some(applied) = apply(session, entail, change).await? else {
        return Ok(());
    };
    done(session, id, "is set", Some(&applied));
    let first = applied.version == Some(1) && !args.keep_secret;
    if first && id.scope.is_organization() && !session.common.json {
        say!(
            "projects opt in to it: entail inherit {}/PROJECT {}",
            id.scope,
            id.provider
        );
    }
    Ok(())
}

async fn rotate(session: &Session, entail: &Entail, args: &RotateArgs) -> Result<(), Failure> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope
        .credential(&id.provider, &id.name)
        .ok_or_else(|| unknown(id))?;
    let fields = input::fields(provider, &args.input, Some(&present.version.mode), true)?;
    let rules = RuleChanges {
        expires_at_ms: expiry(args.expires.as_deref())?,
        ..RuleChanges::default()
    };
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: reference(id),
        mode: args.input.mode.clone(),
        fields,
        rules,
        secret: SecretEdit::Renew,
        grace_ms: duration_ms(&args.grace.grace)?,
    }));
    let Some(applied) = apply(session, entail, change).await? else {
        return Ok(());
    };
    let old = kept(&applied);
    let what = format!("has a new secret, which serves from now on; the old one {old}");
    done(session, id, &what, Some(&applied));
    Ok(())
}

async fn roll_back(session: &Session, entail: &Entail, args: &RollbackArgs) -> Result<(), Failure> {
    let id = &args.credential;
    let change = Change::RollBackCredential {
        credential: reference(id),
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let Some(applied) = apply(session, entail, change).await? else {
        return Ok(());
    };
    let newer = kept(&applied);
    let what = format!("has its earlier secret again; the newer one {newer}");
    done(session, id, &what, Some(&applied));
    Ok(())
}

/// What becomes of a secret that was replaced.
fn kept(applied: &Applied) -> String {
    applied.retired_until_ms.map_or_else(
        || "is destroyed".to_owned(),
        |until| format!("is kept until {}, then destroyed", time(until)),
    )
}

async fn switch(
    session: &Session,
    entail: &Entail,
    args: &CredentialArgs,
    enabled: bool,
) -> Result<(), Failure> {
    let applied = apply(
        session,
        entail,
        Change::SetEnabled {
            credential: reference(args),
            enabled,
        },
    )
    .await?;
    if applied.is_none() {
        return Ok(());
    }
    done(
        session,
        args,
        if enabled { "is enabled" } else { "is disabled" },
        None,
    );
    Ok(())
}

pub async fn inherit(session: &Session, args: &InheritArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let inheritance = match (args.off, args.fall_back) {
        (true, _) => Inheritance::Isolated,
        (_, true) => Inheritance::FallBack,
        _ => Inheritance::Inherit,
    };
    let Some(parent) = args.scope.parent() else {
        return Err(Failure::invalid(format!(
            "{} is an organization; there is nothing above it to inherit from",
            args.scope
        )));
    };
    let applied = apply(
        session,
        &entail,
        Change::SetInheritance {
            scope: args.scope.clone(),
            provider: args.provider.clone(),
            inheritance,
        },
    )
    .await?;
    if applied.is_none() {
        return Ok(());
    }
    let what = args
        .provider
        .as_ref()
        .map_or("every provider".to_owned(), ToString::to_string);
    let scope = &args.scope;
    let text = match inheritance {
        Inheritance::Isolated => format!("{scope} no longer inherits from {parent} for {what}"),
        Inheritance::Inherit => {
            format!(
                "{scope} uses the credentials of {parent} for {what} when it has none of its own"
            )
        }
        Inheritance::FallBack => format!(
            "{scope} uses the credentials of {parent} for {what} when it has no usable one of its own"
        ),
    };
    answer(
        session,
        json!({"scope": scope, "provider": args.provider, "inheritance": inheritance}),
        &[Some(text)],
    );
    Ok(())
}

pub async fn model(session: &Session, args: &ModelArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let ModelArgs {
        scope,
        provider,
        model,
    } = args;
    let applied = apply(
        session,
        &entail,
        Change::SetModel {
            scope: scope.clone(),
            provider: provider.clone(),
            model: model.clone(),
        },
    )
    .await?;
    if applied.is_none() {
        return Ok(());
    }
    let text = match model {
        Some(model) => {
            format!("{scope} uses {model} for {provider} where a request names no model")
        }
        None => format!("{scope} sets no model for {provider}"),
    };
    answer(
        session,
        json!({"scope": scope, "provider": provider, "model": model}),
        &[Some(text)],
    );
    Ok(())
}

async fn list_credentials(
    session: &Session,
    entail: &Entail,
    path: &ScopePath,
) -> Result<(), Failure> {
    let scope = entail.scope(&session.principal, path).await?;
    if session.common.json {
        let credentials: Vec<Value> = scope.credentials.iter().map(|c| json!(c)).collect();
        print_json(&json!({"scope": path, "credentials": credentials}));
        return Ok(());
    }
    if scope.credentials.is_empty() {
        say!("{path} has no credentials of its own");
        return Ok(());
    }
    let mut table = Table::with_headings([
        "PROVIDER", "NAME", "MODE", "VERSION", "STATE", "SHARING", "MODELS",
    ]);
    for credential in &scope.credentials {
        let (state, style) = state(credential);
        table.row([
            credential.provider.as_str().into(),
            credential.name.as_str().into(),
            credential.version.mode.as_str().into(),
            credential.version.number.to_string().into(),
            Cell::new(state, style),
            sharing(&credential.rules.sharing).into(),
            models(credential.rules.models.as_deref()).into(),
        ]);
    }
    table.print();
    Ok(())
}

fn state(credential: &entail::Credential) -> (String, Style) {
    let expired = credential
        .rules
        .expires_at_ms
        .is_some_and(|end| end <= now_ms());
    match (credential.enabled, expired, credential.rules.mandatory) {
        (false, _, _) => ("disabled".to_owned(), Style::Warn),
        (_, true, _) => ("expired".to_owned(), Style::Bad),
        (_, _, true) => ("mandatory".to_owned(), Style::Good),
        _ => ("enabled".to_owned(), Style::Good),
    }
}

fn sharing(sharing: &Sharing) -> String {
    match sharing {
        Sharing::All => "all below".to_owned(),
        Sharing::None => "nobody".to_owned(),
        Sharing::Paths(paths) => paths.join(","),
    }
}

fn models(models: Option<&[String]>) -> String {
    match models {
        None => "all".to_owned(),
        Some([]) => "none".to_owned(),
        Some(patterns) => patterns.join(","),
    }
}

async fn show_credential(
    session: &Session,
    entail: &Entail,
    args: &CredentialArgs,
) -> Result<(), Failure> {
    let scope: std::sync::Arc<Scope> = entail.scope(&session.principal, &args.scope).await?;
    let credential = scope
        .credential(&args.provider, &args.name)
        .ok_or_else(|| unknown(args))?;
    if session.common.json {
        print_json(&json!(credential));
        return Ok(());
    }
    let (state, style) = state(credential);
    let version = &credential.version;
    let mut table = Table::default();
    let mut styled_row = |name: &str, value: String, style: Style| {
        table.row([Cell::new(name, Style::Faint), Cell::new(value, style)]);
    };
    styled_row(
        "credential",
        format!(
            "{} {} of {}",
            credential.provider, credential.name, args.scope
        ),
        Style::Plain,
    );
    styled_row("state", state, style);
    let mut row = |name: &str, value: String| styled_row(name, value, Style::Plain);
    row("mode", version.mode.clone());
    row(
        "version",
        format!("{}, set {}", version.number, time(version.created_at_ms)),
    );
    row(
        "expires",
        credential
            .rules
            .expires_at_ms
            .map_or("never".to_owned(), time),
    );
    row("shared with", sharing(&credential.rules.sharing));
    row("models", models(credential.rules.models.as_deref()));
    row("priority", credential.rules.priority.to_string());
    row("bound to", version.hosts.join(", "));
    for retired in &credential.retired {
        row(
            "also kept",
            format!(
                "version {}, until {}",
                retired.version.number,
                time(retired.until_ms)
            ),
        );
    }
    for (name, value) in &version.parameters {
        row(name, value.clone());
    }
    for name in &version.secret_fields {
        row(name, "sealed".to_owned());
    }
    table.print();
    Ok(())
}

/// Makes a change; or, in a dry run, says what it would change in who gets what, and
/// answers with nothing.
async fn apply(
    session: &Session,
    entail: &Entail,
    change: Change,
) -> Result<Option<Applied>, Failure> {
    if session.common.dry_run {
        policy_compare::dry_run(session, entail, &change).await?;
        return Ok(None);
    }
    Ok(Some(entail.change(&session.principal, &change).await?))
}

/// Says what was done to a credential.
fn done(session: &Session, id: &CredentialArgs, what: &str, applied: Option<&Applied>) {
    let version = applied.and_then(|applied| applied.version);
    if session.common.json {
        print_json(&json!({
            "scope": id.scope, "provider": id.provider, "credential": id.name,
            "version": version, "notes": applied.map(|applied| &applied.notes),
            "retired_until_ms": applied.and_then(|applied| applied.retired_until_ms),
        }));
        return;
    }
    let version = version.map_or(String::new(), |version| format!(" (version {version})"));
    say!(
        "{} {}{} {what}{version}",
        id.scope,
        id.provider,
        named(id.name.as_str())
    );
    for note in applied.iter().flat_map(|applied| &applied.notes) {
        say!(Style::Warn => "note:"; " {note}");
    }
}

fn answer(session: &Session, json: Value, lines: &[Option<String>]) {
    if session.common.json {
        print_json(&json);
        return;
    }
    for line in lines.iter().flatten() {
        say!("{line}");
    }
}

fn unknown(args: &CredentialArgs) -> entail::Error {
    entail::Error::UnknownCredential {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        name: args.name.clone(),
    }
}

fn reference(args: &CredentialArgs) -> CredentialRef {
    CredentialRef {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        name: args.name.clone(),
    }
}

fn rule_changes(args: &SetArgs) -> Result<RuleChanges, Failure> {
    let models = match args.models.as_slice() {
        _ if args.all_models => Edit::Clear,
        [] if !args.no_models => Edit::Keep,
        patterns => Edit::Set(patterns.to_vec()),
    };
    let sharing = match args
        .share
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => None,
        ["all"] => Some(Sharing::All),
        ["none"] => Some(Sharing::None),
        _ => Some(Sharing::Paths(args.share.clone())),
    };
    let mandatory = match (args.mandatory, args.no_mandatory) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Ok(RuleChanges {
        models,
        sharing,
        mandatory,
        priority: args.priority,
        expires_at_ms: expiry(args.expires.as_deref())?,
    })
}

/// `12h` and `30d` from now on, a time as RFC 3339 has it, or `never`.
fn expiry(text: Option<&str>) -> Result<Edit<u64>, Failure> {
    let Some(text) = text else {
        return Ok(Edit::Keep);
    };
    if text == "never" {
        return Ok(Edit::Clear);
    }
    let invalid = || {
        Failure::invalid(format!(
            "{} is no time to expire: give 12h, 30d, 2027-01-31T12:00:00Z or never",
            quoted(text)
        ))
    };
    let end = if let Ok(time) = text.parse::<Timestamp>() {
        u64::try_from(time.as_millisecond()).map_err(|_| invalid())?
    } else {
        now_ms().saturating_add(span_ms(text).ok_or_else(invalid)?)
    };
    if end <= now_ms() {
        return Err(Failure::invalid(format!("{} is in the past", quoted(text))));
    }
    // What cannot be written as a date cannot be meant.
    i64::try_from(end)
        .ok()
        .and_then(|end| Timestamp::from_millisecond(end).ok())
        .ok_or_else(invalid)?;
    Ok(Edit::Set(end))
}

/// `90s`, `12h`, `30d`, `2w`, in milliseconds.
pub fn span_ms(text: &str) -> Option<u64> {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let whole = |suffix: char, length_ms: u64| {
        let count: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        count.checked_mul(length_ms)
    };
    whole('d', DAY_MS)
        .or_else(|| whole('w', 7 * DAY_MS))
        .or_else(|| {
            let span: SignedDuration = text.parse().ok()?;
            u64::try_from(span.as_millis()).ok()
        })
}

fn duration_ms(text: &str) -> Result<u64, Failure> {
    if text == "0" {
        return Ok(0);
    }
    span_ms(text).ok_or_else(|| {
        Failure::invalid(format!(
            "{} is no length of time: give 12h, 7d or 0",
            quoted(text)
        ))
    })
}

/// The time as RFC 3339 has it.
pub fn time(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
        .map_or_else(|| format!("{at_ms} ms"), |time| format!("{time:.0}"))
}
