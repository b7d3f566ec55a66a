//! The parsers of outside bytes, for fuzzing, each with what must hold of it.

use std::sync::OnceLock;

use crate::Revision;
use crate::anchor::Mark;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::document::{Document, DocumentKey};
use crate::journal::Entry;
use crate::sealing::{self, Binding, Header};
use crate::secret::Secret;
use crate::signing::{PayloadType, Signer, Verifier};
use crate::tree::Node;

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
    let signed = signer.sign_row(PayloadType::Document, REVISION, payload.to_vec());
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

/// A frame opens at the one place that it names, and at no other.
pub fn frame(bytes: &[u8]) {
    let elsewhere = Binding {
        scope: "acme".to_owned(),
        credential: "c1".to_owned(),
        version: 1,
        provider: "openai".to_owned(),
        hosts: Vec::new(),
        epoch: 1,
    };
    let secret = Secret::new(bytes);
    let named = bytes
        .strip_prefix(sealing::FORM)
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .and_then(|header| serde_json::from_slice::<Header>(header).ok());
    let opened = sealing::open_frame(&secret, &elsewhere);
    let Some(header) = named else {
        assert!(opened.is_err());
        return;
    };
    assert!(opened.is_err() || header.binding == elsewhere);
    if let Ok(fields) = sealing::open_frame(&secret, &header.binding) {
        let inside: usize = fields.iter().map(|(_, value)| value.len()).sum();
        assert!(inside < bytes.len());
    }
}

/// A file that nobody sealed to the identity never opens.
pub fn age_file(bytes: &[u8]) {
    static IDENTITY: OnceLock<age::x25519::Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(age::x25519::Identity::generate);
    assert!(sealing::open([identity as &dyn age::Identity], bytes).is_err());
}

/// A node is written as the bytes it was read from.
pub fn tree_node(bytes: &[u8]) {
    if let Some(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
    }
}

/// A mark is written as one that reads the same.
pub fn anchor(bytes: &[u8]) {
    if let Ok(mark) = serde_json::from_slice::<Mark>(bytes) {
        let text = serde_json::to_vec(&mark).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Mark>(&text).ok(), Some(mark));
    }
}
