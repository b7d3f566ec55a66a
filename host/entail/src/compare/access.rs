//! Effective access: what every scope would get for every provider, before a change
//! and after it.
//!
//! Two states of affairs are compared: what the scopes hold, and which policy decides
//! for them. Either may differ: another policy is tried on what is there
//! ([`Entail::policy_diff`]), or a planned change is worked out in memory and decided
//! by the policy in service ([`Entail::dry_run`]). Nothing is committed, recorded or
//! unsealed on the way.
//!
//! # What is asked
//!
//! For each scope, and each provider that a scope of its chain has a credential for,
//! before or after:
//!
//! - a request that names no model, and one for each model that the chain knows of: its
//!   default models, and the patterns of its credentials. A pattern with a wildcard
//!   stands for a model that fits it: the one that is spelled like it;
//! - where the chain has credentials of several names, the same for each of the names;
//! - with attributes at hand, each of these with and without them;
//! - what the decision log says was asked lately: model, credential and attributes;
//! - each of these as of now, and as of later times ([`LATER`]).
//!
//! A policy can still tell a dry run's requests from others, by a model or an attribute
//! that nobody named yet, or by another time. [`Coverage`] says what was asked. Whatever
//! a policy does then, the guard holds it to what was opted in to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entail_policy::{Isolation, Policy};
use entail_store::{Keys, Revision};
use serde::Serialize;

use crate::authorize::authorize;
use crate::change::{Change, Context};
use crate::clock::ClockReading;
use crate::compare::decision::{Answer, Counts, Difference};
use crate::compare::recorded_requests::RecordedRequests;
use crate::compare::replay::on_all_processors;
use crate::documents::retirements::Times;
use crate::documents::scope::{self, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::resolve::facts::{Chain, Request};
use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};
use entail_decision::provider::{Catalog, Provider};

/// Scopes read at a time.
const PAGE: usize = 1_000;

/// Scopes that a processor takes at a time: enough work to make the taking small
/// beside it.
const SCOPES_AT_ONCE: usize = 16;

/// How long from now the same is asked again: at other times of a day, on other days of
/// a week, in another month and year.
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

/// What was asked to find out who would get what, besides what the scopes themselves
/// say: what a policy makes of anything else does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The times after now as of which it was asked, in milliseconds from now.
    pub later_ms: Vec<u64>,
    /// Records of the decision log that were read, the newest first.
    pub records: usize,
    /// Requests that they hold, each once.
    pub recorded_requests: usize,
    /// Requests that they hold besides, and that were not asked: the scope has asked many
    /// others for the provider since.
    pub left_out: usize,
    /// What a caller said with one half of the requests, and not with the other half.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Of the recorded requests that were asked, those with which a caller said something.
    pub with_attributes: usize,
    /// Of those, the ones whose answer, now or then, depends on what the caller said.
    /// Where there are any, attributes that were not asked may come to something else.
    pub attributes_decide: usize,
}

/// Who would get what, now against then.
#[derive(Clone, Debug, Default)]
pub struct AccessChanges {
    /// The revision of the store that was looked at.
    pub revision: Revision,
    /// How many scopes were.
    pub scopes: usize,
    /// How the requests compare that were asked twice.
    pub counts: Counts,
    /// What differs, by scope and provider.
    pub changes: Vec<AccessChange>,
    /// What was asked.
    pub coverage: Coverage,
    /// What a person would be told if the change were made.
    pub notes: Vec<String>,
}

/// What a scope gets now, and what it would get then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessChange {
    /// The scope that asks.
    pub scope: ScopePath,
    /// For which provider.
    pub provider: ProviderId,
    /// What it asks for.
    pub asked: Asked,
    /// What differs.
    pub difference: Difference,
    /// What it gets now.
    pub from: Answer,
    /// What it would get.
    pub to: Answer,
}

/// What a request asks for, besides the provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Whatever was asked, it came to the same.
    Anything,
    /// This, where other requests come to something else.
    This {
        /// The name of the credential; none means any.
        credential: Option<CredentialName>,
        /// The model; none if the request names none.
        model: Option<ModelId>,
        /// What else the caller says.
        attributes: BTreeMap<AttributeName, AttributeValue>,
        /// What the caller keeps of its own.
        kept: Vec<String>,
        /// How long from now, where that comes to something else than now; in
        /// milliseconds.
        later_ms: Option<u64>,
    },
}

impl Entail {
    /// What a change would change in who gets what: the scope that it changes, and all
    /// below. The change itself is checked as [`Entail::change`] does, and not made. With
    /// `attributes`, requests are asked with and without them.
    ///
    /// Blocks while all processors are at work, for a tenth of a millisecond or so a
    /// scope.
    ///
    /// # Errors
    ///
    /// As [`Entail::change`].
    pub async fn dry_run(
        &self,
        principal: &Principal,
        change: &Change,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        authorize(principal, Action::Change, change.scope())?;
        let provider = change.provider().map(|id| self.provider(id)).transpose()?;
        self.until_not_contended(|| self.try_dry_run(principal, change, provider, attributes))
            .await
    }

    async fn try_dry_run(
        &self,
        principal: &Principal,
        change: &Change,
        provider: Option<&Provider>,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        let path = change.scope();
        self.check_can_commit().await?;
        let revision = self.store.revision().await?;
        let paths = match change {
            Change::AddScope { .. } => vec![path.clone()],
            _ => self.scopes(principal, Some(path)).await?,
        };
        let before = self.affairs(principal, revision, &paths).await?;
        let has_parent = path
            .parent()
            .is_none_or(|parent| before.scopes.contains_key(&parent));
        self.check_around(change, has_parent).await?;
        let recipients = self.store.recipients().await?;
        let now = ClockReading::of(&*self.clock);
        let context = Context {
            times: Times {
                now: &now,
                newest_ms: self.newest_change_ms(revision).await?,
                seen_over: None,
            },
            recipients: &recipients,
            provider,
        };
        let scope = before.scopes.get(path).map(|scope| Scope::clone(scope));
        let (scope, effects) = change.apply(scope, &context)?;
        let mut after = before.clone();
        match scope {
            Some(scope) => after.scopes.insert(path.clone(), Arc::new(scope)),
            None => after.scopes.remove(path),
        };
        let mut changes = self.compare(principal, &before, &after, &paths, attributes)?;
        changes.notes = effects.applied.notes;
        Ok(changes)
    }

    /// What would change in who gets what if `policy` were in service: for
    /// `organization` (or a project) and all below, else for everybody. With `attributes`,
    /// requests are asked with and without them.
    ///
    /// Blocks as [`Entail::dry_run`] does.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`]; [`Error::Contended`] when others
    /// kept changing what is looked at.
    pub async fn policy_diff(
        &self,
        principal: &Principal,
        policy: &Policy,
        organization: Option<&ScopePath>,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        self.until_not_contended(|| async {
            let revision = self.store.revision().await?;
            let paths = self.scopes(principal, organization).await?;
            let before = self.affairs(principal, revision, &paths).await?;
            let mut after = before.clone();
            for decides in after.policies.values_mut() {
                *decides = policy.clone();
            }
            self.compare(principal, &before, &after, &paths, attributes)
        })
        .await
    }

    /// What `paths` and all above them hold at `revision`, and which policies decide
    /// for them.
    pub(crate) async fn affairs(
        &self,
        principal: &Principal,
        revision: Revision,
        paths: &[ScopePath],
    ) -> Result<Affairs, Error> {
        let mut affairs = Affairs {
            revision,
            scopes: BTreeMap::new(),
            policies: BTreeMap::new(),
        };
        for path in paths {
            authorize(principal, Action::View, path)?;
        }
        let all: BTreeSet<ScopePath> = paths.iter().flat_map(ScopePath::chain).collect();
        let all: Vec<ScopePath> = all.into_iter().collect();
        for some in all.chunks(PAGE) {
            let keys: Vec<_> = some.iter().map(scope::document_key).collect();
            let snapshot = self.store.read(&keys).await?;
            if snapshot.revision != revision {
                return Err(Error::Contended);
            }
            for (path, document) in some.iter().zip(snapshot.documents) {
                if let Some(document) = document {
                    let scope = document.body::<Scope>()?;
                    affairs.scopes.insert(path.clone(), scope);
                }
            }
        }
        for organization in all.into_iter().filter(ScopePath::is_organization) {
            let policy = self.policy_in_service(&organization).await?;
            // In instances of its own: what is asked here must not be remembered there.
            let policy = policy.with_isolation(Isolation::PerCall);
            affairs.policies.insert(organization, policy);
        }
        Ok(affairs)
    }

    /// Asks for each of `paths` in both states of affairs.
    fn compare(
        &self,
        principal: &Principal,
        before: &Affairs,
        after: &Affairs,
        paths: &[ScopePath],
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<AccessChanges, Error> {
        let recorded = RecordedRequests::latest(self.home())?;
        let comparison = Comparison {
            catalog: self.catalog(),
            principal,
            now_ms: self.now_ms(),
            keys: self.store.read_keys_again()?,
            recorded: &recorded,
            attributes,
            before,
            after,
        };
        let next = AtomicUsize::new(0);
        let parts = on_all_processors(|| {
            let mut found = Found::default();
            loop {
                let from = next.fetch_add(SCOPES_AT_ONCE, Ordering::Relaxed);
                let Some(rest) = paths.get(from..).filter(|rest| !rest.is_empty()) else {
                    return found;
                };
                for path in rest.iter().take(SCOPES_AT_ONCE) {
                    comparison.scope(path, &mut found);
                }
            }
        });
        let mut all = AccessChanges {
            revision: before.revision,
            scopes: paths.len(),
            coverage: Coverage {
                later_ms: LATER.iter().map(in_ms).collect(),
                records: recorded.records(),
                recorded_requests: recorded.len(),
                left_out: recorded.left_out(),
                attributes: attributes.clone(),
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
        let place = |change: &AccessChange| {
            let AccessChange {
                scope,
                provider,
                asked,
                ..
            } = change;
            (scope.clone(), provider.clone(), asked.clone())
        };
        all.changes.sort_by_cached_key(place);
        Ok(all)
    }
}

/// A state of affairs: what scopes hold, and which policy decides for them.
#[derive(Clone)]
pub(crate) struct Affairs {
    revision: Revision,
    scopes: BTreeMap<ScopePath, Arc<Scope>>,
    /// By organization.
    policies: BTreeMap<ScopePath, Policy>,
}

impl Affairs {
    /// The chain of a scope, and who decides for it; none if it is not there.
    pub(crate) fn standing(&self, path: &ScopePath) -> Option<(Chain, &Policy)> {
        let scopes: Option<Vec<_>> = path
            .chain()
            .map(|path| {
                let scope = self.scopes.get(&path)?;
                Some((path, Arc::clone(scope)))
            })
            .collect();
        let scopes = scopes?;
        let (organization, _) = scopes.last()?;
        let policy = self.policies.get(organization)?;
        let revision = self.revision;
        Some((Chain { revision, scopes }, policy))
    }
}

/// Two states of affairs, and what goes for both.
struct Comparison<'a> {
    catalog: &'a Catalog,
    principal: &'a Principal,
    now_ms: u64,
    keys: Arc<Keys>,
    recorded: &'a RecordedRequests,
    attributes: &'a BTreeMap<AttributeName, AttributeValue>,
    before: &'a Affairs,
    after: &'a Affairs,
}

/// What one processor has found.
#[derive(Default)]
struct Found {
    counts: Counts,
    changes: Vec<AccessChange>,
    with_attributes: usize,
    attributes_decide: usize,
}

impl Comparison<'_> {
    fn scope(&self, path: &ScopePath, found: &mut Found) {
        let before = self.before.standing(path);
        let after = self.after.standing(path);
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
                self.say_attributes(&mut requests);
                for recorded in self.recorded.of(path, id) {
                    if !recorded.attributes.is_empty() {
                        found.with_attributes += 1;
                        if self.attributes_decide(before.as_ref(), provider, recorded)
                            || self.attributes_decide(after.as_ref(), provider, recorded)
                        {
                            found.attributes_decide += 1;
                        }
                    }
                    if !requests.contains(recorded) {
                        requests.push(recorded.clone());
                    }
                }
            }
            let answers = requests.into_iter().flat_map(|request| {
                self.answers(before.as_ref(), after.as_ref(), provider, request)
            });
            found.add(path, id, answers.collect());
        }
    }

    /// Adds each of the requests once more, with the attributes at hand.
    fn say_attributes(&self, requests: &mut Vec<Request>) {
        if self.attributes.is_empty() {
            return;
        }
        let said = requests.iter().map(|request| Request {
            attributes: self.attributes.clone(),
            ..request.clone()
        });
        let said: Vec<Request> = said.collect();
        requests.extend(said);
    }

    /// Whether a request's answer would be another one without its attributes.
    fn attributes_decide(
        &self,
        standing: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: &Request,
    ) -> bool {
        let without = Request {
            attributes: BTreeMap::new(),
            ..request.clone()
        };
        let answer = |request| self.answer(standing, provider, request, self.now_ms);
        answer(request) != answer(&without)
    }

    /// The answers to a request before and after, as of now, and as of the later times
    /// from which on something else differs.
    fn answers(
        &self,
        before: Option<&(Chain, &Policy)>,
        after: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: Request,
    ) -> Vec<Compared> {
        let compared = |later_ms: u64| {
            let at_ms = self.now_ms.saturating_add(later_ms);
            Compared {
                asked: Asked::This {
                    credential: request.credential.clone(),
                    model: request.model.clone(),
                    attributes: request.attributes.clone(),
                    kept: request.kept.clone(),
                    later_ms: (later_ms > 0).then_some(later_ms),
                },
                from: self.answer(before, provider, &request, at_ms),
                to: self.answer(after, provider, &request, at_ms),
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

    fn answer(
        &self,
        standing: Option<&(Chain, &Policy)>,
        provider: &Provider,
        request: &Request,
        at_ms: u64,
    ) -> Answer {
        match standing {
            None => Answer::Absent,
            Some((chain, policy)) => {
                match chain.facts(request, provider, self.principal, at_ms, &self.keys) {
                    Ok(facts) => Answer::of(policy, &facts),
                    Err(error) => Answer::failed(&error.to_string()),
                }
            }
        }
    }
}

fn in_ms(time: &Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What came of a request before and after.
struct Compared {
    asked: Asked,
    from: Answer,
    to: Answer,
}

impl Compared {
    fn difference(&self) -> Difference {
        Difference::between(&self.from, &self.to)
    }

    /// Whether a later time tells something new. That both answers changed alike does
    /// not, such as when a credential expires.
    fn differs_from(&self, later: &Compared) -> bool {
        let both_same = [self, later].map(Compared::difference) == [Difference::Same; 2];
        !both_same && (&self.from, &self.to) != (&later.from, &later.to)
    }
}

impl Found {
    /// Takes in the answers to all that a scope was asked for a provider; as one change
    /// if they are alike.
    fn add(&mut self, path: &ScopePath, provider: &ProviderId, mut answers: Vec<Compared>) {
        for compared in &answers {
            self.counts.add(compared.difference());
        }
        let alike = answers.first().is_some_and(|first| {
            answers
                .iter()
                .all(|other| (&other.from, &other.to) == (&first.from, &first.to))
        });
        if alike {
            answers.truncate(1);
        }
        for compared in answers {
            let difference = compared.difference();
            if difference == Difference::Same {
                continue;
            }
            self.changes.push(AccessChange {
                scope: path.clone(),
                provider: provider.clone(),
                asked: if alike {
                    Asked::Anything
                } else {
                    compared.asked
                },
                difference,
                from: compared.from,
                to: compared.to,
            });
        }
    }
}

/// What a scope is asked for a provider: nothing, if no scope of these chains has a
/// credential for it.
pub(crate) fn requests<'a>(
    path: &ScopePath,
    provider: &ProviderId,
    chains: impl Iterator<Item = &'a Chain>,
) -> Vec<Request> {
    let mut names = BTreeSet::new();
    let mut models = BTreeSet::new();
    for (_, scope) in chains.flat_map(|chain| &chain.scopes) {
        models.extend(scope.models.get(provider).cloned());
        for credential in scope.credentials_for(provider) {
            names.insert(credential.name.clone());
            let patterns = credential.rules.models.iter().flatten();
            // Each was checked to consist of what a model does.
            models.extend(patterns.filter_map(|pattern| pattern.parse::<ModelId>().ok()));
        }
    }
    let named: Vec<Option<CredentialName>> = match names.len() {
        0 => Vec::new(),
        1 => vec![None],
        _ => std::iter::once(None)
            .chain(names.into_iter().map(Some))
            .collect(),
    };
    let models: Vec<Option<ModelId>> = std::iter::once(None)
        .chain(models.into_iter().map(Some))
        .collect();
    let mut requests = Vec::with_capacity(named.len() * models.len());
    for credential in named {
        for model in &models {
            requests.push(Request {
                credential: credential.clone(),
                model: model.clone(),
                ..Request::new(path.clone(), provider.clone())
            });
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use entail_policy::Inheritance;
    use entail_store::Secret;

    use super::*;
    use crate::change::CredentialRef;
    use crate::change::rules::{Edit, RuleChanges};
    use crate::change::set_credential::{SecretEdit, SetCredential};
    use crate::entail::Settings;
    use crate::home::Home;

    const ME: Principal = Principal::LocalOwner;

    fn set(scope: &str, name: &str, rules: RuleChanges, secret: SecretEdit) -> Change {
        let fields = match secret {
            SecretEdit::Keep => Vec::new(),
            _ => vec![(
                "api_key".to_owned(),
                Secret::from("canary-of-effective-access"),
            )],
        };
        Change::SetCredential(Box::new(SetCredential {
            credential: CredentialRef {
                scope: scope.parse().unwrap(),
                provider: "openai".parse().unwrap(),
                name: name.parse().unwrap(),
            },
            mode: None,
            fields,
            rules,
            secret,
            grace_ms: 0,
        }))
    }

    fn inherit(scope: &str, inheritance: Inheritance) -> Change {
        Change::SetInheritance {
            scope: scope.parse().unwrap(),
            provider: Some("openai".parse().unwrap()),
            inheritance,
        }
    }

    fn add(scope: &str) -> Change {
        Change::AddScope {
            scope: scope.parse().unwrap(),
        }
    }

    /// `acme` with a key, `acme/evals` that inherits it, with `acme/evals/nightly`
    /// that inherits too, and `acme/agents` that does not.
    async fn with_acme() -> (tempfile::TempDir, Entail) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, Settings::default()).unwrap();
        for change in [
            add("acme"),
            add("acme/agents"),
            add("acme/evals"),
            add("acme/evals/nightly"),
            set("acme", "default", RuleChanges::default(), SecretEdit::Given),
            inherit("acme/evals", Inheritance::Inherit),
            inherit("acme/evals/nightly", Inheritance::Inherit),
        ] {
            entail.change(&ME, &change).await.unwrap();
        }
        (folder, entail)
    }

    /// As `scope [model]: before → after (difference)`.
    fn shown(changes: &AccessChanges) -> Vec<String> {
        let shown = changes.changes.iter().map(|change| {
            let asked = match &change.asked {
                Asked::Anything => String::new(),
                Asked::This {
                    credential, model, ..
                } => {
                    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
                    format!(
                        " [{} {}]",
                        text(credential.as_ref().map(CredentialName::as_str)),
                        text(model.as_ref().map(ModelId::as_str))
                    )
                }
            };
            format!(
                "{}{asked}: {} → {} ({})",
                change.scope, change.from, change.to, change.difference
            )
        });
        shown.collect()
    }

    #[tokio::test]
    async fn a_planned_change_shows_in_the_scope_and_all_below_and_is_not_made() {
        let (_folder, entail) = with_acme().await;
        let revision = entail.store.revision().await.unwrap();
        let planned = async |change: Change| {
            shown(
                &entail
                    .dry_run(&ME, &change, &BTreeMap::new())
                    .await
                    .unwrap(),
            )
        };
        assert_eq!(
            planned(inherit("acme/evals", Inheritance::Isolated)).await,
            [
                "acme/evals: default of acme → refused: not-opted-in (narrowed)",
                "acme/evals/nightly: default of acme → refused: not-opted-in (narrowed)",
            ]
        );
        assert_eq!(
            planned(inherit("acme/agents", Inheritance::Inherit)).await,
            ["acme/agents: refused: not-opted-in → default of acme (widened)"]
        );
        // The key of one's own goes before, so the parent's is no longer used.
        let own = set(
            "acme/evals",
            "own",
            RuleChanges::default(),
            SecretEdit::Given,
        );
        assert_eq!(
            planned(own).await,
            [
                "acme/evals [- -]: default of acme → own of acme/evals (widened)",
                "acme/evals [own -]: refused: no-credential → own of acme/evals (widened)",
                "acme/evals/nightly [- -]: default of acme → own of acme/evals (widened)",
                "acme/evals/nightly [own -]: refused: no-credential → own of acme/evals (widened)",
            ]
        );
        assert_eq!(
            planned(add("acme/new")).await,
            ["acme/new: no such scope → refused: not-opted-in (reworded)"]
        );
        let nightly = "acme/evals/nightly".parse().unwrap();
        assert_eq!(
            planned(Change::RemoveProject { scope: nightly }).await,
            ["acme/evals/nightly: default of acme → no such scope (narrowed)"]
        );
        let same = inherit("acme/evals", Inheritance::FallBack);
        assert_eq!(planned(same).await, [""; 0]);
        assert_eq!(entail.store.revision().await.unwrap(), revision);
    }

    #[tokio::test]
    async fn patterns_of_models_are_asked_for_as_models() {
        let (_folder, entail) = with_acme().await;
        let only = |patterns: &[&str]| RuleChanges {
            models: Edit::Set(patterns.iter().map(|p| (*p).to_owned()).collect()),
            ..RuleChanges::default()
        };
        let change = set("acme", "default", only(&["gpt-*"]), SecretEdit::Keep);
        let planned = entail
            .dry_run(&ME, &change, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!(
            shown(&planned),
            [
                "acme [- -]: default of acme → refused: model-required (narrowed)",
                // Opting in would no longer help.
                "acme/agents [- -]: refused: not-opted-in → refused: no-credential (reworded)",
                "acme/evals [- -]: default of acme → refused: model-required (narrowed)",
                "acme/evals/nightly [- -]: default of acme → refused: model-required (narrowed)",
            ]
        );
        entail.change(&ME, &change).await.unwrap();
        let change = set("acme", "default", only(&["o-*"]), SecretEdit::Keep);
        let planned = entail
            .dry_run(&ME, &change, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!(
            shown(&planned)[..2],
            [
                "acme [- gpt-*]: default of acme → refused: model-not-allowed (narrowed)",
                "acme [- o-*]: refused: model-not-allowed → default of acme (widened)",
            ]
        );
    }

    #[tokio::test]
    async fn a_change_that_makes_no_sense_is_an_error_as_if_it_were_made() {
        let (_folder, entail) = with_acme().await;
        for change in [
            add("acme/evals"),
            add("acme/nowhere/below"),
            inherit("acme/nowhere", Inheritance::Inherit),
            set("acme", "other", RuleChanges::default(), SecretEdit::Keep),
            Change::RemoveProject {
                scope: "acme/evals".parse().unwrap(),
            },
        ] {
            let planned = entail
                .dry_run(&ME, &change, &BTreeMap::new())
                .await
                .unwrap_err();
            let made = entail.change(&ME, &change).await.unwrap_err();
            assert_eq!(planned.to_string(), made.to_string());
        }
    }

    #[tokio::test]
    async fn the_policy_in_service_differs_in_nothing_from_itself() {
        let (_folder, entail) = with_acme().await;
        let policy = entail.built_in_policy().unwrap().clone();
        let changes = entail
            .policy_diff(&ME, &policy, None, &BTreeMap::new())
            .await
            .unwrap();
        assert_eq!((changes.scopes, changes.counts.same), (4, 4));
        assert_eq!(shown(&changes), [""; 0]);
        let evals = "acme/evals".parse().unwrap();
        let changes = entail
            .policy_diff(&ME, &policy, Some(&evals), &BTreeMap::new())
            .await;
        assert_eq!(changes.unwrap().scopes, 2);
    }
}
