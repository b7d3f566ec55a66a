//! The names of the key files.

pub(super) const IDENTITY: &str = "identity.txt";
pub(super) const LOCKED_IDENTITY: &str = "identity.age";
pub(super) const OWNER: &str = "owner.pem";
pub(super) const NEXT_OWNER: &str = "owner.next.pem";
pub(super) const SIGNER: &str = "signer.pem";
pub(super) const NEXT_SIGNER: &str = "signer.next.pem";
pub(super) const KEYRING: &str = "keyring.jsonl";
