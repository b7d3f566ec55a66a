//! `entail key sign` and `apply`: changes of keys that several owners sign.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{
    DifferenceKind, DocumentKey, KeyringDifference, Proposal, ProposalError, Secret,
    private_directory,
};
use entail::{Home, quoted, review_proposal, sign_proposal};

use super::changed::print;
use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
use crate::output::progress::Bar;
use crate::output::{Style, choose, count, err, out, print_dry_run_notice, print_json, time};
use crate::session::Session;
use entail_api::keys::{KeyringDifference as DifferenceOutput, ProposalReview, ProposedDocument};

/// The maximum length of a file with an owner key.
const MAX_KEY_BYTES: usize = 64 * 1024;

#[derive(Args)]
pub struct SignArgs {
    /// The proposal
    #[arg(value_parser = path::parser())]
    pub file: PathBuf,
    /// Sign with this owner key: Ed25519, PKCS #8, PEM [default: the owner key of the home]
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct ApplyArgs {
    /// The proposal
    #[arg(value_parser = path::parser())]
    pub file: PathBuf,
}

/// Reads a proposal.
///
/// # Errors
///
/// Fails if the file cannot be read, or is no proposal.
pub fn read(file: &Path) -> Result<Proposal, CliError> {
    Proposal::read(file).map_err(|error| of_file(error, file))
}

/// The error of a file with a proposal.
fn of_file(error: ProposalError, file: &Path) -> CliError {
    match error {
        ProposalError::File(error) => CliError::io(file.display(), &error),
        error => entail::Error::from(error).into(),
    }
}

/// Writes the proposal of an error to the home, and says where it is and what to do with it.
pub fn save(session: &Session, error: CliError) -> CliError {
    let Some(proposal) = error.proposal() else {
        return error;
    };
    let saved = session.home().and_then(|home| save_in(&home, proposal));
    let file = match saved {
        Ok(file) => file,
        Err(failure) => {
            let unsaved = format!("the proposal could not be saved: {}", failure.message());
            return error.with_details(vec![unsaved]);
        }
    };
    let file = file.display();
    let then = if proposal.is_restore() {
        format!("repeat this command with --proposal {file}")
    } else {
        format!("entail key apply {file}")
    };
    let mut details = vec![format!("it is proposed in {file}")];
    details.extend(error.details().iter().cloned());
    error.with_details(details).with_remedies(vec![
        format!("let other owners sign the file: entail key sign {file}"),
        format!("when enough have signed: {then}"),
    ])
}

fn save_in(home: &Home, proposal: &Proposal) -> Result<PathBuf, CliError> {
    let directory = home.proposals_directory();
    private_directory(&directory).map_err(|error| CliError::io(directory.display(), &error))?;
    let keyring = proposal.keyring();
    let digest: String = keyring.digest().to_string().chars().take(8).collect();
    let file = directory.join(format!("keyring-{}-{digest}.json", keyring.number()));
    let written = proposal.write(&file);
    written.map_err(|error| of_file(error, &file))?;
    Ok(file)
}

pub fn sign(session: &Session, args: &SignArgs) -> Result<(), CliError> {
    // It is replaced when it is signed.
    let file = std::fs::canonicalize(&args.file)
        .map_err(|error| CliError::io(args.file.display(), &error))?;
    if !file.is_file() {
        return Err(CliError::invalid(format!(
            "{} is not a regular file, so it cannot be signed in place",
            args.file.display()
        )));
    }
    let mut proposal = read(&file)?;
    let home = match session.home() {
        Ok(home) => Some(home),
        // An owner who keeps a key elsewhere needs no home.
        Err(_) if args.key.is_some() => None,
        Err(error) => return Err(error),
    };
    let home = home.as_ref();
    let key = args.key.as_deref().map(read_key).transpose()?;
    let review = review_proposal(home, &session.principal, &proposal)?;
    if args.dry_run.dry_run {
        if key.is_some() {
            // Whether the key could sign.
            sign_proposal(
                home,
                &session.principal,
                &mut proposal.clone(),
                key.as_ref(),
            )?;
        }
        print_review(session, &proposal, &review, true);
        return Ok(());
    }
    if confirm::is_needed(session) {
        let mut points = vec![format!(
            "you sign keyring {} of the store {}, made {}",
            proposal.keyring().number(),
            proposal.keyring().store(),
            time(proposal.keyring().at_ms())
        )];
        points.extend(review.differences.iter().map(sentence));
        points.extend(review.restores.map(restored));
        points.extend(
            proposal
                .documents()
                .map(document)
                .map(|found| written(&found)),
        );
        if !review.is_trusted {
            points.push(unknown_owners(&proposal));
        }
        confirm::ask(&points)?;
    }
    let _lock = lock_beside(&file);
    let reviewed = std::mem::replace(&mut proposal, read(&file)?);
    if proposal.keyring().digest() != reviewed.keyring().digest() {
        return Err(CliError::invalid(format!(
            "{} was replaced by another proposal meanwhile; review and sign it again",
            file.display()
        )));
    }
    let signed = sign_proposal(home, &session.principal, &mut proposal, key.as_ref())?;
    let written = proposal.write(&file);
    written.map_err(|error| of_file(error, &file))?;
    print_review(session, &proposal, &signed, false);
    Ok(())
}

/// Waits until no other process signs a file of that directory: a signature that was added
/// meanwhile would be lost. `None` if the file system has no locks.
fn lock_beside(file: &Path) -> Option<File> {
    let directory = File::open(file.parent()?).ok()?;
    directory.lock().ok()?;
    Some(directory)
}

fn read_key(file: &Path) -> Result<Secret, CliError> {
    Secret::read_file(file, MAX_KEY_BYTES)
        .map_err(|error| CliError::io(file.display(), &error))?
        .ok_or_else(|| CliError::invalid(format!("{} is too large for a key", file.display())))
}

/// What an owner must check without a home that knows the store.
fn unknown_owners(proposal: &Proposal) -> String {
    let owners = &proposal.previous().authority().owners.keys;
    let owners: Vec<String> = owners
        .iter()
        .map(|owner| owner.key.id().to_string())
        .collect();
    format!(
        "nothing on this machine says who owns the store {}: check that its owners are {}",
        proposal.keyring().store(),
        owners.join(", ")
    )
}

fn print_review(
    session: &Session,
    proposal: &Proposal,
    review: &entail::ProposalReview,
    is_dry_run: bool,
) {
    let signatures = &review.signatures;
    let missing = signatures.missing();
    let output = ProposalReview {
        dry_run: is_dry_run,
        store: proposal.keyring().store().to_string(),
        keyring: proposal.keyring().number(),
        trusted: review.is_trusted,
        differences: review.differences.iter().map(output).collect(),
        restores: review.restores,
        documents: proposal.documents().map(document).collect(),
        signed_by: signatures
            .signed_by
            .iter()
            .map(ToString::to_string)
            .collect(),
        owners_missing: u64::try_from(missing).unwrap_or(u64::MAX),
    };
    if session.global.json {
        print_json(&output);
        return;
    }
    out!(
        "keyring {} of the store {}, made {}:",
        output.keyring,
        output.store,
        time(proposal.keyring().at_ms())
    );
    for difference in &review.differences {
        out!("  {}", sentence(difference));
    }
    if let Some(revision) = output.restores {
        out!("  {}", restored(revision));
    }
    for document in &output.documents {
        out!("  {}", written(document));
    }
    if !review.is_trusted {
        err!(Style::Warn => "note:"; " {}", unknown_owners(proposal));
    }
    match output.signed_by.as_slice() {
        [] => out!("nobody has signed it"),
        signed_by => out!("signed by {}", signed_by.join(", ")),
    }
    if missing == 0 && output.restores.is_some() {
        out!("enough owners have signed it: repeat the restore with --proposal");
    } else if missing == 0 {
        out!("enough owners have signed it: entail key apply, on a machine with a signer");
    } else {
        out!("{} must sign it", count(missing, "more owner"));
    }
    if is_dry_run {
        print_dry_run_notice();
    }
}

fn restored(revision: u64) -> String {
    format!("the backup has the state of the store at revision {revision}")
}

fn document((key, removed): (&DocumentKey, bool)) -> ProposedDocument {
    ProposedDocument {
        kind: key.kind.clone(),
        name: key.name.clone(),
        removed,
    }
}

/// A document that a proposal writes, as a sentence.
fn written(document: &ProposedDocument) -> String {
    let ProposedDocument {
        kind,
        name,
        removed,
    } = document;
    let done = if *removed { "removed" } else { "written" };
    format!("the document {kind} {name} is {done}")
}

fn output(difference: &KeyringDifference) -> DifferenceOutput {
    DifferenceOutput {
        kind: difference.kind.as_str().to_owned(),
        organization: difference.organization.clone(),
        subject: difference.subject.clone(),
        label: difference.label.clone(),
    }
}

/// A difference between two keyrings, as a sentence.
fn sentence(difference: &KeyringDifference) -> String {
    let subject = &difference.subject;
    let label = difference.label.as_deref();
    let label = label.map_or_else(String::new, |label| format!(" ({})", quoted(label)));
    let organization = difference.organization.as_deref();
    let of = organization.map_or_else(
        || " of organizations that are created later".to_owned(),
        |organization| format!(" of {organization}"),
    );
    match difference.kind {
        DifferenceKind::OwnerAdded => {
            format!("{subject}{label} may sign changes of keys and recipients")
        }
        DifferenceKind::OwnerRemoved => {
            format!("{subject}{label} may no longer sign changes of keys and recipients")
        }
        DifferenceKind::OwnersRequired => {
            format!("the number of owners that must sign becomes {subject}")
        }
        DifferenceKind::SignerAdded => format!("{subject}{label} may change the store"),
        DifferenceKind::SignerRemoved => {
            format!("{subject}{label} may no longer change the store")
        }
        DifferenceKind::EntryChanged => format!("the entry of a key becomes {subject}{label}"),
        DifferenceKind::OrderChanged => format!("the order of the {subject} changes"),
        DifferenceKind::OrganizationAdded => format!("the organization {subject} is created"),
        DifferenceKind::OrganizationRemoved => format!("the organization {subject} is removed"),
        DifferenceKind::RecipientAdded => format!("{subject}{label} can open the secrets{of}"),
        DifferenceKind::RecipientRemoved => {
            format!("{subject}{label} can no longer open what is sealed{of}")
        }
        DifferenceKind::EpochBegun => format!("secrets{of} are sealed to a new key ({subject})"),
        DifferenceKind::EpochRemoved => format!("the key {subject}{of} is removed"),
        DifferenceKind::EpochResealed => {
            format!("a key{of} is sealed to the recipients with these fingerprints: {subject}")
        }
        DifferenceKind::FreshFor => match subject.parse::<u64>() {
            Ok(ms) => format!(
                "a state of the store counts as the newest for {} after it was confirmed",
                count(ms / 1000, "second")
            ),
            Err(_) => "the state of the store needs no confirmation any more".to_owned(),
        },
        DifferenceKind::LineageBegun => "the store is restored from a backup".to_owned(),
        // Differences of later versions of the library.
        _ => format!("{}: {subject}{label}", difference.kind.as_str()),
    }
}

pub async fn apply(session: &Session, args: &ApplyArgs) -> Result<(), CliError> {
    let (entail, passphrase) = session.open_with_passphrase()?;
    let proposal = read(&args.file)?;
    let bar = Bar::new("sealing again");
    let renewal = entail
        .keys()
        .apply(&session.principal, proposal, &mut |step| bar.step(step))
        .await
        .map_err(|error| CliError::from(error).without_proposal())?;
    let keys = entail.keys().local(&session.principal)?;
    if keys.identity_ids().count() > 1 {
        // The change was the rotation of this machine's identity, which ends here.
        let keys = entail.keys();
        keys.rotate_identity(&session.principal, passphrase.as_ref(), &mut |_| {})
            .await?;
    }
    drop(bar);
    print(
        session,
        &renewal,
        "the proposed change is made",
        |secrets| {
            format!(
                "{} {} sealed again",
                count(secrets, "secret"),
                choose(secrets, "was", "were")
            )
        },
    );
    Ok(())
}
