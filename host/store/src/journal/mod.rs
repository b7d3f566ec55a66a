//! The journal: a signed hash chain with one entry per change.

pub(crate) mod entry;
pub(crate) mod head;
pub(crate) mod position;
pub(crate) mod signer_chain;
