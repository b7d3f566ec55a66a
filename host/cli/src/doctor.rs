//! Checks permissions, keys, the store, and whether every secret opens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail::store::{KeyError, times_not_locked};
use entail::{Entail, Error, Home, Request, ScopePath, verify_log};
use serde_json::{Value, json};

use crate::audit::{breaches, notes};
use crate::failure::Failure;
use crate::output::{Style, print_json, say};
use crate::secret_files;
use crate::session::Session;
use crate::unknown_providers;
use crate::verify::{leftovers, look};

/// What was looked at, and what is wrong with it.
struct Check {
    what: String,
    fault: Option<Failure>,
}

#[derive(Default)]
struct Report {
    checks: Vec<Check>,
}

impl Report {
    fn well(&mut self, what: impl Into<String>) {
        self.checks.push(Check {
            what: what.into(),
            fault: None,
        });
    }

    fn faulty(&mut self, what: impl Into<String>, fault: Failure) {
        self.checks.push(Check {
            what: what.into(),
            fault: Some(fault),
        });
    }
}

pub async fn doctor(session: &Session) -> Result<(), Failure> {
    let mut report = Report::default();
    if let Err(failure) = examine(session, &mut report).await {
        report.faulty("the examination ended here", failure);
    }
    print(session, &report);
    let faults = report.checks.into_iter().filter_map(|check| check.fault);
    match faults.max_by_key(|fault| fault.exit_number() == 15) {
        None => Ok(()),
        Some(fault) => Err(Failure::new(
            fault.exit_number(),
            fault.code(),
            "not all is well",
        )),
    }
}

/// How the policy of an organization fails, if it does for any provider.
async fn failure_of(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
) -> Option<Failure> {
    for provider in entail.catalog().iter() {
        let request = Request::new(organization.clone(), provider.id.clone());
        let explained = entail.explain(&session.principal, &request).await;
        // Whatever else there is shows elsewhere.
        if let Err(error @ (Error::PolicyFailed(_) | Error::GuardViolated(_))) = explained {
            return Some(error.into());
        }
    }
    None
}

async fn examine(session: &Session, report: &mut Report) -> Result<(), Failure> {
    let home = session.home()?;
    report.well(format!(
        "the home {} is the owner's alone",
        home.directory().display()
    ));
    for file in [
        home.database_file(),
        home.decision_log(),
        home.providers_file(),
    ] {
        check_mode(report, &file);
    }
    for left in home.unfinished()? {
        report.faulty(
            left.display().to_string(),
            Failure::new(
                1,
                "unfinished",
                format!(
                    "a process was stopped before it was finished with it, and it may hold keys; if none is at work, run: rm -r {}",
                    left.display()
                ),
            ),
        );
    }
    let keys = session.keys(&home)?;
    report.well("the keys are readable, and the owner's alone");
    match keys.signer() {
        Ok(_) => report.well("the signer and the verifier belong together"),
        Err(KeyError::NoSigner) => report.well("there is no signer: this node changes nothing"),
        Err(error) => report.faulty("the signer", Error::from(error).into()),
    }
    let entail = session.open_unlocked()?;
    if entail.can_unseal() {
        let own = entail.keys();
        let list = entail.recipients(&session.principal).await?;
        match own.identity_ids().next().filter(|id| list.has(id)) {
            Some(_) => report.well("secrets are sealed to this node's identity"),
            None => report.faulty(
                "the identity",
                Failure::new(
                    16,
                    "sealed",
                    "secrets are not sealed to it: see entail key list",
                ),
            ),
        }
    } else {
        report.well("there is no identity: this node opens no secret");
    }
    let built_in = entail.built_in_policy()?.description();
    report.well(format!(
        "the policy {} {} is admitted",
        built_in.name, built_in.version
    ));
    for (organization, _) in entail.active_policies(&session.principal).await? {
        match entail.load_active_policy(&organization).await {
            Ok(policy) => match failure_of(session, &entail, &organization).await {
                None => report.well(format!(
                    "{organization} is decided by {} {}",
                    policy.description().name,
                    policy.description().version
                )),
                Some(failure) => report.faulty(
                    format!("the policy of {organization}"),
                    failure.with_remedies(vec![format!("entail policy rollback {organization}")]),
                ),
            },
            Err(error) => report.faulty(format!("the policy of {organization}"), error.into()),
        }
    }
    session.destroy_due(&entail).await?;
    let found = look(session, &entail).await?;
    report.well(format!("{} scopes verify", found.scopes));
    match found.unopened {
        0 => report.well(format!("{} secrets open", found.opened)),
        unopened => report.well(format!("{unopened} secrets are there, unopened")),
    }
    for foreign in &found.foreign {
        report.faulty(
            foreign.clone(),
            Failure::new(16, "sealed", "its secret is not for this identity"),
        );
    }
    report.well(format!(
        "{} changes are in the journal",
        found.counts.entries
    ));
    for note in leftovers(&found) {
        report.faulty("left to do", Failure::new(1, "left", note));
    }
    for fault in found.faults {
        report.faulty(fault.what().to_owned(), Error::from(fault).into());
    }
    check_log(report, &home);
    let scopes = entail.scopes(&session.principal, None).await?;
    for (provider, scope) in unknown_providers::find(session, &entail, scopes).await? {
        report.faulty(
            format!("the provider {provider}"),
            Failure::new(
                18,
                "not-found",
                format!(
                    "{scope} has a credential for it, and no provider of that id is known; define it in {}",
                    home.providers_file().display()
                ),
            ),
        );
    }
    for left in secret_files::leftovers() {
        report.faulty(
            left.display().to_string(),
            Failure::new(
                1,
                "left",
                format!(
                    "a run was killed before it could remove this directory, which holds secrets; run: rm -r {}",
                    left.display()
                ),
            ),
        );
    }
    match times_not_locked() {
        0 => report.well("memory for secrets is locked"),
        _ => report.faulty(
            "memory for secrets",
            Failure::new(
                1,
                "not-locked",
                "it cannot be locked, so secrets may be swapped to disk; raise the limit: ulimit -l",
            ),
        ),
    }
    Ok(())
}

fn check_log(report: &mut Report, home: &Home) {
    match verify_log(home) {
        Ok(log) if breaches(&log) == 0 => {
            let mut what = format!("{} records are in the decision log", log.records);
            for note in notes(&log) {
                what.push_str("; ");
                what.push_str(&note);
            }
            report.well(what);
        }
        Ok(log) => report.faulty(
            "the decision log",
            Failure::new(
                15,
                "tampered",
                format!(
                    "{} places are not what was written; see: entail audit verify",
                    breaches(&log)
                ),
            ),
        ),
        Err(error) => report.faulty("the decision log", error.into()),
    }
}

fn check_mode(report: &mut Report, file: &Path) {
    let shown = file.display();
    match std::fs::metadata(file) {
        Ok(metadata) if !others_can_use(&metadata) => {
            report.well(format!("{shown} is the owner's alone"));
        }
        Ok(metadata) => report.faulty(
            shown.to_string(),
            Failure::new(
                14,
                "too-open",
                format!(
                    "others can use it (mode {:04o}); run: chmod 600 {shown}",
                    metadata.permissions().mode() & 0o7777
                ),
            ),
        ),
        // Made when it is first needed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => report.faulty(shown.to_string(), Failure::io(&shown, &error)),
    }
}

fn others_can_use(metadata: &std::fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o077 != 0
}

fn print(session: &Session, report: &Report) {
    if session.common.json {
        let checks: Vec<Value> = report
            .checks
            .iter()
            .map(|check| {
                json!({
                    "what": check.what,
                    "well": check.fault.is_none(),
                    "code": check.fault.as_ref().map(Failure::code),
                    "message": check.fault.as_ref().map(Failure::message),
                    "remedies": check.fault.as_ref().map(Failure::remedies),
                })
            })
            .collect();
        print_json(&json!({"checks": checks}));
        return;
    }
    for check in &report.checks {
        match &check.fault {
            None => say!(Style::Good => "✓"; " {}", check.what),
            Some(fault) => {
                say!(Style::Bad => "✗"; " {}: {}", check.what, fault.message());
                for remedy in fault.remedies() {
                    say!(Style::Faint => "    try:"; " {remedy}");
                }
            }
        }
    }
}
