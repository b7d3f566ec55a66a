//! The rules of the protocol, each of which can be broken.

/// A rule. The model with one rule broken must violate a property; so every rule is needed, and
/// the checker can find a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The anchor names a checkpoint, not only a revision.
    AnchorNamesCheckpoint,
    /// A running process reads the anchor before every read.
    ProcessReadsAnchor,
    /// A running process that is further than the anchor looks at the anchored entry: only a
    /// restore moves the anchor back.
    ProcessReadsAnchoredEntry,
    /// A checkpoint counts only if a signer of the keyring in force signed it.
    FormerSignersEnd,
    /// A checkpoint may put a later keyring into force, never an earlier one.
    KeyringsAdvance,
    /// An owner of the previous keyring signs a keyring.
    OwnersSignKeyrings,
    /// The keyrings of a database contain the one that the machine trusts.
    TrustedKeyringRequired,
    /// A machine follows the keyrings after the one that it trusts.
    KeyringsFollowed,
    /// A new epoch begins when a reader is removed.
    RemovalBeginsEpoch,
    /// The keys of the epochs are sealed to a reader that is added.
    AdditionSealsEpochs,
    /// An epoch is dropped only if no secret is sealed to it.
    UsedEpochsKept,
    /// A restore carries over the present readers.
    RestoreKeepsReaders,
    /// A restore carries over the present owners and signers.
    RestoreKeepsSigners,
    /// A restore trusts a backup only if keys that have power now signed it.
    RestoreTrustsPresentKeys,
    /// A restore begins an epoch if a removed reader may know the newest of the backup.
    RestoreBeginsEpoch,
    /// That is the case if it is not exactly the newest of the present state. Whom the backup
    /// itself names is not enough: a reader that was added since, and removed, knows it too.
    RestoreComparesEpochs,
    /// A restore continues the keyrings up to the one in force, not those that no checkpoint
    /// names.
    RestoreTakesProvenKeyrings,
    /// A clean machine accepts only a backup that contains the state of the receipt.
    ReceiptContained,
    /// A clean machine accepts only a backup of the owners in the receipt.
    ReceiptOwners,
}

/// The rules of the protocol, all of them or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub broken: Option<Rule>,
}

impl Rules {
    pub fn without(rule: Rule) -> Self {
        Rules { broken: Some(rule) }
    }

    pub fn keep(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}
