//! A policy's answer, as the contract has it (`wit/policy.wit`).
//!
//! Its texts are a policy's own, so they are [`ForeignText`]; its codes are names, and so
//! harmless wherever they are shown.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use entail_text::{ForeignText, Shown};
use serde::{Deserialize, Serialize};

/// What a policy says besides: names and values, both its own.
pub type Attributes = BTreeMap<ForeignText, ForeignText>;

/// What a policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Grant or refusal.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Every candidate, in the order in which the policy considered them.
    pub trail: Vec<Finding>,
    /// What else the policy said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// Grant or refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One credential may be used.
    Granted(Grant),
    /// None may.
    Refused(Refusal),
}

/// One credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The id of the credential.
    pub credential: String,
    /// The ids of those that may be used in its place, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
    /// The model the grant is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// No credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Why, as a code.
    pub code: Code,
    /// Why, as a sentence.
    #[serde(default, skip_serializing_if = "ForeignText::is_empty")]
    pub message: ForeignText,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The id of the credential.
    pub credential: String,
    /// What became of it, as a code.
    pub code: Code,
    /// What else the policy said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// The longest code, in characters: three times the longest of the default policy.
const MAX_CODE_CHARS: usize = 64;

/// A code of a refusal or a finding: `not-opted-in`. It says something only of a policy's
/// decision; codes of errors are another set of names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

impl Code {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a code: a code has 1 to 64 characters of a-z, 0-9 and -")]
pub struct InvalidCode(String);

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=MAX_CODE_CHARS).contains(&text.len()) && text.bytes().all(fits) {
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
