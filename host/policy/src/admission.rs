//! Admission: the checks that a component must pass before it is a policy.
//!
//! # Security
//!
//! A component's bytes are untrusted. They are bounded in size, and parsed and compiled in
//! a child process with its own limits. A component must be in binary form and have no
//! imports, and it must pass a trial call before anything relies on it. With a sandbox, this
//! process never parses the bytes.
//!
//! Code from the cache was compiled under limits that the cache entry names. If the limits
//! of this admission are lower, the component is compiled again: a component must not be
//! admitted only because it was once compiled under higher limits.

use std::time::Instant;

use entail_decision::{CredentialFacts, Facts, Inheritance, RequestFacts, ScopeFacts, Sharing};
use entail_text::is_plain;
use wasmtime::Trap;
use wasmtime::component::InstancePre;

use crate::admitted::{Admitted, Costs, Description, new_store};
use crate::compiled::{Code, Compatibility, CompileLimits};
use crate::contract::Exports;
use crate::digest::PolicyDigest;
use crate::engine::Engine;
use crate::engine_errors::{call_error, is_execution_forbidden};
use crate::error::{CallError, EngineError, sanitize};
use crate::limits::{Exceeded, Limits, ResourceUsage};
use crate::policy::{Instance, Policy};
use crate::rejected::Rejected;
use crate::sandbox::{JobError, Sandbox};
use crate::settings::Schema;
use crate::wasmtime_engine::{WasmtimeEngine, ticks};

/// The longest name, version or summary of a policy, in bytes: they are shown in tables.
const DESCRIPTION_BYTES: usize = 512;

/// The first bytes of every component in binary form: the magic of WebAssembly,
/// then version 13 of layer 1.
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
/// The first bytes of a core module, which compilers produce before it is made a component.
const MODULE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

impl Engine {
    /// Admits a component: checks its size, its imports (none) and its exports (the
    /// contract), and makes a trial call under the engine's limits. The policy has no
    /// settings, and each of its calls gets a fresh instance; [`Policy::with_settings`] and
    /// [`Policy::with_isolation`] change that.
    ///
    /// Compiling takes some 40 ms for the built-in policy.
    ///
    /// # Errors
    ///
    /// [`Rejected`] names the check that failed.
    pub fn admit(&self, component: &[u8]) -> Result<Policy, Rejected> {
        self.admit_within(component, self.limits())
    }

    /// Admits a component with its own limits.
    ///
    /// # Errors
    ///
    /// [`Rejected`], also if a limit is above [`Limits::CEILING`].
    pub fn admit_within(&self, component: &[u8], limits: &Limits) -> Result<Policy, Rejected> {
        let started = Instant::now();
        let mut admitted = inspect(self, component, limits, self.sandbox()?)?;
        admitted.costs = run_trial_call(&admitted, started)?;
        Ok(Policy::new(admitted))
    }

    /// Admits a component on the threads for admission, without blocking the caller's
    /// thread.
    ///
    /// # Errors
    ///
    /// [`Rejected`]; [`Rejected::NotInspected`] if too many admissions are waiting.
    pub async fn admit_async(
        &self,
        component: impl AsRef<[u8]> + Send + 'static,
        limits: Limits,
    ) -> Result<Policy, Rejected> {
        let engine = self.clone();
        let admit = move || engine.admit_within(component.as_ref(), &limits);
        self.lanes()?
            .run_admission(admit)
            .await
            .map_err(Rejected::NotInspected)?
    }

    /// Admits a component that is part of the program. It is compiled without a sandbox, gets
    /// no trial call, and [`Policy::decide_async`] runs it on the caller's thread.
    ///
    /// # Errors
    ///
    /// [`Rejected`].
    pub fn admit_trusted(&self, component: &[u8]) -> Result<Policy, Rejected> {
        let mut admitted = inspect(self, component, self.limits(), None)?;
        admitted.is_trusted = true;
        Ok(Policy::new(admitted))
    }
}

/// Makes every check but the trial call.
fn inspect(
    engine: &Engine,
    bytes: &[u8],
    limits: &Limits,
    sandbox: Option<&Sandbox>,
) -> Result<Admitted, Rejected> {
    // The owner of the engine may choose engine limits above the ceiling.
    if let Err(name) = limits.check_within(&Limits::CEILING) {
        limits
            .check_within(engine.limits())
            .map_err(|_| Rejected::AboveCeiling(name))?;
    }
    Limits::FLOOR
        .check_within(limits)
        .map_err(Rejected::BelowFloor)?;
    check_form(bytes, limits.component_bytes)?;
    let digest = PolicyDigest::of(bytes);
    let wasmtime = engine.wasmtime_engine(limits)?;
    let (code, compiled) = load_or_compile(engine, &wasmtime, digest, bytes, limits, sandbox)?;
    let component = code.load(&wasmtime.engine).map_err(invalid)?;
    // Loading copied the code.
    drop(code);
    let imports: Vec<String> = component
        .component_type()
        .imports(&wasmtime.engine)
        .map(|(name, _)| sanitize(name))
        .collect();
    if !imports.is_empty() {
        return Err(Rejected::Imports(imports));
    }
    let instance = wasmtime
        .linker
        .instantiate_pre(&component)
        .map_err(invalid)?;
    let exports = Exports::find(&component, &instance).map_err(Rejected::MissingExport)?;
    let described = introspect(&wasmtime, limits, &instance, &exports)?;
    Ok(Admitted {
        engine: engine.clone(),
        wasmtime,
        limits: limits.clone(),
        digest,
        description: described.description,
        contract: exports.contract(),
        schema: described.schema,
        costs: Costs {
            compiled,
            ..Costs::default()
        },
        exports,
        instance,
        is_trusted: false,
    })
}

/// Returns the code of a component, from the cache or compiled now, and whether it was
/// compiled now.
fn load_or_compile(
    engine: &Engine,
    wasmtime: &WasmtimeEngine,
    digest: PolicyDigest,
    bytes: &[u8],
    limits: &Limits,
    sandbox: Option<&Sandbox>,
) -> Result<(Code, bool), Rejected> {
    let cache = engine.config().code_cache.as_ref();
    let compatibility = Compatibility::of(&wasmtime.engine);
    let allowed = match sandbox {
        Some(_) => CompileLimits::of(limits),
        // Nothing limits compiling in this process.
        None => CompileLimits::NONE,
    };
    if let Some((code, used)) = cache.and_then(|cache| cache.find(digest, compatibility))
        && used.is_within(allowed)
    {
        return Ok((code, false));
    }
    let code = match sandbox {
        Some(sandbox) => {
            Code::compile_in(sandbox, wasmtime.allocation, bytes, limits).map_err(compile_error)?
        }
        None => Code::compile(&wasmtime.engine, bytes).map_err(invalid)?,
    };
    if let Some(cache) = cache {
        cache.store(digest, compatibility, &code, allowed);
    }
    Ok((code, true))
}

fn compile_error(error: JobError) -> Rejected {
    match error {
        JobError::NotStarted(reason) => EngineError::new(reason).into(),
        JobError::Memory { limit } => Rejected::CompileMemory { limit },
        JobError::AddressSpace { limit } => Rejected::CompileAddressSpace { limit },
        JobError::Time { limit } => Rejected::CompileTime { limit },
        JobError::Output { limit } => Rejected::CodeTooLarge { limit },
        JobError::Crashed(status) => Rejected::CompileCrashed(status),
        JobError::Refused(reason) => Rejected::Invalid(sanitize(&reason)),
    }
}

/// Whether the bytes start like a core module.
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

/// What a component returns about itself.
struct SelfDescription {
    description: Description,
    schema: Option<Schema>,
}

/// Instantiates the component for the first time, which also checks the types of the
/// exports, and calls the functions that return its description and its settings schema.
fn introspect(
    wasmtime: &WasmtimeEngine,
    limits: &Limits,
    instance: &InstancePre<ResourceUsage>,
    exports: &Exports,
) -> Result<SelfDescription, Rejected> {
    let mut store = new_store(wasmtime, limits);
    let failed_trial = |error| Rejected::Trial(call_error(error, limits));
    let wrong_type = |error: wasmtime::Error| Rejected::WrongType(sanitize(&format!("{error:#}")));
    let instance = instance.instantiate(&mut store).map_err(|error| {
        if error.is::<Trap>() || error.is::<Exceeded>() {
            failed_trial(error)
        } else {
            // It has too many memories or instances for the engine.
            invalid(error)
        }
    })?;
    exports
        .resolver(&mut store, &instance)
        .map_err(wrong_type)?;
    store.set_epoch_deadline(ticks(limits.deadline));
    let (name, version, summary) = exports
        .describe(&mut store, &instance)
        .map_err(wrong_type)?
        .map_err(failed_trial)?;
    let schema = match exports
        .settings(&mut store, &instance)
        .map_err(wrong_type)?
    {
        None => None,
        Some(functions) => {
            store.set_epoch_deadline(ticks(limits.deadline));
            let text = functions.schema(&mut store).map_err(failed_trial)?;
            Some(Schema::parse(&text).map_err(Rejected::Schema)?)
        }
    };
    let description = Description {
        name,
        version,
        summary,
    };
    check_description(&description)?;
    Ok(SelfDescription {
        description,
        schema,
    })
}

fn check_description(description: &Description) -> Result<(), Rejected> {
    let texts = [
        &description.name,
        &description.version,
        &description.summary,
    ];
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

fn invalid(error: wasmtime::Error) -> Rejected {
    let advice = if is_execution_forbidden(&error) {
        "; policies are compiled to machine code, and the system forbids executable memory: \
         allow it (systemd: MemoryDenyWriteExecute=no)"
    } else {
        ""
    };
    Rejected::Invalid(sanitize(&format!("{error:#}{advice}")))
}

/// Makes the trial call of an admission. The policy may return any decision, and may refuse
/// the facts.
fn run_trial_call(admitted: &Admitted, admission_started: Instant) -> Result<Costs, Rejected> {
    let started = Instant::now();
    let mut instance = Instance::new(admitted).map_err(Rejected::Trial)?;
    match instance.decide(admitted, &trial_facts(), "{}") {
        Ok(_) | Err(CallError::InvalidFacts(_) | CallError::Undecided(_)) => {}
        Err(error) => return Err(Rejected::Trial(error)),
    }
    let usage = instance.usage();
    Ok(Costs {
        admission: admission_started.elapsed(),
        compiled: admitted.costs.compiled,
        trial_call: started.elapsed(),
        memory_bytes: usage.memory_bytes(),
        table_elements: usage.table_elements(),
    })
}

/// Facts that every policy must be able to process.
fn trial_facts() -> Facts {
    let text = || "trial".to_owned();
    let attributes = || [(text(), "yes".to_owned())].into();
    let credential = CredentialFacts {
        id: text(),
        name: "default".to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: None,
        sharing: Sharing::All,
        mandatory: false,
        priority: 0,
        attributes: attributes(),
    };
    Facts {
        request: RequestFacts {
            provider: text(),
            model: Some(text()),
            credential: None,
            principal: text(),
            now_ms: 1,
            attributes: attributes(),
        },
        chain: vec![ScopeFacts {
            path: text(),
            inheritance: Inheritance::Isolated,
            default_model: None,
            credentials: vec![credential],
            attributes: attributes(),
        }],
    }
}
