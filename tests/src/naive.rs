//! A second, slow implementation of the default policy's nine rules that follows their
//! text literally: each rule is a function of the facts, and no result is reused.
//!
//! The real policy is compared with it, so it shares no code with the policy and takes no
//! shortcuts. Its results are undefined for facts that break the contract.

use std::collections::BTreeMap;

use entail_policy::{
    CredentialFacts, Decision, Facts, Finding, Grant, Inheritance, Outcome, Refusal, ScopeFacts,
    Sharing,
};

/// Decides by the rules. The message of a refusal is empty, since it is prose.
///
/// # Panics
///
/// If the chain is empty.
pub fn decide(facts: &Facts) -> Decision {
    Decision {
        outcome: outcome(facts),
        trail: trail(facts),
        attributes: BTreeMap::new(),
    }
}

/// The most that any policy may grant: the ids of the usable credentials of the search, and
/// the model that they may be granted for.
pub fn ceiling(facts: &Facts) -> (Vec<String>, Option<String>) {
    let mut ids = Vec::new();
    if !organization_credential_required(facts) {
        for candidate in search(facts) {
            if usable(facts, candidate) {
                ids.push(candidate.credential.id.clone());
            }
        }
    }
    (ids, effective_model(facts))
}

/// A credential and how far up the chain its scope is: 0 is the requesting scope.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    level: usize,
    credential: &'a CredentialFacts,
}

fn levels(facts: &Facts) -> Vec<usize> {
    (0..facts.chain.len()).collect()
}

fn scope(facts: &Facts, level: usize) -> &ScopeFacts {
    &facts.chain[level]
}

// Rule 1: reachable.

fn reachable(facts: &Facts, level: usize) -> bool {
    level == 0
        || (reachable(facts, level - 1)
            && scope(facts, level - 1).inheritance != Inheritance::Isolated)
}

// Rule 2: effective model.

fn effective_model(facts: &Facts) -> Option<String> {
    if facts.request.model.is_some() {
        return facts.request.model.clone();
    }
    for level in levels(facts) {
        if reachable(facts, level) && scope(facts, level).default_model.is_some() {
            return scope(facts, level).default_model.clone();
        }
    }
    None
}

// Rule 3: mandatory.

fn shared_with_the_requesting_scope(facts: &Facts, credential: &CredentialFacts) -> bool {
    match &credential.sharing {
        Sharing::All => true,
        Sharing::None => false,
        Sharing::Paths(patterns) => patterns
            .iter()
            .any(|pattern| path_matches(pattern, &scope(facts, 0).path)),
    }
}

fn is_mandating_ancestor(facts: &Facts, level: usize) -> bool {
    level > 0
        && scope(facts, level).credentials.iter().any(|credential| {
            credential.mandatory && shared_with_the_requesting_scope(facts, credential)
        })
}

fn override_forbidden(facts: &Facts, level: usize) -> bool {
    levels(facts)
        .into_iter()
        .any(|other| other > level && is_mandating_ancestor(facts, other))
}

fn organization_credential_required(facts: &Facts) -> bool {
    levels(facts)
        .into_iter()
        .any(|level| is_mandating_ancestor(facts, level) && !reachable(facts, level))
}

// Rule 4: order.

fn precedes(one: Candidate, other: Candidate) -> bool {
    if one.level != other.level {
        one.level < other.level
    } else if one.credential.priority != other.credential.priority {
        one.credential.priority < other.credential.priority
    } else {
        one.credential.name < other.credential.name
    }
}

/// Every credential of the chain in order: repeatedly takes one that no other precedes.
fn candidates_in_order(facts: &Facts) -> Vec<Candidate<'_>> {
    let mut remaining = Vec::new();
    for level in levels(facts) {
        for credential in &scope(facts, level).credentials {
            remaining.push(Candidate { level, credential });
        }
    }
    let mut ordered = Vec::new();
    while !remaining.is_empty() {
        let first = (0..remaining.len())
            .find(|one| {
                remaining
                    .iter()
                    .all(|other| !precedes(*other, remaining[*one]))
            })
            .expect("the order has no cycle");
        ordered.push(remaining.remove(first));
    }
    ordered
}

// Rule 5: eligible to be found.

fn available(facts: &Facts, candidate: Candidate) -> bool {
    candidate.level == 0 || shared_with_the_requesting_scope(facts, candidate.credential)
}

fn has_requested_name(facts: &Facts, candidate: Candidate) -> bool {
    match &facts.request.credential {
        None => true,
        Some(name) => *name == candidate.credential.name,
    }
}

fn visible(facts: &Facts, candidate: Candidate) -> bool {
    reachable(facts, candidate.level)
        && available(facts, candidate)
        && !override_forbidden(facts, candidate.level)
        && has_requested_name(facts, candidate)
}

// Rule 6: the search.

fn has_a_visible_candidate(facts: &Facts, level: usize) -> bool {
    scope(facts, level)
        .credentials
        .iter()
        .any(|credential| visible(facts, Candidate { level, credential }))
}

/// The search reaches a scope if no nearer scope ended it.
fn search_reaches(facts: &Facts, level: usize) -> bool {
    reachable(facts, level)
        && levels(facts)
            .into_iter()
            .filter(|nearer| *nearer < level)
            .all(|nearer| {
                !has_a_visible_candidate(facts, nearer)
                    || scope(facts, nearer).inheritance == Inheritance::FallBack
            })
}

fn in_the_search(facts: &Facts, candidate: Candidate) -> bool {
    visible(facts, candidate) && search_reaches(facts, candidate.level)
}

fn search(facts: &Facts) -> Vec<Candidate<'_>> {
    candidates_in_order(facts)
        .into_iter()
        .filter(|candidate| in_the_search(facts, *candidate))
        .collect()
}

// Rule 7: usable.

fn fault(facts: &Facts, candidate: Candidate) -> Option<&'static str> {
    let credential = candidate.credential;
    if !credential.enabled {
        return Some("disabled");
    }
    if !credential.readable {
        return Some("unreadable");
    }
    if credential
        .expires_at_ms
        .is_some_and(|time| time <= facts.request.now_ms)
    {
        return Some("expired");
    }
    match (&credential.models, effective_model(facts)) {
        (None, _) => None,
        (Some(patterns), None) if !patterns.is_empty() => Some("model-required"),
        (Some(patterns), Some(model))
            if patterns
                .iter()
                .any(|pattern| model_matches(pattern, &model)) =>
        {
            None
        }
        (Some(_), _) => Some("model-not-allowed"),
    }
}

fn usable(facts: &Facts, candidate: Candidate) -> bool {
    fault(facts, candidate).is_none()
}

// Rule 8: outcome.

fn outcome(facts: &Facts) -> Outcome {
    if organization_credential_required(facts) {
        return refused("organization-credential-required");
    }
    let search = search(facts);
    let usable: Vec<Candidate> = search
        .iter()
        .copied()
        .filter(|candidate| usable(facts, *candidate))
        .collect();
    if let Some(first) = usable.first() {
        return Outcome::Granted(Grant {
            credential: first.credential.id.clone(),
            alternates: usable[1..]
                .iter()
                .map(|other| other.credential.id.clone())
                .collect(),
            model: effective_model(facts),
        });
    }
    if let Some(first) = search.first() {
        return refused(fault(facts, *first).expect("no candidate of the search is usable"));
    }
    if candidates_in_order(facts)
        .into_iter()
        .any(|candidate| excluded_by_rule_3_only(facts, candidate))
    {
        return refused("override-forbidden");
    }
    if opting_in_would_lead_to_a_grant(facts) {
        return refused("not-opted-in");
    }
    refused("no-credential")
}

fn refused(code: &str) -> Outcome {
    Outcome::Refused(Refusal {
        code: code.parse().expect("a code of the contract"),
        message: String::new().into(),
    })
}

/// The candidate meets every condition of rule 5 except rule 3.
fn excluded_by_rule_3_only(facts: &Facts, candidate: Candidate) -> bool {
    reachable(facts, candidate.level)
        && available(facts, candidate)
        && override_forbidden(facts, candidate.level)
        && has_requested_name(facts, candidate)
}

fn opting_in_would_lead_to_a_grant(facts: &Facts) -> bool {
    if facts
        .chain
        .iter()
        .all(|scope| scope.inheritance != Inheritance::Isolated)
    {
        // Opting in would change nothing, and these facts were not granted.
        return false;
    }
    let mut opted_in = facts.clone();
    for scope in &mut opted_in.chain {
        if scope.inheritance == Inheritance::Isolated {
            scope.inheritance = Inheritance::Inherit;
        }
    }
    matches!(outcome(&opted_in), Outcome::Granted(_))
}

// Rule 9: trail.

fn trail(facts: &Facts) -> Vec<Finding> {
    candidates_in_order(facts)
        .into_iter()
        .map(|candidate| Finding {
            credential: candidate.credential.id.clone(),
            code: finding(facts, candidate)
                .parse()
                .expect("a code of the contract"),
            attributes: BTreeMap::new(),
        })
        .collect()
}

fn finding(facts: &Facts, candidate: Candidate) -> &'static str {
    if !reachable(facts, candidate.level) {
        return "not-opted-in";
    }
    if !available(facts, candidate) {
        return "not-shared";
    }
    if override_forbidden(facts, candidate.level) {
        return "override-forbidden";
    }
    if !has_requested_name(facts, candidate) {
        return "name-mismatch";
    }
    if let Some(fault) = fault(facts, candidate) {
        return fault;
    }
    if !in_the_search(facts, candidate) {
        return "shadowed";
    }
    match outcome(facts) {
        Outcome::Granted(grant) if grant.credential == candidate.credential.id => "chosen",
        _ => "alternate",
    }
}

// Patterns.

fn model_matches(pattern: &str, model: &str) -> bool {
    glob(&characters(pattern), &characters(model), true)
}

/// Matches whole segments: `**` matches no segment, or one and continues.
fn path_matches(pattern: &str, path: &str) -> bool {
    segments_match(
        &pattern.split('/').collect::<Vec<_>>(),
        &path.split('/').collect::<Vec<_>>(),
    )
}

fn segments_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], []) => segments_match(rest, path),
        (["**", rest @ ..], [_, others @ ..]) => {
            segments_match(rest, path) || segments_match(pattern, others)
        }
        ([first, rest @ ..], [segment, others @ ..]) => {
            glob(&characters(first), &characters(segment), false) && segments_match(rest, others)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// `*` matches no character, or one and continues. A `?` matches any character in a model
/// pattern, and only itself in a path pattern.
fn glob(pattern: &[char], text: &[char], question_mark_is_any: bool) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], []) => glob(rest, text, question_mark_is_any),
        (['*', rest @ ..], [_, others @ ..]) => {
            glob(rest, text, question_mark_is_any) || glob(pattern, others, question_mark_is_any)
        }
        ([first, rest @ ..], [character, others @ ..]) => {
            (first == character || (*first == '?' && question_mark_is_any))
                && glob(rest, others, question_mark_is_any)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}
