//! Keeps documents and sealed secrets in a database that it does not trust.
//!
//! - A [`Document`] is a piece of metadata, signed (Ed25519) together with its
//!   kind, name and revision. What the database hands back is verified before
//!   anyone sees it; what does not verify is [`Error::Tampered`], never "absent".
//! - A blob is bytes under the name of their SHA-256; sealed secrets are blobs.
//! - The journal is a signed hash chain with one entry per change.
//! - Every write is one [`Store::commit`] against an expected revision: all of
//!   it, journalled, or nothing.
//! - A secret is sealed to age recipients ([`Keys::seal`]) in a frame that says where
//!   it belongs, and opens only there ([`Keys::unseal`]).
//!
//! Two keys, two powers: the identity reads secrets, the signer writes
//! documents ([`Keys`]). A store without the one cannot reveal, without the
//! other cannot change.
//!
//! What it does not promise yet: that a whole database put back to an older
//! state is noticed by a process that never saw the newer one.

mod backend;
mod digest;
mod document;
mod error;
mod journal;
mod keys;
mod sealing;
mod secret;
mod signing;
mod sqlite;
mod store;

pub use backend::{Backend, BackendError, HeadRow, Rows, SignedRow, Writes};
pub use digest::{Digest, NotADigest};
pub use document::{Document, DocumentKey};
pub use error::{Error, Tampering};
pub use journal::{Author, Effect, Entry};
pub use keys::{KeyError, Keys, RecipientId};
pub use sealing::{Binding, Fields, SealError};
pub use secret::Secret;
pub use signing::{KeyId, Signer, Verifier};
pub use sqlite::Sqlite;
pub use store::{Batch, Snapshot, Store};

/// Counts the changes of a store. The empty store is at 0.
pub type Revision = u64;
