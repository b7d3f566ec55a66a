//! Runs vectors.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entail::policy::{Policy, Values};
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::decide_result::DecideResult;
use super::file::{Vector, VectorFile, parse_settings};

/// The results of a file.
#[derive(Debug)]
pub struct FileResult {
    /// The name of the file.
    pub name: String,
    /// The results of its vectors, in order.
    pub cases: Vec<CaseResult>,
}

impl FileResult {
    /// Returns the number of vectors that failed.
    pub fn failed(&self) -> usize {
        let failed = self.cases.iter().filter(|case| case.mismatch.is_some());
        failed.count()
    }

    /// Returns the number of vectors that passed.
    pub fn passed(&self) -> usize {
        self.cases.len() - self.failed()
    }
}

/// The result of a vector.
#[derive(Debug)]
pub struct CaseResult {
    /// The name of the vector.
    pub name: String,
    /// How long the call took.
    pub took: Duration,
    /// How the result differs from the expected one; `None` if the vector passed.
    pub mismatch: Option<Mismatch>,
}

/// How a result differs from the expected one.
#[derive(Debug)]
pub enum Mismatch {
    /// The policy returned another result.
    Differs {
        /// The expected result.
        expected: Box<DecideResult>,
        /// The actual result.
        actual: Box<DecideResult>,
    },
    /// The policy returned no result, for this reason.
    NoResult(String),
}

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// Which result has it.
    pub kind: DiffLineKind,
    /// The line.
    pub text: String,
}

/// Which result has a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffLineKind {
    /// Both.
    Common,
    /// The expected one only.
    Expected,
    /// The actual one only.
    Actual,
}

impl DiffLineKind {
    /// Returns the mark of such a line in a diff.
    pub fn mark(self) -> char {
        match self {
            DiffLineKind::Common => ' ',
            DiffLineKind::Expected => '-',
            DiffLineKind::Actual => '+',
        }
    }
}

impl Mismatch {
    /// Returns the lines of both results.
    pub fn lines(&self) -> Vec<DiffLine> {
        let (expected, actual) = match self {
            Mismatch::NoResult(reason) => {
                return vec![DiffLine {
                    kind: DiffLineKind::Actual,
                    text: reason.clone(),
                }];
            }
            Mismatch::Differs { expected, actual } => (expected.lines(), actual.lines()),
        };
        TextDiff::from_lines(&expected, &actual)
            .iter_all_changes()
            .map(|change| DiffLine {
                kind: match change.tag() {
                    ChangeTag::Equal => DiffLineKind::Common,
                    ChangeTag::Delete => DiffLineKind::Expected,
                    ChangeTag::Insert => DiffLineKind::Actual,
                },
                text: change.value().trim_end().to_owned(),
            })
            .collect()
    }
}

/// Runs the vectors of all files. `settings` are for vectors that have none.
pub fn run(files: Vec<VectorFile>, policy: Policy, settings: &Values) -> Vec<FileResult> {
    let mut policies = PolicyVariants::new(policy);
    files
        .into_iter()
        .map(|file| {
            let vectors = file.vectors.into_iter();
            FileResult {
                name: file.name,
                cases: vectors
                    .map(|vector| run_vector(vector, &mut policies, settings))
                    .collect(),
            }
        })
        .collect()
}

fn run_vector(vector: Vector, policies: &mut PolicyVariants, settings: &Values) -> CaseResult {
    let own = vector.settings.as_deref().map(parse_settings).transpose();
    let policy = own.map_err(|error| error.to_string());
    let policy = policy.and_then(|own| policies.with_settings(own.as_ref().unwrap_or(settings)));
    let started = Instant::now();
    let mismatch = match policy {
        Err(error) => Some(Mismatch::NoResult(error)),
        Ok(policy) => match DecideResult::from_call(policy.decide(&vector.facts)) {
            Ok(result) if result == vector.expected => None,
            Ok(actual) => Some(Mismatch::Differs {
                expected: Box::new(vector.expected),
                actual: Box::new(actual),
            }),
            Err(failure) => Some(Mismatch::NoResult(failure.to_string())),
        },
    };
    CaseResult {
        name: vector.name,
        took: started.elapsed(),
        mismatch,
    }
}

/// A policy with the settings of each vector. The same settings are validated once: that
/// starts a process.
struct PolicyVariants {
    without_settings: Policy,
    with_settings: BTreeMap<String, Result<Policy, String>>,
}

impl PolicyVariants {
    fn new(policy: Policy) -> Self {
        PolicyVariants {
            without_settings: policy,
            with_settings: BTreeMap::new(),
        }
    }

    fn with_settings(&mut self, settings: &Values) -> Result<Policy, String> {
        let text = json!(settings).to_string();
        let set = || {
            let set = self.without_settings.with_settings(settings);
            set.map_err(|error| error.to_string())
        };
        self.with_settings.entry(text).or_insert_with(set).clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn differences_are_marked() {
        let result = |decision: Value| {
            Box::new(DecideResult::Decision(
                serde_json::from_value(decision).unwrap(),
            ))
        };
        let mismatch = Mismatch::Differs {
            expected: result(json!({
                "granted": {"credential": "a"},
                "trail": [{"credential": "a", "code": "chosen"}, {"credential": "b", "code": "expired"}],
            })),
            actual: result(json!({
                "refused": {"code": "no-credential"},
                "trail": [{"credential": "b", "code": "expired"}],
            })),
        };
        let lines: Vec<String> = mismatch
            .lines()
            .into_iter()
            .map(|line| format!("{}{}", line.kind.mark(), line.text))
            .collect();
        assert_eq!(
            lines,
            [
                "-granted a",
                "-trail a: chosen",
                "+refused no-credential",
                " trail b: expired"
            ]
        );
    }
}
