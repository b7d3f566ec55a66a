//! Admission of a component, and its calls.
//!
//! # Security
//!
//! A component's bytes are untrusted: they are bounded in size, must be a binary
//! component without imports, and are called once on trial before anything
//! relies on them. Each call gets a fresh instance, so no call can see or spoil
//! another.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use crate::contract::{self, AboutExport, ResolverExport};
use crate::decision::Decision;
use crate::engine::Engine;
use crate::facts::{Credential, Facts, Request, Scope};
use crate::limits::{Account, Exceeded};

/// The longest name, version or summary of a policy, in bytes: they are shown
/// in tables.
const DESCRIPTION_BYTES: usize = 512;

/// The first bytes of every component in binary form: the magic of WebAssembly,
/// then version 13 of layer 1.
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
/// The same of a core module, which is what compilers produce at first.
const MODULE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

/// The SHA-256 of a component's bytes; it names the policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }
}

/// As `sha256:` and 64 lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a policy describes itself. Its own words: nothing relies on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// A short name, such as `default`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence on what it does.
    pub summary: String,
}

/// Why a component was not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It has too many bytes.
    #[error("the component has {bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// It is a core module.
    #[error(
        "this is a core WebAssembly module, not a component; make one of it with: entail policy build --module FILE"
    )]
    CoreModule,
    /// It is something else altogether.
    #[error("this is not a WebAssembly component in binary form")]
    NotAComponent,
    /// It breaks the rules of WebAssembly, uses a proposal that is off, or asks
    /// for more than the engine has.
    #[error("the component cannot be used: {0}")]
    Invalid(String),
    /// It wants something from outside.
    #[error("a policy imports nothing, but this one imports {}", .0.join(", "))]
    Imports(Vec<String>),
    /// It lacks a part of the contract.
    #[error("the component does not export the contract: {0}")]
    MissingExport(String),
    /// A part of the contract has another type.
    #[error("the component's exports differ from the contract: {0}")]
    WrongType(String),
    /// Its description is unfit to be shown.
    #[error("the policy's description is unfit to be shown: {0}")]
    Description(&'static str),
    /// It failed when it was called on trial.
    #[error("the policy failed its trial call")]
    Trial(#[source] Failure),
}

/// Why a policy gave no decision. Each is a refusal in effect; none is the fault
/// of the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It went over a limit.
    #[error("the policy {0}")]
    Exceeded(Exceeded),
    /// It trapped, as a program does that crashes.
    #[error("the policy trapped: {0}")]
    Trapped(&'static str),
    /// What it returned is no value of the contract.
    #[error("the policy's answer is malformed: {0}")]
    Malformed(String),
    /// It says that the facts break the contract.
    #[error("the policy finds the facts invalid: {0}")]
    InvalidFacts(String),
    /// It says that it cannot decide.
    #[error("the policy could not decide: {0}")]
    Undecided(String),
    /// There are more credentials in the facts than a policy is given.
    #[error("the facts have {found} credentials, and {limit} are allowed")]
    TooManyCredentials {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// As many calls as the engine has room for are under way.
    #[error("too many policy calls are under way")]
    Busy,
}

/// An admitted policy. A clone is the same policy.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    instance: InstancePre<Account>,
    resolver: ResolverExport,
    digest: Digest,
    description: Description,
}

impl Policy {
    pub(crate) fn admit(engine: &Engine, bytes: &[u8]) -> Result<Self, Rejected> {
        let limit = engine.limits.component_bytes;
        if bytes.len() > limit {
            return Err(Rejected::TooLarge {
                bytes: bytes.len(),
                limit,
            });
        }
        if bytes.starts_with(MODULE_PREAMBLE) {
            return Err(Rejected::CoreModule);
        }
        if !bytes.starts_with(COMPONENT_PREAMBLE) {
            return Err(Rejected::NotAComponent);
        }
        let component = Component::from_binary(&engine.inner, bytes).map_err(invalid)?;
        let imports: Vec<String> = component
            .component_type()
            .imports(&engine.inner)
            .map(|(name, _)| name.to_owned())
            .collect();
        if !imports.is_empty() {
            return Err(Rejected::Imports(imports));
        }
        let instance = engine.linker.instantiate_pre(&component).map_err(invalid)?;
        let missing = |error: wasmtime::Error| Rejected::MissingExport(error.to_string());
        let resolver = ResolverExport::new(&instance).map_err(missing)?;
        let about = AboutExport::new(&instance).map_err(missing)?;
        let description = try_out(engine, &instance, &resolver, &about)?;
        let policy = Policy {
            inner: Arc::new(Inner {
                engine: engine.clone(),
                instance,
                resolver,
                digest: Digest::of(bytes),
                description,
            }),
        };
        match policy.decide(&trial_facts()) {
            // Whatever it decides, and if it is not to its liking: it answered.
            Ok(_) | Err(Failure::InvalidFacts(_) | Failure::Undecided(_)) => Ok(policy),
            Err(failure) => Err(Rejected::Trial(failure)),
        }
    }

    /// Decides one request, in a fresh instance that is gone afterwards.
    ///
    /// Blocks for as long as the policy takes: some 10 µs for the built-in one,
    /// at most the deadline twice (instantiation, call) for any.
    ///
    /// # Errors
    ///
    /// [`Failure`] says what kept the policy from a decision.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, Failure> {
        let inner = &*self.inner;
        let limit = inner.engine.limits.credentials;
        let found = facts
            .chain
            .iter()
            .map(|scope| scope.credentials.len())
            .sum();
        if found > limit {
            return Err(Failure::TooManyCredentials { found, limit });
        }
        let failed = |error| failure(error, &inner.engine);
        let mut store = store(&inner.engine);
        let instance = inner.instance.instantiate(&mut store).map_err(failed)?;
        let resolver = inner.resolver.load(&mut store, &instance).map_err(failed)?;
        store.set_epoch_deadline(inner.engine.deadline_ticks);
        contract::lend(facts, |request, chain| {
            resolver.call_decide(&mut store, request, chain)
        })
        .map_err(failed)?
        .map(Decision::from)
        .map_err(|error| match error {
            contract::Error::InvalidFacts(text) => Failure::InvalidFacts(text),
            contract::Error::Other(text) => Failure::Undecided(text),
        })
    }

    /// The name of the bytes that run.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// How the policy describes itself.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.inner.digest)
            .field("description", &self.inner.description)
            .finish_non_exhaustive()
    }
}

/// A store under the engine's limits, its deadline armed for an instantiation.
fn store(engine: &Engine) -> Store<Account> {
    let mut store = Store::new(&engine.inner, Account::new(&engine.limits));
    store.limiter(|account| account);
    store.set_hostcall_fuel(engine.limits.result_bytes);
    store.set_epoch_deadline(engine.deadline_ticks);
    store
}

/// Instantiates for the first time, which is also when the types of the exports
/// are checked, and asks the policy what it is.
fn try_out(
    engine: &Engine,
    instance: &InstancePre<Account>,
    resolver: &ResolverExport,
    about: &AboutExport,
) -> Result<Description, Rejected> {
    let mut store = store(engine);
    let on_trial = |error| Rejected::Trial(failure(error, engine));
    let instance = instance.instantiate(&mut store).map_err(|error| {
        // Too many memories or instances for the engine, or code that ran and failed.
        match error.is::<Trap>() || error.is::<Exceeded>() {
            true => on_trial(error),
            false => invalid(error),
        }
    })?;
    let wrong_type = |error| Rejected::WrongType(format!("{error:#}"));
    resolver.load(&mut store, &instance).map_err(wrong_type)?;
    let about = about.load(&mut store, &instance).map_err(wrong_type)?;
    store.set_epoch_deadline(engine.deadline_ticks);
    let said = about.call_describe(&mut store).map_err(on_trial)?;
    let texts = [&said.name, &said.version, &said.summary];
    if texts.iter().any(|text| text.len() > DESCRIPTION_BYTES) {
        return Err(Rejected::Description(
            "a part of it is longer than 512 bytes",
        ));
    }
    if texts.iter().any(|text| text.chars().any(char::is_control)) {
        return Err(Rejected::Description("it contains control characters"));
    }
    Ok(Description {
        name: said.name,
        version: said.version,
        summary: said.summary,
    })
}

fn invalid(error: wasmtime::Error) -> Rejected {
    Rejected::Invalid(format!("{error:#}"))
}

fn failure(error: wasmtime::Error, engine: &Engine) -> Failure {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return Failure::Exceeded(*exceeded);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::Busy;
    }
    let limits = &engine.limits;
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            Failure::Exceeded(Exceeded::DeadlineMs(limits.deadline.as_millis()))
        }
        Some(Trap::StackOverflow) => Failure::Exceeded(Exceeded::Stack),
        Some(trap) => Failure::Trapped(trap_name(*trap)),
        // The engine's error for this has no public type.
        None if error
            .root_cause()
            .to_string()
            .contains("fuel allocated for hostcalls") =>
        {
            Failure::Exceeded(Exceeded::ResultBytes(limits.result_bytes))
        }
        None => Failure::Malformed(format!("{error:#}")),
    }
}

fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "access outside of its memory",
        Trap::TableOutOfBounds => "access outside of a table",
        Trap::IndirectCallToNull | Trap::BadSignature => "bad indirect call",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "bad conversion to an integer",
        Trap::UnreachableCodeReached => "it gave up (unreachable)",
        _ => "against the rules of WebAssembly",
    }
}

/// Facts that any policy must be able to answer in one way or another.
fn trial_facts() -> Facts {
    let credential = Credential {
        id: "trial".to_owned(),
        name: "default".to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: None,
        sharing: crate::Sharing::All,
        mandatory: false,
        priority: 0,
        attributes: [("trial".to_owned(), "yes".to_owned())].into(),
    };
    Facts {
        request: Request {
            provider: "trial".to_owned(),
            model: Some("trial".to_owned()),
            credential: None,
            principal: "trial".to_owned(),
            now_ms: 1,
            attributes: [("trial".to_owned(), "yes".to_owned())].into(),
        },
        chain: vec![Scope {
            path: "trial".to_owned(),
            inheritance: crate::Inheritance::Isolated,
            default_model: None,
            credentials: vec![credential],
            attributes: [("trial".to_owned(), "yes".to_owned())].into(),
        }],
    }
}
