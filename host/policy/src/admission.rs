//! Admission: what a component has to go through before it is a policy.
//!
//! # Security
//!
//! A component's bytes are untrusted: they are bounded in size, parsed and compiled by a
//! process of its own that may use up so much and no more, must be a binary component
//! without imports, and are called on trial before anything relies on them. In an engine
//! with a sandbox this process never parses them.

use std::time::Duration;

use entail_text::{is_plain, sanitized};
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use crate::compiled::{Code, Compatibility, CompileLimits};
use crate::contract::{Contract, Exports};
use crate::digest::Digest;
use crate::engine::{Engine, EngineError};
use crate::failure::{Failure, plain};
use crate::limits::{Account, Exceeded, Limits};
use crate::machine::{Machine, ticks};
use crate::sandbox::{JobError, NotCompiled, Sandbox};
use crate::settings::Schema;
use entail_decision::{CredentialFacts, Facts, RequestFacts, ScopeFacts, Sharing};

/// The longest name, version or summary of a policy, in bytes: they are shown
/// in tables.
const DESCRIPTION_BYTES: usize = 512;

/// The first bytes of every component in binary form: the magic of WebAssembly,
/// then version 13 of layer 1.
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
/// The same of a core module, which is what compilers produce at first.
const MODULE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

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

/// What it took to admit a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Costs {
    /// The whole of it. Compiling is most of it, unless the code was in the cache.
    pub admission: Duration,
    /// Whether it was compiled now; else its code was in the cache.
    pub compiled: bool,
    /// The trial call, in a fresh instance.
    pub trial_call: Duration,
    /// Bytes of linear memory that the instance of the trial call had in the end.
    pub memory_bytes: usize,
    /// Elements of tables, likewise.
    pub table_elements: usize,
}

/// Why a component was not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is foreign, and nobody said where it may be compiled.
    #[error(transparent)]
    NotCompiled(#[from] NotCompiled),
    /// It is to be given more than anything is.
    #[error("the limit {0} is above what any policy is given")]
    AboveCeiling(&'static str),
    /// It is to be given less than it takes to have one at all.
    #[error("the limit {0} is below what any policy needs")]
    BelowFloor(&'static str),
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
    #[error("the component cannot be used: {}", sanitized(.0))]
    Invalid(String),
    /// Compiling it takes too much memory.
    #[error("compiling the component takes more than {limit} bytes of memory")]
    CompileMemory {
        /// How many it may take.
        limit: u64,
    },
    /// Compiling it takes more memory than the system gives this process.
    #[error(
        "compiling the component takes more than the {limit} bytes of address space that a process is given here (ulimit -v)"
    )]
    CompileAddressSpace {
        /// How many it gives.
        limit: u64,
    },
    /// Compiling it takes too long.
    #[error("compiling the component takes longer than {} ms", .limit.as_millis())]
    CompileTime {
        /// How long it may take.
        limit: Duration,
    },
    /// Compiling it makes too much of it.
    #[error("the compiled code of the component has more than {limit} bytes")]
    CodeTooLarge {
        /// How many it may have.
        limit: usize,
    },
    /// The process that compiled it ended in some other way.
    #[error("the compiler did not survive the component: {}", sanitized(.0))]
    CompileCrashed(String),
    /// It wants something from outside.
    #[error("a policy imports nothing, but this one imports {}", sanitized(.0.join(", ")))]
    Imports(Vec<String>),
    /// It lacks a part of the contract.
    #[error("the component does not export the contract: {}", sanitized(.0))]
    MissingExport(String),
    /// A part of the contract has another type.
    #[error("the component's exports differ from the contract: {}", sanitized(.0))]
    WrongType(String),
    /// Its description is unfit to be shown.
    #[error("the policy's description is unfit to be shown: {0}")]
    Description(&'static str),
    /// What it says can be set is no schema.
    #[error("the schema of the policy's settings cannot be used: {}", sanitized(.0))]
    Schema(String),
    /// It failed when it was called on trial.
    #[error("the policy failed its trial call: {0}")]
    Trial(#[source] Failure),
    /// It was not looked over to the end.
    #[error("the component was not looked over: {0}")]
    Unfinished(#[source] Failure),
    /// The engine for it cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A component that was admitted, ready to be instantiated.
pub(crate) struct Admitted {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) digest: Digest,
    pub(crate) description: Description,
    pub(crate) contract: Contract,
    pub(crate) schema: Option<Schema>,
    pub(crate) costs: Costs,
    pub(crate) exports: Exports,
    pub(crate) instance: InstancePre<Account>,
    /// Whether the program carries it: then nothing about it is foreign.
    pub(crate) own: bool,
    machine: Machine,
    deadline_ticks: u64,
}

impl Admitted {
    /// A store under the policy's limits, its deadline armed for an instantiation.
    pub(crate) fn store(&self) -> Store<Account> {
        store(&self.machine, &self.limits)
    }

    /// Gives the next call its time. Without it a call traps at once.
    pub(crate) fn arm(&self, store: &mut Store<Account>) {
        store.set_epoch_deadline(self.deadline_ticks);
    }

    pub(crate) fn failure(&self, error: wasmtime::Error) -> Failure {
        Failure::of(error, &self.limits)
    }
}

fn store(machine: &Machine, limits: &Limits) -> Store<Account> {
    let mut store = Store::new(&machine.engine, Account::new(limits));
    store.limiter(|account| account);
    store.set_hostcall_fuel(limits.result_bytes);
    store.set_epoch_deadline(ticks(limits.deadline));
    store
}

/// What a component says of itself.
struct Said {
    description: Description,
    schema: Option<Schema>,
}

/// Looks a component over, short of its trial call.
pub(crate) fn admit(
    engine: &Engine,
    bytes: &[u8],
    limits: &Limits,
    sandbox: Option<&Sandbox>,
) -> Result<Admitted, Rejected> {
    // What the engine itself was set up with is its owner's choice.
    if let Err(name) = limits.within(&Limits::CEILING) {
        limits
            .within(engine.limits())
            .map_err(|_| Rejected::AboveCeiling(name))?;
    }
    Limits::FLOOR.within(limits).map_err(Rejected::BelowFloor)?;
    check_form(bytes, limits.component_bytes)?;
    let digest = Digest::of(bytes);
    let machine = engine.machine(limits)?;
    let (code, compiled) = code(engine, &machine, digest, bytes, limits, sandbox)?;
    let component = code.load(&machine.engine).map_err(invalid)?;
    // It was copied.
    drop(code);
    let imports: Vec<String> = component
        .component_type()
        .imports(&machine.engine)
        .map(|(name, _)| plain(name))
        .collect();
    if !imports.is_empty() {
        return Err(Rejected::Imports(imports));
    }
    let instance = machine
        .linker
        .instantiate_pre(&component)
        .map_err(invalid)?;
    let exports = Exports::find(&component, &instance).map_err(Rejected::MissingExport)?;
    let said = ask(&machine, limits, &instance, &exports)?;
    Ok(Admitted {
        engine: engine.clone(),
        limits: limits.clone(),
        digest,
        description: said.description,
        contract: exports.contract(),
        schema: said.schema,
        costs: Costs {
            compiled,
            ..Costs::default()
        },
        exports,
        instance,
        own: false,
        machine,
        deadline_ticks: ticks(limits.deadline),
    })
}

/// The code of a component: what is kept of it, if compiling took no more than it may
/// take now, else what is compiled anew; and whether it is.
fn code(
    engine: &Engine,
    machine: &Machine,
    digest: Digest,
    bytes: &[u8],
    limits: &Limits,
    sandbox: Option<&Sandbox>,
) -> Result<(Code, bool), Rejected> {
    let cache = engine.settings().code_cache.as_ref();
    let compatibility = Compatibility::of(&machine.engine);
    let wanted = match sandbox {
        Some(_) => CompileLimits::of(limits),
        // Nothing limits what is compiled here.
        None => CompileLimits::NONE,
    };
    if let Some((code, needed)) = cache.and_then(|cache| cache.find(digest, compatibility))
        && needed.is_within(wanted)
    {
        return Ok((code, false));
    }
    let code = match sandbox {
        Some(sandbox) => {
            Code::compile_in(sandbox, machine.allocation, bytes, limits).map_err(not_compiled)?
        }
        None => Code::compile(&machine.engine, bytes).map_err(invalid)?,
    };
    if let Some(cache) = cache {
        cache.keep(digest, compatibility, &code, wanted);
    }
    Ok((code, true))
}

fn not_compiled(error: JobError) -> Rejected {
    match error {
        JobError::NotStarted(reason) => EngineError::new(reason).into(),
        JobError::Memory { limit } => Rejected::CompileMemory { limit },
        JobError::AddressSpace { limit } => Rejected::CompileAddressSpace { limit },
        JobError::Time { limit } => Rejected::CompileTime { limit },
        JobError::Output { limit } => Rejected::CodeTooLarge { limit },
        JobError::Crashed(how) => Rejected::CompileCrashed(how),
        JobError::Refused(reason) => Rejected::Invalid(plain(&reason)),
    }
}

/// Whether these are the bytes of a core module, as far as their beginning shows.
pub fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(MODULE_PREAMBLE)
}

fn check_form(bytes: &[u8], limit: usize) -> Result<(), Rejected> {
    if bytes.len() > limit {
        return Err(Rejected::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    if is_core_module(bytes) {
        return Err(Rejected::CoreModule);
    }
    if !bytes.starts_with(COMPONENT_PREAMBLE) {
        return Err(Rejected::NotAComponent);
    }
    Ok(())
}

/// Instantiates for the first time, which is also when the types of the exports
/// are checked, and asks the policy what it is and what can be set.
fn ask(
    machine: &Machine,
    limits: &Limits,
    instance: &InstancePre<Account>,
    exports: &Exports,
) -> Result<Said, Rejected> {
    let mut store = store(machine, limits);
    let on_trial = |error| Rejected::Trial(Failure::of(error, limits));
    let wrong_type = |error: wasmtime::Error| Rejected::WrongType(plain(&format!("{error:#}")));
    let instance = instance.instantiate(&mut store).map_err(|error| {
        // Too many memories or instances for the engine, or code that ran and failed.
        match error.is::<Trap>() || error.is::<Exceeded>() {
            true => on_trial(error),
            false => invalid(error),
        }
    })?;
    exports
        .resolver(&mut store, &instance)
        .map_err(wrong_type)?;
    store.set_epoch_deadline(ticks(limits.deadline));
    let (name, version, summary) = exports
        .describe(&mut store, &instance)
        .map_err(wrong_type)?
        .map_err(on_trial)?;
    let schema = match exports
        .settings(&mut store, &instance)
        .map_err(wrong_type)?
    {
        None => None,
        Some(functions) => {
            store.set_epoch_deadline(ticks(limits.deadline));
            let text = functions.schema(&mut store).map_err(on_trial)?;
            Some(Schema::parse(&text).map_err(Rejected::Schema)?)
        }
    };
    let description = Description {
        name,
        version,
        summary,
    };
    check_description(&description)?;
    Ok(Said {
        description,
        schema,
    })
}

fn check_description(said: &Description) -> Result<(), Rejected> {
    let texts = [&said.name, &said.version, &said.summary];
    if texts.iter().any(|text| text.len() > DESCRIPTION_BYTES) {
        return Err(Rejected::Description(
            "a part of it is longer than 512 bytes",
        ));
    }
    if !texts.iter().all(|text| text.chars().all(is_plain)) {
        return Err(Rejected::Description(
            "it contains characters that are not shown as themselves",
        ));
    }
    Ok(())
}

/// Whether the system does not let code be run that was written to memory.
fn is_execution_forbidden(error: &wasmtime::Error) -> bool {
    // The engine has no type for it.
    format!("{error:#}").contains("unable to make memory executable")
}

fn invalid(error: wasmtime::Error) -> Rejected {
    let hint = match is_execution_forbidden(&error) {
        true => {
            "; policies are compiled to machine code, and the system forbids memory to become \
             executable: allow it (systemd: MemoryDenyWriteExecute=no)"
        }
        false => "",
    };
    Rejected::Invalid(plain(&format!("{error:#}{hint}")))
}

/// Facts that any policy must be able to answer in one way or another.
pub(crate) fn trial_facts() -> Facts {
    let credential = CredentialFacts {
        id: "trial".to_owned(),
        name: "default".to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: None,
        sharing: Sharing::All,
        mandatory: false,
        priority: 0,
        attributes: [("trial".to_owned(), "yes".to_owned())].into(),
    };
    Facts {
        request: RequestFacts {
            provider: "trial".to_owned(),
            model: Some("trial".to_owned()),
            credential: None,
            principal: "trial".to_owned(),
            now_ms: 1,
            attributes: [("trial".to_owned(), "yes".to_owned())].into(),
        },
        chain: vec![ScopeFacts {
            path: "trial".to_owned(),
            inheritance: crate::Inheritance::Isolated,
            default_model: None,
            credentials: vec![credential],
            attributes: [("trial".to_owned(), "yes".to_owned())].into(),
        }],
    }
}
