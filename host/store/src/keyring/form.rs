//! What a keyring must be like that owners are asked to sign.
//!
//! Readers accept more. But what a person cannot tell from the differences, or what no command
//! makes, is not signed: a key that is listed twice, a recipient in another spelling, a scope that
//! cannot exist, a member that this version does not know.

use std::collections::BTreeSet;

use super::authority::{Authority, LabelledKey};
use super::{Keyring, KeyringDraft};
use crate::recipients::{Recipient, check_label};

/// The shortest time between heartbeats that can be required, in milliseconds: clocks of machines
/// differ by seconds.
pub const MIN_FRESH_FOR_MS: u64 = 60 * 1000;

/// Fails unless this program would write the keyring like this. The error is the predicate of a
/// sentence about it.
pub(crate) fn check_form(keyring: &Keyring) -> Result<(), &'static str> {
    let draft = KeyringDraft {
        store: keyring.store(),
        lineage: keyring.lineage(),
        number: keyring.number(),
        previous: keyring.previous,
        authority: keyring.authority().clone(),
        proposal: keyring.proposal(),
    };
    let written = draft.unsigned(keyring.at_ms());
    if !written.is_ok_and(|written| written.digest() == keyring.digest()) {
        return Err("is not in the form that this version writes");
    }
    check_authority(keyring.authority())
}

fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    let Authority {
        owners,
        signers,
        readers,
        default_recipients,
        fresh_for_ms,
    } = authority;
    check_keys(owners.keys.iter())?;
    check_keys(signers.iter().map(|signer| &signer.key))?;
    for scopes in signers.iter().filter_map(|signer| signer.scopes.as_ref()) {
        if scopes.is_empty() || !scopes.iter().all(|scope| is_scope(scope)) {
            return Err("has a signer of scopes that cannot exist");
        }
    }
    check_recipients(default_recipients)?;
    for readers in readers {
        check_recipients(&readers.recipients)?;
        if !is_scope(&readers.organization) {
            return Err("has an organization that cannot exist");
        }
    }
    if fresh_for_ms.is_some_and(|fresh_for_ms| fresh_for_ms < MIN_FRESH_FOR_MS) {
        return Err("requires heartbeats more often than every minute");
    }
    Ok(())
}

fn check_keys<'a>(keys: impl Iterator<Item = &'a LabelledKey>) -> Result<(), &'static str> {
    let mut known = BTreeSet::new();
    for LabelledKey { key, label } in keys {
        check_text(label)?;
        if key.is_weak() {
            return Err("has a key that signs nothing");
        }
        if !known.insert(key.id()) {
            return Err("has a key twice");
        }
    }
    Ok(())
}

fn check_recipients(recipients: &[Recipient]) -> Result<(), &'static str> {
    let mut known = BTreeSet::new();
    for Recipient { key, label, .. } in recipients {
        check_text(label)?;
        let written = Recipient::new(key, label, 0);
        if !written.is_ok_and(|written| written.key == *key) {
            return Err("has a malformed recipient");
        }
        if !known.insert(key) {
            return Err("has a recipient twice");
        }
    }
    Ok(())
}

fn check_text(label: &str) -> Result<(), &'static str> {
    check_label(label).map_err(|_| "has a label that is too long")
}

/// Whether a text can be the path of a scope.
fn is_scope(text: &str) -> bool {
    let is_segment = |segment: &str| {
        let mut bytes = segment.bytes();
        !segment.is_empty() && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    text.split('/').all(is_segment)
}
