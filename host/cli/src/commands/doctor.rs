//! `entail doctor`: checks permissions, keys, the store and the log, and that every secret
//! can be opened.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail::store::{KeyError, Role, memory_lock_failures};
use entail::{Entail, Error, Home, Request, ScopePath, now_ms};

use super::audit::verify::{breaches, journalled_heads, notes, verification as verify_log};
use super::verify::{access_remedies, leftovers, to_output, verification};
use crate::error::{CliError, ErrorCode};
use crate::output::{Style, choose, count, out, print_json, time};
use crate::private_files::directory;
use crate::session::Session;
use crate::unknown_providers;
use entail_api::doctor::{Check, Checks};

pub async fn doctor(session: &Session) -> Result<(), CliError> {
    let mut report = Report::default();
    if let Err(error) = run_checks(session, &mut report).await {
        report.failed("the checks ended here", error);
    }
    if session.global.json {
        print_json(&report.checks);
    } else {
        print_text(&report.checks);
    }
    let failed = report.errors.len();
    // Tampering takes precedence over other errors.
    let is_tampered = |code: &ErrorCode| *code == ErrorCode::Tampered;
    match report.errors.into_iter().max_by_key(is_tampered) {
        None => Ok(()),
        Some(code) => Err(CliError::new(
            code,
            format!("{} failed", count(failed, "check")),
        )),
    }
}

/// The checks that were made, and the errors of those that failed.
#[derive(Default)]
struct Report {
    checks: Checks,
    errors: Vec<ErrorCode>,
}

impl Report {
    fn ok(&mut self, what: impl Into<String>) {
        self.checks.checks.push(Check {
            what: what.into(),
            ok: true,
            code: None,
            message: None,
            remedies: None,
        });
    }

    fn failed(&mut self, what: impl Into<String>, error: CliError) {
        self.checks.checks.push(Check {
            what: what.into(),
            ok: false,
            code: Some(error.code().as_str().to_owned()),
            message: Some(error.message().to_owned()),
            remedies: Some(error.remedies().to_vec()),
        });
        self.errors.push(error.code());
    }
}

async fn run_checks(session: &Session, report: &mut Report) -> Result<(), CliError> {
    let home = session.home()?;
    check_files(report, &home)?;
    let entail = session.open_unlocked()?;
    check_keys(session, report, &entail).await;
    check_freshness(session, report, &entail).await;
    check_identity(session, report, &entail).await?;
    check_policies(session, report, &entail).await?;
    session.destroy_due(&entail).await?;
    // The program that has the identity may fail.
    if let Err(error) = check_store(session, report, &entail).await {
        report.failed("the store", error);
    }
    check_log(session, report, &home).await;
    check_providers(session, report, &entail, &home).await?;
    check_leftover_directories(report);
    if memory_lock_failures() == 0 {
        report.ok("memory for secrets is locked");
    } else {
        report.failed(
            "memory for secrets",
            CliError::new(
                ErrorCode::NotLocked,
                "it cannot be locked, so secrets may be swapped to disk; raise the limit: ulimit -l",
            ),
        );
    }
    Ok(())
}

fn check_files(report: &mut Report, home: &Home) -> Result<(), CliError> {
    report.ok(format!(
        "only its owner can read the home {}",
        home.directory().display()
    ));
    for file in [
        home.database_file(),
        home.decision_log(),
        home.principals_file(),
        home.providers_file(),
    ] {
        check_mode(report, &file);
    }
    for path in home.temporary_files()? {
        let path = path.display().to_string();
        let message = format!(
            "a process was stopped while it was creating it, and it may contain keys; if no process is using it, run: rm -r {path}"
        );
        report.failed(path, CliError::new(ErrorCode::Unfinished, message));
    }
    Ok(())
}

fn check_mode(report: &mut Report, file: &Path) {
    let shown = file.display().to_string();
    match std::fs::metadata(file) {
        Ok(metadata) if !is_open_to_others(&metadata) => {
            report.ok(format!("only its owner can read {shown}"));
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            let message =
                format!("other users can access it (mode {mode:04o}); run: chmod 600 {shown}");
            report.failed(shown, CliError::new(ErrorCode::TooOpen, message));
        }
        // The file is created when it is first needed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => report.failed(shown.clone(), CliError::io(shown, &error)),
    }
}

/// Whether the group or other users have any permission.
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
}

async fn check_keys(session: &Session, report: &mut Report, entail: &Entail) {
    report.ok("the keys can be read, and only by their owner");
    let keyring = match entail.keys().keyring(&session.principal).await {
        Ok(keyring) => keyring,
        Err(error) => return report.failed("the keyring", error.into()),
    };
    let keys = match entail.keys().local(&session.principal) {
        Ok(keys) => keys,
        Err(error) => return report.failed("the keys", error.into()),
    };
    match keys.check_may_write(&keyring) {
        Ok(()) => report.ok("the signer of this machine may change the store"),
        Err(KeyError::NoSigner) => {
            report.ok("there is no signer, so this machine cannot make changes");
        }
        Err(error) => report.failed("the signer", Error::from(error).into()),
    }
    match (
        keys.missing_owners(&keyring.authority().owners),
        keys.check_owns(),
    ) {
        (Ok(0), _) => report.ok("the owner key of this machine may change keys and recipients"),
        (Ok(_), Err(_)) => report.ok(
            "there is no owner key, so owners elsewhere must sign changes of keys and recipients",
        ),
        (Ok(missing), Ok(())) => report.ok(format!(
            "the owner key of this machine may change keys and recipients, together with {}",
            count(missing, "more owner")
        )),
        (Err(error), _) => report.failed("the owner key", Error::from(error).into()),
    }
    // A rotation may wait for signatures of owners.
    let waits = keys
        .missing_owners(&keyring.authority().owners)
        .is_ok_and(|missing| missing > 0);
    for (is_begun, key) in [
        (keys.has_next_key(Role::Signer), "signer"),
        (keys.has_next_key(Role::Owner), "owner"),
        (keys.identity_ids().count() > 1, "identity"),
    ] {
        if is_begun && waits {
            report.ok(format!(
                "the rotation of the {key} waits for signatures of owners, or was interrupted (to continue: entail key rotate {key})"
            ));
        } else if is_begun {
            let error = CliError::new(ErrorCode::Leftover, "the rotation was interrupted")
                .with_remedies(vec![format!("entail key rotate {key}")]);
            report.failed(format!("the rotation of the {key}"), error);
        }
    }
}

async fn check_freshness(session: &Session, report: &mut Report, entail: &Entail) {
    let freshness = match entail.keys().freshness(&session.principal).await {
        Ok(freshness) => freshness,
        Err(error) => return report.failed("the newest state", error.into()),
    };
    match freshness.until_ms() {
        None => {}
        Some(until_ms) if freshness.is_fresh(now_ms()) => report.ok(format!(
            "a signer confirmed the state of the store, until {}",
            time(until_ms)
        )),
        Some(until_ms) => {
            report.failed("the newest state", Error::NotFresh { until_ms }.into());
        }
    }
}

async fn check_identity(
    session: &Session,
    report: &mut Report,
    entail: &Entail,
) -> Result<(), CliError> {
    if !entail.can_unseal() {
        report.ok(
            "there is no identity, so this machine cannot open secrets (to give it one: --identity-fd, or a file in the home's directory keys)",
        );
        return Ok(());
    }
    let unreadable = entail.keys().unreadable(&session.principal).await?;
    if unreadable.is_empty() {
        report.ok("secrets are sealed to this machine's identity");
    } else {
        let message = format!(
            "the secrets of {} are not sealed to it",
            unreadable.join(", ")
        );
        let error = CliError::new(ErrorCode::Sealed, message)
            .with_remedies(access_remedies(session, entail).await);
        report.failed("the identity", error);
    }
    Ok(())
}

async fn check_policies(
    session: &Session,
    report: &mut Report,
    entail: &Entail,
) -> Result<(), CliError> {
    let built_in = entail.policies().built_in()?.description();
    report.ok(format!(
        "the built-in policy {} {} is admitted",
        built_in.name, built_in.version
    ));
    for (organization, _) in entail.policies().all_active(&session.principal).await? {
        let what = format!("the policy of {organization}");
        let loaded = entail
            .policies()
            .load_active(&session.principal, &organization);
        match loaded.await {
            Ok(policy) => match policy_failure(session, entail, &organization).await {
                None => {
                    let description = policy.description();
                    report.ok(format!(
                        "{organization} uses the policy {} {}",
                        description.name, description.version
                    ));
                }
                Some(error) => {
                    let remedy = format!("entail policy rollback {organization}");
                    report.failed(what, error.with_remedies(vec![remedy]));
                }
            },
            Err(error) => report.failed(what, error.into()),
        }
    }
    Ok(())
}

/// The error of an organization's policy, if it fails for a provider.
async fn policy_failure(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
) -> Option<CliError> {
    for provider in entail.catalog().iter() {
        let request = Request::new(organization.clone(), provider.id.clone());
        let explained = entail.explain(&session.principal, &request).await;
        // Other checks find other errors.
        if let Err(error @ (Error::PolicyFailed(_) | Error::GuardViolated(_))) = explained {
            return Some(error.into());
        }
    }
    None
}

async fn check_store(
    session: &Session,
    report: &mut Report,
    entail: &Entail,
) -> Result<(), CliError> {
    let verification = verification(session, entail).await?;
    let found = to_output(&verification, true);
    let scopes = verification.scopes;
    report.ok(format!(
        "{} {} verified",
        count(scopes, "scope"),
        choose(scopes, "is", "are")
    ));
    match found.secrets_not_opened {
        0 => report.ok(format!(
            "{} can be opened",
            count(found.secrets_opened, "secret")
        )),
        unopened => report.ok(format!(
            "{} {} not tried to open: the identity is locked or not here",
            count(unopened, "secret"),
            choose(unopened, "was", "were")
        )),
    }
    for secret in &found.secrets_for_others {
        let error = CliError::new(ErrorCode::Sealed, "this identity cannot open its secret");
        report.failed(secret.clone(), error);
    }
    report.ok(format!(
        "{} {} in the journal",
        count(found.changes, "change"),
        choose(found.changes, "is", "are")
    ));
    for note in leftovers(session, &found, entail) {
        report.failed("work left to do", CliError::new(ErrorCode::Leftover, note));
    }
    for fault in verification.faults {
        report.failed(fault.what().to_owned(), Error::from(fault).into());
    }
    Ok(())
}

async fn check_log(session: &Session, report: &mut Report, home: &Home) {
    let what = "the decision log";
    let heads = journalled_heads(session, home).await;
    match verify_log(session, home, &heads) {
        Ok(log) => match breaches(&log) {
            0 => {
                let verb = choose(log.decisions, "is", "are");
                let mut what = format!(
                    "{} {verb} in the decision log",
                    count(log.decisions, "decision")
                );
                for note in notes(&log) {
                    what.push_str("; ");
                    what.push_str(&note);
                }
                report.ok(what);
            }
            breaches => {
                let message = format!(
                    "it does not hold what was written in {}",
                    count(breaches, "place")
                );
                let error = CliError::new(ErrorCode::Tampered, message)
                    .with_remedies(vec!["entail audit verify".to_owned()]);
                report.failed(what, error);
            }
        },
        Err(error) => report.failed(what, error),
    }
}

async fn check_providers(
    session: &Session,
    report: &mut Report,
    entail: &Entail,
    home: &Home,
) -> Result<(), CliError> {
    let scopes = entail.scopes(&session.principal, None).await?;
    for (provider, scope) in unknown_providers::find(session, entail, scopes).await? {
        let message = format!(
            "{scope} has a credential for it, but it is not a known provider; define it in {}",
            home.providers_file().display()
        );
        report.failed(
            format!("the provider {provider}"),
            CliError::new(ErrorCode::NotFound, message),
        );
    }
    Ok(())
}

/// Reports the directories with secrets that killed runs left.
fn check_leftover_directories(report: &mut Report) {
    for path in directory::leftovers() {
        let path = path.display().to_string();
        let message = format!(
            "an `entail run` was killed before it could remove this directory, which contains secrets; run: rm -r {path}"
        );
        report.failed(path, CliError::new(ErrorCode::Leftover, message));
    }
}

fn print_text(checks: &Checks) {
    for check in &checks.checks {
        if check.ok {
            out!(Style::Good => "✓"; " {}", check.what);
            continue;
        }
        let message = check.message.as_deref().unwrap_or_default();
        out!(Style::Bad => "✗"; " {}: {message}", check.what);
        for remedy in check.remedies.iter().flatten() {
            out!(Style::Faint => "    try:"; " {remedy}");
        }
    }
}
