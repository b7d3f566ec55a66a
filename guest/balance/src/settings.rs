//! The settings of the policy: the attribute to spread by, and the weights.

use entail_default_policy::settings::Problem;
use serde::Deserialize;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// The weight of a credential that has none in the settings.
const DEFAULT_WEIGHT: u32 = 1;

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The attribute: requests with the same value get the same credential.
    pub by: String,
    weights: Vec<Listed>,
}

/// The weight of one credential.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    scope: String,
    credential: String,
    weight: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            by: "session".to_owned(),
            weights: Vec::new(),
        }
    }
}

impl Settings {
    /// Returns the weight of this credential of this scope.
    pub fn weight(&self, scope: &str, credential: &str) -> u32 {
        self.weights
            .iter()
            .find(|listed| listed.scope == scope && listed.credential == credential)
            .map_or(DEFAULT_WEIGHT, |listed| listed.weight)
    }
}

/// Parses settings.
pub fn read(settings: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(settings)
}

/// Validates settings: no credential is listed twice.
pub fn validate(settings: &str) -> Result<(), Vec<Problem>> {
    let weights = match read(settings) {
        Ok(settings) => settings.weights,
        Err(error) => return Err(vec![problem(String::new(), error.to_string())]),
    };
    let mut problems = Vec::new();
    for (position, weight) in weights.iter().enumerate() {
        let first = weights
            .iter()
            .position(|other| other.scope == weight.scope && other.credential == weight.credential);
        if let Some(first) = first.filter(|first| *first < position) {
            problems.push(problem(
                format!("/weights/{position}"),
                format!("must be of another credential than /weights/{first}"),
            ));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

fn problem(path: String, rule: String) -> Problem {
    Problem { path, rule }
}
