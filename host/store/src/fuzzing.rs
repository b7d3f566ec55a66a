//! Entry points for fuzzing the parsers of untrusted bytes, with the properties that must
//! hold.

use std::sync::OnceLock;

use crate::digest::Digest;
use crate::document::Document;
use crate::journal::entry::JournalEntry;
use crate::journal::position::{JournalPosition, Revision};
use crate::row::{DocumentKey, SignedRow};
use crate::sealing;
use crate::sealing::context::SealContext;
use crate::sealing::frame::{self, Header};
use crate::secret::Secret;
use crate::signing::{PayloadType, Signer, Verifier};
use crate::tree::Node;

const REVISION: Revision = 7;

/// One for all runs: generating a key takes longer than using it.
fn signer() -> Option<&'static (Signer, Vec<Verifier>)> {
    static SIGNER: OnceLock<Option<(Signer, Vec<Verifier>)>> = OnceLock::new();
    let generate = || {
        let signer = Signer::generate().ok()?;
        let verifiers = vec![signer.verifier()];
        Some((signer, verifiers))
    };
    SIGNER.get_or_init(generate).as_ref()
}

fn row(payload: &[u8]) -> SignedRow {
    SignedRow {
        revision: REVISION,
        payload: payload.to_vec(),
        signature: vec![0; 64],
        signer: "0123456789abcdef".to_owned(),
    }
}

/// A signed payload parses as the document that it names, or not at all. An unsigned one
/// never does.
pub fn document(payload: &[u8]) {
    let Some((signer, verifiers)) = signer() else {
        return;
    };
    let key = DocumentKey::new("scope", "acme");
    let digest = Digest::of(payload);
    assert!(Document::verify(&key, &row(payload), verifiers, digest).is_err());
    let signed = signer.sign_row(PayloadType::Document, REVISION, payload.to_vec());
    if let Ok(document) = Document::verify(&key, &signed, verifiers, digest) {
        assert_eq!(document.key(), &key);
        assert_eq!(document.revision(), REVISION);
        assert_eq!(document.digest(), digest);
        assert!(Document::verify(&key, &signed, verifiers, Digest::of(b"other")).is_err());
    }
}

/// A parsed journal entry has the revision of its row, and round-trips.
pub fn journal_entry(payload: &[u8]) {
    if let Ok(entry) = JournalEntry::parse(&row(payload)) {
        assert_eq!(entry.revision, REVISION);
        let written = serde_json::to_vec(&entry).unwrap_or_default();
        let written = JournalEntry::parse(&row(&written));
        assert!(written.is_ok_and(|written| written.documents == entry.documents));
    }
}

/// A frame opens only in the context that it names.
pub fn frame(bytes: &[u8]) {
    let other = SealContext {
        scope: "acme".to_owned(),
        credential: "c1".to_owned(),
        version: 1,
        provider: "openai".to_owned(),
        hosts: Vec::new(),
        epoch: 1,
    };
    let secret = Secret::new(bytes);
    let named = bytes
        .strip_prefix(frame::FORMAT)
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .and_then(|header| serde_json::from_slice::<Header>(header).ok());
    let opened = frame::decode(&secret, &other);
    let Some(header) = named else {
        assert!(opened.is_err());
        return;
    };
    assert!(opened.is_err() || header.context == other);
    if let Ok(fields) = frame::decode(&secret, &header.context) {
        let total: usize = fields.iter().map(|(_, value)| value.len()).sum();
        assert!(total < bytes.len());
    }
}

/// A file that was not encrypted to the identity never decrypts.
pub fn age_file(bytes: &[u8]) {
    static IDENTITY: OnceLock<age::x25519::Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(age::x25519::Identity::generate);
    assert!(sealing::decrypt([identity as &dyn age::Identity], bytes).is_err());
}

/// A parsed node encodes to the same bytes.
pub fn tree_node(bytes: &[u8]) {
    if let Some(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
    }
}

/// A parsed anchor round-trips.
pub fn anchor(bytes: &[u8]) {
    if let Ok(position) = serde_json::from_slice::<JournalPosition>(bytes) {
        let text = serde_json::to_vec(&position).unwrap_or_default();
        assert_eq!(
            serde_json::from_slice::<JournalPosition>(&text).ok(),
            Some(position)
        );
    }
}
