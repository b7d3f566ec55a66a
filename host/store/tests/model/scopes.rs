//! What is explored exhaustively: each scope limits how often each kind of action is taken, so
//! that its state space is finite and small, and allows together what can interact.

use super::model::{Kind, Scope};

/// Signers that are rotated, added and removed, and an adversary with their keys.
pub const SIGNERS: Scope = Scope {
    name: "signers",
    limits: &[
        (Kind::Write, 1),
        (Kind::Signer, 3),
        (Kind::Theft, 1),
        (Kind::Forgery, 1),
    ],
    other_acts: true,
    processes: true,
    forged_backups: false,
};

/// Databases that are rolled back, with and without a fork.
pub const ROLLBACKS: Scope = Scope {
    name: "rollbacks",
    limits: &[
        (Kind::Write, 2),
        (Kind::Signer, 1),
        (Kind::Copy, 1),
        (Kind::Restore, 1),
        (Kind::Replacement, 1),
    ],
    other_acts: true,
    processes: true,
    forged_backups: false,
};

/// Owners that are rotated, and an adversary with keyrings of its own.
pub const OWNERS: Scope = Scope {
    name: "owners",
    limits: &[
        (Kind::Write, 1),
        (Kind::Owner, 1),
        (Kind::Signer, 1),
        (Kind::Theft, 2),
        (Kind::Replacement, 1),
        (Kind::ForgedKeyring, 1),
    ],
    other_acts: true,
    processes: false,
    forged_backups: false,
};

/// Readers that come and go, renewals and restores, without an adversary other than a removed
/// reader.
pub const READERS: Scope = Scope {
    name: "readers",
    limits: &[
        (Kind::Write, 2),
        (Kind::Reader, 3),
        (Kind::Renewal, 4),
        (Kind::Copy, 1),
        (Kind::Restore, 2),
    ],
    other_acts: false,
    processes: false,
    forged_backups: false,
};

/// Restores of backups, some of them forged.
pub const RESTORES: Scope = Scope {
    name: "restores",
    limits: &[
        (Kind::Signer, 1),
        (Kind::Owner, 1),
        (Kind::Reader, 1),
        (Kind::Copy, 1),
        (Kind::Restore, 1),
        (Kind::Theft, 1),
        (Kind::Forgery, 1),
    ],
    other_acts: false,
    processes: false,
    forged_backups: true,
};

/// Restores over a database with keyrings that no checkpoint names.
pub const KEYRINGS: Scope = Scope {
    name: "keyrings",
    limits: &[
        (Kind::Write, 1),
        (Kind::Signer, 1),
        (Kind::Copy, 1),
        (Kind::Restore, 1),
        (Kind::Replacement, 1),
        (Kind::ForgedKeyring, 1),
    ],
    other_acts: true,
    processes: false,
    forged_backups: false,
};

/// Restores on a clean machine, of backups some of which are forged.
pub const CLEAN: Scope = Scope {
    name: "clean machine",
    limits: &[
        (Kind::Signer, 1),
        (Kind::Owner, 1),
        (Kind::Reader, 1),
        (Kind::Copy, 1),
        (Kind::Clean, 1),
        (Kind::Theft, 1),
        (Kind::ForgedKeyring, 1),
    ],
    other_acts: false,
    processes: false,
    forged_backups: true,
};

/// What random traces for the replay are made of.
pub const REPLAYED: Scope = Scope {
    name: "replayed",
    limits: &[
        (Kind::Write, 3),
        (Kind::Signer, 3),
        (Kind::Owner, 1),
        (Kind::Reader, 3),
        (Kind::Renewal, 4),
        (Kind::Copy, 3),
        (Kind::Restore, 2),
        (Kind::Clean, 1),
        (Kind::Theft, 2),
        (Kind::Replacement, 2),
        (Kind::Forgery, 2),
        (Kind::ForgedKeyring, 1),
    ],
    other_acts: true,
    processes: true,
    forged_backups: true,
};
