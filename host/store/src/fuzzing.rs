//! The parsers of outside bytes, for fuzzing, each with what must hold of it.

use std::sync::OnceLock;

use crate::Revision;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::document::{Document, DocumentKey};
use crate::journal::Entry;
use crate::signing::{Signer, Verifier};
use crate::{anchor, sealing, tree};

const REVISION: Revision = 7;

/// One for all runs: to make one takes longer than to use it.
fn signer() -> Option<&'static (Signer, Vec<Verifier>)> {
    static SIGNER: OnceLock<Option<(Signer, Vec<Verifier>)>> = OnceLock::new();
    let made = || {
        let signer = Signer::generate().ok()?;
        let verifiers = vec![signer.verifier()];
        Some((signer, verifiers))
    };
    SIGNER.get_or_init(made).as_ref()
}

fn row(payload: &[u8]) -> SignedRow {
    SignedRow {
        revision: REVISION,
        payload: payload.to_vec(),
        signature: vec![0; 64],
        signer: "0123456789abcdef".to_owned(),
    }
}

/// A payload that is signed reads as the document it names or not at all; the same
/// unsigned never does.
pub fn document(payload: &[u8]) {
    let Some((signer, verifiers)) = signer() else {
        return;
    };
    let key = DocumentKey::new("scope", "acme");
    let told = Digest::of(payload);
    assert!(Document::verify(&key, &row(payload), verifiers, told).is_err());
    let signed = signer.sign_document(REVISION, payload.to_vec());
    if let Ok(document) = Document::verify(&key, &signed, verifiers, told) {
        assert_eq!(document.key(), &key);
        assert_eq!(document.revision(), REVISION);
        assert_eq!(document.digest(), told);
        assert!(Document::verify(&key, &signed, verifiers, Digest::of(b"other")).is_err());
    }
}

/// What reads as a journal entry is of its row's revision, and reads the same when
/// it is written again.
pub fn journal_entry(payload: &[u8]) {
    if let Ok(entry) = Entry::parse(&row(payload)) {
        assert_eq!(entry.revision, REVISION);
        let again = serde_json::to_vec(&entry).unwrap_or_default();
        let again = Entry::parse(&row(&again));
        assert!(again.is_ok_and(|again| again.documents == entry.documents));
    }
}

/// A frame opens at one place at most.
pub fn frame(bytes: &[u8]) {
    sealing::check_frame(bytes);
}

/// A file that nobody sealed to the identity never opens.
pub fn age_file(bytes: &[u8]) {
    sealing::check_file(bytes);
}

/// A node is written as the bytes it was read from.
pub fn tree_node(bytes: &[u8]) {
    tree::check_decoding(bytes);
}

/// A mark is written as one that reads the same.
pub fn anchor(bytes: &[u8]) {
    anchor::check_decoding(bytes);
}
