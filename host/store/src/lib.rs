//! Stores documents and sealed secrets in a database that is not trusted.
//!
//! Anyone may be able to read or change the database. This crate makes sure that a
//! reader notices: a read returns what was written, or fails with
//! [`Error::Tampered`]. Tampered data is never reported as absent.
//!
//! - The journal has one entry per change. Each has a signed checkpoint, which names the one
//!   before it, the record of the change, the root of the document tree, and the keyring that
//!   is in force.
//! - A [`Document`] is a piece of metadata. The document tree, a hash tree, proves each document,
//!   and each list of documents.
//! - A blob is a byte string, stored under its SHA-256. Sealed secrets are blobs.
//! - A change is one [`Store::commit`] against an expected revision. It is written
//!   and journaled as a whole, or not at all.
//! - The [`Keyring`] names who may change the store, and who may read it. Owners sign it. The
//!   power of a key is an interval of the journal.
//! - A secret is encrypted to the key of an [`Epoch`] of its organization ([`Keys::seal`]) together
//!   with the place it belongs to ([`SealContext`]), and decrypts only for that place
//!   ([`Store::unseal`]). That key is encrypted to the recipients ([`Readers`]).
//! - The [`Anchor`], a small file outside the database, records the newest checkpoint. It detects
//!   a database that was rolled back to an older state.
//!
//! `host/FORMATS.md` describes every byte that is stored or signed.
//!
//! A machine has up to three private keys ([`Keys`]): the identity decrypts secrets, the signer
//! signs changes, the owner key signs keyrings. A machine without the identity cannot read
//! secrets; one without the signer cannot change anything; one without the owner key cannot
//! change who may write or read.
//!
//! Every read verifies what it returns. [`Store::check`] verifies the whole database.
//!
//! # Blocking
//!
//! [`Store::read`] takes a fast path if the documents were verified before and the
//! database has not changed since. It makes a few `stat` calls on the calling thread. It
//! does not touch the disk otherwise; at most it waits for a concurrent read of the same
//! store.
//!
//! Everything else may wait for the disk or for another process:
//!
//! - On a multi-threaded tokio runtime, the async functions of [`Store`] and [`Sqlite`]
//!   do this on separate threads, so that no runtime thread waits. The exception is the
//!   anchor, a file of about 230 bytes, which is read on the calling thread.
//! - On a current-thread runtime, or without tokio, reads and updates of the anchor run
//!   on the calling thread. Commits and copies always run on a separate thread.
//! - [`Store::check`] reads on separate threads, but verifies signatures on the calling
//!   thread. Run it in a separate task, or with `tokio::task::spawn_blocking`.
//!
//! [`Store::unseal`] decrypts on the calling thread, which takes about 0.1 ms.
//!
//! These functions are not async and may block: [`Store::open`], the constructors of [`Sqlite`],
//! and all functions of [`Anchor`], [`Keys`], [`Secret`] and [`InputFile`] that read or write
//! files. On an async runtime, call them through
//! `tokio::task::spawn_blocking`.

mod anchor;
mod backend;
mod blocking;
mod digest;
mod document;
mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hex;
mod input_file;
mod journal;
mod keyring;
mod keys;
mod locked;
mod random_id;
mod recipients;
mod row;
mod sealing;
mod secret;
mod signing;
mod statement;
mod store;
mod tampering;
mod tree;
mod verification;

pub use anchor::{Anchor, AnchorError};
pub use backend::sqlite::{Access, Sqlite};
pub use backend::{
    Backend, BackendError, FoundDocument, JournalRows, JournalStart, ListRows, ReadTransaction,
    RowCounts, Rows, Writes,
};
pub use blocking::start_or_run;
pub use digest::{Digest, InvalidDigest};
pub use document::Document;
pub use error::Error;
pub use files::path_check::{check_ancestors, check_link, check_parent, check_private};
pub use files::{private_directory, temporary_files};
pub use input_file::{INPUT_TIMEOUT, InputError, InputFile};
pub use journal::entry::{Author, Effect, JournalEntry};
pub use journal::heartbeat::Freshness;
pub use journal::history::History;
pub use journal::log_head::LogHead;
pub use journal::position::{JournalPosition, Revision};
pub use keyring::authority::{Authority, LabelledKey, Owners, StoreSigner};
pub use keyring::difference::{DifferenceKind, KeyringDifference, differences};
pub use keyring::form::MIN_FRESH_FOR_MS;
pub use keyring::proposal::{MAX_PROPOSAL_BYTES, Proposal, ProposalError};
pub use keyring::{Keyring, KeyringDraft, KeyringNumber, Signatures};
pub use keys::Keys;
pub use keys::error::KeyError;
pub use keys::new::{NewKeys, write_keyring};
pub use keys::program::KeyProgram;
pub use keys::recovery::create::{PendingRecovery, RecoveryFiles};
pub use keys::recovery::error::ShareError;
pub use keys::recovery::given::RecoveryKey;
pub use keys::recovery::receipt::Receipt;
pub use keys::recovery::share::Split;
pub use keys::role::Role;
pub use keys::service::{OpeningService, ServiceError, SigningService};
pub use keys::source::{IdentitySource, KeySources, ServiceIdentity, SignerSource};
pub use locked::{inherited_file, memory_lock_failures};
pub use random_id::{InvalidId, RandomId};
pub use recipients::{
    Epoch, Readers, Recipient, RecipientClass, RecipientError, RecipientId, check_label,
    check_recipient_room, find_recipient, with_recipient, without_recipient,
};
pub use row::{BlobRow, DocumentKey, JournalRow};
pub use sealing::context::{Fields, SealContext, SealError};
pub use sealing::direct::{open_sealed, recipients_of, seal_to};
pub use sealing::epoch::{EpochKey, RenewedReaders};
pub use secret::Secret;
pub use signing::{InvalidKeyId, KeyId, Signer, Verifier};
pub use statement::Statement;
pub use store::Store;
pub use store::batch::{Batch, NewKeyring};
pub use store::cache::Snapshot;
pub use tampering::{Fault, Tampering};
pub use verification::report::{CheckReport, DocumentBlobs, Progress, Visitor};
