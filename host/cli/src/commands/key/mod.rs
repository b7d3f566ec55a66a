//! `entail key`: lists and rotates keys, and changes the recipients of secrets.

mod changed;
mod list;
mod owners;
mod proposal;
mod recipients;
mod rotate;
mod signers;

use clap::Subcommand;

use self::owners::{AddOwnerArgs, RemoveOwnerArgs, RequireOwnersArgs};
use self::proposal::{ApplyArgs, SignArgs};
use self::recipients::{AddRecipientArgs, ReceiptArgs, RemoveRecipientArgs};
use self::signers::{AddSignerArgs, RemoveSignerArgs};
use crate::args::dry_run::DryRun;
use crate::error::CliError;
use crate::session::Session;

pub use self::proposal::{read as read_proposal, save as save_proposal};

#[derive(Subcommand)]
pub enum KeyCommand {
    /// List the keys, and the recipients that can open secrets
    List,
    /// Replace a key of this machine; what it can open stays readable meanwhile
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Let another machine change the store, with a signer of its own
    ///
    /// On the other machine, `openssl genpkey -algorithm ed25519 -out signer.pem` creates the
    /// signer, and `openssl pkey -in signer.pem -pubout -out signer.pub` its public key. That
    /// machine also needs a copy of keys/keyring.jsonl and anchor.json.
    AddSigner(AddSignerArgs),
    /// Remove a signer, so that what it signs from now on is refused
    RemoveSigner(RemoveSignerArgs),
    /// Let another key sign changes of keys and recipients, alone or together with others
    ///
    /// The owner creates the key with `openssl genpkey -algorithm ed25519 -out owner.pem`, and
    /// `openssl pkey -in owner.pem -pubout -out owner.pub` its public key.
    AddOwner(AddOwnerArgs),
    /// Remove an owner key, so that what it signs from now on is refused
    RemoveOwner(RemoveOwnerArgs),
    /// Set how many owners must sign changes of keys and recipients
    ///
    /// If more must sign than this machine has keys of, a command that changes keys or recipients
    /// writes a proposal. Each owner signs it with `entail key sign`, and `entail key apply` makes
    /// the change.
    RequireOwners(RequireOwnersArgs),
    /// Review a proposal of a change of keys, and sign it as an owner
    Sign(SignArgs),
    /// Make the change of a proposal that enough owners have signed
    Apply(ApplyArgs),
    /// Add a recipient that can open every secret: a second machine, a recovery key
    ///
    /// A recovery key is in FILE.pending until it opens something, and in FILE from then on. If the
    /// command is interrupted, or owners have to sign the change first, run it again.
    AddRecipient(AddRecipientArgs),
    /// Remove a recipient, so that it cannot open what is sealed from now on
    RemoveRecipient(RemoveRecipientArgs),
    /// Renew the receipt in a recovery key or in shares of it: what it knows of the store
    ///
    /// A restore with the recovery key refuses a backup that does not contain the state that the
    /// receipt names. Renew it after keys were rotated or removed, so that nothing that they sign
    /// afterwards is accepted.
    Receipt(ReceiptArgs),
    /// Seal every secret again that is not sealed to the current recipients
    Reseal(DryRun),
}

#[derive(Subcommand)]
pub enum RotateCommand {
    /// Replace the key that opens secrets, and seal again what it opens
    Identity(DryRun),
    /// Replace the key that signs changes; nothing is signed again
    Signer(DryRun),
    /// Replace the key that signs the keyring: who may change and read the store
    Owner(DryRun),
}

pub async fn key(session: &Session, command: &KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::List => list::list(session).await,
        KeyCommand::Rotate(RotateCommand::Identity(args)) => rotate::identity(session, *args).await,
        KeyCommand::Rotate(RotateCommand::Signer(args)) => rotate::signer(session, *args).await,
        KeyCommand::Rotate(RotateCommand::Owner(args)) => rotate::owner(session, *args).await,
        KeyCommand::AddSigner(args) => signers::add(session, args).await,
        KeyCommand::RemoveSigner(args) => signers::remove(session, args).await,
        KeyCommand::AddOwner(args) => owners::add(session, args).await,
        KeyCommand::RemoveOwner(args) => owners::remove(session, args).await,
        KeyCommand::RequireOwners(args) => owners::require(session, args).await,
        KeyCommand::Sign(args) => proposal::sign(session, args),
        KeyCommand::Apply(args) => proposal::apply(session, args).await,
        KeyCommand::AddRecipient(args) => recipients::add(session, args).await,
        KeyCommand::RemoveRecipient(args) => recipients::remove(session, args).await,
        KeyCommand::Receipt(args) => recipients::receipt(session, args).await,
        KeyCommand::Reseal(args) => recipients::reseal(session, *args).await,
    }
}
