//! The settings of the layer, and those of the policy below.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::bindings::entail::policy::settings::Problem;
use crate::hours::{Day, Hours};

/// The JSON Schema of the settings, without those of the policy below.
const SCHEMA: &str = include_str!("../settings.schema.json");

/// The settings of the policy below if there are none.
const NOTHING: &str = "{}";

/// The settings. The schema requires hours and models; without them, no model is
/// restricted to working hours.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings<'a> {
    hours: Option<Hours>,
    #[serde(default = "working_days")]
    days: Vec<Day>,
    #[serde(default)]
    utc_offset_minutes: i16,
    /// Patterns of the models that are restricted to working hours.
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(borrow)]
    below: Option<&'a RawValue>,
}

fn working_days() -> Vec<Day> {
    Day::WEEK.into_iter().take(5).collect()
}

impl<'a> Settings<'a> {
    /// The settings of the policy below, unchanged.
    pub fn below(&self) -> &'a str {
        self.below.map_or(NOTHING, RawValue::get)
    }

    /// Whether this time is within working hours.
    pub fn is_working_time(&self, now_ms: u64) -> bool {
        self.hours
            .is_none_or(|hours| hours.contain(now_ms, self.utc_offset_minutes, &self.days))
    }
}

/// Parses settings.
pub fn read(settings: &str) -> Result<Settings<'_>, serde_json::Error> {
    serde_json::from_str(settings)
}

/// Returns the complete JSON Schema: the layer's own, with the schema of the policy
/// below for the member `below`.
pub fn schema(below: &str) -> String {
    // If the schema below is invalid, no settings are accepted.
    let below: Value = serde_json::from_str(below).unwrap_or(Value::Bool(false));
    let mut own: Value = serde_json::from_str(SCHEMA).unwrap_or(Value::Bool(false));
    let asks_for_something = below
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| !names.is_empty());
    if let Some(required) = own.get_mut("required").and_then(Value::as_array_mut)
        && asks_for_something
    {
        required.push(json!("below"));
    }
    if let Some(properties) = own.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("below".to_owned(), below);
    }
    own.to_string()
}

/// Validates settings: the hours, then the settings for the policy below, which
/// validates them itself.
pub fn validate(
    settings: &str,
    below: impl Fn(&str) -> Result<(), Vec<Problem>>,
) -> Result<(), Vec<Problem>> {
    let settings = match read(settings) {
        Ok(settings) => settings,
        Err(error) => {
            return Err(vec![Problem {
                path: String::new(),
                rule: error.to_string(),
            }]);
        }
    };
    let mut problems = Vec::new();
    if settings.hours.is_some_and(|hours| hours.from == hours.to) {
        problems.push(Problem {
            path: "/hours/to".to_owned(),
            rule: "must be another time than /hours/from".to_owned(),
        });
    }
    if let Err(of_below) = below(settings.below()) {
        problems.extend(of_below.into_iter().map(|problem| Problem {
            path: format!("/below{}", problem.path),
            ..problem
        }));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(below: &str) -> Value {
        serde_json::from_str(&schema(below)).unwrap()
    }

    #[test]
    fn the_schema_of_the_policy_below_is_embedded() {
        let schema = parsed(r#"{"type": "object", "additionalProperties": false}"#);
        assert_eq!(
            schema["properties"]["below"],
            json!({"type": "object", "additionalProperties": false})
        );
        assert_eq!(schema["required"], json!(["hours", "models"]));
    }

    #[test]
    fn below_is_required_if_its_schema_requires_a_member() {
        let schema = parsed(r#"{"type": "object", "required": ["rules"]}"#);
        assert_eq!(schema["required"], json!(["hours", "models", "below"]));
    }

    #[test]
    fn an_invalid_schema_below_allows_no_settings() {
        assert_eq!(parsed("{")["properties"]["below"], false);
    }

    #[test]
    fn problems_from_below_have_their_path() {
        let below = |settings: &str| {
            assert_eq!(settings, r#"{"a" : 1}"#);
            Err(vec![Problem {
                path: "/a".to_owned(),
                rule: "must be 2".to_owned(),
            }])
        };
        let settings =
            r#"{"hours": {"from": "09:00", "to": "09:00"}, "models": ["*"], "below": {"a" : 1}}"#;
        let problems = validate(settings, below).unwrap_err();
        let paths: Vec<&str> = problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        assert_eq!(paths, ["/hours/to", "/below/a"]);
    }

    #[test]
    fn a_time_that_does_not_exist_is_refused() {
        for time in ["24:01", "25:00", "9:00", "09:60", "0900", ""] {
            let settings = json!({"hours": {"from": "00:00", "to": time}, "models": ["*"]});
            assert!(read(&settings.to_string()).is_err(), "{time}");
        }
    }
}
