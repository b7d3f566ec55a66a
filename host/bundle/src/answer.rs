//! Resolves with JSON text in and out, for hosts in other languages.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entail_decision::Decision;
use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};
use entail_text::objects;
use entail_text::strict::{self, unique_map};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, Expected};
use crate::error::{BundleError, place_of};
use crate::manifest::{Frame, MAX_INTEGER};
use crate::resolve::{Request, SealedLease};

/// The maximum size of a request.
pub const MAX_REQUEST_BYTES: usize = 256 << 10;

/// The most JSON values in a request.
const MAX_VALUES: usize = 4_096;

/// A request, as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestText {
    scope: ScopePath,
    provider: ProviderId,
    #[serde(default)]
    model: Option<ModelId>,
    #[serde(default)]
    credential: Option<CredentialName>,
    #[serde(default)]
    principal: Option<String>,
    #[serde(default, deserialize_with = "unique_map")]
    attributes: BTreeMap<String, AttributeValue>,
    now_ms: u64,
    #[serde(default)]
    recipients: Vec<String>,
    expected: ExpectedText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedText {
    signers: Vec<String>,
    #[serde(default)]
    store: Option<String>,
    #[serde(default)]
    organization: Option<ScopePath>,
    #[serde(default)]
    lowest_revision: u64,
}

/// The answer to a request.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<'a> {
    Resolved(Resolved<'a>),
    Error(ErrorText),
}

#[derive(Serialize)]
struct Resolved<'a> {
    store: &'a str,
    organization: &'a ScopePath,
    revision: u64,
    expires_at_ms: u64,
    policy: &'a str,
    decision: &'a Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseText<'a>>,
}

/// A granted credential with its sealed secret.
#[derive(Serialize)]
struct LeaseText<'a> {
    name: &'a str,
    holder: &'a ScopePath,
    version: u32,
    mode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<&'a str>,
    hosts: &'a [String],
    parameters: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    blob: &'a str,
    frame: &'a Frame,
    /// The age file, in base64.
    sealed: String,
}

#[derive(Serialize)]
struct ErrorText {
    code: &'static str,
    message: String,
}

/// Resolves a request on a bundle. Both are JSON, and so is the answer: `{"resolved": …}` or
/// `{"error": {"code", "message"}}`.
pub fn answer(bundle: &str, request: &str) -> String {
    answer_bytes(bundle.as_bytes(), request.as_bytes())
}

/// [`answer`] for bytes that may not be text.
pub fn answer_bytes(bundle: &[u8], request: &[u8]) -> String {
    answered(bundle, request).unwrap_or_else(|error| {
        to_text(&Answer::Error(ErrorText {
            code: error.code(),
            message: error.to_string(),
        }))
    })
}

fn answered(bundle: &[u8], request: &[u8]) -> Result<String, BundleError> {
    let (request, expected) = parse(request)?;
    let bundle = Bundle::open(bundle, &expected)?;
    let resolution = bundle.resolve(&request)?;
    let manifest = bundle.manifest();
    Ok(to_text(&Answer::Resolved(Resolved {
        store: &manifest.store,
        organization: &manifest.organization,
        revision: manifest.revision,
        expires_at_ms: manifest.expires_at_ms,
        policy: &manifest.policy.digest,
        decision: &resolution.decision,
        lease: resolution.lease.as_ref().map(LeaseText::of),
    })))
}

impl<'a> LeaseText<'a> {
    fn of(lease: &'a SealedLease<'a>) -> Self {
        let secret = lease.secret;
        LeaseText {
            name: &lease.name,
            holder: &secret.frame.scope,
            version: secret.frame.version,
            mode: &secret.frame.mode,
            model: lease.model.as_deref(),
            base_url: secret.base_url.as_deref(),
            hosts: &secret.frame.hosts,
            parameters: &secret.parameters,
            expires_at_ms: lease.expires_at_ms,
            blob: &secret.blob,
            frame: &secret.frame,
            sealed: STANDARD.encode(&lease.sealed),
        }
    }
}

fn parse(text: &[u8]) -> Result<(Request, Expected), BundleError> {
    if text.len() > MAX_REQUEST_BYTES {
        return Err(BundleError::TooLarge {
            what: "request",
            max: format!("{MAX_REQUEST_BYTES} bytes"),
        });
    }
    let invalid = |reason: &dyn std::fmt::Display| {
        let shown = entail_text::sanitize(&reason.to_string()).into_owned();
        BundleError::InvalidRequest(shown)
    };
    // Refuses duplicate members at any depth.
    let checked = strict::from_slice_within::<IgnoredAny>(text, MAX_VALUES);
    let request = checked.and_then(|_| objects::from_slice(strict::without_mark(text)));
    let request: RequestText = request.map_err(|error| invalid(&place_of(&error)))?;
    let integers = [request.now_ms, request.expected.lowest_revision];
    if integers.into_iter().any(|integer| integer > MAX_INTEGER) {
        return Err(invalid(&format!("an integer is larger than {MAX_INTEGER}")));
    }
    let attributes = request.attributes.into_iter().map(|(name, value)| {
        let name: AttributeName = name.parse().map_err(|error| invalid(&error))?;
        Ok((name, value))
    });
    let expected = Expected {
        signers: request.expected.signers,
        store: request.expected.store,
        organization: request.expected.organization,
        lowest_revision: request.expected.lowest_revision,
        now_ms: request.now_ms,
    };
    let request = Request {
        scope: request.scope,
        provider: request.provider,
        model: request.model,
        credential: request.credential,
        principal: request.principal,
        attributes: attributes.collect::<Result<_, BundleError>>()?,
        now_ms: request.now_ms,
        recipients: request.recipients,
    };
    Ok((request, expected))
}

fn to_text(answer: &Answer<'_>) -> String {
    // Texts, numbers and lists always serialize.
    entail_text::json::to_string(answer).unwrap_or_default()
}
