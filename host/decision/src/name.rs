//! Names in canonical form. Input is parsed into these types where it enters the program, and
//! only these types are compared.

use std::fmt;
use std::str::FromStr;

use entail_text::Shown;
use serde::{Deserialize, Serialize};

/// The longest segment of a path, and the longest name.
const MAX_SEGMENT_CHARS: usize = 63;

/// The deepest path: an organization and seven levels of projects.
const MAX_SEGMENTS: usize = 8;

/// The longest model id, in bytes; the longest known one has about ninety.
const MAX_MODEL_BYTES: usize = 256;

/// The longest value of an attribute: room for ids of sessions and users.
const MAX_ATTRIBUTE_BYTES: usize = 128;

/// The prefix of attributes that only the host writes: `entail:region`.
pub const HOST_PREFIX: &str = "entail:";

/// The longest text that an error quotes. Keys are longer: a key that was pasted into the
/// wrong place must not appear in a log.
const MAX_QUOTED_CHARS: usize = 20;

/// Returns `text` in quotes and sanitized if it is short, otherwise a phrase for it.
pub fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_QUOTED_CHARS {
        format!("{:?}", Shown::of(text))
    } else {
        "what was given".to_owned()
    }
}

/// A text is not a valid name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is not {kind}: {rule}")]
pub struct InvalidName {
    shown: String,
    kind: &'static str,
    rule: &'static str,
}

impl InvalidName {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        InvalidName {
            shown: quoted(text),
            kind,
            rule,
        }
    }
}

const SEGMENT_RULE: &str = "it takes a-z, 0-9 and -, at most 63 of them, and does not start with -";

fn is_segment(text: &str) -> bool {
    text.len() <= MAX_SEGMENT_CHARS
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && text.bytes().next().is_some_and(|first| first != b'-')
}

macro_rules! canonical_text {
    ($type:ident) => {
        impl $type {
            /// Returns the name in canonical form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

/// The path of a scope: `acme` is an organization, `acme/evals` a project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopePath(String);

canonical_text!(ScopePath);

impl ScopePath {
    /// Returns the scope above; `None` for an organization.
    #[must_use]
    pub fn parent(&self) -> Option<ScopePath> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| ScopePath(parent.to_owned()))
    }

    /// Returns this scope, then each scope above it, up to the organization.
    pub fn chain(&self) -> impl Iterator<Item = ScopePath> {
        std::iter::successors(Some(self.clone()), ScopePath::parent)
    }

    /// Returns the organization that it is or belongs to.
    #[must_use]
    pub fn organization(&self) -> ScopePath {
        let first = self.0.split('/').next().unwrap_or_default();
        ScopePath(first.to_owned())
    }

    /// Whether it is an organization.
    pub fn is_organization(&self) -> bool {
        !self.0.contains('/')
    }

    /// Returns the number of levels below its organization.
    pub fn depth(&self) -> usize {
        self.0.matches('/').count()
    }

    /// Whether `path`, in canonical form, is this scope or lies below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the last segment.
    pub fn last_segment(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }
}

impl FromStr for ScopePath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |rule| Err(InvalidName::new(text, "the path of a scope", rule));
        if text.split('/').count() > MAX_SEGMENTS {
            return invalid("it has at most 8 segments");
        }
        if !text.split('/').all(is_segment) {
            return invalid(
                "each segment takes a-z, 0-9 and -, at most 63 of them, and does not start with -",
            );
        }
        Ok(ScopePath(text.to_owned()))
    }
}

/// The id of a provider: `openai`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProviderId(String);

canonical_text!(ProviderId);

impl FromStr for ProviderId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_segment(text) {
            Ok(ProviderId(text.to_owned()))
        } else {
            Err(InvalidName::new(text, "the id of a provider", SEGMENT_RULE))
        }
    }
}

/// The name of a credential within its scope and provider: `default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialName(String);

canonical_text!(CredentialName);

impl Default for CredentialName {
    fn default() -> Self {
        CredentialName("default".to_owned())
    }
}

impl FromStr for CredentialName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_segment(text) {
            Ok(CredentialName(text.to_owned()))
        } else {
            Err(InvalidName::new(
                text,
                "the name of a credential",
                SEGMENT_RULE,
            ))
        }
    }
}

/// The id of a model, in its provider's spelling: `gpt-5`, `anthropic.claude-3-haiku-20240307-v1:0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelId(String);

canonical_text!(ModelId);

impl FromStr for ModelId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if (1..=MAX_MODEL_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            Ok(ModelId(text.to_owned()))
        } else {
            Err(InvalidName::new(
                text,
                "a model",
                "it has 1 to 256 visible ASCII characters, and no space",
            ))
        }
    }
}

/// The name of an attribute that a caller adds to a request: `session`. It cannot begin with
/// [`HOST_PREFIX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttributeName(String);

canonical_text!(AttributeName);

impl FromStr for AttributeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with(HOST_PREFIX) {
            Err(InvalidName::new(
                text,
                "the name of an attribute that a caller can give",
                "names that begin with entail: are reserved for the host",
            ))
        } else if is_segment(text) {
            Ok(AttributeName(text.to_owned()))
        } else {
            Err(InvalidName::new(
                text,
                "the name of an attribute",
                SEGMENT_RULE,
            ))
        }
    }
}

/// The value of an attribute that a caller adds to a request. The policy sees it and the
/// decision log records it, so it must not be secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttributeValue(String);

canonical_text!(AttributeValue);

impl FromStr for AttributeValue {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if (1..=MAX_ATTRIBUTE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            Ok(AttributeValue(text.to_owned()))
        } else {
            Err(InvalidName::new(
                text,
                "the value of an attribute",
                "it has 1 to 128 visible ASCII characters, and no space",
            ))
        }
    }
}

/// Identifies a credential for as long as it exists, independently of its name: 32 random
/// hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialId(String);

canonical_text!(CredentialId);

impl CredentialId {
    /// Makes an id of 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        CredentialId(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

impl FromStr for CredentialId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 32 && text.bytes().all(digit) {
            Ok(CredentialId(text.to_owned()))
        } else {
            Err(InvalidName::new(
                text,
                "the id of a credential",
                "it has 32 hexadecimal digits",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for good in [
            "acme",
            "acme/evals",
            "a/b/c/d/e/f/g/h",
            "0",
            "a-b",
            "a-",
            &"a".repeat(63),
        ] {
            assert_eq!(good.parse::<ScopePath>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "acme/",
            "/acme",
            "acme//evals",
            "Acme",
            "acme/Evals",
            " acme",
            "acme ",
            "acme\n",
            "-acme",
            "acme/-x",
            "a_b",
            "a.b",
            "acmé",
            "а",
            "a/b/c/d/e/f/g/h/i",
            "acme/../other",
            "acme\0",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<ScopePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_knows_its_chain() {
        let path: ScopePath = "acme/evals/staging".parse().unwrap();
        let chain: Vec<String> = path.chain().map(String::from).collect();
        assert_eq!(chain, ["acme/evals/staging", "acme/evals", "acme"]);
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below() {
        let path: ScopePath = "acme/evals".parse().unwrap();
        for within in ["acme/evals", "acme/evals/a", "acme/evals/a/b"] {
            assert!(path.covers(within), "{within}");
        }
        for without in ["acme", "acme/evals2", "acme/other", "other/acme/evals", ""] {
            assert!(!path.covers(without), "{without}");
        }
    }

    #[test]
    fn a_model_has_no_spaces_and_no_control_characters() {
        for good in [
            "gpt-5",
            "anthropic.claude-3:0",
            "models/gemini-2.5-pro",
            "ft:gpt-4o:acme::x@1",
        ] {
            assert!(good.parse::<ModelId>().is_ok(), "{good}");
        }
        for bad in ["", "gpt 5", "gpt\n", "gpt\u{e9}", &"x".repeat(257)] {
            assert!(bad.parse::<ModelId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_repeats_short_texts_only() {
        let error = "Acme".parse::<ScopePath>().unwrap_err().to_string();
        assert!(error.contains("\"Acme\""), "{error}");
        let error = "sk-CANARY-0123456789abcdef"
            .parse::<ScopePath>()
            .unwrap_err()
            .to_string();
        assert!(!error.contains("CANARY"), "{error}");
    }
}
