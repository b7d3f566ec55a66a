//! The nearest usable credential wins; the organization may say for which models.

mod pattern;

use serde::Deserialize;

use crate::bindings::exports::entail::policy::{about, resolver, settings};
use crate::pattern::{model_matches, path_matches};
use resolver::{
    Credential, Decision, Error, Finding, Grant, Inheritance, Outcome, Refusal, Request, Scope,
    Sharing,
};

mod bindings {
    wit_bindgen::generate!({
        world: "policy",
        path: "wit",
    });
}

struct Policy;

bindings::export!(Policy with_types_in bindings);

impl resolver::Guest for Policy {
    fn decide(request: Request, chain: Vec<Scope>) -> Result<Decision, Error> {
        let settings: Settings = serde_json::from_str(&request.settings)
            .map_err(|error| Error::Other(format!("the settings: {error}")))?;
        decide(&settings, &request, chain)
    }
}

impl about::Guest for Policy {
    fn describe() -> about::Description {
        about::Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

/// The JSON Schema of [`Settings`].
const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "models": {
      "description": "Patterns of the models that are allowed: * is any run of characters, ? exactly one. Absent means every model.",
      "type": "array",
      "items": { "type": "string", "minLength": 1 },
      "uniqueItems": true
    }
  },
  "additionalProperties": false
}"#;

/// The settings of the policy.
#[derive(Deserialize)]
struct Settings {
    /// Patterns of the allowed models; absent allows every model.
    models: Option<Vec<String>>,
}

impl settings::Guest for Policy {
    fn schema() -> String {
        SCHEMA.to_owned()
    }

    /// A model that another pattern also allows is probably a mistake.
    fn validate(settings: String) -> Result<(), Vec<settings::Problem>> {
        let problem = |path, rule| settings::Problem { path, rule };
        let settings: Settings = serde_json::from_str(&settings)
            .map_err(|error| vec![problem(String::new(), error.to_string())])?;
        let models = settings.models.unwrap_or_default();
        let mut problems = Vec::new();
        for (index, model) in models.iter().enumerate() {
            let covers = |pattern: &&String| *pattern != model && model_matches(pattern, model);
            let plain = !model.contains(['*', '?']);
            if let Some(pattern) = models.iter().find(covers).filter(|_| plain) {
                problems.push(problem(
                    format!("/models/{index}"),
                    format!("is allowed by {pattern} already"),
                ));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }
}

/// The values that every credential is checked against.
struct View<'a> {
    request: &'a Request,
    /// The path of the requesting scope.
    requesting: &'a str,
    /// The model of the request, otherwise the nearest default of a reachable scope.
    model: Option<&'a str>,
}

fn decide(
    settings: &Settings,
    request: &Request,
    mut chain: Vec<Scope>,
) -> Result<Decision, Error> {
    for scope in &mut chain {
        scope
            .credentials
            .sort_by(|one, other| (one.priority, &one.name).cmp(&(other.priority, &other.name)));
    }
    let [requesting, ..] = chain.as_slice() else {
        return Err(Error::InvalidFacts("the chain is empty".to_owned()));
    };
    let reachable = count_reachable(&chain);
    let default_model = || {
        let mut scopes = chain.iter().take(reachable);
        scopes.find_map(|scope| scope.default_model.as_deref())
    };
    let view = View {
        request,
        requesting: &requesting.path,
        model: request.model.as_deref().or_else(default_model),
    };
    let forbidden = settings
        .models
        .as_deref()
        .and_then(|patterns| model_obstacle(patterns, view.model));

    let mut chosen: Option<&str> = None;
    let mut trail = Vec::new();
    for (depth, scope) in chain.iter().enumerate() {
        for credential in &scope.credentials {
            let obstacle = match depth < reachable {
                true => view.obstacle(depth, credential).or(forbidden),
                false => Some("not-opted-in"),
            };
            let code = match (obstacle, chosen) {
                (Some(obstacle), _) => obstacle,
                (None, Some(_)) => "shadowed",
                (None, None) => {
                    chosen = Some(&credential.id);
                    "chosen"
                }
            };
            trail.push(Finding {
                credential: credential.id.clone(),
                code: code.to_owned(),
                attributes: Vec::new(),
            });
        }
    }

    let outcome = match chosen {
        Some(credential) => Outcome::Granted(Grant {
            credential: credential.to_owned(),
            alternates: Vec::new(),
            model: view.model.map(str::to_owned),
        }),
        None => view.refuse(forbidden.unwrap_or("no-credential")),
    };
    Ok(Decision {
        outcome,
        trail,
        attributes: Vec::new(),
    })
}

/// Returns the number of reachable scopes, starting with the requesting one.
fn count_reachable(chain: &[Scope]) -> usize {
    let isolated = |scope: &Scope| scope.inheritance == Inheritance::Isolated;
    chain
        .iter()
        .position(isolated)
        .map_or(chain.len(), |last| last + 1)
}

impl View<'_> {
    /// Returns why a credential of a reachable scope is not usable.
    fn obstacle(&self, depth: usize, credential: &Credential) -> Option<&'static str> {
        if depth > 0 && !self.shares(credential) {
            return Some("not-shared");
        }
        if self
            .request
            .credential
            .as_ref()
            .is_some_and(|name| *name != credential.name)
        {
            return Some("name-mismatch");
        }
        if !credential.enabled {
            return Some("disabled");
        }
        if !credential.readable {
            return Some("unreadable");
        }
        if credential
            .expires_at_ms
            .is_some_and(|end| end <= self.request.now_ms)
        {
            return Some("expired");
        }
        model_obstacle(credential.models.as_deref()?, self.model)
    }

    fn shares(&self, credential: &Credential) -> bool {
        match &credential.sharing {
            Sharing::All => true,
            Sharing::None => false,
            Sharing::Paths(patterns) => patterns
                .iter()
                .any(|pattern| path_matches(pattern, self.requesting)),
        }
    }

    fn refuse(&self, code: &str) -> Outcome {
        let provider = &self.request.provider;
        let message = match code {
            "model-required" => format!("name a model: only some of {provider} are allowed"),
            "model-not-allowed" => {
                let model = self.model.unwrap_or_default();
                format!("the model {model} of {provider} is not one of those that are allowed")
            }
            _ => format!(
                "{} has no credential for {provider} that it could use",
                self.requesting
            ),
        };
        Outcome::Refused(Refusal {
            code: code.to_owned(),
            message,
        })
    }
}

/// Returns why the patterns do not allow a model.
fn model_obstacle(patterns: &[String], model: Option<&str>) -> Option<&'static str> {
    match model {
        // An empty list allows no model.
        None if !patterns.is_empty() => Some("model-required"),
        Some(model) if patterns.iter().any(|pattern| model_matches(pattern, model)) => None,
        _ => Some("model-not-allowed"),
    }
}
