//! Validates settings: the rules against Cedar's schema, and the entities.

use cedar_policy::{ParseErrors, PolicySet, Schema, ValidationMode, Validator};
use entail_default_policy::resolver::{Credential, Inheritance, Request, Scope, Sharing};
use entail_default_policy::settings::Problem;

use crate::rules::Rules;
use crate::settings::{ENTITIES, parse};
use crate::text::located;

/// Checks that the rules are valid Cedar and match the schema, and that the entities do not
/// contradict each other.
pub fn validate(settings: &str) -> Result<(), Vec<Problem>> {
    let settings = match parse(settings) {
        Ok(settings) => settings,
        Err(error) => return Err(vec![problem("", error.to_string())]),
    };
    let mut problems = validate_rules(&settings.rules);
    if problems.is_empty() {
        match Rules::new(settings) {
            Ok(rules) => problems.extend(evaluate_once(&rules)),
            Err(error) => problems.push(problem("/entities", error.to_string())),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// Evaluates the rules once. Rules that are nested too deeply exhaust the stack: then this
/// call fails and the settings are rejected, instead of every later request.
fn evaluate_once(rules: &Rules) -> Option<Problem> {
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

fn validate_rules(rules: &str) -> Vec<Problem> {
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
                "{} is a template, which is never instantiated: write its principal and resource",
                template.id()
            ))
        })
        .collect();
    let schema: Schema = match ENTITIES.parse() {
        Ok(schema) => schema,
        Err(error) => {
            return vec![in_rules(format!(
                "cannot be checked against the schema: {error}"
            ))];
        }
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
    fn the_examples_in_the_readme_are_valid() {
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
    fn a_problem_of_rules_has_its_line() {
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
    fn a_template_is_rejected() {
        let problems = problems(
            "forbid (principal == ?principal, action, resource);",
            json!([]),
        );
        assert!(
            matches!(problems.as_slice(), [(path, rule)] if path == "/rules" && rule.contains("template"))
        );
    }

    #[test]
    fn contradictory_entities_are_rejected() {
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
    fn settings_of_another_shape_are_rejected() {
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
