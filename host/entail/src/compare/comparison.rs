//! Decides the requests of scopes in two states, and finds what differs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entail_policy::Policy;
use entail_store::Keys;

use crate::blocking::run_on_thread;
use crate::compare::access::{AccessChange, AccessChanges, ComparedRequest, Coverage};
use crate::compare::decision::{Difference, DifferenceCounts, EffectiveDecision};
use crate::compare::parallel::on_all_processors;
use crate::compare::recorded_requests::RecordedRequests;
use crate::compare::requests::requests;
use crate::compare::state::AccessState;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::Principal;
use crate::resolve::chain::Chain;
use crate::resolve::request::Request;
use entail_decision::name::{AttributeName, AttributeValue, ProviderId, ScopePath};
use entail_decision::provider::{Catalog, Provider};

/// Scopes that a processor takes at a time: enough that taking them costs little in
/// comparison.
const SCOPES_AT_ONCE: usize = 16;

/// How long from now each request is decided again: at other times of a day, on other days
/// of a week, in another month and year.
const LATER: [Duration; 8] = [
    Duration::from_hours(6),
    Duration::from_hours(12),
    Duration::from_hours(18),
    Duration::from_hours(24),
    Duration::from_hours(3 * 24),
    Duration::from_hours(7 * 24),
    Duration::from_hours(30 * 24),
    Duration::from_hours(365 * 24),
];

impl Entail {
    /// Decides the requests of each of `paths` in both states, and returns what differs. All
    /// processors work, none of them for the caller's runtime.
    pub(super) async fn compare(
        &self,
        principal: &Principal,
        before: AccessState,
        after: AccessState,
        paths: Vec<ScopePath>,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        let home = self.home().clone();
        let keys = self.documents.store.reload_keys().await?;
        let (catalog, principal) = (self.catalog().clone(), principal.clone());
        let (now_ms, attributes) = (self.documents.now_ms(), attributes.clone());
        let unreadable = before.unreadable.iter();
        let notes: Vec<String> = unreadable
            .map(|path| format!("{path} is not compared: its document cannot be read"))
            .collect();
        run_on_thread("entail-compare", move || {
            let comparison = Comparison {
                catalog: &catalog,
                principal: &principal,
                now_ms,
                keys,
                recorded: &RecordedRequests::latest(&home)?,
                attributes: &attributes,
                before: &before,
                after: &after,
            };
            let mut changes = comparison.compare_all(&paths);
            changes.notes.extend(notes);
            Ok(changes)
        })
        .await?
    }
}

/// Two states, and what both have in common.
struct Comparison<'a> {
    catalog: &'a Catalog,
    principal: &'a Principal,
    now_ms: u64,
    keys: Arc<Keys>,
    recorded: &'a RecordedRequests,
    attributes: &'a BTreeMap<AttributeName, AttributeValue>,
    before: &'a AccessState,
    after: &'a AccessState,
}

/// What one processor found.
#[derive(Default)]
struct Findings {
    counts: DifferenceCounts,
    changes: Vec<AccessChange>,
    with_attributes: usize,
    attributes_decide: usize,
}

impl Comparison<'_> {
    /// Compares all scopes, on all processors.
    fn compare_all(&self, paths: &[ScopePath]) -> AccessChanges {
        let next = AtomicUsize::new(0);
        let parts = on_all_processors(|| {
            let mut findings = Findings::default();
            loop {
                let from = next.fetch_add(SCOPES_AT_ONCE, Ordering::Relaxed);
                let Some(rest) = paths.get(from..).filter(|rest| !rest.is_empty()) else {
                    return findings;
                };
                for path in rest.iter().take(SCOPES_AT_ONCE) {
                    self.compare_scope(path, &mut findings);
                }
            }
        });
        let mut all = AccessChanges {
            revision: self.before.revision,
            scopes: paths.len(),
            coverage: Coverage {
                later_ms: LATER.iter().map(in_ms).collect(),
                records: self.recorded.records(),
                recorded_requests: self.recorded.len(),
                skipped: self.recorded.skipped(),
                attributes: self.attributes.clone(),
                ..Coverage::default()
            },
            ..AccessChanges::default()
        };
        for part in parts {
            all.counts.add_all(&part.counts);
            all.coverage.with_attributes += part.with_attributes;
            all.coverage.attributes_decide += part.attributes_decide;
            all.changes.extend(part.changes);
        }
        all.changes.sort_by_cached_key(|change| {
            let AccessChange {
                scope,
                provider,
                request,
                ..
            } = change;
            (scope.clone(), provider.clone(), request.clone())
        });
        all
    }

    fn compare_scope(&self, path: &ScopePath, findings: &mut Findings) {
        let before = self.before.resolve_chain(path);
        let after = self.after.resolve_chain(path);
        let chains = || {
            [&before, &after]
                .into_iter()
                .flatten()
                .map(|(chain, _)| chain)
        };
        for provider in self.catalog.iter() {
            let id = &provider.id;
            let mut requests = requests(path, id, chains());
            if !requests.is_empty() {
                self.add_with_attributes(&mut requests);
                for recorded in self.recorded.of(path, id) {
                    if !recorded.attributes.is_empty() {
                        findings.with_attributes += 1;
                        if self.attributes_decide(before.as_ref(), provider, recorded)
                            || self.attributes_decide(after.as_ref(), provider, recorded)
                        {
                            findings.attributes_decide += 1;
                        }
                    }
                    if !requests.contains(recorded) {
                        requests.push(recorded.clone());
                    }
                }
            }
            let compared = requests.into_iter().flat_map(|request| {
                self.decide_both(before.as_ref(), after.as_ref(), provider, request)
            });
            findings.add(path, id, compared.collect());
        }
    }

    /// Adds each request again, with the given attributes.
    fn add_with_attributes(&self, requests: &mut Vec<Request>) {
        if self.attributes.is_empty() {
            return;
        }
        let with_attributes = requests.iter().map(|request| Request {
            attributes: self.attributes.clone(),
            ..request.clone()
        });
        let with_attributes: Vec<Request> = with_attributes.collect();
        requests.extend(with_attributes);
    }

    /// Whether the decision on a request depends on its attributes.
    fn attributes_decide(
        &self,
        side: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: &Request,
    ) -> bool {
        let without = Request {
            attributes: BTreeMap::new(),
            ..request.clone()
        };
        let decide = |request| self.decide(side, provider, request, self.now_ms);
        decide(request) != decide(&without)
    }

    /// Decides a request in both states: now, and at each later time at which the result
    /// differs from the one before.
    fn decide_both(
        &self,
        before: Option<&(Chain, &Policy)>,
        after: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: Request,
    ) -> Vec<Compared> {
        let compared = |later_ms: u64| {
            let at_ms = self.now_ms.saturating_add(later_ms);
            Compared {
                request: ComparedRequest::Only {
                    credential: request.credential.clone(),
                    model: request.model.clone(),
                    attributes: request.attributes.clone(),
                    kept: request.kept.clone(),
                    later_ms: (later_ms > 0).then_some(later_ms),
                },
                from: self.decide(before, provider, &request, at_ms),
                to: self.decide(after, provider, &request, at_ms),
            }
        };
        let mut all = vec![compared(0)];
        for later in LATER.iter().map(in_ms) {
            let later = compared(later);
            if all.last().is_some_and(|last| last.differs_from(&later)) {
                all.push(later);
            }
        }
        all
    }

    fn decide(
        &self,
        side: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: &Request,
        at_ms: u64,
    ) -> EffectiveDecision {
        match side {
            None => EffectiveDecision::Absent,
            Some((chain, policy)) => {
                match chain.facts(request, provider, self.principal, at_ms, &self.keys) {
                    Ok(facts) => EffectiveDecision::of(policy, &facts),
                    Err(error) => EffectiveDecision::failed(&error.to_string()),
                }
            }
        }
    }
}

fn in_ms(time: &Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The decisions on a request before and after.
struct Compared {
    request: ComparedRequest,
    from: EffectiveDecision,
    to: EffectiveDecision,
}

impl Compared {
    fn difference(&self) -> Difference {
        Difference::between(&self.from, &self.to)
    }

    /// Whether a later time shows something new. A change that both sides have in common,
    /// such as an expiry, is not.
    fn differs_from(&self, later: &Compared) -> bool {
        let both_same = [self, later].map(Compared::difference) == [Difference::Same; 2];
        !both_same && (&self.from, &self.to) != (&later.from, &later.to)
    }
}

impl Findings {
    /// Adds the decisions on all requests of a scope for a provider; as one change if all
    /// are equal.
    fn add(&mut self, path: &ScopePath, provider: &ProviderId, mut all: Vec<Compared>) {
        for compared in &all {
            self.counts.add(compared.difference());
        }
        let are_equal = all.first().is_some_and(|first| {
            all.iter()
                .all(|other| (&other.from, &other.to) == (&first.from, &first.to))
        });
        if are_equal {
            all.truncate(1);
        }
        for compared in all {
            let difference = compared.difference();
            if difference == Difference::Same {
                continue;
            }
            self.changes.push(AccessChange {
                scope: path.clone(),
                provider: provider.clone(),
                request: if are_equal {
                    ComparedRequest::Any
                } else {
                    compared.request
                },
                difference,
                from: compared.from,
                to: compared.to,
            });
        }
    }
}
