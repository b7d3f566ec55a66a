//! `entail key rotate`: replaces the identity or the signer.

use entail::KeyChange;

use super::changed::{dry_run, print};
use crate::args::dry_run::DryRun;
use crate::error::CliError;
use crate::output::progress::Bar;
use crate::output::{choose, count};
use crate::session::Session;

pub async fn identity(session: &Session, args: DryRun) -> Result<(), CliError> {
    let (entail, passphrase) = session.open_with_passphrase()?;
    if args.dry_run {
        return dry_run(session, &entail, KeyChange::RotateIdentity).await;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .keys()
        .rotate_identity(&session.principal, passphrase.as_ref(), &mut |step| {
            bar.step(step);
        })
        .await?;
    drop(bar);
    let what = if renewal.old_identity_kept {
        "this machine has a new identity; the old one is kept for the secrets that could not be sealed again: repair or remove those, and run this again"
    } else {
        "this machine has a new identity; the old one cannot open what is sealed from now on"
    };
    print(session, &renewal, what, |secrets| {
        format!("{} sealed to it", was(secrets, "secret"))
    });
    Ok(())
}

pub async fn signer(session: &Session, args: DryRun) -> Result<(), CliError> {
    let entail = session.open()?;
    if args.dry_run {
        return dry_run(session, &entail, KeyChange::RotateSigner).await;
    }
    let bar = Bar::new("signing again");
    let renewal = entail
        .keys()
        .rotate_signer(&session.principal, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    let what = "this machine has a new signer; new signatures of the old one are refused";
    print(session, &renewal, what, |documents| {
        format!("{} signed by it", was(documents, "document"))
    });
    Ok(())
}

/// `1 secret was`, `2 secrets were`.
fn was(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), choose(number, "was", "were"))
}
