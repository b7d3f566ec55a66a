//! What is set for the policy: rules, and the entities that they speak of.

use std::collections::BTreeMap;

use cedar_policy::{ParseErrors, PolicySet, Schema, ValidationMode, Validator};
use entail_default_policy::resolver::{Credential, Inheritance, Request, Scope, Sharing};
use entail_default_policy::settings::Problem;
use serde::Deserialize;

use crate::rules::Rules;
use crate::text::located;

/// The JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("../settings.schema.json");

/// What the rules can speak of.
pub const ENTITIES: &str = include_str!("../entail.cedarschema");

/// Why settings are of no use. Settings that have passed [`validate`] never are.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They do not fit the schema.
    #[error("the settings do not fit their schema: {0}")]
    Form(#[from] serde_json::Error),
    /// The rules are no Cedar.
    #[error("the rules cannot be read: {0}")]
    Rules(#[from] Box<ParseErrors>),
    /// The entities contradict one another.
    #[error("the entities cannot be used: {0}")]
    Entities(String),
}

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The rules, in the Cedar language.
    pub rules: String,
    /// The principals and groups of the rules.
    #[serde(default)]
    pub entities: Vec<KnownEntity>,
}

/// A principal or a group, in Cedar's JSON format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownEntity {
    /// Which one.
    pub uid: Uid,
    /// The format has attributes; principals and groups have none, but tags.
    #[serde(default, rename = "attrs")]
    pub _attributes: NoAttributes,
    /// The groups that it is in.
    #[serde(default)]
    pub parents: Vec<Uid>,
    /// What else is known of it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// An object without members.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoAttributes {}

/// The name of a principal or a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uid {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its id: `local:owner`.
    pub id: String,
}

/// What the settings can tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Someone who asks.
    Principal,
    /// Several of them.
    Group,
}

/// Reads settings.
pub fn read(settings: &str) -> Result<Settings, serde_json::Error> {
    serde_json::from_str(settings)
}

/// Looks settings over: whether the rules are Cedar and speak of what there is,
/// and whether the entities go together.
pub fn validate(settings: &str) -> Result<(), Vec<Problem>> {
    let settings = match read(settings) {
        Ok(settings) => settings,
        Err(error) => return Err(vec![problem("", error.to_string())]),
    };
    let mut problems = problems_of_rules(&settings.rules);
    if problems.is_empty() {
        match Rules::new(settings) {
            Ok(rules) => problems.extend(try_out(&rules)),
            Err(error) => problems.push(problem("/entities", error.to_string())),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

/// Evaluates the rules once. Rules that nest too deeply exhaust the stack: then
/// this call fails, and the settings are refused, rather than every request
/// later on.
fn try_out(rules: &Rules) -> Option<Problem> {
    let request = Request {
        provider: "trial".to_owned(),
        model: Some("trial".to_owned()),
        credential: None,
        principal: "trial".to_owned(),
        now_ms: 0,
        settings: String::new(),
        attributes: Vec::new(),
    };
    let scope = Scope {
        path: "trial".to_owned(),
        inheritance: Inheritance::Isolated,
        default_model: None,
        credentials: vec![Credential {
            id: "trial".to_owned(),
            name: "trial".to_owned(),
            enabled: true,
            readable: true,
            expires_at_ms: None,
            models: None,
            sharing: Sharing::All,
            mandatory: false,
            priority: 0,
            attributes: Vec::new(),
        }],
        attributes: Vec::new(),
    };
    rules
        .objections(&request, &[scope])
        .err()
        .map(|error| problem("/rules", error.to_string()))
}

fn problems_of_rules(rules: &str) -> Vec<Problem> {
    let in_rules = |rule| problem("/rules", rule);
    let set: PolicySet = match rules.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: ParseErrors = errors;
            return errors
                .iter()
                .map(|error| in_rules(located(rules, error)))
                .collect();
        }
    };
    let mut problems: Vec<Problem> = set
        .templates()
        .map(|template| {
            in_rules(format!(
                "{} is a template, which is never filled in: write out its principal and resource",
                template.id()
            ))
        })
        .collect();
    let schema: Schema = match ENTITIES.parse() {
        Ok(schema) => schema,
        Err(error) => return vec![in_rules(format!("cannot be held to the schema: {error}"))],
    };
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    problems.extend(
        result
            .validation_errors()
            .map(|error| in_rules(located(rules, error))),
    );
    problems
}

fn problem(path: &str, rule: String) -> Problem {
    Problem {
        path: path.to_owned(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Path and rule of each problem.
    fn problems(rules: &str, entities: serde_json::Value) -> Vec<(String, String)> {
        let settings = json!({"rules": rules, "entities": entities}).to_string();
        match validate(&settings) {
            Ok(()) => Vec::new(),
            Err(problems) => problems
                .into_iter()
                .map(|problem| (problem.path, problem.rule))
                .collect(),
        }
    }

    #[test]
    fn the_example_of_the_page_is_in_order() {
        let page = include_str!("../README.md");
        let rules: Vec<&str> = page
            .split("```cedar\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(!rules.is_empty());
        for rules in rules {
            assert_eq!(problems(rules, json!([])), []);
        }
    }

    #[test]
    fn what_is_wrong_with_rules_is_told_with_its_line() {
        for (rules, line, what) in [
            (
                "permit (principal, action, resource);\npermit (",
                "line 2: ",
                "unexpected",
            ),
            (
                "\n\npermit (principal, action, resource) when { context.moon };",
                "line 3: ",
                "moon",
            ),
            (
                "permit (principal, action == Action::\"steal\", resource);",
                "",
                "steal",
            ),
            (
                "permit (principal, action, resource)\nwhen { context.model == \"gpt-5\" };",
                "line 2: ",
                "optional attribute",
            ),
            (
                "permit (principal, action, resource)\nwhen { resource.priority == \"1\" };",
                "line 2: ",
                "types",
            ),
        ] {
            let problems = problems(rules, json!([]));
            let [(path, rule)] = problems.as_slice() else {
                panic!("{rules}: {problems:?}");
            };
            assert_eq!(path, "/rules");
            assert!(rule.starts_with(line) && rule.contains(what), "{rule}");
        }
    }

    #[test]
    fn a_template_is_refused_since_nothing_fills_it_in() {
        let problems = problems(
            "forbid (principal == ?principal, action, resource);",
            json!([]),
        );
        assert!(
            matches!(problems.as_slice(), [(path, rule)] if path == "/rules" && rule.contains("template"))
        );
    }

    #[test]
    fn entities_that_do_not_go_together_are_refused() {
        let group = |id: &str, parent: &str| json!({"uid": {"type": "Group", "id": id}, "parents": [{"type": "Group", "id": parent}]});
        let paths = |entities| -> Vec<String> {
            problems("", entities)
                .into_iter()
                .map(|(path, _)| path)
                .collect()
        };
        assert_eq!(paths(json!([group("a", "b"), group("b", "c")])), [""; 0]);
        assert_eq!(
            paths(json!([group("a", "b"), group("b", "a")])),
            ["/entities"]
        );
        assert_eq!(
            paths(json!([group("a", "b"), group("a", "c")])),
            ["/entities"]
        );
    }

    #[test]
    fn settings_of_another_form_are_told() {
        for settings in [
            "",
            "[]",
            "{}",
            r#"{"rules": 1}"#,
            r#"{"rules": "", "more": 1}"#,
        ] {
            let problems = validate(settings).unwrap_err();
            assert!(matches!(problems.as_slice(), [problem] if problem.path.is_empty()));
        }
    }
}
