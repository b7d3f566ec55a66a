//! Prints what a change of keys did, or would do.

use entail::{Entail, KeyChange, Renewal};

use crate::error::CliError;
use crate::output::{Style, count, err, out, print_dry_run_notice, print_json};
use crate::session::Session;
use entail_api::keys::{KeysChanged, KeysPlan, SkippedSecret};

/// Shows how much a change would seal or sign again.
///
/// # Errors
///
/// Fails if the change is not valid, or the store cannot be read.
pub async fn dry_run(
    session: &Session,
    entail: &Entail,
    change: KeyChange,
) -> Result<(), CliError> {
    let is_signed = matches!(change, KeyChange::RotateSigner);
    let plan = entail.keys().plan(&session.principal, change).await?;
    let plan = KeysPlan {
        dry_run: true,
        resumed: plan.resumed,
        to_renew: u64::try_from(plan.to_renew).unwrap_or(u64::MAX),
    };
    if session.global.json {
        print_json(&plan);
        return Ok(());
    }
    if plan.resumed {
        out!("would continue a change that was interrupted");
    }
    let what = if is_signed {
        format!("{} would be signed again", count(plan.to_renew, "document"))
    } else {
        format!("{} would be sealed again", count(plan.to_renew, "secret"))
    };
    out!("{what}; what scopes get does not change");
    print_dry_run_notice();
    Ok(())
}

/// Prints the result of a change. `what` is the change as a sentence, and `renewed` describes
/// the secrets or documents that were renewed.
pub fn print(
    session: &Session,
    renewal: &Renewal,
    what: &str,
    renewed: impl FnOnce(usize) -> String,
) {
    let changed = KeysChanged {
        resumed: renewal.resumed,
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
        old_identity_kept: renewal.old_identity_kept,
    };
    if session.global.json {
        print_json(&changed);
        return;
    }
    if changed.resumed {
        out!("continued a change that was interrupted");
    }
    out!("{what}");
    out!("{}", renewed(renewal.renewed));
    for skipped in &changed.skipped {
        let reason = skipped.reason.as_deref().unwrap_or("it was not tried");
        err!(Style::Warn => "note:"; " not sealed again: {} {}: {reason}", skipped.scope, skipped.credential);
    }
}
