//! What a sealed secret consists of, and why sealing or unsealing fails.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::random_id::RandomId;
use crate::secret::Secret;

/// The maximum size of a frame. No provider's secret comes close.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The maximum size of a sealed secret: the frame, an age header with one recipient, and the
/// overhead of the encryption.
pub(crate) const MAX_SECRET_FILE_BYTES: usize = MAX_FRAME_BYTES + 4096;

/// Where a sealed secret belongs. It can be opened only with the same context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealContext {
    /// The store.
    pub store: RandomId,
    /// The path of the scope that holds it.
    pub scope: String,
    /// The id of the credential.
    pub credential: String,
    /// The version of the credential, from 1.
    pub version: u32,
    /// The provider that it is for.
    pub provider: String,
    /// The mode of the provider.
    pub mode: String,
    /// The hosts that it may be sent to, sorted.
    pub hosts: Vec<String>,
    /// The digest of the public parameters that decide where it is sent.
    pub destination: Digest,
    /// The epoch whose key it is sealed to.
    pub epoch: u32,
    /// The names of its fields, sorted. The frame has them with the fields.
    #[serde(skip)]
    pub fields: Vec<String>,
}

/// The secret fields of a credential, by name.
pub type Fields = Vec<(String, Secret)>;

/// Why a secret cannot be sealed or opened. No message contains any part of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The list of recipients is empty.
    #[error("there is no recipient to seal to")]
    NoRecipient,
    /// The fields are too large.
    #[error("the secret has {0} bytes, more than the maximum of {MAX_FRAME_BYTES}")]
    TooLarge(usize),
    /// It is not an age file, or a damaged one.
    #[error("the sealed secret is damaged")]
    Damaged,
    /// It is sealed to other recipients.
    #[error("the sealed secret is not for this identity")]
    NotForThisIdentity,
    /// A newer version of this program sealed it.
    #[error(
        "the sealed secret was sealed by a newer version of Entail, which is needed to open it"
    )]
    Newer,
    /// It is sealed to an epoch that the organization does not have.
    #[error("the sealed secret is of an epoch that does not exist")]
    NoEpoch,
    /// It was sealed for another context.
    #[error("the sealed secret belongs elsewhere: its {0} differs")]
    Misplaced(&'static str),
}
