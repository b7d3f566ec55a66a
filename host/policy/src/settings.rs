//! What an organization sets for a policy.
//!
//! A policy says in a JSON Schema what can be set, and looks over what is to be
//! set for what a schema cannot say. Both happen when settings are put in service;
//! a request finds them settled.
//!
//! # Security
//!
//! A schema is a foreign program of sorts. One with references is not taken: so it
//! asks for nothing from elsewhere, holding a value against it ends, and a layer can
//! make the schema of the policy below a part of its own. Patterns are those of an
//! engine that takes no longer than a text is long.

use entail_text::sanitized;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::failure::{Failure, plain};

/// Settings: a JSON object.
pub type Values = Map<String, Value>;

/// The most problems that are told of at once.
const MAX_PROBLEMS: usize = 20;

/// The longest schema, in bytes; hosts show it, and keep it with what is installed.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// The deepest nesting of a schema; one that a person can read has a few levels.
const MAX_SCHEMA_DEPTH: usize = 64;

/// What a compiled pattern may take up, in bytes; more than any that a person wrote.
const PATTERN_BYTES: usize = 1 << 20;

/// What would make a schema more than the text it is.
const REFERENCES: [&str; 4] = ["$ref", "$dynamicRef", "$recursiveRef", "$id"];

/// The dialect of the contract's schemas, which one may name.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Something that is wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// The rule that is broken, as the rest of a sentence.
    pub rule: String,
}

impl Problem {
    pub(crate) fn new(path: &str, rule: &str) -> Self {
        Problem {
            path: plain(path),
            rule: plain(rule),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = sanitized(&self.rule);
        match self.path.as_str() {
            "" => write!(f, "the settings: {rule}"),
            path => write!(f, "{}: {rule}", sanitized(path)),
        }
    }
}

/// Why settings were not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettings {
    /// They break rules of the policy.
    #[error("the policy does not take these settings: {}", joined(.0))]
    NotAccepted(Vec<Problem>),
    /// The policy failed when it was asked.
    #[error("the policy failed when it looked over its settings: {0}")]
    Failed(#[from] Failure),
}

fn joined(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// A policy's schema.
pub(crate) struct Schema {
    pub(crate) text: Value,
    validator: Validator,
}

impl Schema {
    /// Reads a schema; else tells what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEMA_BYTES {
            let bytes = text.len();
            return Err(format!(
                "it has {bytes} bytes, and {MAX_SCHEMA_BYTES} are allowed"
            ));
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        check_references(&schema, 0)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES))
            .build(&schema)
            .map_err(|error| plain(&format!("it is no JSON Schema: {error}")))?;
        Ok(Schema {
            text: schema,
            validator,
        })
    }

    /// Holds settings against it.
    pub(crate) fn check(&self, settings: &Value) -> Result<(), BadSettings> {
        checked(self.unknown(settings))?;
        let problems: Vec<Problem> = self
            .validator
            .iter_errors(settings)
            .take(MAX_PROBLEMS)
            .map(|error| {
                let path = error.instance_path().to_string();
                Problem::new(&path, &error.masked_with("the value").to_string())
            })
            .collect();
        checked(problems)
    }

    /// The members that the schema does not know, if it lets no others pass. The
    /// validator would say so too, but not which ones there are.
    fn unknown(&self, settings: &Value) -> Vec<Problem> {
        let closed = self.text.get("additionalProperties") == Some(&Value::Bool(false));
        let (true, Some(members)) = (closed, settings.as_object()) else {
            return Vec::new();
        };
        if self.text.get("patternProperties").is_some() {
            return Vec::new();
        }
        let known: Vec<&String> = match self.text.get("properties") {
            Some(Value::Object(properties)) => properties.keys().collect(),
            _ => Vec::new(),
        };
        let rule = match known.as_slice() {
            [] => "nothing can be set for this policy".to_owned(),
            names => {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                format!("is not known; there are: {}", names.join(", "))
            }
        };
        let unknown = members.keys().filter(|name| !known.contains(name));
        unknown
            .map(|name| Problem::new(&pointer(name), &rule))
            .collect()
    }
}

/// The JSON Pointer (RFC 6901) to a member of the root.
pub(crate) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What a policy's own look found.
pub(crate) fn checked(mut problems: Vec<Problem>) -> Result<(), BadSettings> {
    problems.truncate(MAX_PROBLEMS);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(BadSettings::NotAccepted(problems)),
    }
}

/// Refuses references of all kinds.
fn check_references(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_SCHEMA_DEPTH {
        return Err(format!("it is nested more than {MAX_SCHEMA_DEPTH} deep"));
    }
    match schema {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            if REFERENCES.contains(&name.as_str()) {
                return Err(format!("it uses {name}; write out what that stands for"));
            }
            if name == "$schema" && member != DIALECT {
                return Err(format!("its $schema is another than {DIALECT}"));
            }
            check_references(member, depth + 1)
        }),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_references(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(schema: &str, settings: &str) -> Vec<(String, String)> {
        let schema = Schema::parse(schema).unwrap();
        match schema.check(&serde_json::from_str(settings).unwrap()) {
            Ok(()) => Vec::new(),
            Err(BadSettings::NotAccepted(problems)) => problems
                .into_iter()
                .map(|problem| (problem.path, problem.rule))
                .collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_problem_has_its_path_and_its_rule_but_not_the_value() {
        let schema = r#"{"type": "object", "additionalProperties": false, "properties": {
            "weights": {"type": "array", "items": {"type": "integer", "minimum": 1}}}}"#;
        assert_eq!(problems(schema, r#"{"weights": [1, 2]}"#), []);
        let found = problems(schema, r#"{"weights": [1, -77]}"#);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "/weights/1");
        assert!(found[0].1.contains("minimum"), "{found:?}");
        assert!(!found[0].1.contains("77"), "{found:?}");
        let unknown = problems(schema, r#"{"other": 1}"#);
        assert_eq!(
            unknown,
            [(
                "/other".to_owned(),
                "is not known; there are: weights".to_owned()
            )]
        );
    }

    #[test]
    fn a_schema_that_could_ask_for_more_or_never_end_is_not_taken() {
        for schema in [
            "no JSON",
            r#"{"type": 7}"#,
            r#"{"$ref": "https://schemas.example/x"}"#,
            r#"{"$schema": "https://schemas.example/x"}"#,
            r##"{"$ref": "#"}"##,
            r##"{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}"##,
            r#"{"pattern": "(?=a)b"}"#,
        ] {
            assert!(Schema::parse(schema).is_err(), "{schema}");
        }
        let deep = format!("{}1{}", r#"{"not":"#.repeat(100), "}".repeat(100));
        assert!(Schema::parse(&deep).is_err());
    }
}
