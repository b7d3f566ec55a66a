//! Prints what a change of keys did, or would do.

use entail::{Entail, KeyChange, Renewal};

use crate::error::CliError;
use crate::output::{Style, count, err, out, print_dry_run_notice, print_json};
use crate::session::Session;
use crate::suggest::remedy::remedy;
use entail_api::keys::{KeysChanged, KeysPlan, SkippedSecret};

/// Shows how much a change would seal again.
///
/// # Errors
///
/// Fails if the change is not valid, or the store cannot be read.
pub async fn dry_run(
    session: &Session,
    entail: &Entail,
    change: KeyChange,
) -> Result<(), CliError> {
    let plan = entail.keys().plan(&session.principal, change).await?;
    let plan = KeysPlan {
        dry_run: true,
        resumed: plan.resumed,
        to_renew: u64::try_from(plan.to_renew).unwrap_or(u64::MAX),
        owners_missing: u64::try_from(plan.missing_owners).unwrap_or(u64::MAX),
        unreadable: plan.unreadable,
    };
    if session.global.json {
        print_json(&plan);
        return Ok(());
    }
    if plan.resumed {
        out!("would continue a change that was interrupted");
    }
    out!(
        "{} would be sealed again; what scopes get does not change",
        count(plan.to_renew, "secret")
    );
    if plan.owners_missing > 0 {
        out!(
            "{} would have to sign it besides this machine",
            count(plan.owners_missing, "more owner")
        );
    }
    print_unreadable(session, entail, &plan.unreadable);
    print_dry_run_notice();
    Ok(())
}

/// Names the organizations with secrets that stay sealed to others, and what to do about each.
pub fn print_unreadable(session: &Session, entail: &Entail, organizations: &[String]) {
    for organization in organizations {
        let hint = entail
            .keys()
            .access_hint(&session.principal, Some(organization));
        let hint = hint.ok().flatten();
        let remedy = hint.map_or_else(String::new, |hint| format!("; {}", remedy(&hint)));
        err!(Style::Warn => "note:"; " this machine's identity does not open the secrets of {organization}{remedy}");
    }
}

/// Prints the result of a change that renews nothing. `what` is the change as a sentence.
pub fn print_rotated(session: &Session, renewal: &Renewal, what: &str) {
    let changed = output(renewal);
    if session.global.json {
        print_json(&changed);
        return;
    }
    if changed.resumed {
        out!("continued a change that was interrupted");
    }
    out!("{what}");
}

fn output(renewal: &Renewal) -> KeysChanged {
    KeysChanged {
        resumed: renewal.resumed,
        organizations: renewal.organizations.clone(),
        renewed: u64::try_from(renewal.renewed).unwrap_or(u64::MAX),
        skipped: renewal
            .skipped
            .iter()
            .map(|skipped| SkippedSecret {
                scope: skipped.scope.to_string(),
                credential: skipped.credential.clone(),
                reason: skipped.reason.as_ref().map(ToString::to_string),
            })
            .collect(),
        unreadable: renewal.unreadable.clone(),
        old_identity_kept: renewal.old_identity_kept,
    }
}

/// Prints the result of a change. `what` is the change as a sentence, and `renewed` describes
/// the secrets that were renewed.
pub fn print(
    session: &Session,
    renewal: &Renewal,
    what: &str,
    renewed: impl FnOnce(usize) -> String,
) {
    print_rotated(session, renewal, what);
    if session.global.json {
        return;
    }
    out!("{}", renewed(renewal.renewed));
    for skipped in output(renewal).skipped {
        let reason = skipped.reason.as_deref().unwrap_or("it was not tried");
        err!(Style::Warn => "note:"; " not sealed again: {} {}: {reason}", skipped.scope, skipped.credential);
    }
}
