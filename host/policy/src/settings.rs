//! The settings that an organization gives a policy.
//!
//! A policy describes its settings with a JSON Schema, and validates them itself for what
//! a schema cannot express. Both happen when settings are activated. Admission only
//! checks the form of the schema; a request validates nothing.
//!
//! # Security
//!
//! A schema is foreign input that behaves like a program. Schemas with references are
//! rejected, so a schema loads nothing, and a layer can embed the schema of the policy
//! below. Patterns use an engine that takes linear time. But a schema of a few kilobytes
//! can still take gigabytes or minutes, by the number of its patterns or the combination
//! of its keywords. With a [`Sandbox`], validators are therefore only built in a child
//! process, within [`CHILD_LIMITS`]. Without one they are built in this process, and schema and
//! settings have far lower limits ([`check_small`]).

#[cfg(feature = "settings-schema")]
use std::collections::BTreeSet;
use std::time::Duration;

use entail_text::{sanitized, strict};
#[cfg(feature = "settings-schema")]
use jsonschema::{Draft, PatternOptions, error::ValidationErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{CallError, CompilerDisabled, EngineError, sanitize};
use crate::sandbox::{Job, JobError, JobLimits, Sandbox};

/// Settings: a JSON object.
pub type Values = Map<String, Value>;

/// The most problems that are reported at once: more than a settings file written by a
/// person has.
const MAX_PROBLEMS: usize = 100;

/// The longest schema, in bytes; hosts show it, and store it with the installed policy.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// The deepest nesting of a schema; a readable schema has a few levels.
const MAX_SCHEMA_DEPTH: usize = 64;

/// The longest settings, in bytes of JSON; they are passed with each call.
const MAX_SETTINGS_BYTES: usize = 1 << 20;

/// The deepest nesting of settings: what the JSON parser accepts.
const MAX_SETTINGS_DEPTH: usize = 127;

/// The most memory of a compiled pattern, in bytes; more than patterns written by people take.
const PATTERN_BYTES: usize = 1 << 20;

/// The limits of a child that validates settings: a hundred times what schemas written by
/// people need.
const CHILD_LIMITS: JobLimits = JobLimits {
    memory_bytes: 256 << 20,
    time: Duration::from_secs(5),
    output_bytes: 1 << 20,
};

/// In this process, the longest settings: they are matched against every pattern.
const SMALL_SETTINGS_BYTES: usize = 16 << 10;

/// In this process, the most JSON values in a schema.
const SMALL_SCHEMA_VALUES: usize = 2_000;

/// In this process, the most patterns in a schema.
const SMALL_SCHEMA_PATTERNS: usize = 16;

/// In this process, the most memory of a compiled pattern, in bytes.
const SMALL_PATTERN_BYTES: usize = 16 << 10;

/// In this process, rejected keywords: their cost can double with each level of nesting.
const COSTLY_KEYWORDS: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];

/// Keywords that are rejected because they refer to other schemas, or let others refer.
const REFERENCE_KEYWORDS: [&str; 4] = ["$ref", "$dynamicRef", "$recursiveRef", "$id"];

/// The JSON Schema dialect of the contract, the only one that a schema may name.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Validates settings against a schema, in a child process.
pub(crate) const CHECK: Job = Job {
    name: "check-settings",
    run: |input| {
        let job: JobInput = serde_json::from_slice(input).map_err(|error| error.to_string())?;
        let found = problems(&job.schema, &job.settings, PATTERN_BYTES)?;
        serde_json::to_vec(&found).map_err(|error| error.to_string())
    },
};

/// The input of the child.
#[derive(Deserialize)]
struct JobInput {
    schema: Value,
    settings: Value,
}

/// The input of the child, borrowed.
#[derive(Serialize)]
struct JobInputRef<'a> {
    schema: &'a Value,
    settings: &'a Values,
}

/// A problem in settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The path, as a JSON Pointer (RFC 6901); empty for the settings as a whole.
    pub path: String,
    /// The broken rule, as the rest of a sentence.
    pub rule: String,
}

impl Problem {
    pub(crate) fn new(path: &str, rule: &str) -> Self {
        Problem {
            path: sanitize(path),
            rule: sanitize(rule),
        }
    }
}

impl Problem {
    /// Whether `other` is at the same path, or at one that contains it.
    fn is_in(&self, other: &Problem) -> bool {
        let rest = self.path.strip_prefix(&other.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

/// Why settings were not accepted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettings {
    /// They break the policy's rules.
    #[error("the policy does not take these settings: {}", joined(.0))]
    NotAccepted(Vec<Problem>),
    /// The policy's schema is invalid, or validating against it takes too long or too much memory.
    #[error("the schema of the policy's settings cannot be used: {0}")]
    Schema(String),
    /// The program was built without the feature `settings-schema`.
    #[error(
        "this build cannot validate settings: it lacks the feature settings-schema of entail-policy"
    )]
    FeatureDisabled,
    /// The engine has no compiler, so the settings of a foreign policy cannot be validated.
    #[error(transparent)]
    CompilerDisabled(#[from] CompilerDisabled),
    /// The child process that validates could not be started.
    #[error(transparent)]
    Engine(EngineError),
    /// The policy failed while it validated them.
    #[error("the policy failed while it validated its settings: {0}")]
    Failed(#[from] CallError),
}

fn joined(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// The schema of a policy. Its form was checked; whether it is a valid schema is checked when
/// settings are validated.
pub(crate) struct Schema(Value);

impl Schema {
    /// Parses a schema and checks its form, in linear time. Fails with a description of what
    /// is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEMA_BYTES {
            let bytes = text.len();
            return Err(format!(
                "it has {bytes} bytes, and {MAX_SCHEMA_BYTES} are allowed"
            ));
        }
        let schema: Value =
            strict::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            return Err("it is neither a JSON object nor true or false".to_owned());
        }
        check_form(&schema, 0)?;
        Ok(Schema(schema))
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// Validates settings: in the sandbox, or in this process under low limits. Returns
    /// the problems.
    pub(crate) fn check(
        &self,
        settings: &Values,
        sandbox: Option<&Sandbox>,
    ) -> Result<Vec<Problem>, BadSettings> {
        if cfg!(not(feature = "settings-schema")) {
            return Err(BadSettings::FeatureDisabled);
        }
        if let Some(sandbox) = sandbox {
            return self.check_in(sandbox, settings);
        }
        check_small_settings(settings)?;
        check_small(&self.0).map_err(BadSettings::Schema)?;
        let settings = Value::Object(settings.clone());
        problems(&self.0, &settings, SMALL_PATTERN_BYTES).map_err(BadSettings::Schema)
    }

    fn check_in(&self, sandbox: &Sandbox, settings: &Values) -> Result<Vec<Problem>, BadSettings> {
        let schema = &self.0;
        let unusable = |reason: &dyn std::fmt::Display| {
            BadSettings::Schema(sanitize(&format!("to validate settings: {reason}")))
        };
        let input =
            serde_json::to_vec(&JobInputRef { schema, settings }).map_err(|e| unusable(&e))?;
        let found = sandbox.run(CHECK, &input, &CHILD_LIMITS);
        let found = found.map_err(|error| match error {
            JobError::Refused(reason) => BadSettings::Schema(sanitize(&reason)),
            JobError::NotStarted(reason) => BadSettings::Engine(EngineError::new(reason)),
            other => unusable(&other),
        })?;
        serde_json::from_slice(&found).map_err(|error| unusable(&error))
    }
}

/// Returns settings as JSON; fails if they are too long, or nested too deeply.
pub(crate) fn to_text(settings: &Values) -> Result<String, BadSettings> {
    let refused = |rule: String| BadSettings::NotAccepted(vec![Problem::new("", &rule)]);
    let is_deep = |value| is_deeper(value, MAX_SETTINGS_DEPTH - 1);
    if settings.values().any(is_deep) {
        return Err(refused(format!(
            "they are nested more than {MAX_SETTINGS_DEPTH} deep"
        )));
    }
    let text = Value::Object(settings.clone()).to_string();
    match text.len() > MAX_SETTINGS_BYTES {
        true => Err(refused(format!(
            "they have {} bytes, and {MAX_SETTINGS_BYTES} are allowed",
            text.len()
        ))),
        false => Ok(text),
    }
}

fn is_deeper(value: &Value, limit: usize) -> bool {
    let below = |value| limit == 0 || is_deeper(value, limit - 1);
    match value {
        Value::Object(members) => members.values().any(below),
        Value::Array(items) => items.iter().any(below),
        _ => false,
    }
}

/// Returns an error: this build has no feature `settings-schema`.
#[cfg(not(feature = "settings-schema"))]
fn problems(_: &Value, _: &Value, _: usize) -> Result<Vec<Problem>, String> {
    Err(BadSettings::FeatureDisabled.to_string())
}

/// Validates settings; returns the first problems, or why the schema is invalid. The cost
/// is not known in advance.
#[cfg(feature = "settings-schema")]
fn problems(
    schema: &Value,
    settings: &Value,
    pattern_bytes: usize,
) -> Result<Vec<Problem>, String> {
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(pattern_bytes))
        .build(schema)
        .map_err(|error| sanitize(&format!("it is not a JSON Schema: {error}")))?;
    let mut all = unknown(schema, settings);
    // The validator reports unknown members of the root again, so those errors are skipped.
    let has_unknown = !all.is_empty();
    let is_reported = |error: &jsonschema::ValidationError<'_>| {
        has_unknown
            && error.instance_path().as_str().is_empty()
            && matches!(
                error.kind(),
                ValidationErrorKind::AdditionalProperties { .. }
            )
    };
    let problem = |error: jsonschema::ValidationError<'_>| {
        let path = error.instance_path().to_string();
        Problem::new(&path, &error.masked_with("the value").to_string())
    };
    let found = validator.iter_errors(settings);
    let found = found.filter(|error| !is_reported(error)).map(problem);
    all.extend(found.take(MAX_PROBLEMS));
    all.truncate(MAX_PROBLEMS);
    Ok(all)
}

/// Finds members that a closed schema does not allow. The validator finds them too, but does
/// not name the allowed ones.
#[cfg(feature = "settings-schema")]
fn unknown(schema: &Value, settings: &Value) -> Vec<Problem> {
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let (true, Some(members)) = (closed, settings.as_object()) else {
        return Vec::new();
    };
    if schema.get("patternProperties").is_some() {
        return Vec::new();
    }
    let known: BTreeSet<&str> = match schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    };
    let rule = if known.is_empty() {
        "nothing can be set for this policy".to_owned()
    } else {
        let names: Vec<&str> = known.iter().copied().collect();
        format!("is not known; there are: {}", names.join(", "))
    };
    let unknown = members.keys().filter(|name| !known.contains(name.as_str()));
    unknown
        .take(MAX_PROBLEMS)
        .map(|name| Problem::new(&pointer(name), &rule))
        .collect()
}

/// The JSON Pointer (RFC 6901) to a member of the root.
pub(crate) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Returns the problems that the policy found and its schema did not.
pub(crate) fn checked(
    mut problems: Vec<Problem>,
    own: Result<Vec<Problem>, CallError>,
) -> Result<(), BadSettings> {
    match own {
        Ok(own) => {
            let by_schema = problems.len();
            for problem in own {
                // The schema reported it with a more exact path.
                let (known, _) = problems.split_at(by_schema);
                if !known.iter().any(|known| known.is_in(&problem)) {
                    problems.push(problem);
                }
            }
        }
        // A policy need not be able to read settings that its schema rejects.
        Err(_) if !problems.is_empty() => {}
        Err(failure) => return Err(failure.into()),
    }
    problems.truncate(MAX_PROBLEMS);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(BadSettings::NotAccepted(problems)),
    }
}

/// Rejects references and too deep nesting.
fn check_form(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_SCHEMA_DEPTH {
        return Err(format!("it is nested more than {MAX_SCHEMA_DEPTH} deep"));
    }
    match schema {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            if REFERENCE_KEYWORDS.contains(&name.as_str()) {
                return Err(format!("it uses {name}, and references are not supported"));
            }
            if name == "$schema" && member != DIALECT {
                return Err(format!("its $schema is another than {DIALECT}"));
            }
            check_form(member, depth + 1)
        }),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_form(item, depth + 1)),
        _ => Ok(()),
    }
}

/// Rejects settings that are too large to validate in this process, where nothing limits time
/// and memory.
fn check_small_settings(settings: &Values) -> Result<(), BadSettings> {
    let bytes = Value::Object(settings.clone()).to_string().len();
    if bytes <= SMALL_SETTINGS_BYTES {
        return Ok(());
    }
    let rule = not_small(&format!(
        "more than {SMALL_SETTINGS_BYTES} bytes; these have {bytes}"
    ));
    Err(BadSettings::NotAccepted(vec![Problem::new("", &rule)]))
}

/// Rejects a schema that is too large to use in this process.
fn check_small(schema: &Value) -> Result<(), String> {
    let mut size = SchemaSize::default();
    size.add(schema)
}

fn not_small(what: &str) -> String {
    format!("without a limited child process, a schema may not have {what}")
}

/// The number of values and patterns in a schema.
#[derive(Default)]
struct SchemaSize {
    values: usize,
    patterns: usize,
}

impl SchemaSize {
    fn add(&mut self, schema: &Value) -> Result<(), String> {
        self.values += 1;
        if self.values > SMALL_SCHEMA_VALUES {
            return Err(not_small(&format!(
                "more than {SMALL_SCHEMA_VALUES} values"
            )));
        }
        match schema {
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                if COSTLY_KEYWORDS.contains(&name.as_str()) {
                    return Err(not_small(name));
                }
                self.patterns += match (name.as_str(), member) {
                    ("pattern", _) => 1,
                    ("patternProperties", Value::Object(patterns)) => patterns.len(),
                    _ => 0,
                };
                if self.patterns > SMALL_SCHEMA_PATTERNS {
                    return Err(not_small(&format!(
                        "more than {SMALL_SCHEMA_PATTERNS} patterns"
                    )));
                }
                self.add(member)
            }),
            Value::Array(items) => items.iter().try_for_each(|item| self.add(item)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn check(schema: &str, settings: &str) -> Result<(), BadSettings> {
        let schema = Schema::parse(schema).unwrap();
        checked(
            schema.check(&serde_json::from_str(settings).unwrap(), None)?,
            Ok(Vec::new()),
        )
    }

    fn problems(schema: &str, settings: &str) -> Vec<(String, String)> {
        match check(schema, settings) {
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
    fn all_problems_are_reported_at_once() {
        let schema = r#"{"type": "object", "additionalProperties": false, "required": ["by"],
            "properties": {"by": {"minLength": 1}, "n": {"items": {"minimum": 1}}}}"#;
        let found = problems(schema, r#"{"other": 1, "more": 2, "n": [0, 1, 0]}"#);
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/more", "/other", "/n/0", "/n/2", ""]);
        assert!(found[4].1.contains("by"), "{found:?}");
    }

    #[test]
    fn a_policy_adds_problems_that_its_schema_did_not_report() {
        let of = |path: &str| Problem::new(path, "rule");
        let paths = |by_schema: &[&str], own: Result<Vec<Problem>, CallError>| {
            let by_schema = by_schema.iter().map(|path| of(path)).collect();
            match checked(by_schema, own) {
                Err(BadSettings::NotAccepted(all)) => {
                    all.into_iter().map(|problem| problem.path).collect()
                }
                other => vec![format!("{other:?}")],
            }
        };
        let own = || Ok(vec![of(""), of("/a"), of("/a/b/c"), of("/d")]);
        assert_eq!(paths(&["/a/b"], own()), ["/a/b", "/a/b/c", "/d"]);
        assert_eq!(paths(&[], own()), ["", "/a", "/a/b/c", "/d"]);
        // A policy that cannot read settings that its schema rejects has not failed.
        assert_eq!(paths(&["/a"], Err(CallError::Busy)), ["/a"]);
        assert!(matches!(
            checked(Vec::new(), Err(CallError::Busy)),
            Err(BadSettings::Failed(CallError::Busy))
        ));
    }

    #[test]
    fn a_schema_that_loads_others_or_never_ends_is_rejected() {
        for schema in [
            "no JSON",
            "7",
            "[]",
            r#"{"$ref": "https://schemas.example/x"}"#,
            r#"{"$schema": "https://schemas.example/x"}"#,
            r##"{"$ref": "#"}"##,
            r##"{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}"##,
        ] {
            assert!(Schema::parse(schema).is_err(), "{schema}");
        }
        let deep = format!("{}1{}", r#"{"not":"#.repeat(100), "}".repeat(100));
        assert!(Schema::parse(&deep).is_err());
        let deeper = "[".repeat(1_000_000);
        assert!(Schema::parse(&deeper[..MAX_SCHEMA_BYTES]).is_err());
    }

    #[test]
    fn an_invalid_schema_is_found_when_settings_are_validated() {
        for schema in [r#"{"type": 7}"#, r#"{"pattern": "(?=a)b"}"#] {
            let bad = check(schema, "{}");
            assert!(matches!(bad, Err(BadSettings::Schema(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_schema_for_this_process_is_small() {
        let patterns = |count: usize| {
            let all: Vec<Value> = (0..count)
                .map(|n| json!({"pattern": n.to_string()}))
                .collect();
            json!({"properties": {"a": {"anyOf": all}}}).to_string()
        };
        assert!(check(&patterns(16), r#"{"a": "1"}"#).is_ok());
        let names: Map<String, Value> = (0..17).map(|n| (n.to_string(), json!(true))).collect();
        for (schema, reason) in [
            (patterns(17), "patterns"),
            (json!({"patternProperties": names}).to_string(), "patterns"),
            (json!({"enum": vec![7; 2_000]}).to_string(), "values"),
            (
                r#"{"pattern": "(a{50}){50}"}"#.to_owned(),
                "not a JSON Schema",
            ),
            (
                r#"{"allOf": [{"unevaluatedProperties": false}]}"#.to_owned(),
                "unevaluatedProperties",
            ),
        ] {
            match check(&schema, "{}") {
                Err(BadSettings::Schema(text)) => assert!(text.contains(reason), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        let long = json!({"a": "x".repeat(SMALL_SETTINGS_BYTES)}).to_string();
        assert!(matches!(
            check("true", &long),
            Err(BadSettings::NotAccepted(_))
        ));
    }

    #[test]
    fn settings_are_neither_too_long_nor_too_deep() {
        let settings = |value| Values::from_iter([("a".to_owned(), value)]);
        let mut deep = json!(1);
        for _ in 1..MAX_SETTINGS_DEPTH {
            deep = json!([deep]);
        }
        let text = to_text(&settings(deep.clone())).unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        for _ in 0..1_000 {
            deep = json!([deep]);
        }
        let long = json!("x".repeat(MAX_SETTINGS_BYTES));
        for (value, rule) in [(deep, "nested"), (long, "bytes")] {
            match to_text(&settings(value)) {
                Err(BadSettings::NotAccepted(problems)) => {
                    assert!(problems[0].rule.contains(rule), "{problems:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_number_of_unknown_members_in_an_error_is_bounded() {
        let schema = json!({"additionalProperties": false, "properties": {"a": {}}});
        let members: Map<String, Value> = (0..500).map(|n| (n.to_string(), json!(1))).collect();
        let settings = Value::Object(members).to_string();
        assert_eq!(problems(&schema.to_string(), &settings).len(), MAX_PROBLEMS);
    }
}
