//! What is set for the policy: by what to spread, and how much each takes.

use entail_default_policy::settings::Problem;
use serde::Deserialize;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// The weight of a credential that is not listed.
const DEFAULT_WEIGHT: u32 = 1;

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The name of the attribute that keeps requests together.
    pub by: String,
    weights: Vec<Listed>,
}

/// How much one credential takes.
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
    /// How much this credential of this scope takes.
    pub fn weight(&self, scope: &str, credential: &str) -> u32 {
        self.weights
            .iter()
            .find(|listed| listed.scope == scope && listed.credential == credential)
            .map_or(DEFAULT_WEIGHT, |listed| listed.weight)
    }
}

/// Reads settings.
pub fn read(settings: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(settings)
}

/// Looks settings over: no credential is listed twice.
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
