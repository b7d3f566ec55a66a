//! A policy, and its calls.
//!
//! # Security
//!
//! Unless its organization chose otherwise, each call gets an instance of its own,
//! so no call can see or spoil another.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::Store;

use crate::admission::{Admitted, Costs, Description, Rejected, admit, trial_facts};
use crate::contract::{Contract, DecideError, Error, Resolver};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::failure::{Failure, plain};
use crate::lanes::Turns;
use crate::limits::{Account, Limits};
use crate::sandbox::Sandbox;
use crate::settings::{self, BadSettings, Problem, Schema, Values};
use entail_decision::Decision;
use entail_decision::Facts;

/// What the calls of a policy share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Nothing: each call gets an instance of its own. What one request does to the
    /// policy, no other can see.
    #[default]
    PerCall,
    /// One instance, kept warm, for all requests of an organization, one after the
    /// other. For policies whose instances take long to make. The policy can then
    /// remember: an answer may depend on earlier requests of the same organization,
    /// and a decision of the past can no longer be made again with certainty. After
    /// any failure the instance is let go and a new one made.
    PerOrganization,
}

/// An admitted policy, with what is set for it. A clone is the same policy.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    admitted: Arc<Admitted>,
    /// A JSON text, as the contract has it.
    settings: String,
    isolation: Isolation,
    turns: Arc<Turns>,
    warm: Mutex<Option<Instance>>,
}

/// An instance that is ready to be asked.
struct Instance {
    store: Store<Account>,
    resolver: Resolver,
}

impl Policy {
    pub(crate) fn admit(
        engine: &Engine,
        bytes: &[u8],
        limits: &Limits,
        sandbox: Option<&Sandbox>,
    ) -> Result<Self, Rejected> {
        let started = Instant::now();
        let mut admitted = admit(engine, bytes, limits, sandbox)?;
        admitted.costs = try_out(&admitted, started)?;
        Ok(Self::new(
            Arc::new(admitted),
            "{}".to_owned(),
            Isolation::PerCall,
        ))
    }

    /// The same for a component that the program carries.
    pub(crate) fn admit_own(engine: &Engine, bytes: &[u8]) -> Result<Self, Rejected> {
        let mut admitted = admit(engine, bytes, engine.limits(), None)?;
        admitted.own = true;
        Ok(Self::new(
            Arc::new(admitted),
            "{}".to_owned(),
            Isolation::PerCall,
        ))
    }

    fn new(admitted: Arc<Admitted>, settings: String, isolation: Isolation) -> Self {
        Policy {
            inner: Arc::new(Inner {
                admitted,
                settings,
                isolation,
                turns: Arc::new(Turns::new(isolation)),
                warm: Mutex::new(None),
            }),
        }
    }

    /// The same policy with other settings, which it has looked over: they are held against
    /// its schema, where the engine compiles, and it is asked, so that all that is wrong
    /// with them shows at once. Takes some milliseconds, and not for every request.
    ///
    /// # Errors
    ///
    /// [`BadSettings`] has each problem with its path. A policy without the interface
    /// `settings` takes none.
    pub fn with_settings(&self, settings: &Values) -> Result<Self, BadSettings> {
        let admitted = &self.inner.admitted;
        let text = settings::to_text(settings)?;
        let Some(schema) = &admitted.schema else {
            let rule = "nothing can be set for this policy";
            let names = settings.keys();
            let problems = names.map(|name| Problem::new(&settings::pointer(name), rule));
            settings::checked(problems.collect(), Ok(Vec::new()))?;
            return Ok(self.with(text, self.inner.isolation));
        };
        // What the program carries is not foreign.
        let sandbox = match admitted.own {
            true => None,
            false => admitted.engine.sandbox()?,
        };
        let by_schema = schema.check(settings, sandbox)?;
        settings::checked(by_schema, self.validate(&text))?;
        Ok(self.with(text, self.inner.isolation))
    }

    /// The same on the threads that are there for admission, for settings that somebody
    /// waits for: the policy is asked, and may take its time.
    ///
    /// # Errors
    ///
    /// [`BadSettings`].
    pub async fn with_settings_in_turn(&self, settings: Values) -> Result<Self, BadSettings> {
        let lanes = self.inner.admitted.engine.lanes();
        let lanes = lanes.map_err(Failure::Engine)?;
        let policy = self.clone();
        lanes.admit(move || policy.with_settings(&settings)).await?
    }

    /// The same policy with settings that it has accepted before, and its calls isolated
    /// in this way. Unlike [`Policy::with_settings`] it does not ask the policy again;
    /// the caller vouches that the very same component took them.
    #[must_use]
    pub fn with_accepted_settings(&self, settings: &Values, isolation: Isolation) -> Self {
        self.with(Value::Object(settings.clone()).to_string(), isolation)
    }

    /// Whether it decides as `other` does: the same component under the same limits,
    /// with the same settings, isolated in the same way.
    #[must_use]
    pub fn serves_as(&self, other: &Policy) -> bool {
        Arc::ptr_eq(&self.inner.admitted, &other.inner.admitted)
            && self.inner.settings == other.inner.settings
            && self.inner.isolation == other.inner.isolation
    }

    /// The same policy with its calls isolated in another way.
    #[must_use]
    pub fn with_isolation(&self, isolation: Isolation) -> Self {
        self.with(self.inner.settings.clone(), isolation)
    }

    fn with(&self, settings: String, isolation: Isolation) -> Self {
        Self::new(Arc::clone(&self.inner.admitted), settings, isolation)
    }

    /// Has the policy look over settings that fit its schema.
    fn validate(&self, settings: &str) -> Result<Vec<Problem>, Failure> {
        let admitted = &*self.inner.admitted;
        let failed = |error| admitted.failure(error);
        let mut store = admitted.store();
        let instance = admitted.instance.instantiate(&mut store).map_err(failed)?;
        let functions = admitted.exports.settings(&mut store, &instance);
        match functions.map_err(failed)? {
            None => Ok(Vec::new()),
            Some(functions) => {
                admitted.arm(&mut store);
                functions.validate(&mut store, settings).map_err(failed)
            }
        }
    }

    /// Decides one request, on the caller's thread.
    ///
    /// Blocks for as long as the policy takes: some 10 µs for the built-in one,
    /// at most the deadline twice (instantiation, call) for any, and with
    /// [`Isolation::PerOrganization`] for as long as the calls before it take.
    ///
    /// # Errors
    ///
    /// [`Failure`] says what kept the policy from a decision.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, Failure> {
        let inner = &*self.inner;
        let admitted = &*inner.admitted;
        let limit = admitted.limits.credentials;
        let found = facts.chain.iter().map(|scope| scope.credentials.len());
        let found = found.sum();
        if found > limit {
            return Err(Failure::TooManyCredentials { found, limit });
        }
        match inner.isolation {
            Isolation::PerCall => Instance::new(admitted)?.ask(admitted, facts, &inner.settings),
            Isolation::PerOrganization => {
                // A call that panicked has taken its instance with it.
                let mut warm = inner.warm.lock().unwrap_or_else(PoisonError::into_inner);
                let mut instance = match warm.take() {
                    Some(instance) => instance,
                    None => Instance::new(admitted)?,
                };
                let decision = instance.ask(admitted, facts, &inner.settings);
                // Its own words are no failure of the instance.
                if let Ok(_) | Err(Failure::InvalidFacts(_) | Failure::Undecided(_)) = &decision {
                    *warm = Some(instance);
                }
                decision
            }
        }
    }

    /// Decides one request on the threads that are there for policies, so that
    /// neither the caller's thread nor the policies of others are held up by this
    /// one. The built-in policy is no foreign code, and answers on the caller's.
    ///
    /// # Errors
    ///
    /// As [`Policy::decide`]; [`Failure::Busy`] when too many calls of this policy
    /// wait already.
    pub async fn decide_in_turn(&self, facts: Arc<Facts>) -> Result<Decision, Failure> {
        if self.inner.admitted.own {
            return self.decide(&facts);
        }
        let lanes = self.inner.admitted.engine.lanes();
        let lanes = lanes.map_err(Failure::Engine)?;
        let policy = self.clone();
        let call = move || policy.decide(&facts);
        lanes.run(&self.inner.turns, call).await
    }

    /// Decides one request some time, on a thread that gives way to all others and
    /// works a tenth of the time, and hands the answer to `then`. Answers at once
    /// whether that will happen: it will not when there is too much to do already.
    pub fn decide_unhurried(
        &self,
        facts: Arc<Facts>,
        then: impl FnOnce(Result<Decision, Failure>) + Send + 'static,
    ) -> bool {
        let policy = self.clone();
        let Ok(lanes) = self.inner.admitted.engine.lanes() else {
            return false;
        };
        lanes.run_unhurried(move || then(policy.decide(&facts)))
    }

    /// The name of the bytes that run.
    pub fn digest(&self) -> Digest {
        self.inner.admitted.digest
    }

    /// How the policy describes itself.
    pub fn description(&self) -> &Description {
        &self.inner.admitted.description
    }

    /// The version of the contract that it was built against.
    pub fn contract(&self) -> Contract {
        self.inner.admitted.contract
    }

    /// The JSON Schema of its settings; none if nothing can be set.
    pub fn schema(&self) -> Option<&Value> {
        self.inner.admitted.schema.as_ref().map(Schema::value)
    }

    /// What is set for it, as a JSON text.
    pub fn settings(&self) -> &str {
        &self.inner.settings
    }

    /// What its calls share.
    pub fn isolation(&self) -> Isolation {
        self.inner.isolation
    }

    /// What each of its calls may use up.
    pub fn limits(&self) -> &Limits {
        &self.inner.admitted.limits
    }

    /// What it took to admit it. Not measured for the built-in policy.
    pub fn costs(&self) -> Costs {
        self.inner.admitted.costs
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.inner.admitted.digest)
            .field("description", &self.inner.admitted.description)
            .field("isolation", &self.inner.isolation)
            .finish_non_exhaustive()
    }
}

impl Instance {
    fn new(admitted: &Admitted) -> Result<Self, Failure> {
        let failed = |error| admitted.failure(error);
        let mut store = admitted.store();
        let instance = admitted.instance.instantiate(&mut store).map_err(failed)?;
        let resolver = admitted
            .exports
            .resolver(&mut store, &instance)
            .map_err(failed)?;
        Ok(Instance { store, resolver })
    }

    fn ask(
        &mut self,
        admitted: &Admitted,
        facts: &Facts,
        settings: &str,
    ) -> Result<Decision, Failure> {
        admitted.arm(&mut self.store);
        self.resolver
            .decide(&mut self.store, facts, settings)
            .map_err(|error| admitted.failure(error))?
            .map_err(|error| match error {
                DecideError::Said(Error::InvalidFacts(text)) => Failure::InvalidFacts(plain(&text)),
                DecideError::Said(Error::Other(text)) => Failure::Undecided(plain(&text)),
                DecideError::Malformed(code) => Failure::Malformed(code.to_string()),
            })
    }
}

/// The trial call of an admission that began then. Whatever the policy decides, and if
/// the facts are not to its liking: it has to answer.
fn try_out(admitted: &Admitted, began: Instant) -> Result<Costs, Rejected> {
    let started = Instant::now();
    let mut instance = Instance::new(admitted).map_err(Rejected::Trial)?;
    match instance.ask(admitted, &trial_facts(), "{}") {
        Ok(_) | Err(Failure::InvalidFacts(_) | Failure::Undecided(_)) => {}
        Err(failure) => return Err(Rejected::Trial(failure)),
    }
    let account = instance.store.data();
    Ok(Costs {
        admission: began.elapsed(),
        compiled: admitted.costs.compiled,
        trial_call: started.elapsed(),
        memory_bytes: account.memory_used(),
        table_elements: account.table_used(),
    })
}
