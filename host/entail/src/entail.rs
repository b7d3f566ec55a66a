//! The straight line from a request to a lease.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entail_policy::{Decision, Digest, Engine, Facts, Outcome, Policy, Settings as EngineSettings};
use entail_store::{
    Access, Batch, Document, Entry, Fault, Fields, IdentitySource, Keys, Recipients, Revision,
    Secret, Store, Tampering, Verifier, recipients_key,
};
use serde_json::json;

use crate::audit::{self, DecisionLog, Granted, Purpose, Record};
use crate::authorize::authorize;
use crate::change::value::{base_url, host_of};
use crate::change::{Applied, Change, Context};
use crate::clock::{Clock, ClockReading, SystemClock};
use crate::compare::decision::Answer;
use crate::documents::retirements::{Retirements, Times, retirements_key};
use crate::documents::scope::{self, Credential, SCOPE_KIND, Scope};
use crate::error::Error;
use crate::home::Home;
use crate::keys::rotation::encode;
use crate::policies::{Policies, PolicyBinding, Question, Serving, Shadow, ShadowLog};
use crate::principal::{Action, Principal};
use crate::recovery::maintenance::LastVerified;
use crate::resolve::facts::{Chain, Request};
use crate::resolve::lease::Lease;
use crate::resolve::secret_cache::OpenedSecrets;
use entail_decision::guard;
use entail_decision::name::{ProviderId, ScopePath};
use entail_decision::provider::{Catalog, Format, Provider};

/// The built-in policy, as built from `guest/default`.
pub const DEFAULT_POLICY: &[u8] = include_bytes!("../../../guest/default/default-policy.wasm");

/// How long an opened secret is kept unless the settings say otherwise: long
/// enough for a burst of requests, short enough for an idle process to hold
/// none.
const KEEP_OPENED: Duration = Duration::from_secs(30);

/// How long a change is tried again when others are faster. Each try that loses
/// means that somebody else's won; a commit takes milliseconds.
const CHANGE_WITHIN: Duration = Duration::from_secs(15);

/// The longest pause before a change is tried again.
const MAX_PAUSE_MS: u16 = 50;

/// How often a request is decided anew when its secret was renewed between
/// deciding and opening.
const RENEWED_MEANWHILE: usize = 5;

/// How an [`Entail`] is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an opened secret may be kept; none means not at all.
    pub keep_opened_secrets: Option<Duration>,
    /// How policies are run.
    pub engine: EngineSettings,
    /// Whether other processes, such as the command line, may use the home at the same
    /// time. A service that needs no others is better off alone: see [`Access`].
    pub access: Access,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_opened_secrets: Some(KEEP_OPENED),
            engine: EngineSettings::default(),
            access: Access::Shared,
            clock: Arc::new(SystemClock),
        }
    }
}

/// An installation, open for use. Cheap to share by reference between threads.
pub struct Entail {
    pub(crate) store: Arc<Store>,
    pub(crate) policies: Arc<Policies>,
    home: Home,
    catalog: Catalog,
    log: DecisionLog,
    pub(crate) clock: Arc<dyn Clock>,
    shadow_log: Arc<ShadowLog>,
    opened: OpenedSecrets,
    pub(crate) last_verified: LastVerified,
}

/// Why a request gets what it gets: the facts and the decision.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The revision of the store that the facts are of.
    pub revision: Revision,
    /// What the policy saw.
    pub facts: Arc<Facts>,
    /// What it decided. The guard has let it pass.
    pub decision: Decision,
    /// The policy that decided.
    pub policy: Digest,
}

/// A decision, with what it was made on.
struct Decided {
    chain: Chain,
    facts: Arc<Facts>,
    /// Who decided; none if the policy in service cannot be made ready.
    serving: Option<Arc<Serving>>,
    /// The component that decided, or should have.
    policy: Digest,
    /// What the policy decided and the guard let pass.
    decision: Result<Decision, Error>,
    now_ms: u64,
}

/// Which decisions are recorded. Whatever reveals something is, in each case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recording {
    Always,
    /// All but those about nothing ([`Decided::is_bare`]).
    UnlessBare,
}

impl Decided {
    /// Whether there was nothing to decide on, and it was refused.
    fn is_bare(&self) -> bool {
        let is_refused = matches!(
            &self.decision,
            Ok(Decision {
                outcome: Outcome::Refused(_),
                ..
            })
        );
        let mut scopes = self.facts.chain.iter();
        is_refused && scopes.all(|scope| scope.credentials.is_empty())
    }

    /// The shadow, if there is one, and what it is to be asked.
    fn for_shadow(&self) -> Option<(Arc<Shadow>, Question)> {
        let shadow = self.serving.as_ref()?.shadow.as_ref()?;
        let question = Question {
            facts: Arc::clone(&self.facts),
            policy: self.policy,
            answer: Answer::guarded(&self.facts, &self.decision),
        };
        Some((Arc::clone(shadow), question))
    }
}

impl Entail {
    /// Opens a home with its keys as they are: a locked identity stays locked.
    ///
    /// # Errors
    ///
    /// [`Error::Home`], [`Error::Keys`], [`Error::Unavailable`].
    pub fn open(home: &Home, settings: Settings) -> Result<Self, Error> {
        Self::with_keys(home, home.keys(IdentitySource::Folder)?, settings)
    }

    /// Opens a home with `keys`, which the caller may have unlocked.
    ///
    /// # Errors
    ///
    /// [`Error::Home`], [`Error::Unavailable`].
    pub fn with_keys(home: &Home, keys: Keys, settings: Settings) -> Result<Self, Error> {
        let mut engine = settings.engine;
        if engine.code_cache.is_none() {
            engine.code_cache = Some(home.code_cache());
        }
        Ok(Entail {
            store: Arc::new(home.store_with(keys, settings.access)?),
            policies: Policies::new(Engine::new(engine), DEFAULT_POLICY),
            home: home.clone(),
            catalog: home.catalog()?,
            shadow_log: Arc::new(ShadowLog::at(home.shadow_log())),
            log: DecisionLog::open(home, Arc::clone(&settings.clock))?,
            clock: settings.clock,
            opened: OpenedSecrets::new(settings.keep_opened_secrets),
            last_verified: LastVerified::default(),
        })
    }

    /// Whether there is an open identity, without which no secret opens.
    pub fn can_unseal(&self) -> bool {
        self.store.keys().can_unseal()
    }

    /// The time of day by this node's clock, in milliseconds since
    /// 1970-01-01T00:00:00Z.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The keys of this node.
    pub fn keys(&self) -> Arc<Keys> {
        self.store.keys()
    }

    /// Whose signature holds: the present key first.
    pub fn verifiers(&self) -> Vec<Verifier> {
        self.store.verifiers()
    }

    /// The home that is open.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The providers that are known.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The policy that decides where nobody has put another in service. It is made ready
    /// when it is first asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] when there is nothing to run it on.
    pub fn built_in_policy(&self) -> Result<&Policy, Error> {
        self.policies.built_in()
    }

    /// The engine that policies run on.
    pub fn engine(&self) -> &Engine {
        self.policies.engine()
    }

    /// Hands out the credential that `request` is entitled to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the policy refuses; else whatever failed on the
    /// way. In each case nothing was revealed.
    pub async fn resolve(&self, principal: &Principal, request: &Request) -> Result<Lease, Error> {
        self.resolve_for(principal, request, Purpose::Lease, Recording::Always)
            .await
    }

    /// The same for a caller that asks for every provider and takes what it gets: that a
    /// provider has no credential anywhere in the chain is not recorded. Nothing could
    /// have been revealed, and a record for each provider would drown those of grants.
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn resolve_any(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Lease, Error> {
        self.resolve_for(principal, request, Purpose::Lease, Recording::UnlessBare)
            .await
    }

    /// Does all that [`Entail::resolve`] does, for what it takes to know whether
    /// it would work, and lets the secret go. That a provider has no credential anywhere
    /// in the chain is not recorded, as by [`Entail::resolve_any`].
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn probe(&self, principal: &Principal, request: &Request) -> Result<Lease, Error> {
        let mut lease = self
            .resolve_for(principal, request, Purpose::Status, Recording::UnlessBare)
            .await?;
        lease.secrets.clear();
        Ok(lease)
    }

    /// Does all that [`Entail::resolve`] does, says whether the secret fields are exactly
    /// these, and lets the secret go.
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn compare_secret(
        &self,
        principal: &Principal,
        request: &Request,
        secrets: &[(String, Secret)],
    ) -> Result<(Lease, bool), Error> {
        let mut lease = self
            .resolve_for(principal, request, Purpose::Status, Recording::Always)
            .await?;
        let is_given = |(name, secret): (&str, &Secret)| {
            let mut given = secrets.iter();
            given.any(|(given, value)| given == name && value.expose() == secret.expose())
        };
        let agree = lease.secrets.len() == secrets.len() && lease.secrets().all(is_given);
        lease.secrets.clear();
        Ok((lease, agree))
    }

    async fn resolve_for(
        &self,
        principal: &Principal,
        request: &Request,
        purpose: Purpose,
        recording: Recording,
    ) -> Result<Lease, Error> {
        authorize(principal, Action::Resolve, &request.scope)?;
        for _ in 0..RENEWED_MEANWHILE {
            let decided = self.decide(principal, request).await?;
            if recording == Recording::Always || !decided.is_bare() {
                self.record(principal, request, purpose, &decided)?;
            }
            let revision = decided.chain.revision;
            let asked = decided.for_shadow();
            let lease = self.lease(request, decided).await;
            if let Some((shadow, question)) = asked {
                let log = &self.shadow_log;
                shadow.ask(&self.policies, &self.store, log, question);
            }
            match lease {
                // Between the documents and the secret the credential may have
                // been renewed, and the secret that it had destroyed.
                Err(Error::Tampered(_)) if self.store.revision().await? != revision => {}
                other => return other,
            }
        }
        Err(Error::Contended)
    }

    /// Waits until shadow policies have answered what they were asked so far, but not
    /// for longer than `within`. For a program that is about to end.
    pub async fn settle_shadows(&self, within: Duration) {
        self.shadow_log.settle(within).await;
    }

    /// Unseal, lease.
    async fn lease(&self, request: &Request, decided: Decided) -> Result<Lease, Error> {
        let decision = decided.decision?;
        let grant = match decision.outcome {
            Outcome::Granted(grant) => grant,
            Outcome::Refused(refusal) => {
                return Err(Error::Refused {
                    scope: request.scope.clone(),
                    provider: request.provider.clone(),
                    refusal,
                });
            }
        };
        // The guard has seen to it that this is there.
        let (holder, credential) =
            decided.chain.credential(&grant.credential).ok_or_else(|| {
                let what = format_args!("credential {}", grant.credential).to_string();
                Tampering::new(Fault::Missing, what, "has gone")
            })?;
        let provider = self.provider(&request.provider)?;
        let version = &credential.version;
        let base_url = base_url(provider, credential);
        check_hosts(provider, holder, credential, base_url.as_deref())?;
        let secrets = self.unseal(holder, credential).await?;
        Ok(Lease {
            scope: request.scope.clone(),
            provider: request.provider.clone(),
            holder: holder.clone(),
            name: credential.name.clone(),
            id: credential.id.clone(),
            version: version.number,
            mode: version.mode.clone(),
            model: grant.model.map(|model| model.parse()).transpose()?,
            base_url,
            parameters: version.parameters.clone(),
            hosts: version.hosts.clone(),
            expires_at_ms: credential.rules.expires_at_ms,
            revision: decided.chain.revision,
            policy: decided.policy.to_string(),
            secrets,
        })
    }

    /// Explains what `request` gets, without opening anything.
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`], but for a refusal, which is an explanation too.
    pub async fn explain(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Explanation, Error> {
        authorize(principal, Action::View, &request.scope)?;
        let decided = self.decide(principal, request).await?;
        Ok(Explanation {
            revision: decided.chain.revision,
            facts: decided.facts,
            decision: decided.decision?,
            policy: decided.policy,
        })
    }

    /// Facts, decide, guard.
    async fn decide(&self, principal: &Principal, request: &Request) -> Result<Decided, Error> {
        let provider = self.provider(&request.provider)?;
        let (chain, binding) = Chain::read(&self.store, &request.scope).await?;
        let now_ms = self.now_ms();
        let mut keys = self.store.keys();
        if chain.has_unreadable(&request.provider, &keys) {
            // The identity may have been renewed since the keys were read.
            keys = self.store.read_keys_again()?;
        }
        let facts = Arc::new(chain.facts(request, provider, principal, now_ms, &keys)?);
        let (serving, decision) = match self.serving(&chain, binding.as_ref()).await {
            Ok(serving) => {
                let decision = serving.policy.decide_in_turn(Arc::clone(&facts)).await;
                (Some(serving), decision.map_err(Error::from))
            }
            Err(error) => (None, Err(error)),
        };
        let decision = decision
            .and_then(|decision| guard::enforce(&facts, decision).map_err(Error::GuardViolated));
        let policy = match &serving {
            Some(serving) => serving.policy.digest(),
            None => self.meant(binding.as_ref()),
        };
        Ok(Decided {
            chain,
            facts,
            serving,
            policy,
            decision,
            now_ms,
        })
    }

    /// The policy that decides for the organization of a chain, as its document says.
    async fn serving(
        &self,
        chain: &Chain,
        binding: Option<&Arc<Document>>,
    ) -> Result<Arc<Serving>, Error> {
        let binding = chain
            .scopes
            .last()
            .and_then(|(organization, _)| Some((organization, binding?)));
        self.policies.serving(&self.store, binding).await
    }

    /// The component that a document names, whether or not it can be made ready.
    fn meant(&self, binding: Option<&Arc<Document>>) -> Digest {
        binding
            .and_then(|document| document.body::<PolicyBinding>().ok()?.active.component)
            .unwrap_or_else(|| self.policies.built_in_digest())
    }

    fn record(
        &self,
        principal: &Principal,
        request: &Request,
        purpose: Purpose,
        decided: &Decided,
    ) -> Result<(), Error> {
        let granted = match &decided.decision {
            Ok(Decision {
                outcome: Outcome::Granted(grant),
                ..
            }) => decided.chain.credential(&grant.credential),
            _ => None,
        };
        let outcome = match &decided.decision {
            Ok(decision) => audit::Outcome::Decided { decision },
            Err(error) => audit::Outcome::Failed {
                failure: error.to_string(),
            },
        };
        self.log.write(&Record {
            at_ms: decided.now_ms,
            purpose,
            principal: &principal.to_string(),
            scope: request.scope.as_str(),
            provider: request.provider.as_str(),
            revision: decided.chain.revision,
            policy: decided.policy,
            binding: decided.serving.as_ref().and_then(|serving| serving.binding),
            outcome,
            granted: granted.map(|(holder, credential)| Granted {
                holder: holder.as_str(),
                credential: credential.name.as_str(),
                version: credential.version.number,
            }),
            facts: &decided.facts,
        })
    }

    /// Opens the one sealed secret, at the place it was sealed for.
    pub(crate) async fn unseal(
        &self,
        holder: &ScopePath,
        credential: &Credential,
    ) -> Result<Fields, Error> {
        let binding = credential.binding(holder);
        let digest = credential.version.blob;
        if let Some(fields) = self.opened.get(&digest, &binding) {
            return Ok(fields);
        }
        let sealed = self.store.blob(&digest).await?;
        let fields = self
            .store
            .unseal(&sealed, &binding)?
            .map_err(|error| Error::Sealed {
                scope: holder.clone(),
                credential: format!("{}/{}", credential.provider, credential.name),
                error,
            })?;
        self.opened.keep(digest, binding, &fields);
        Ok(fields)
    }

    /// Applies a change.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] and its like when the change makes no sense;
    /// [`Error::Contended`] when others were faster each time. In each case
    /// nothing was changed.
    pub async fn change(&self, principal: &Principal, change: &Change) -> Result<Applied, Error> {
        let path = change.scope();
        authorize(principal, Action::Change, path)?;
        let provider = change.provider().map(|id| self.provider(id)).transpose()?;
        self.until_not_contended(|| self.try_change(principal, change, provider))
            .await
    }

    /// Tries again for as long as others are faster, within reason.
    // Not `AsyncFn`: nothing says of its futures yet that they are `Send`.
    pub(crate) async fn until_not_contended<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match attempt().await {
                Err(Error::Contended) if started.elapsed() < CHANGE_WITHIN => pause().await,
                other => return other,
            }
        }
    }

    async fn try_change(
        &self,
        principal: &Principal,
        change: &Change,
        provider: Option<&Provider>,
    ) -> Result<Applied, Error> {
        let path = change.scope();
        let key = scope::document_key(path);
        // The parent too: a project is added below what is there at this revision.
        let keys: Vec<_> = [key.clone(), retirements_key(), recipients_key()]
            .into_iter()
            .chain(path.parent().map(|parent| scope::document_key(&parent)))
            .collect();
        let snapshot = self.store.read(&keys).await?;
        let mut documents = snapshot.documents.into_iter();
        let scope = match documents.next().flatten() {
            Some(document) => Some(Scope::clone(&*document.body::<Scope>()?)),
            None => None,
        };
        let retirements = match documents.next().flatten() {
            Some(document) => Retirements::clone(&*document.body::<Retirements>()?),
            None => Retirements::default(),
        };
        let recipients = match documents.next().flatten() {
            Some(document) => document.body::<Recipients>()?,
            None => {
                return Err(Tampering::new(Fault::Missing, recipients_key(), "is missing").into());
            }
        };
        let has_parent = documents.next().is_none_or(|parent| parent.is_some());
        self.check_around(change, has_parent).await?;
        let now = ClockReading::of(&*self.clock);
        let seen_over = retirements.seen_over.clone();
        let context = Context {
            times: Times {
                now: &now,
                newest_ms: self.newest_change_ms(snapshot.revision).await?,
                seen_over: seen_over.as_ref(),
            },
            recipients: &recipients,
            provider,
        };
        let (scope, effects) = change.apply(scope, &context)?;
        let mut batch = Batch {
            add_blobs: effects.add_blobs,
            remove_blobs: effects.remove_blobs,
            ..Batch::default()
        };
        let due = scope.as_ref().and_then(Scope::first_due);
        if let Some(retirements) = retirements.rescheduled(path, due) {
            batch.put.push((retirements_key(), encode(&retirements)?));
        }
        match scope {
            Some(scope) => batch.put.push((key, encode(&scope)?)),
            None => batch.remove.push(key),
        }
        self.commit(principal, snapshot.revision, batch, &change.record())
            .await?;
        Ok(effects.applied)
    }

    /// The time of the newest change, which makes `revision`.
    pub(crate) async fn newest_change_ms(&self, revision: Revision) -> Result<u64, Error> {
        match self.store.newest_entry().await? {
            Some(entry) if entry.revision == revision => Ok(entry.at_ms),
            None if revision == 0 => Ok(0),
            _ => Err(Error::Contended),
        }
    }

    /// Destroys the retired versions whose time is over beyond doubt, in every scope, and
    /// answers with how many scopes had some. To look whether there are any costs one
    /// read.
    ///
    /// The clock alone does not suffice: the machine must have been up for as long as
    /// the secret was to be kept, or, if it was started anew in between, an earlier call,
    /// a day before, must have found the time over as well. Such a call is noted in the
    /// store.
    ///
    /// # Errors
    ///
    /// As [`Entail::change`].
    pub async fn destroy_due(&self, principal: &Principal) -> Result<usize, Error> {
        let Some(retirements) = self.retirements().await?.1 else {
            return Ok(0);
        };
        let now_ms = self.now_ms();
        let due: Vec<ScopePath> = retirements.due_at(now_ms).cloned().collect();
        if due.is_empty() && !retirements.is_contradicted(now_ms) {
            return Ok(0);
        }
        let mut destroyed = 0;
        for scope in due {
            if !self.has_over(&scope).await? {
                continue;
            }
            match self
                .change(principal, &Change::DestroyRetired { scope })
                .await
            {
                // Somebody else was faster.
                Ok(_) | Err(Error::UnknownScope(_)) => destroyed += 1,
                Err(error) => return Err(error),
            }
        }
        self.until_not_contended(|| self.note_look(principal))
            .await?;
        Ok(destroyed)
    }

    /// The retirements, and as of which revision.
    async fn retirements(&self) -> Result<(Revision, Option<Arc<Retirements>>), Error> {
        let snapshot = self.store.read(&[retirements_key()]).await?;
        let document = snapshot.documents.into_iter().next().flatten();
        let retirements = document.map(|document| document.body()).transpose()?;
        Ok((snapshot.revision, retirements))
    }

    /// Whether a scope has a retired version whose time is over beyond doubt.
    async fn has_over(&self, path: &ScopePath) -> Result<bool, Error> {
        self.until_not_contended(|| async {
            let (revision, retirements) = self.retirements().await?;
            let snapshot = self.store.read(&[scope::document_key(path)]).await?;
            if snapshot.revision != revision {
                return Err(Error::Contended);
            }
            let Some(document) = snapshot.documents.into_iter().next().flatten() else {
                return Ok(false);
            };
            let now = ClockReading::of(&*self.clock);
            let times = Times {
                now: &now,
                newest_ms: self.newest_change_ms(revision).await?,
                seen_over: retirements
                    .as_ref()
                    .and_then(|known| known.seen_over.as_ref()),
            };
            Ok(document.body::<Scope>()?.has_over(&times))
        })
        .await
    }

    /// Notes what a look at the retirements found, for a later one.
    async fn note_look(&self, principal: &Principal) -> Result<(), Error> {
        let (revision, retirements) = self.retirements().await?;
        let now = ClockReading::of(&*self.clock);
        let Some(next) = retirements.and_then(|retirements| retirements.looked_at(&now)) else {
            return Ok(());
        };
        let batch = Batch {
            put: vec![(retirements_key(), encode(&next)?)],
            ..Batch::default()
        };
        let change = match next.seen_over {
            Some(_) => json!({"change": "find-retirements-over"}),
            None => json!({"change": "withdraw-retirements-over"}),
        };
        self.commit(principal, revision, batch, &change).await
    }

    /// Whether a change fits what is above and below its scope. An organization has all
    /// the parent that it needs.
    pub(crate) async fn check_around(
        &self,
        change: &Change,
        has_parent: bool,
    ) -> Result<(), Error> {
        let path = change.scope();
        match (change, path.parent()) {
            (Change::AddScope { .. }, Some(parent)) if !has_parent => {
                Err(Error::UnknownScope(parent))
            }
            (Change::RemoveProject { .. }, _) => self.check_removable(path).await,
            _ => Ok(()),
        }
    }

    /// Whatever is added below meanwhile makes a newer revision, and the commit
    /// a conflict.
    async fn check_removable(&self, path: &ScopePath) -> Result<(), Error> {
        if path.is_organization() {
            return Err(Error::Invalid(format!(
                "{path} is an organization, not a project"
            )));
        }
        let below = self
            .store
            .names(SCOPE_KIND, path.as_str(), Some(path.as_str()), 1)
            .await?;
        match below.into_iter().next() {
            Some(below) => Err(Error::HasProjects {
                scope: path.clone(),
                below,
            }),
            None => Ok(()),
        }
    }

    /// What a scope holds, less the secrets.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn scope(
        &self,
        principal: &Principal,
        path: &ScopePath,
    ) -> Result<Arc<Scope>, Error> {
        authorize(principal, Action::View, path)?;
        let snapshot = self.store.read(&[scope::document_key(path)]).await?;
        match snapshot.documents.into_iter().next().flatten() {
            Some(document) => Ok(document.body::<Scope>()?),
            None => Err(Error::UnknownScope(path.clone())),
        }
    }

    /// The paths of `under` and of all below it, in order; of all scopes if it
    /// is none.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn scopes(
        &self,
        principal: &Principal,
        under: Option<&ScopePath>,
    ) -> Result<Vec<ScopePath>, Error> {
        let Some(under) = under else {
            return self.list("").await;
        };
        self.scope(principal, under).await?;
        self.list(under.as_str()).await
    }

    async fn list(&self, under: &str) -> Result<Vec<ScopePath>, Error> {
        let names = self
            .store
            .names(SCOPE_KIND, under, None, usize::MAX)
            .await?;
        names
            .into_iter()
            .map(|name| {
                let unnamed = |_| Tampering::new(Fault::Extra, "a scope", "has no scope's name");
                name.parse().map_err(|error| unnamed(error).into())
            })
            .collect()
    }

    /// The changes after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.store.journal(after, limit).await?)
    }

    /// The provider of that id.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownProvider`], which names those that are there.
    pub fn provider(&self, id: &ProviderId) -> Result<&Provider, Error> {
        Ok(self.catalog.require(id)?)
    }
}

impl fmt::Debug for Entail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entail")
            .field("store", &self.store)
            .field("engine", self.policies.engine())
            .finish_non_exhaustive()
    }
}

/// Refuses a lease that leads elsewhere than to the hosts that its secret was sealed for:
/// by its base URL, or by any other URL among its parameters. The provider file may have
/// changed since.
fn check_hosts(
    provider: &Provider,
    holder: &ScopePath,
    credential: &Credential,
    base_url: Option<&str>,
) -> Result<(), Error> {
    let version = &credential.version;
    let fields = provider.fields.iter();
    let own = fields
        .filter(|field| field.format == Format::Url)
        .filter_map(|field| version.parameters.get(&field.name));
    let is_bound = |url: &str| host_of(url).is_some_and(|host| version.hosts.contains(&host));
    let mut urls = base_url.into_iter().chain(own.map(String::as_str));
    match urls.find(|url| !is_bound(url)) {
        None => Ok(()),
        Some(url) => Err(Error::HostNotBound {
            scope: holder.clone(),
            credential: format!("{}/{}", credential.provider, credential.name),
            host: host_of(url).unwrap_or_else(|| "no host".to_owned()),
            hosts: version.hosts.clone(),
        }),
    }
}

/// Lets others finish, each for another while, so that they do not meet again.
async fn pause() {
    let mut chance = [0; 2];
    // Without randomness it is the longest pause.
    let pause = match getrandom::fill(&mut chance) {
        Ok(()) => u16::from_ne_bytes(chance) % MAX_PAUSE_MS,
        Err(_) => MAX_PAUSE_MS,
    };
    sleep(Duration::from_millis(pause.into())).await;
}

/// Waits without holding up others that run on this thread, unless the system gives no
/// other one.
pub(crate) async fn sleep(time: Duration) {
    let (woken, wake) = tokio::sync::oneshot::channel();
    let sleeper = std::thread::Builder::new().name("entail-sleep".to_owned());
    let asleep = sleeper.spawn(move || {
        std::thread::sleep(time);
        // Whoever waited may have gone.
        let _ = woken.send(());
    });
    match asleep {
        Ok(_) => {
            let _ = wake.await;
        }
        Err(_) => std::thread::sleep(time),
    }
}
