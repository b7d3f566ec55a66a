//! The names of the key files.

pub(super) const IDENTITY: &str = "identity.txt";
pub(super) const LOCKED_IDENTITY: &str = "identity.age";
pub(super) const SIGNER: &str = "signer.pem";
pub(super) const NEXT_SIGNER: &str = "signer.next.pem";
pub(super) const VERIFIER: &str = "verifier.pem";
