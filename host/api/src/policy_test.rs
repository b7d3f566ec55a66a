//! Results of test vectors.

use serde::Serialize;
use serde_json::Value;

/// The results of a file of vectors. `policy test` prints a list of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VectorFileResult {
    /// The file.
    pub file: String,
    /// How many vectors passed.
    pub passed: u64,
    /// The vectors that failed.
    pub failed: Vec<FailedVector>,
}

/// A vector that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailedVector {
    /// Its name.
    pub name: String,
    /// The expected result, in the form of vectors; missing if there was no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// The actual result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// Why there was no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
