//! Commands that change what is there.

use std::path::Path;
use std::process::ExitCode;

use entail::policy::{Inheritance, Sharing};
use entail::{
    Applied, Change, CredentialRef, Edit, Entail, Home, RuleChanges, Scope, ScopePath, SecretEdit,
    SetCredential, UnreadParameter, now_ms,
};
use serde_json::{Value, json};

use crate::args::{
    CredentialArgs, CredentialCommand, InheritArgs, InitArgs, ModelArgs, ProjectCommand,
    RemoveArgs, RollbackArgs, RotateArgs, SetArgs,
};
use crate::confirm;
use crate::failure::{Failure, named};
use crate::inherited;
use crate::input::{self, Ask};
use crate::output::{Cell, Style, Table, print_json, say, say_dry_run, tell};
use crate::policy_compare;
use crate::replaced::Replaced;
use crate::session::Session;
use crate::times::{duration_ms, expiry, time};

pub async fn init(session: &Session, args: &InitArgs) -> Result<ExitCode, Failure> {
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
        return Ok(ExitCode::SUCCESS);
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
    let change = Change::AddScope {
        scope: organization.clone(),
    };
    if let Attempt::Tried(exit) = apply(session, &entail, change).await? {
        return Ok(exit);
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
    Ok(ExitCode::SUCCESS)
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

pub async fn project(session: &Session, command: ProjectCommand) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    match command {
        ProjectCommand::Add { scope } => {
            if scope.is_organization() {
                return Err(
                    Failure::invalid(format!("{scope} is an organization, not a project"))
                        .with_remedies(vec![format!("entail init {scope}")]),
                );
            }
            let change = Change::AddScope {
                scope: scope.clone(),
            };
            if let Attempt::Tried(exit) = apply(session, &entail, change).await? {
                return Ok(exit);
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
            let change = Change::RemoveProject {
                scope: scope.clone(),
            };
            if let Attempt::Tried(exit) = apply(session, &entail, change).await? {
                return Ok(exit);
            }
            answer(
                session,
                json!({"removed": scope}),
                &[Some(format!("removed {scope} and its credentials"))],
            );
        }
        ProjectCommand::List { scope } => list(session, &entail, scope.as_ref()).await?,
    }
    Ok(ExitCode::SUCCESS)
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

pub async fn credential(
    session: &Session,
    command: CredentialCommand,
) -> Result<ExitCode, Failure> {
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
        CredentialCommand::Remove(args) => remove(session, &entail, &args).await,
        CredentialCommand::Restore(args) => restore(session, &entail, &args).await,
    }
}

/// Names the parameters that a client does not find by itself.
async fn warn_of_unread(
    session: &Session,
    entail: &Entail,
    id: &CredentialArgs,
) -> Result<(), Failure> {
    let provider = entail.provider(&id.provider)?;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let Some(credential) = scope.credential(&id.provider, &id.name) else {
        return Ok(());
    };
    for (field, by) in provider.unread(&credential.version.parameters) {
        let unread = UnreadParameter {
            provider,
            field,
            by,
        };
        tell!(Style::Warn => "note:"; " {unread}");
    }
    Ok(())
}

async fn set(session: &Session, entail: &Entail, args: &SetArgs) -> Result<ExitCode, Failure> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    // Before a secret is asked for.
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let rules = rule_changes(args)?;
    let ask = match present {
        None if args.keep_secret => {
            return Err(Failure::invalid(format!(
                "{} has no {} credential {} whose secret could be kept",
                id.scope, id.provider, id.name
            )));
        }
        None => Ask::Input,
        Some(_) if args.keep_secret => Ask::No,
        Some(_) if args.input.stdin => Ask::Input,
        Some(present) => match &args.input.mode {
            Some(mode) if *mode != present.version.mode => Ask::Terminal {
                otherwise: format!(
                    "the mode {mode} takes a secret of its own; add --stdin, --from-env or --from-file"
                ),
            },
            None if !args.changes_rules() && args.input.parameters.is_empty() => Ask::Terminal {
                otherwise: format!(
                    "{} has a credential for {}{} already, and nothing to change is given; to replace its secret, add --stdin",
                    id.scope,
                    id.provider,
                    named(id.name.as_str())
                ),
            },
            _ => Ask::No,
        },
    };
    let mode = present.map(|credential| credential.version.mode.as_str());
    let fields = input::fields(provider, &args.input, mode, &ask)?;
    let set = SetCredential {
        credential: reference(id),
        mode: args.input.mode.clone(),
        fields,
        rules,
        secret: if args.keep_secret {
            SecretEdit::Keep
        } else {
            SecretEdit::Given
        },
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let is_first = present.is_none();
    let replaced = Replaced::before(session, entail, &reference(id), present).await?;
    let change = Change::SetCredential(Box::new(set));
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let replaced = replaced.filter(|before| Some(before.version) != applied.version);
    let what = match &replaced {
        Some(replaced) => format!(
            "has a new secret{}; {}",
            version(&applied),
            replaced.fate(&applied)
        ),
        None if is_first => format!("is set{}", version(&applied)),
        None => format!("is changed; its secret stays{}", version(&applied)),
    };
    let serves = inherited::serving(session, entail, id).await;
    done(
        session,
        id,
        &what,
        &applied,
        replaced.as_ref(),
        serves.as_ref(),
    );
    warn_of_unread(session, entail, id).await?;
    if is_first && id.scope.is_organization() && !session.common.json {
        say!(
            "projects opt in to it: entail inherit {}/PROJECT {}",
            id.scope,
            id.provider
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(
    session: &Session,
    entail: &Entail,
    args: &RotateArgs,
) -> Result<ExitCode, Failure> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope
        .credential(&id.provider, &id.name)
        .ok_or_else(|| unknown(id))?;
    let mode = Some(present.version.mode.as_str());
    let fields = input::fields(provider, &args.input, mode, &Ask::Input)?;
    let rules = RuleChanges {
        expires_at_ms: expiry(args.expires.as_deref())?,
        unsafe_http: args.input.allow_unsafe_http.then_some(true),
        ..RuleChanges::default()
    };
    let replaced = Replaced::before(session, entail, &reference(id), Some(present)).await?;
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: reference(id),
        mode: args.input.mode.clone(),
        fields,
        rules,
        secret: SecretEdit::Rotate,
        grace_ms: duration_ms(&args.grace.grace)?,
    }));
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let fate = replaced.as_ref().map(|replaced| replaced.fate(&applied));
    let what = format!(
        "has a new secret{}, which serves from now on; {}",
        version(&applied),
        fate.unwrap_or_default()
    );
    done(session, id, &what, &applied, replaced.as_ref(), None);
    Ok(ExitCode::SUCCESS)
}

async fn roll_back(
    session: &Session,
    entail: &Entail,
    args: &RollbackArgs,
) -> Result<ExitCode, Failure> {
    let id = &args.credential;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let replaced = Replaced::before(session, entail, &reference(id), present).await?;
    let change = Change::RollBackCredential {
        credential: reference(id),
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let fate = replaced.as_ref().map(|replaced| replaced.fate(&applied));
    let what = format!(
        "has its earlier secret again{}; {}",
        version(&applied),
        fate.unwrap_or_default()
    );
    done(session, id, &what, &applied, replaced.as_ref(), None);
    Ok(ExitCode::SUCCESS)
}

async fn remove(
    session: &Session,
    entail: &Entail,
    args: &RemoveArgs,
) -> Result<ExitCode, Failure> {
    let id = &args.credential;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let removed = Replaced::before(session, entail, &reference(id), present).await?;
    let change = Change::RemoveCredential {
        credential: reference(id),
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let fate = removed.as_ref().map(|removed| removed.fate(&applied));
    let what = format!("is removed; {}", fate.unwrap_or_default());
    done(session, id, &what, &applied, removed.as_ref(), None);
    inherited::note_successor(session, entail, id).await;
    if applied.retired_until_ms.is_some() && !session.common.json {
        say!(
            "to take it back: entail credential restore {} {}{}",
            id.scope,
            id.provider,
            named(id.name.as_str())
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn restore(
    session: &Session,
    entail: &Entail,
    args: &CredentialArgs,
) -> Result<ExitCode, Failure> {
    let change = Change::RestoreCredential {
        credential: reference(args),
    };
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let serves = inherited::serving(session, entail, args).await;
    let what = format!("is restored{}", version(&applied));
    done(session, args, &what, &applied, None, serves.as_ref());
    Ok(ExitCode::SUCCESS)
}

async fn switch(
    session: &Session,
    entail: &Entail,
    args: &CredentialArgs,
    enabled: bool,
) -> Result<ExitCode, Failure> {
    let change = Change::SetEnabled {
        credential: reference(args),
        enabled,
    };
    let applied = match apply(session, entail, change).await? {
        Attempt::Made(applied) => applied,
        Attempt::Tried(exit) => return Ok(exit),
    };
    let what = if enabled { "is enabled" } else { "is disabled" };
    done(session, args, what, &applied, None, None);
    if !enabled {
        inherited::note_successor(session, entail, args).await;
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn inherit(session: &Session, args: &InheritArgs) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    let inheritance = match (args.off, args.fall_back) {
        (true, _) => Inheritance::Isolated,
        (_, true) => Inheritance::FallBack,
        _ => Inheritance::Inherit,
    };
    let Some(parent) = args.scope.parent() else {
        // A project may be meant, without its organization.
        entail.scope(&session.principal, &args.scope).await?;
        return Err(Failure::invalid(format!(
            "{} is an organization; there is nothing above it to inherit from",
            args.scope
        )));
    };
    let change = Change::SetInheritance {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        inheritance,
    };
    if let Attempt::Tried(exit) = apply(session, &entail, change).await? {
        return Ok(exit);
    }
    let missing = match inheritance {
        Inheritance::Isolated => None,
        _ => inherited::missing(session, &entail, &args.scope, args.provider.as_ref()).await?,
    };
    let what = args
        .provider
        .as_ref()
        .map_or("every provider".to_owned(), ToString::to_string);
    let scope = &args.scope;
    let text = match inheritance {
        Inheritance::Isolated => {
            let any = args
                .provider
                .as_ref()
                .map_or("any provider".to_owned(), ToString::to_string);
            format!("{scope} no longer inherits from {parent} for {any}")
        }
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
        json!({
            "scope": scope, "provider": args.provider, "inheritance": inheritance,
            "no_effect_yet": missing.as_ref().map(|missing| &missing.reason),
        }),
        &[Some(text)],
    );
    if let Some(missing) = missing.filter(|_| !session.common.json) {
        say!(Style::Warn => "note:"; " it has no effect yet: {}", missing.reason);
        for remedy in missing.remedies {
            say!(Style::Faint => "  try:"; " {remedy}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn model(session: &Session, args: &ModelArgs) -> Result<ExitCode, Failure> {
    let entail = session.open()?;
    let ModelArgs {
        scope,
        provider,
        model,
    } = args;
    let change = Change::SetModel {
        scope: scope.clone(),
        provider: provider.clone(),
        model: model.clone(),
    };
    if let Attempt::Tried(exit) = apply(session, &entail, change).await? {
        return Ok(exit);
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
    Ok(ExitCode::SUCCESS)
}

async fn list_credentials(
    session: &Session,
    entail: &Entail,
    path: &ScopePath,
) -> Result<ExitCode, Failure> {
    let scope = entail.scope(&session.principal, path).await?;
    if session.common.json {
        let credentials: Vec<Value> = scope.credentials.iter().map(|c| json!(c)).collect();
        print_json(&json!({
            "scope": path, "credentials": credentials, "removed": scope.removed,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    if scope.credentials.is_empty() {
        say!("{path} has no credentials of its own");
        print_removed(&scope);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::with_headings([
        "PROVIDER", "NAME", "PRIORITY", "MODE", "VERSION", "STATE", "SHARING", "MODELS",
    ]);
    for credential in &scope.credentials {
        let (state, style) = state(credential);
        table.row([
            credential.provider.as_str().into(),
            credential.name.as_str().into(),
            credential.rules.priority.to_string().into(),
            credential.version.mode.as_str().into(),
            credential.version.number.to_string().into(),
            Cell::new(state, style),
            sharing(&credential.rules.sharing).into(),
            models(credential.rules.models.as_deref()).into(),
        ]);
    }
    table.print();
    print_removed(&scope);
    Ok(ExitCode::SUCCESS)
}

/// Says what was removed and can be restored.
fn print_removed(scope: &Scope) {
    for removed in &scope.removed {
        say!(Style::Faint => format_args!(
            "removed, and can be restored until {}: {} {}",
            time(removed.until_ms),
            removed.credential.provider,
            removed.credential.name
        ));
    }
}

fn state(credential: &entail::Credential) -> (String, Style) {
    let expired = credential
        .rules
        .expires_at_ms
        .is_some_and(|end| end <= now_ms());
    let (state, style) = match (credential.enabled, expired, credential.rules.mandatory) {
        (false, _, _) => ("disabled", Style::Warn),
        (_, true, _) => ("expired", Style::Bad),
        (_, _, true) => ("mandatory", Style::Good),
        _ => ("enabled", Style::Good),
    };
    match credential.rules.unsafe_http {
        true => (format!("{state}, unsafe HTTP"), Style::Warn),
        false => (state.to_owned(), style),
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
) -> Result<ExitCode, Failure> {
    let scope: std::sync::Arc<Scope> = entail.scope(&session.principal, &args.scope).await?;
    let credential = scope
        .credential(&args.provider, &args.name)
        .ok_or_else(|| unknown(args))?;
    if session.common.json {
        print_json(&json!(credential));
        return Ok(ExitCode::SUCCESS);
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
    if credential.rules.unsafe_http {
        let what = "allowed: whoever is on that network can read the secret";
        row("unsafe HTTP", what.to_owned());
    }
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
    Ok(ExitCode::SUCCESS)
}

/// What came of trying to make a change.
enum Attempt {
    /// It is made.
    Made(Applied),
    /// It was a dry run, which ends like this.
    Tried(ExitCode),
}

/// Makes a change; or, in a dry run, says what it would change in who gets what. A person
/// at a terminal is asked first where that matters.
async fn apply(session: &Session, entail: &Entail, change: Change) -> Result<Attempt, Failure> {
    if session.common.dry_run {
        let exit = policy_compare::dry_run(session, entail, &change).await?;
        return Ok(Attempt::Tried(exit));
    }
    if confirm::is_wanted(session) {
        confirm::ask(&consequences(session, entail, &change).await?)?;
    }
    let applied = entail.change(&session.principal, &change).await?;
    Ok(Attempt::Made(applied))
}

/// What a change destroys, what it grants that nobody had, and what it takes from others.
async fn consequences(
    session: &Session,
    entail: &Entail,
    change: &Change,
) -> Result<Vec<String>, Failure> {
    let changes = entail
        .preview(&session.principal, change, &session.attributes()?)
        .await?;
    let path = change.scope();
    let scope = entail.scope(&session.principal, path).await.ok();
    let version_of = |id: &CredentialRef| {
        let credential = scope.as_ref()?.credential(&id.provider, &id.name)?;
        Some(credential.version.number)
    };
    let destroyed = |id: &CredentialRef| {
        version_of(id).map(|version| {
            format!(
                "the secret of {path} {}{} (version {version}) is destroyed at once",
                id.provider,
                named(id.name.as_str())
            )
        })
    };
    let mut lines = Vec::new();
    // What a scope does with its own credentials is its owner's affair; what it opts in
    // to is another's.
    let mut own = Some(path);
    match change {
        Change::RemoveProject { .. } => {
            own = None;
            let credentials = scope.iter().flat_map(|scope| scope.all_credentials());
            lines.extend(credentials.map(|credential| {
                format!(
                    "{path} {}{} is destroyed with its secrets",
                    credential.provider,
                    named(credential.name.as_str())
                )
            }));
        }
        Change::SetCredential(set) if set.grace_ms == 0 => {
            let replaces = set.secret == SecretEdit::Rotate
                || set.secret == SecretEdit::Given && has_secret(entail, set);
            lines.extend(destroyed(&set.credential).filter(|_| replaces));
        }
        Change::RollBackCredential {
            credential,
            grace_ms: 0,
        }
        | Change::RemoveCredential {
            credential,
            grace_ms: 0,
        } => lines.extend(destroyed(credential)),
        Change::RemoveCredential { credential, .. } => lines.push(format!(
            "{path} {}{} is removed",
            credential.provider,
            named(credential.name.as_str())
        )),
        Change::SetInheritance { inheritance, .. } if *inheritance != Inheritance::Isolated => {
            own = None;
        }
        _ => {}
    }
    lines.extend(confirm::access(&changes, own));
    Ok(lines)
}

/// Whether a secret is among the fields that are set.
fn has_secret(entail: &Entail, set: &SetCredential) -> bool {
    let provider = entail.provider(&set.credential.provider).ok();
    let is_secret = |name: &str| {
        let field = provider.and_then(|provider| provider.field(name));
        field.is_some_and(|field| field.secret)
    };
    set.fields.iter().any(|(name, _)| is_secret(name))
}

/// The version that a credential is at, in words.
fn version(applied: &Applied) -> String {
    applied
        .version
        .map_or(String::new(), |version| format!(" (version {version})"))
}

/// Says what was done to a credential.
fn done(
    session: &Session,
    id: &CredentialArgs,
    what: &str,
    applied: &Applied,
    replaced: Option<&Replaced>,
    serves: Option<&inherited::Serving>,
) {
    if session.common.json {
        print_json(&json!({
            "scope": id.scope, "provider": id.provider, "credential": id.name,
            "version": applied.version, "notes": applied.notes,
            "retired_until_ms": applied.retired_until_ms,
            "replaced": replaced.map(Replaced::to_json),
            "serves": serves.map(|serves| &serves.name),
        }));
        return;
    }
    say!(
        "{} {}{} {what}",
        id.scope,
        id.provider,
        named(id.name.as_str())
    );
    for note in &applied.notes {
        say!(Style::Warn => "note:"; " {note}");
    }
    if let Some(serves) = serves {
        say!("{}", serves.text(id));
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
        unsafe_http: args.input.allow_unsafe_http.then_some(true),
    })
}
