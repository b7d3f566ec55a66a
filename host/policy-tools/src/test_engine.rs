//! An engine for authors: admits components under their own limits, reports what is wrong with
//! those that are not admitted, and measures calls.

use std::time::{Duration, Instant};

use entail::policy::{
    CallError, CodeCache, Compiler, CredentialFacts, Engine, EngineConfig, Facts, Inheritance,
    Limits, Policy, Rejected, RequestFacts, Sandbox, ScopeFacts, Sharing,
};

use crate::component::Component;
use crate::diagnosis::{Defect, diagnose, find_limits};
use crate::record::Provenance;

/// The number of calls that [`median_call_time`] makes.
pub const CALLS: usize = 100;

/// The longest that it calls a policy.
const CALLING_TIME: Duration = Duration::from_secs(5);

/// A component was not admitted.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not admitted: {rejected}")]
pub struct NotAdmitted {
    /// The component.
    pub name: String,
    /// The engine's reason.
    pub rejected: Rejected,
    /// What is wrong with the component.
    pub defects: Vec<Defect>,
}

/// An engine with the settings of one that serves requests.
#[derive(Debug)]
pub struct TestEngine {
    engine: Engine,
    sandbox: Sandbox,
}

impl TestEngine {
    /// Creates an engine that compiles in `sandbox` and keeps code in `code_cache`.
    pub fn new(code_cache: CodeCache, sandbox: Sandbox) -> Self {
        let engine = Engine::new(EngineConfig {
            code_cache: Some(code_cache),
            compiler: Compiler::Sandboxed(sandbox.clone()),
            ..EngineConfig::default()
        });
        TestEngine { engine, sandbox }
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Admits a component under the limits its author asks for.
    ///
    /// # Errors
    ///
    /// [`NotAdmitted`], with the defects under these limits.
    pub fn admit(&self, component: &Component) -> Result<Policy, NotAdmitted> {
        self.admit_or(component, |limits, rejected| {
            diagnose(&component.bytes, limits, rejected, &self.sandbox)
        })
    }

    /// Does the same; a component that is not admitted is admitted again under higher
    /// limits, to find out which it needs.
    ///
    /// # Errors
    ///
    /// [`NotAdmitted`], with suggested limits.
    pub fn admit_finding_limits(&self, component: &Component) -> Result<Policy, NotAdmitted> {
        self.admit_or(component, |limits, rejected| {
            find_limits(
                &self.engine,
                &component.bytes,
                limits,
                rejected,
                &self.sandbox,
            )
        })
    }

    fn admit_or(
        &self,
        component: &Component,
        diagnose: impl FnOnce(&Limits, &Rejected) -> Vec<Defect>,
    ) -> Result<Policy, NotAdmitted> {
        let limits = component.limits_or_default();
        self.engine
            .admit_within(&component.bytes, &limits)
            .map_err(|rejected| NotAdmitted {
                name: component.name.clone(),
                defects: diagnose(&limits, &rejected),
                rejected,
            })
    }

    /// Admits a component that was just built. A layer is composed with the built-in policy
    /// for this.
    ///
    /// # Errors
    ///
    /// [`NotAdmitted`].
    pub fn admit_built(
        &self,
        bytes: &[u8],
        limits: Option<Limits>,
        name: String,
    ) -> Result<Policy, NotAdmitted> {
        // Composing what is not a layer fails.
        let composed = self.engine.compose(bytes, entail::DEFAULT_POLICY);
        self.admit(&Component {
            bytes: composed.unwrap_or_else(|_| bytes.to_owned()),
            limits,
            name,
            provenance: Provenance::FromSources,
        })
    }
}

/// Returns what is wrong with a component that an engine rejected.
pub fn diagnose_rejected(
    component: &Component,
    rejected: Rejected,
    sandbox: &Sandbox,
) -> NotAdmitted {
    let limits = component.limits_or_default();
    NotAdmitted {
        name: component.name.clone(),
        defects: diagnose(&component.bytes, &limits, &rejected, sandbox),
        rejected,
    }
}

/// Calls a policy [`CALLS`] times, or for five seconds, and returns the median time of a
/// call.
///
/// # Errors
///
/// Fails if a call fails. A policy that cannot decide the facts has not failed.
pub fn median_call_time(policy: &Policy) -> Result<Duration, CallError> {
    let facts = ordinary_facts();
    let began = Instant::now();
    let mut times = Vec::with_capacity(CALLS);
    while times.len() < CALLS && began.elapsed() < CALLING_TIME {
        let started = Instant::now();
        match policy.decide(&facts) {
            Ok(_) | Err(CallError::InvalidFacts(_) | CallError::Undecided(_)) => {}
            Err(failure) => return Err(failure),
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Returns the facts of an ordinary request: a project and its organization, with two
/// credentials.
fn ordinary_facts() -> Facts {
    let credential = |id: &str, name: &str| CredentialFacts {
        id: id.to_owned(),
        name: name.to_owned(),
        enabled: true,
        readable: true,
        expires_at_ms: None,
        models: Some(vec!["gpt-*".to_owned()]),
        sharing: Sharing::All,
        mandatory: false,
        priority: 0,
        attributes: [("region".to_owned(), "eu".to_owned())].into(),
    };
    let scope = |path: &str, inheritance, credentials| ScopeFacts {
        path: path.to_owned(),
        inheritance,
        default_model: Some("gpt-5".to_owned()),
        credentials,
        attributes: [].into(),
    };
    Facts {
        request: RequestFacts {
            provider: "openai".to_owned(),
            model: None,
            credential: None,
            principal: "local:owner".to_owned(),
            now_ms: 1_767_225_600_000,
            attributes: [("session".to_owned(), "one".to_owned())].into(),
        },
        chain: vec![
            scope("acme/evals", Inheritance::FallBack, Vec::new()),
            scope(
                "acme",
                Inheritance::Isolated,
                vec![credential("1", "default"), credential("2", "second")],
            ),
        ],
    }
}
