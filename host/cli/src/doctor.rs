//! Checks permissions, keys, the store, and whether every secret opens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Style, print_json, say};
use crate::session::Session;

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

async fn examine(session: &Session, report: &mut Report) -> Result<(), Failure> {
    let home = session.home()?;
    report.well(format!(
        "the home {} is the owner's alone",
        home.folder().display()
    ));
    for file in [home.database_file(), home.decision_log()] {
        check_mode(report, &file);
    }
    let keys = home.keys()?;
    report.well("the keys are readable, and the owner's alone");
    match keys.signer() {
        Ok(signer) if signer.id() == keys.verifier().id() => {
            report.well("the signer and the verifier belong together");
        }
        Ok(_) => report.faulty(
            "the signer",
            Failure::new(
                16,
                "sealed",
                "the signer is not the verifier's: what it writes would be refused",
            ),
        ),
        Err(_) => report.well("there is no signer: this node changes nothing"),
    }
    let entail = session.open_unlocked()?;
    report.well(format!(
        "the policy {} {} is admitted",
        entail.policy().description().name,
        entail.policy().description().version
    ));
    let inspection = entail.inspect(&session.principal).await?;
    report.well(format!("{} scopes verify", inspection.scopes));
    report.well(format!("{} secrets open", inspection.credentials));
    report.well(format!("{} changes are in the journal", inspection.changes));
    for (what, error) in inspection.faults {
        report.faulty(what, error.into());
    }
    Ok(())
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
                })
            })
            .collect();
        print_json(&json!({"checks": checks}));
        return;
    }
    for check in &report.checks {
        match &check.fault {
            None => say!("{} {}", Style::Good.paint("✓"), check.what),
            Some(fault) => say!(
                "{} {}: {}",
                Style::Bad.paint("✗"),
                check.what,
                fault.message()
            ),
        }
    }
}
