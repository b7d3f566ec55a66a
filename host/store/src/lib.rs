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
//! The anchor ([`Anchor`]), a small file outside of the database, remembers the
//! newest journal entry. What is put back, a row or the whole, is found when it is
//! read; [`Store::check`] looks at everything.

mod anchor;
mod backend;
mod digest;
mod document;
mod error;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identity;
mod input_file;
mod journal;
mod keys;
mod known;
mod locked;
mod recipients;
mod sealing;
mod secret;
mod signing;
mod sqlite;
mod store;
mod succession;
mod tree;
mod verification;

pub use anchor::{Anchor, AnchorError, Mark};
pub use backend::{
    Backend, BackendError, BlobRow, Counts, FoundDocument, Frozen, JournalRows, Rows, SignedRow,
    Writes,
};
pub use digest::{Digest, NotADigest};
pub use document::{Document, DocumentKey};
pub use error::{Error, Fault, Tampering};
pub use files::{check_link, check_private, check_way, check_way_into, private_folder, unfinished};
pub use input_file::{InputError, InputFile, WITHIN as INPUT_WITHIN};
pub use journal::{Author, Effect, Entry};
pub use keys::{IdentitySource, KeyError, Keys};
pub use locked::{inherited_file, times_not_locked};
pub use recipients::{
    RECIPIENTS_KIND, Recipient, RecipientError, RecipientId, Recipients,
    document_key as recipients_key,
};
pub use sealing::{Binding, Fields, SealError};
pub use secret::Secret;
pub use signing::{KeyId, NotAKeyId, Signer, Verifier};
pub use sqlite::{Access, Sqlite};
pub use store::{Batch, Snapshot, Store};
pub use succession::Succession;
pub use verification::{Moment, Progress, Report, Visitor};

/// Counts the changes of a store. The empty store is at 0.
pub type Revision = u64;
