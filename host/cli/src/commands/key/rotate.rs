//! `entail key rotate`: replaces the identity or the signer.

use entail::KeyChange;

use super::changed::{dry_run, print, print_rotated, print_unreadable};
use crate::args::dry_run::DryRun;
use crate::error::CliError;
use crate::output::progress::Bar;
use crate::output::{choose, count, out};
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
    if !session.global.json {
        print_unreadable(session, &entail, &renewal.unreadable);
    }
    Ok(())
}

pub async fn signer(session: &Session, args: DryRun) -> Result<(), CliError> {
    let entail = session.open()?;
    if args.dry_run {
        return dry_run(session, &entail, KeyChange::RotateSigner).await;
    }
    let renewal = entail.keys().rotate_signer(&session.principal).await?;
    let what = "this machine has a new signer; what the old one signs from now on is refused";
    print_rotated(session, &renewal, what);
    print_receipt_notice(session);
    Ok(())
}

pub async fn owner(session: &Session, args: DryRun) -> Result<(), CliError> {
    let entail = session.open()?;
    if args.dry_run {
        return dry_run(session, &entail, KeyChange::RotateOwner).await;
    }
    let renewal = entail.keys().rotate_owner(&session.principal).await?;
    let what = "this machine has a new owner key; what the old one signs from now on is refused";
    print_rotated(session, &renewal, what);
    print_receipt_notice(session);
    Ok(())
}

/// Without a new receipt, a restore on a clean machine accepts what the old key signs.
pub fn print_receipt_notice(session: &Session) {
    if !session.global.json {
        out!("renew the receipt in each recovery key or share: entail key receipt FILE…");
    }
}

/// `1 secret was`, `2 secrets were`.
fn was(number: usize, noun: &str) -> String {
    format!("{} {}", count(number, noun), choose(number, "was", "were"))
}
