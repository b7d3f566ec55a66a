//! Where the identities of a machine come from.

use super::identity::Identity;
use crate::secret::Secret;

/// The identities of a machine, as far as they are available.
pub(super) enum Identities {
    Absent,
    /// Encrypted with a passphrase that was not given.
    Locked(Vec<u8>),
    Open(Vec<Identity>),
}

/// The source of the identities.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds a secret
pub enum IdentitySource {
    /// The key directory.
    Directory,
    /// The caller: identities in the format of the age tools.
    Given(Secret),
}
