//! The rules, with the numbers of `guest/default/README.md`.

use crate::facts;
use crate::pattern::{model_matches, path_matches};
use crate::resolver::{
    Credential, Decision, Error, Finding, Grant, Inheritance, Outcome, Refusal, Request, Scope,
    Sharing,
};

/// Decides one request.
///
/// # Errors
///
/// [`Error::InvalidFacts`] if the chain is empty, a scope is not the parent of the
/// one before it, or an id occurs twice.
pub fn decide(request: &Request, chain: &[Scope]) -> Result<Decision, Error> {
    facts::check(chain)?;
    let view = View::new(request, chain, Links::AsSet);
    let assessments = view.assess();
    let search = view.search(&assessments);
    let outcome = view.outcome(&assessments, &search);
    let trail = trail(&assessments, &search, &outcome);
    Ok(Decision {
        outcome,
        trail,
        attributes: Vec::new(),
    })
}

/// Whether the inheritance of scopes counts as it is set, or as if every isolated
/// scope had opted in.
#[derive(Clone, Copy, PartialEq)]
enum Links {
    AsSet,
    AllOptedIn,
}

/// The facts, with the results of rules 1 to 3.
struct View<'a> {
    request: &'a Request,
    chain: &'a [Scope],
    links: Links,
    /// Rule 1: the number of reachable scopes, from the requesting one on.
    reachable: usize,
    /// Rule 2.
    model: Option<&'a str>,
    /// Rule 3: the depth of the farthest ancestor that holds a mandatory
    /// credential shared with the requesting scope.
    mandatory: Option<usize>,
}

/// One credential of the chain, with the results of rules 5 and 7.
struct Assessment<'a> {
    depth: usize,
    credential: &'a Credential,
    /// Why it is not visible.
    invisible: Option<&'static str>,
    /// Why it is not usable.
    unusable: Option<&'static str>,
    /// Whether it would be visible without rule 3.
    lost_to_mandatory: bool,
}

/// The order of rule 4; the id only makes it total.
fn rank(depth: usize, credential: &Credential) -> (usize, u32, &str, &str) {
    (depth, credential.priority, &credential.name, &credential.id)
}

impl<'a> View<'a> {
    fn new(request: &'a Request, chain: &'a [Scope], links: Links) -> Self {
        let mut view = View {
            request,
            chain,
            links,
            reachable: 0,
            model: None,
            mandatory: None,
        };
        view.reachable = 1 + chain
            .iter()
            .take(chain.len().saturating_sub(1))
            .take_while(|scope| view.inheritance(scope) != Inheritance::Isolated)
            .count();
        view.model = request.model.as_deref().or_else(|| {
            chain
                .iter()
                .take(view.reachable)
                .find_map(|scope| scope.default_model.as_deref())
        });
        view.mandatory = chain
            .iter()
            .enumerate()
            .skip(1)
            .rev()
            .find_map(|(depth, scope)| {
                let holds = scope
                    .credentials
                    .iter()
                    .any(|credential| credential.mandatory && view.shared(depth, credential));
                holds.then_some(depth)
            });
        view
    }

    fn inheritance(&self, scope: &Scope) -> Inheritance {
        match (scope.inheritance, self.links) {
            (Inheritance::Isolated, Links::AllOptedIn) => Inheritance::Inherit,
            (as_set, _) => as_set,
        }
    }

    /// Whether the requesting scope has the credential itself, or the credential is
    /// shared with it.
    fn shared(&self, depth: usize, credential: &Credential) -> bool {
        let requesting = self.chain.first().map_or("", |scope| scope.path.as_str());
        depth == 0
            || match &credential.sharing {
                Sharing::All => true,
                Sharing::None => false,
                Sharing::Paths(patterns) => patterns
                    .iter()
                    .any(|pattern| path_matches(pattern, requesting)),
            }
    }

    /// Returns the assessment of every credential of the chain, in the order of rule 4.
    fn assess(&self) -> Vec<Assessment<'a>> {
        let mut assessments: Vec<Assessment<'a>> = Vec::new();
        for (depth, scope) in self.chain.iter().enumerate() {
            for credential in &scope.credentials {
                // Insertion keeps the component small: the library's sort would be a
                // third of it.
                let place = assessments.partition_point(|placed| {
                    rank(placed.depth, placed.credential) < rank(depth, credential)
                });
                assessments.insert(place, self.assess_one(depth, credential));
            }
        }
        assessments
    }

    fn assess_one(&self, depth: usize, credential: &'a Credential) -> Assessment<'a> {
        let eligible = depth < self.reachable && self.shared(depth, credential);
        let overridden = self.mandatory.is_some_and(|farthest| depth < farthest);
        let named = match &self.request.credential {
            Some(name) => credential.name == *name,
            None => true,
        };
        let invisible = if depth >= self.reachable {
            Some("not-opted-in")
        } else if !eligible {
            Some("not-shared")
        } else if overridden {
            Some("override-forbidden")
        } else if !named {
            Some("name-mismatch")
        } else {
            None
        };
        Assessment {
            depth,
            credential,
            invisible,
            unusable: self.unusable(credential),
            lost_to_mandatory: eligible && overridden && named,
        }
    }

    /// Rule 7: why the credential is not usable.
    fn unusable(&self, credential: &Credential) -> Option<&'static str> {
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
        match (&credential.models, self.model) {
            (None, _) => None,
            // A credential that allows no model is unusable with any model.
            (Some(patterns), None) if !patterns.is_empty() => Some("model-required"),
            (Some(patterns), model) => {
                let allowed = model.is_some_and(|model| {
                    patterns.iter().any(|pattern| model_matches(pattern, model))
                });
                (!allowed).then_some("model-not-allowed")
            }
        }
    }

    /// Rule 6: the visible candidates of the nearest scope that has any, and of the
    /// scopes above it as long as each one falls back. Yields positions in
    /// `assessments`.
    fn search(&self, assessments: &[Assessment<'a>]) -> Vec<usize> {
        let mut search = Vec::new();
        for (depth, scope) in self.chain.iter().enumerate().take(self.reachable) {
            let found_before = search.len();
            search.extend(
                assessments
                    .iter()
                    .enumerate()
                    .filter(|(_, candidate)| {
                        candidate.depth == depth && candidate.invisible.is_none()
                    })
                    .map(|(position, _)| position),
            );
            let passed_over = search.len() == found_before;
            if !passed_over && self.inheritance(scope) != Inheritance::FallBack {
                break;
            }
        }
        search
    }

    /// Rules 3 and 8.
    fn outcome(&self, assessments: &[Assessment<'a>], search: &[usize]) -> Outcome {
        if self
            .mandatory
            .is_some_and(|farthest| farthest >= self.reachable)
        {
            return self.refuse("organization-credential-required");
        }
        let found = || {
            search
                .iter()
                .filter_map(|position| assessments.get(*position))
        };
        let mut usable = found()
            .filter(|candidate| candidate.unusable.is_none())
            .map(|candidate| candidate.credential.id.clone());
        if let Some(credential) = usable.next() {
            return Outcome::Granted(Grant {
                credential,
                alternates: usable.collect(),
                model: self.model.map(str::to_owned),
            });
        }
        if let Some(first) = found().next() {
            return self.refuse_defect(first);
        }
        if assessments
            .iter()
            .any(|candidate| candidate.lost_to_mandatory)
        {
            return self.refuse("override-forbidden");
        }
        if self.would_be_granted_if_opted_in() {
            return self.refuse("not-opted-in");
        }
        self.refuse("no-credential")
    }

    fn would_be_granted_if_opted_in(&self) -> bool {
        if self.links == Links::AllOptedIn {
            return false;
        }
        let view = View::new(self.request, self.chain, Links::AllOptedIn);
        let assessments = view.assess();
        let search = view.search(&assessments);
        matches!(view.outcome(&assessments, &search), Outcome::Granted(_))
    }

    fn refuse(&self, code: &str) -> Outcome {
        let scope = self.chain.first().map_or("", |scope| scope.path.as_str());
        let provider = &self.request.provider;
        let message = match code {
            "organization-credential-required" => format!(
                "a scope above {scope} requires its own credential for {provider}, and {scope} has not opted in to it"
            ),
            "override-forbidden" => format!(
                "{scope} may not use these credentials for {provider} in place of the mandatory one above"
            ),
            "not-opted-in" => {
                format!("{scope} has not opted in to the credentials above it for {provider}")
            }
            _ => format!("there is no credential for {provider} that {scope} could use"),
        };
        refusal(code, message)
    }

    /// Refuses because the first candidate of the search is not usable.
    fn refuse_defect(&self, first: &Assessment<'_>) -> Outcome {
        let holder = self
            .chain
            .get(first.depth)
            .map_or("", |scope| scope.path.as_str());
        let name = &first.credential.name;
        let code = first.unusable.unwrap_or_default();
        let how = match code {
            "disabled" => "is disabled",
            "unreadable" => "cannot be read",
            "expired" => "has expired",
            "model-required" => "allows only some models, and no model is known",
            _ => "does not allow the model",
        };
        let provider = &self.request.provider;
        refusal(
            code,
            format!("the credential {name} of {holder} for {provider} {how}"),
        )
    }
}

fn refusal(code: &str, message: String) -> Outcome {
    Outcome::Refused(Refusal {
        code: code.to_owned(),
        message,
    })
}

/// Rule 9: a finding for every candidate, with the first code that applies.
fn trail(assessments: &[Assessment<'_>], search: &[usize], outcome: &Outcome) -> Vec<Finding> {
    let chosen = match outcome {
        Outcome::Granted(grant) => Some(grant.credential.as_str()),
        Outcome::Refused(_) => None,
    };
    assessments
        .iter()
        .enumerate()
        .map(|(position, candidate)| {
            let place = if !search.contains(&position) {
                "shadowed"
            } else if chosen == Some(candidate.credential.id.as_str()) {
                "chosen"
            } else {
                "alternate"
            };
            Finding {
                credential: candidate.credential.id.clone(),
                code: candidate
                    .invisible
                    .or(candidate.unusable)
                    .unwrap_or(place)
                    .to_owned(),
                attributes: Vec::new(),
            }
        })
        .collect()
}
