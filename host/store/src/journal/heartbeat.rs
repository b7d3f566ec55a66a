//! Heartbeats: a signer confirms that a checkpoint is the newest, until a certain time.
//!
//! A machine that is shown an old state of the database cannot tell by itself: its anchor may be
//! as old. If the keyring requires heartbeats, a state counts only for a while after its checkpoint
//! or the newest heartbeat for it was signed. A signer's machine sends them regularly. Each
//! replaces the previous one, so the database does not grow.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::position::{JournalPosition, Revision};
use crate::keyring::Keyring;
use crate::keys::service::ServiceError;
use crate::signing::Signer;
use crate::statement::{self, HEADER_MEMBERS, Header, Statement, StatementType};
use crate::tampering::{Fault, Tampering};

/// The maximum size of a heartbeat.
const MAX_HEARTBEAT_BYTES: usize = 1024;

/// How far ahead of a reader's clock the clock of a signer may be, in milliseconds.
const MAX_CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

const MEMBERS: &[&str] = &["revision", "checkpoint", "at_ms", "until_ms"];

/// The signed confirmation that a checkpoint is the newest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    #[serde(flatten)]
    header: Header,
    /// The revision of the checkpoint.
    pub(crate) revision: Revision,
    /// The SHA-256 of the checkpoint.
    pub(crate) checkpoint: Digest,
    /// When it was signed, in milliseconds since 1970-01-01T00:00:00Z.
    at_ms: u64,
    /// Until when the checkpoint counts as the newest.
    until_ms: u64,
}

impl Heartbeat {
    /// Confirms the newest checkpoint from `now_ms` on, for as long as `keyring` requires
    /// heartbeats in. `None` if it requires none, or there is no checkpoint.
    pub(crate) fn new(position: JournalPosition, keyring: &Keyring, now_ms: u64) -> Option<Self> {
        let fresh_for_ms = keyring.authority().fresh_for_ms?;
        Some(Heartbeat {
            header: Header::new(StatementType::Heartbeat, keyring.store(), keyring.lineage()),
            revision: position.revision,
            checkpoint: position.checkpoint?,
            at_ms: now_ms,
            until_ms: now_ms.saturating_add(fresh_for_ms),
        })
    }

    pub(crate) fn sign(&self, signer: &Signer) -> Result<Statement, ServiceError> {
        // Texts and numbers always serialize.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        Statement::sign(StatementType::Heartbeat, payload, [signer])
    }

    /// Parses a heartbeat that a signer of `keyring` signed for its store.
    pub(crate) fn verify(statement: &Statement, keyring: &Keyring) -> Result<Self, Tampering> {
        const WHAT: &str = "the heartbeat";
        let tampered = |reason| Tampering::new(Fault::Forged, WHAT, reason);
        if statement.payload.len() > MAX_HEARTBEAT_BYTES {
            return Err(tampered("is larger than a heartbeat can be"));
        }
        let signed_by = statement
            .signed_by(StatementType::Heartbeat, &keyring.signing_keys())
            .map_err(tampered)?;
        if keyring.scopes_of(&signed_by).is_some() {
            return Err(tampered(
                "is signed by a key that may change only some scopes",
            ));
        }
        let members = [HEADER_MEMBERS, MEMBERS].concat();
        let heartbeat: Heartbeat = statement::parse(&statement.payload, &members, WHAT)?;
        if !heartbeat.header.is(StatementType::Heartbeat) {
            return Err(tampered("is a statement of another type"));
        }
        if heartbeat.header.store != keyring.store()
            || heartbeat.header.lineage != keyring.lineage()
        {
            return Err(tampered(
                "belongs to another store, or another lineage of it",
            ));
        }
        Ok(heartbeat)
    }

    /// The revision that a heartbeat names, without verifying it.
    pub(crate) fn named_revision(statement: &Statement) -> Option<Revision> {
        #[derive(Deserialize)]
        struct Named {
            revision: Revision,
        }
        let named: Named = serde_json::from_slice(&statement.payload).ok()?;
        Some(named.revision)
    }

    /// Whether it confirms the checkpoint at that position.
    pub(crate) fn confirms(&self, position: JournalPosition) -> bool {
        self.revision == position.revision && Some(self.checkpoint) == position.checkpoint
    }
}

/// A span of time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from_ms: u64,
    until_ms: u64,
}

/// When a state of the store counts as the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// `None` if the keyring requires no heartbeats.
    signed: Option<Vec<Span>>,
}

impl Freshness {
    /// When the state after `checkpoint` counts as the newest: since it was signed, or the
    /// heartbeat for it was, for as long as the keyring says. `checkpoint` is `None` if a signer of
    /// some scopes signed it, who cannot confirm the rest.
    pub(crate) fn of(
        checkpoint: Option<&Checkpoint>,
        heartbeat: Option<&Heartbeat>,
        keyring: &Keyring,
    ) -> Self {
        let Some(fresh_for_ms) = keyring.authority().fresh_for_ms else {
            return Freshness::default();
        };
        let span = |at_ms: u64, until_ms: u64| Span {
            from_ms: at_ms,
            // Whatever the heartbeat says, the owners have decided.
            until_ms: until_ms.min(at_ms.saturating_add(fresh_for_ms)),
        };
        let checkpoint = checkpoint.map(|checkpoint| span(checkpoint.at_ms, u64::MAX));
        let heartbeat = heartbeat.map(|heartbeat| span(heartbeat.at_ms, heartbeat.until_ms));
        Freshness {
            signed: Some(checkpoint.into_iter().chain(heartbeat).collect()),
        }
    }

    /// Whether the state counts as the newest at `now_ms`, by this machine's clock.
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        let covers = |span: &Span| {
            span.from_ms <= now_ms.saturating_add(MAX_CLOCK_SKEW_MS) && now_ms < span.until_ms
        };
        self.signed
            .as_ref()
            .is_none_or(|signed| signed.iter().any(covers))
    }

    /// Until when it counts as the newest, in milliseconds since 1970-01-01T00:00:00Z; `None` if
    /// the keyring requires no heartbeats.
    pub fn until_ms(&self) -> Option<u64> {
        let signed = self.signed.as_ref()?;
        Some(signed.iter().map(|span| span.until_ms).max().unwrap_or(0))
    }
}
