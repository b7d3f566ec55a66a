//! Backups.

use serde::{Deserialize, Serialize};

/// `backup`: a copy of the store was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Backup {
    /// The file.
    pub file: String,
    /// The revision of the store in it.
    pub revision: u64,
}

/// `restore`: the store was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Restored {
    /// The revision of the backup.
    pub backup: u64,
    /// When the newest change of the backup was made.
    pub backup_at_ms: u64,
    /// The labels of the recipients of the backup that were removed since. They stay removed.
    pub not_restored: Vec<String>,
    /// The highest revision that this home has seen before.
    pub seen: u64,
    /// The revision of the store now.
    pub revision: u64,
    /// How many secrets were sealed again.
    pub renewed: u64,
    /// How many secrets could not be sealed again.
    pub skipped: u64,
}

/// The dry run of `restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RestorePlan {
    /// Always `true`.
    pub dry_run: bool,
    /// The revision of the backup.
    pub backup: u64,
    /// When the newest change of the backup was made.
    pub backup_at_ms: u64,
    /// The labels of the recipients of the backup that were removed since. They stay removed.
    pub not_restored: Vec<String>,
    /// The highest revision that this home has seen.
    pub seen: u64,
    /// How many secrets would be sealed again.
    pub to_renew: u64,
    /// The organizations with secrets that the new identity of a clean machine would open.
    pub organizations: Vec<String>,
}
