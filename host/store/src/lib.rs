//! Stores documents and sealed secrets in a database that is not trusted.
//!
//! Anyone may be able to read or change the database. This crate makes sure that a
//! reader notices: a read returns what was written, or fails with
//! [`Error::Tampered`]. Tampered data is never reported as absent.
//!
//! - A [`Document`] is a piece of metadata, signed (Ed25519) together with its kind,
//!   name and revision, and verified each time it is read from the database.
//! - A blob is a byte string, stored under its SHA-256. Sealed secrets are blobs.
//! - The journal is a signed hash chain with one [`JournalEntry`] per change.
//! - A change is one [`Store::commit`] against an expected revision. It is written
//!   and journaled as a whole, or not at all.
//! - A secret is encrypted to age recipients ([`Keys::seal`]) together with the place
//!   it belongs to ([`SealContext`]), and decrypts only for that place
//!   ([`Keys::unseal`]).
//! - The [`Anchor`], a small file outside the database, records the newest journal
//!   entry. It detects a database that was rolled back to an older state.
//!
//! A machine has two keys ([`Keys`]): the identity decrypts secrets, the signer signs
//! changes. A machine without the identity cannot read secrets; a machine without the
//! signer cannot change anything.
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
//!   anchor, a file of about 110 bytes, which is read on the calling thread.
//! - On a current-thread runtime, or without tokio, reads and updates of the anchor run
//!   on the calling thread. Commits and copies always run on a separate thread.
//! - [`Store::check`] reads on separate threads, but verifies signatures on the calling
//!   thread. Run it in a separate task, or with `tokio::task::spawn_blocking`.
//!
//! [`Store::unseal`] decrypts on the calling thread, which takes about 0.1 ms.
//!
//! These functions are not async and may block: [`Store::open`], [`Store::trust`],
//! [`Store::end_old_signer`], the constructors of [`Sqlite`], and all functions of [`Anchor`], [`Keys`], [`Secret`]
//! and [`InputFile`] that read or write files. On an async runtime, call them through
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
mod input_file;
mod journal;
mod keys;
mod locked;
mod recipients;
mod row;
mod sealing;
mod secret;
mod signing;
mod store;
mod tampering;
mod tree;
mod verification;

pub use anchor::{Anchor, AnchorError};
pub use backend::sqlite::{Access, Sqlite};
pub use backend::{
    Backend, BackendError, FoundDocument, JournalRows, ReadTransaction, RowCounts, Rows, Writes,
};
pub use digest::{Digest, InvalidDigest};
pub use document::Document;
pub use error::Error;
pub use files::path_check::{check_ancestors, check_link, check_parent, check_private};
pub use files::{private_directory, temporary_files};
pub use input_file::{INPUT_TIMEOUT, InputError, InputFile};
pub use journal::entry::{Author, Effect, JournalEntry};
pub use journal::position::{JournalPosition, Revision};
pub use journal::signer_chain::SignerChain;
pub use keys::Keys;
pub use keys::error::KeyError;
pub use keys::source::IdentitySource;
pub use locked::{inherited_file, memory_lock_failures};
pub use recipients::{
    RECIPIENTS_KIND, Recipient, RecipientError, RecipientId, Recipients,
    document_key as recipients_key,
};
pub use row::{BlobRow, DocumentKey, SignedRow};
pub use sealing::context::{Fields, SealContext, SealError};
pub use secret::Secret;
pub use signing::{InvalidKeyId, KeyId, Signer, Verifier};
pub use store::Store;
pub use store::batch::Batch;
pub use store::cache::Snapshot;
pub use tampering::{Fault, Tampering};
pub use verification::report::{CheckReport, DocumentBlobs, Progress, Visitor};
