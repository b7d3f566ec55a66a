//! Signed statements: the one form of everything that is signed.
//!
//! The signed bytes are a JSON object with these members, and those of its type:
//!
//! - `type` and `version`: what it is, and the version of that form;
//! - `store`: the store that it is for;
//! - `lineage`: the lineage of that store. A restore begins a new one.
//! - `critical`, if there are any: the names of members that a reader must know. A reader
//!   ignores all other members that it does not know.
//!
//! A signature covers the DSSE encoding of the type and the exact bytes: `DSSEv1 LEN(type) type
//! LEN(body) body`, as defined by the DSSE protocol v1.0.2
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>). So a signature of one
//! type is never valid for another. Beside the bytes stands a JSON list of signatures, each with
//! its algorithm and the fingerprint of its key. Only the keys that the reader trusts decide
//! which signatures count.

use std::fmt;

use entail_text::{objects, strict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::keys::service::ServiceError;
use crate::random_id::RandomId;
use crate::signing::{ED25519, KeyId, Signer, Verifier};
use crate::tampering::{Fault, Tampering};

/// The newest version of each form that this program reads, and the one that it writes.
pub(crate) const VERSION: u32 = 1;

/// A type of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatementType {
    Checkpoint,
    Heartbeat,
    Keyring,
}

impl StatementType {
    fn name(self) -> &'static str {
        match self {
            StatementType::Checkpoint => "checkpoint",
            StatementType::Heartbeat => "heartbeat",
            StatementType::Keyring => "keyring",
        }
    }

    /// The bytes that a signature covers.
    fn signed_bytes(self, payload: &[u8]) -> Vec<u8> {
        let name = format!("application/vnd.entail.{}+json", self.name());
        let mut encoded = format!("DSSEv1 {} {name} {} ", name.len(), payload.len()).into_bytes();
        encoded.extend_from_slice(payload);
        encoded
    }
}

/// The names of the members that all statements have.
pub(crate) const HEADER_MEMBERS: &[&str] = &["type", "version", "store", "lineage", "critical"];

/// The members that all statements have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
    /// The store that the statement is for.
    pub(crate) store: RandomId,
    /// The lineage of the store.
    pub(crate) lineage: RandomId,
    /// The members that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    critical: Vec<String>,
}

impl Header {
    pub(crate) fn new(kind: StatementType, store: RandomId, lineage: RandomId) -> Self {
        Header {
            kind: kind.name().to_owned(),
            version: VERSION,
            store,
            lineage,
            critical: Vec::new(),
        }
    }

    /// Whether the statement has that type.
    pub(crate) fn is(&self, kind: StatementType) -> bool {
        self.kind == kind.name()
    }
}

/// The members that describe the version of a form.
#[derive(Deserialize)]
struct FormVersion {
    version: u32,
    #[serde(default)]
    critical: Vec<String>,
}

/// Parses JSON of a form with a version, in which every record is an object. `members` are the members that this program knows;
/// `what` names the object in errors.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    members: &[&str],
    what: impl fmt::Display,
) -> Result<T, Tampering> {
    let malformed = |what| Tampering::new(Fault::Forged, what, "is malformed");
    // Refuses duplicate members at any depth.
    let Ok(form) = strict::from_slice::<FormVersion>(bytes) else {
        return Err(malformed(&what as &dyn fmt::Display));
    };
    let is_known = |member: &String| members.contains(&member.as_str());
    if form.version == 0 {
        return Err(malformed(&what));
    }
    if form.version > VERSION || !form.critical.iter().all(is_known) {
        return Err(newer(what));
    }
    objects::from_slice(bytes).map_err(|_| malformed(&what))
}

/// Reports an object in a form that this program does not read.
pub(crate) fn newer(what: impl fmt::Display) -> Tampering {
    Tampering::new(
        Fault::Newer,
        what,
        "was written by a newer version of Entail, which is needed to read it",
    )
}

/// Signed bytes, with their signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signatures: a JSON list.
    pub signatures: Vec<u8>,
}

/// The signatures of a statement that nobody signed yet.
const NO_SIGNATURES: &[u8] = b"[]";

/// A signature, as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSignature {
    algorithm: String,
    key: String,
    signature: String,
}

impl Statement {
    /// A statement that nobody signed yet.
    pub(crate) fn unsigned(payload: Vec<u8>) -> Self {
        Statement {
            payload,
            signatures: NO_SIGNATURES.to_vec(),
        }
    }

    /// Whether nobody signed it yet.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.signatures == NO_SIGNATURES
    }

    /// Signs `payload` with each of `signers`.
    pub(crate) fn sign<'a>(
        kind: StatementType,
        payload: Vec<u8>,
        signers: impl IntoIterator<Item = &'a Signer>,
    ) -> Result<Self, ServiceError> {
        let mut statement = Self::unsigned(payload);
        for signer in signers {
            statement.add_signature(kind, signer)?;
        }
        Ok(statement)
    }

    /// Adds a signature. Malformed signatures are replaced.
    pub(crate) fn add_signature(
        &mut self,
        kind: StatementType,
        signer: &Signer,
    ) -> Result<(), ServiceError> {
        let mut signatures: Vec<StoredSignature> =
            serde_json::from_slice(&self.signatures).unwrap_or_default();
        let key = signer.id().to_string();
        signatures.retain(|signature| signature.key != key);
        signatures.push(StoredSignature {
            algorithm: ED25519.to_owned(),
            key,
            signature: hex::encode(&signer.sign(&kind.signed_bytes(&self.payload))?),
        });
        // Texts always serialize.
        self.signatures = serde_json::to_vec(&signatures).unwrap_or_default();
        Ok(())
    }

    /// Returns the keys among `trusted` that signed it. Fails if there is any other signature,
    /// an invalid one, or none. The error is the predicate of a sentence about the statement.
    pub(crate) fn signed_by(
        &self,
        kind: StatementType,
        trusted: &[&Verifier],
    ) -> Result<Vec<KeyId>, &'static str> {
        const MALFORMED: &str = "has malformed signatures";
        let signatures: Vec<StoredSignature> =
            serde_json::from_slice(&self.signatures).map_err(|_| MALFORMED)?;
        // Every byte beside the signed ones is fixed as well.
        if serde_json::to_vec(&signatures).ok().as_deref() != Some(&*self.signatures) {
            return Err(MALFORMED);
        }
        let bytes = kind.signed_bytes(&self.payload);
        let mut signed_by = Vec::with_capacity(signatures.len());
        for signature in signatures {
            let key = trusted
                .iter()
                .find(|key| key.id().to_string() == signature.key)
                .filter(|key| !signed_by.contains(&key.id()))
                .ok_or("is signed by a key that is not trusted")?;
            let bytes_of_signature = hex::decode::<64>(&signature.signature);
            let is_valid = signature.algorithm == ED25519
                && bytes_of_signature.is_some_and(|found| key.verifies(&bytes, &found));
            if !is_valid {
                return Err("has an invalid signature");
            }
            signed_by.push(key.id());
        }
        if signed_by.is_empty() {
            return Err("is not signed");
        }
        Ok(signed_by)
    }

    /// The keys that its signatures name. Verifies no signature.
    pub(crate) fn named_keys(&self) -> Vec<KeyId> {
        let signatures: Vec<StoredSignature> =
            serde_json::from_slice(&self.signatures).unwrap_or_default();
        let keys = signatures.iter().map(|signature| signature.key.parse());
        keys.filter_map(Result::ok).collect()
    }

    /// Whether any of `trusted` signed it, whoever else did.
    pub(crate) fn is_signed_by_any(&self, kind: StatementType, trusted: &[&Verifier]) -> bool {
        self.count_signers(kind, trusted) > 0
    }

    /// How many of `trusted` signed it, whoever else did.
    pub(crate) fn count_signers(&self, kind: StatementType, trusted: &[&Verifier]) -> usize {
        let signatures: Vec<StoredSignature> =
            serde_json::from_slice(&self.signatures).unwrap_or_default();
        let bytes = kind.signed_bytes(&self.payload);
        let has_signed = |key: &&&Verifier| {
            let id = key.id().to_string();
            signatures.iter().any(|signature| {
                let found = hex::decode::<64>(&signature.signature).unwrap_or([0; 64]);
                signature.key == id && key.verifies(&bytes, &found)
            })
        };
        trusted.iter().filter(has_signed).count()
    }

    /// Encodes it as two lines: the signed bytes, which contain no line break, and the
    /// signatures.
    pub(crate) fn to_lines(&self) -> Vec<u8> {
        [&self.payload[..], b"\n", &self.signatures, b"\n"].concat()
    }

    /// Parses two lines.
    pub(crate) fn from_lines(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let (payload, signatures) = (lines.next()?.to_vec(), lines.next()?.to_vec());
        lines.next().is_none().then_some(Statement {
            payload,
            signatures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_bytes_follow_the_dsse_protocol() {
        assert_eq!(
            StatementType::Keyring.signed_bytes(b"hello"),
            b"DSSEv1 35 application/vnd.entail.keyring+json 5 hello"
        );
    }

    #[test]
    fn a_statement_counts_for_its_type_bytes_and_trusted_keys_alone() {
        let (one, two) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let (first, second) = (one.verifier(), two.verifier());
        let sign = |signers: &[&Signer]| {
            let signers = signers.iter().copied();
            Statement::sign(StatementType::Keyring, b"bytes".to_vec(), signers).unwrap()
        };
        let statement = sign(&[&one, &two]);
        let signed_by = |statement: &Statement, kind, trusted: &[&Verifier]| {
            statement.signed_by(kind, trusted).ok()
        };
        let keyring = StatementType::Keyring;
        assert_eq!(
            signed_by(&statement, keyring, &[&second, &first]),
            Some(vec![one.id(), two.id()])
        );
        assert_eq!(signed_by(&statement, keyring, &[&first]), None);
        let both = [&first, &second];
        assert_eq!(
            signed_by(&statement, StatementType::Checkpoint, &both),
            None
        );
        let other = Statement {
            payload: b"other".to_vec(),
            ..statement.clone()
        };
        assert_eq!(signed_by(&other, keyring, &both), None);
        let mut twice = sign(&[&one, &one]);
        assert_eq!(signed_by(&twice, keyring, &both), Some(vec![one.id()]));
        let signature = String::from_utf8(twice.signatures).unwrap();
        let signature = signature.trim_matches(['[', ']']);
        twice.signatures = format!("[{signature},{signature}]").into_bytes();
        assert_eq!(signed_by(&twice, keyring, &both), None);
        let none = sign(&[]);
        assert_eq!(signed_by(&none, keyring, &both), None);
        for at in 0..statement.signatures.len() {
            let mut damaged = statement.clone();
            damaged.signatures[at] ^= 1;
            assert_eq!(signed_by(&damaged, keyring, &both), None, "byte {at}");
            let mut longer = statement.clone();
            longer.signatures.insert(at, b' ');
            assert_eq!(signed_by(&longer, keyring, &both), None, "space at {at}");
        }
        let lines = statement.to_lines();
        assert_eq!(Statement::from_lines(&lines), Some(statement));
        assert_eq!(Statement::from_lines(&lines[..lines.len() - 1]), None);
        assert_eq!(Statement::from_lines(b"one\n"), None);
        assert_eq!(Statement::from_lines(b"one\ntwo\nthree\n"), None);
    }

    #[test]
    fn a_newer_version_and_an_unknown_critical_member_are_not_forgeries() {
        #[derive(Debug, Deserialize)]
        struct Form {
            number: u32,
            #[serde(default)]
            #[allow(dead_code)] // it is parsed
            keys: Vec<Key>,
        }
        #[derive(Debug, Deserialize)]
        struct Key {
            #[allow(dead_code)] // it is parsed
            label: String,
        }
        let parse = |text: &str| {
            parse::<Form>(text.as_bytes(), &["version", "number"], "the form")
                .map(|form| form.number)
                .map_err(|error| error.fault())
        };
        let known = r#"{"version":1,"number":7}"#;
        assert_eq!(parse(known), Ok(7));
        assert_eq!(parse(&known.replace('}', r#","more":{}}"#)), Ok(7));
        assert_eq!(parse(&known.replace(":1", ":2")), Err(Fault::Newer));
        assert_eq!(parse(r#"{"version":2}"#), Err(Fault::Newer));
        let critical = |name: &str| known.replace('}', &format!(r#","critical":["{name}"]}}"#));
        assert_eq!(parse(&critical("number")), Ok(7));
        assert_eq!(parse(&critical("more")), Err(Fault::Newer));
        let keys = |keys: &str| known.replace('}', &format!(r#","keys":[{keys}]}}"#));
        assert_eq!(parse(&keys(r#"{"label":"a"}"#)), Ok(7));
        assert_eq!(parse(&keys(r#"["a"]"#)), Err(Fault::Forged));
        assert_eq!(parse("[1,7,[]]"), Err(Fault::Forged));
        let twice = r#"{"version":1,"number":7,"more":{"a":1,"a":2}}"#;
        assert_eq!(parse(&known.replace(":1", ":0")), Err(Fault::Forged));
        for text in [
            "",
            "7",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":"1"}"#,
            twice,
        ] {
            assert_eq!(parse(text), Err(Fault::Forged), "{text}");
        }
    }
}
