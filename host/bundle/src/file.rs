//! The file of a bundle: the signed manifest, and the sealed secrets that it names.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entail_text::objects;
use entail_text::strict::{self, unique_map};
use serde::{Deserialize, Serialize};

use crate::error::{BundleError, malformed, not_the_form};
use crate::manifest::Manifest;
use crate::signature::{PAYLOAD_TYPE, Signature, decode, sha256};

/// The media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.entail.bundle+json;version=1";

/// What the media types of all versions begin with.
const ANY_MEDIA_TYPE: &str = "application/vnd.entail.bundle+json;version=";

/// The maximum size of a bundle: enough for 10,000 scopes with a secret each.
pub const MAX_BUNDLE_BYTES: usize = 128 << 20;

/// The most JSON values in a file: its blobs, and some more.
const MAX_VALUES: usize = 200_000;

/// The most signatures: a bundle has one for each signer that made it.
const MAX_SIGNATURES: usize = 16;

/// A bundle, as it is stored and sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// [`MEDIA_TYPE`].
    #[serde(rename = "mediaType")]
    media_type: String,
    /// The signed manifest.
    envelope: Envelope,
    /// The sealed secrets: age files in base64, by their digests.
    #[serde(deserialize_with = "unique_map")]
    blobs: BTreeMap<String, String>,
}

/// The member that says which version a file has.
#[derive(Deserialize)]
struct FileVersion {
    #[serde(rename = "mediaType")]
    media_type: String,
}

/// A signed manifest: a DSSE envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`PAYLOAD_TYPE`].
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// The signed bytes, in base64.
    payload: String,
    /// The signatures.
    signatures: Vec<Signature>,
}

/// The digest of a blob, as a bundle names it: `sha256:` and hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

impl BundleFile {
    /// The file with this signed manifest and these blobs.
    pub fn new(payload: &[u8], signatures: Vec<Signature>, blobs: &[Vec<u8>]) -> Self {
        let blobs = blobs.iter();
        BundleFile {
            media_type: MEDIA_TYPE.to_owned(),
            envelope: Envelope {
                payload_type: PAYLOAD_TYPE.to_owned(),
                payload: STANDARD.encode(payload),
                signatures,
            },
            blobs: blobs
                .map(|blob| (digest_of(blob), STANDARD.encode(blob)))
                .collect(),
        }
    }

    /// Parses a file. Trusts nothing in it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge {
                what: "bundle",
                max: format!("{MAX_BUNDLE_BYTES} bytes"),
            });
        }
        // Refuses duplicate members at any depth.
        let form: FileVersion =
            strict::from_slice_within(text, MAX_VALUES).map_err(not_the_form)?;
        if form.media_type != MEDIA_TYPE {
            let is_newer = form.media_type.starts_with(ANY_MEDIA_TYPE);
            return Err(if is_newer {
                BundleError::Newer
            } else {
                malformed("its media type is another")
            });
        }
        let text = strict::without_mark(text);
        let file: BundleFile = objects::from_slice(text).map_err(not_the_form)?;
        if file.envelope.payload_type != PAYLOAD_TYPE {
            return Err(malformed("its payload has another type"));
        }
        Ok(file)
    }

    /// The manifest, if every signature of it is by one of the `trusted` keys.
    pub(crate) fn verify(&self, trusted: &[String]) -> Result<Manifest, BundleError> {
        let envelope = &self.envelope;
        let payload = decode(&envelope.payload)?;
        if envelope.signatures.len() > MAX_SIGNATURES {
            return Err(BundleError::TooLarge {
                what: "list of signatures",
                max: format!("{MAX_SIGNATURES} signatures"),
            });
        }
        if envelope.signatures.is_empty() {
            return Err(BundleError::InvalidSignature);
        }
        for (position, signature) in envelope.signatures.iter().enumerate() {
            signature.verify(&payload, trusted)?;
            let mut before = envelope.signatures.iter().take(position);
            if before.any(|before| before.keyid == signature.keyid) {
                return Err(malformed("a key signed it twice"));
            }
        }
        Manifest::parse(&payload)
    }

    /// The digests of its blobs.
    pub(crate) fn blob_names(&self) -> impl Iterator<Item = &String> {
        self.blobs.keys()
    }

    /// The blob with this digest; it is verified.
    pub(crate) fn blob(&self, digest: &str) -> Result<Vec<u8>, BundleError> {
        let changed = || BundleError::ChangedBlob(digest.to_owned());
        let blob = decode(self.blobs.get(digest).ok_or_else(changed)?).map_err(|_| changed())?;
        if digest_of(&blob) == digest {
            Ok(blob)
        } else {
            Err(changed())
        }
    }

    /// The fingerprints of the keys that its signatures name. Verifies none.
    pub(crate) fn named_signers(&self) -> impl Iterator<Item = &str> {
        let signatures = self.envelope.signatures.iter();
        signatures.map(|signature| signature.keyid.as_str())
    }
}
