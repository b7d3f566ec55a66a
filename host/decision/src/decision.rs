//! The decision of a policy, as defined by the contract (`wit/policy.wit`).
//!
//! Its texts come from the policy, so they are [`ForeignText`]. Its codes have a restricted
//! alphabet and are safe to show.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use entail_text::{ForeignText, Shown};
use serde::{Deserialize, Serialize};

use crate::json::{record, records};

/// Additional information from a policy: names and values.
pub type Attributes = BTreeMap<ForeignText, ForeignText>;

/// The decision of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Grant or refusal.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A finding for each candidate, in the order in which the policy considered them.
    #[serde(deserialize_with = "records")]
    pub trail: Vec<Finding>,
    /// Additional information from the policy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// Grant or refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One credential may be used.
    #[serde(deserialize_with = "record")]
    Granted(Grant),
    /// None may.
    #[serde(deserialize_with = "record")]
    Refused(Refusal),
}

/// One credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The id of the credential.
    pub credential: String,
    /// The ids of credentials that may be used instead, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
    /// The effective model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// No credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The reason, as a code.
    pub code: Code,
    /// The reason, as a sentence.
    #[serde(default, skip_serializing_if = "ForeignText::is_empty")]
    pub message: ForeignText,
}

/// The policy's result for one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The id of the credential.
    pub credential: String,
    /// The result, as a code.
    pub code: Code,
    /// Additional information from the policy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// The longest code, in characters: three times the longest of the default policy.
const MAX_CODE_CHARS: usize = 64;

/// The code of a refusal or a finding: `not-opted-in`. Codes of errors are a different set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

impl Code {
    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is not a valid code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a code: a code has 1 to 64 characters of a-z, 0-9 and -")]
pub struct InvalidCode(String);

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let is_allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=MAX_CODE_CHARS).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Code(text.to_owned()))
        } else {
            Err(InvalidCode(format!("{:?}", Shown::of(text))))
        }
    }
}

impl TryFrom<String> for Code {
    type Error = InvalidCode;

    fn try_from(text: String) -> Result<Self, InvalidCode> {
        text.parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.0
    }
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_name() {
        for good in ["not-opted-in", "a", "7", &"x".repeat(64)] {
            assert_eq!(good.parse::<Code>().unwrap(), good);
        }
        for bad in [
            "",
            "Expired",
            "not_found",
            "a b",
            "expired\r",
            "\u{1b}[2K",
            "\u{202e}x",
            "gewährt",
            &"x".repeat(65),
        ] {
            let error = bad.parse::<Code>().unwrap_err().to_string();
            assert!(error.chars().all(entail_text::is_plain), "{error}");
            assert!(serde_json::from_value::<Code>(bad.into()).is_err());
        }
    }
}
