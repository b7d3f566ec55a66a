//! Reads files of vectors.

use std::path::{Path, PathBuf};

use entail::host_attributes::check_host_attributes;
use entail::policy::{Decision, Facts, Values};
use entail_text::strict;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::decide_result::{DecideErrorCode, DecideResult};
use super::error::VectorError;
use super::limits::MAX_TOTAL_BYTES;
use crate::display::display_path;
use crate::source::{SourceError, files_with_extension, read_found};

/// The directory of vectors in the directory of a policy.
pub const VECTORS_DIRECTORY: &str = "vectors";

/// The most bytes of one vector: parsed settings take up to ninety times their length in
/// memory, and are parsed for one vector at a time.
const MAX_VECTOR_BYTES: usize = 1 << 20;

/// A file of vectors.
#[derive(Debug)]
pub struct VectorFile {
    /// Its name, for messages.
    pub name: String,
    pub(super) vectors: Vec<Vector>,
}

/// A vector. Its settings are kept as text, which is smaller.
#[derive(Debug)]
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) settings: Option<Box<RawValue>>,
    pub(super) facts: Facts,
    pub(super) expected: DecideResult,
}

/// A vector as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVector {
    name: String,
    settings: Option<Box<RawValue>>,
    facts: Facts,
    decision: Option<Decision>,
    error: Option<DecideErrorCode>,
}

/// The name of an invalid vector.
#[derive(Deserialize)]
struct VectorName {
    name: Option<String>,
}

/// Returns the directory `vectors` in the directory of a policy, or beside the file of a
/// component.
///
/// # Errors
///
/// [`VectorError::NoDirectory`].
pub fn find_directory(component: &Path) -> Result<PathBuf, VectorError> {
    let directory = if component.is_dir() {
        component.join(VECTORS_DIRECTORY)
    } else {
        component.with_file_name(VECTORS_DIRECTORY)
    };
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(VectorError::NoDirectory(component.display().to_string()))
}

/// Reads the files `*.json` of a directory.
///
/// # Errors
///
/// [`VectorError`] names the file, the vector and the rule.
pub fn read_directory(directory: &Path) -> Result<Vec<VectorFile>, VectorError> {
    let paths = files_with_extension(directory, "json")?;
    if paths.is_empty() {
        return Err(VectorError::NoVectors(directory.display().to_string()));
    }
    let mut remaining = MAX_TOTAL_BYTES;
    let mut files = Vec::new();
    for path in paths {
        let text = read_found(&path, remaining).map_err(|error| match error {
            SourceError::TooLarge { name, .. } => VectorError::TooLarge(name),
            error => error.into(),
        })?;
        remaining = remaining.saturating_sub(text.len());
        files.push(VectorFile::parse(display_path(&path), &text)?);
    }
    Ok(files)
}

pub(super) fn parse_settings(settings: &RawValue) -> serde_json::Result<Values> {
    serde_json::from_str(settings.get())
}

impl VectorFile {
    fn parse(name: String, text: &[u8]) -> Result<Self, VectorError> {
        let list: Vec<&RawValue> =
            strict::from_slice(text).map_err(|error| VectorError::NotAList {
                name: name.clone(),
                error,
            })?;
        let vectors = list
            .into_iter()
            .enumerate()
            .map(|(index, vector)| Vector::parse(&name, index, vector.get()))
            .collect::<Result<_, VectorError>>()?;
        Ok(VectorFile { name, vectors })
    }
}

impl Vector {
    fn parse(file: &str, index: usize, text: &str) -> Result<Self, VectorError> {
        let invalid = |reason: &dyn std::fmt::Display| VectorError::Invalid {
            file: file.to_owned(),
            vector: match serde_json::from_str(text) {
                Ok(VectorName { name: Some(name) }) => format!("{name:?}"),
                _ => format!("vector {}", index + 1),
            },
            reason: reason.to_string(),
        };
        if text.len() > MAX_VECTOR_BYTES {
            let reason = format!("it is larger than {MAX_VECTOR_BYTES} bytes");
            return Err(invalid(&reason));
        }
        let written: WrittenVector = serde_json::from_str(text).map_err(|error| invalid(&error))?;
        if let Some(settings) = &written.settings {
            parse_settings(settings).map_err(|error| invalid(&error))?;
        }
        check_host_attributes(&written.facts).map_err(|error| invalid(&error))?;
        let expected = match (written.decision, written.error) {
            (Some(decision), None) => DecideResult::from(decision),
            (None, Some(error)) => DecideResult::Error { error },
            _ => return Err(invalid(&"a vector has either a decision or an error")),
        };
        Ok(Vector {
            name: written.name,
            settings: written.settings,
            facts: written.facts,
            expected,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(vector: &Value) -> Result<Vector, String> {
        Vector::parse("rules.json", 0, &vector.to_string()).map_err(|error| error.to_string())
    }

    fn vector() -> Value {
        json!({
            "name": "an own key wins",
            "facts": {
                "request": {"provider": "openai", "now_ms": 1},
                "chain": [{"path": "acme"}],
            },
            "decision": {"refused": {"code": "no-credential", "message": "none"}, "trail": []},
        })
    }

    #[test]
    fn an_invalid_vector_is_reported_with_file_and_name() {
        assert!(parse(&vector()).is_ok());
        for (path, name) in [
            ("", "a"),
            ("/facts", "b"),
            ("/facts/request", "c"),
            ("/decision", "d"),
        ] {
            let mut invalid = vector();
            invalid.pointer_mut(path).unwrap()[name] = json!(1);
            let error = parse(&invalid).err().unwrap();
            assert!(
                error.starts_with(&format!(
                    "rules.json, \"an own key wins\": unknown field `{name}`"
                )),
                "{error}"
            );
        }
        let mut both = vector();
        both["error"] = json!("other");
        let error = parse(&both).err().unwrap();
        assert!(error.ends_with("a decision or an error"));
        let mut neither = vector();
        neither.as_object_mut().unwrap().remove("decision");
        assert!(parse(&neither).is_err());
    }

    #[test]
    fn a_message_is_not_compared() {
        let expected = parse(&vector()).unwrap().expected;
        let mut other = vector();
        other["decision"]["refused"]["message"] = json!("other words");
        assert_eq!(parse(&other).unwrap().expected, expected);
        other["decision"]["refused"]["code"] = json!("expired");
        assert_ne!(parse(&other).unwrap().expected, expected);
    }
}
