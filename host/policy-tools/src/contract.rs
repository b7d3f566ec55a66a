//! The contract that policies implement, as text.

/// The newest version of the contract: the file `wit/policy.wit`.
pub const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// The versions of the contract that hosts support, the newest first.
pub(crate) const VERSIONS: [(&str, &str); 2] = [
    ("0.2.0", CONTRACT),
    (
        "0.1.0",
        include_str!("../../../wit/released/0.1.0/policy.wit"),
    ),
];

/// The world that a policy exports.
pub(crate) const WORLD: &str = "policy";

/// The target without a system interface: what is built for it imports nothing that its
/// author did not declare.
pub const RUST_TARGET: &str = "wasm32-unknown-unknown";
