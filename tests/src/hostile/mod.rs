//! Hostile components: they never return, exhaust the machine, crash, return invalid
//! results, or grant what they must not.
//!
//! [`collection`] generates them all, always the same ones. Each is a [`Case`] with the
//! expected [`Cause`]; any other result is a failure of containment. They run through the
//! engine alone ([`engine`]), and through the library next to a neighbour that sends requests
//! ([`library`]). [`swap`] contains two policies that are activated alternately under load.
//!
//! The request is always similar: [`Query::facts`] are facts of the project [`REQUESTING`],
//! with one credential in each state in which a policy must not grant it, named after the
//! state.

mod answers;
pub mod archive;
mod compilation;
pub mod engine;
mod exhaustion;
mod flips;
mod ids;
pub mod library;
pub mod measure;
mod settings;
mod shapes;
pub mod sketch;
pub mod swap;
mod traps;

use std::collections::BTreeSet;

use entail_policy::{BadSettings, CallError, Exceeded, Facts, Isolation, Rejected};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use sketch::Sketch;

/// The built-in policy of the product.
const BUILT_IN: &[u8] = include_bytes!("../../../guest/default/default-policy.wasm");

/// The provider for which the sketches misbehave.
pub const PROVIDER: &str = "evil";

/// The organization for which they are active.
pub const ORGANIZATION: &str = "evil";

/// The requesting project.
pub const REQUESTING: &str = "evil/lab/deep";

/// The requested model.
pub const MODEL: &str = "gpt-5";

/// A component and its expected result. The JSON form does not contain the component.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its group, a slash, and what it does.
    pub name: String,
    /// The component.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Its settings, if any.
    pub settings: Option<Map<String, Value>>,
    /// How long its instance lives.
    pub isolation: Isolation,
    /// The request.
    pub query: Query,
    /// The number of calls. The result is the first failure, or else the last decision.
    pub calls: usize,
    /// The expected result.
    pub expected: Expected,
}

impl Case {
    /// A component that is called once, without settings.
    pub fn new(
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        expected: impl Into<Expected>,
    ) -> Self {
        Case {
            name: name.into(),
            bytes: bytes.into(),
            settings: None,
            isolation: Isolation::PerCall,
            query: Query::Model,
            calls: 1,
            expected: expected.into(),
        }
    }

    /// The same for a sketch.
    pub fn of(name: impl Into<String>, sketch: Sketch, expected: impl Into<Expected>) -> Self {
        Case::new(name, sketch.component(), expected)
    }

    /// With these settings, which must be an object.
    #[must_use]
    pub fn settings(self, settings: Value) -> Self {
        let Value::Object(settings) = settings else {
            panic!("settings are an object");
        };
        Case {
            settings: Some(settings),
            ..self
        }
    }

    /// With another request.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Case { query, ..self }
    }

    /// With several calls.
    #[must_use]
    pub fn calls(self, calls: usize) -> Self {
        Case { calls, ..self }
    }

    /// In an instance that lives across calls.
    #[must_use]
    pub fn warm(self) -> Self {
        Case {
            isolation: Isolation::PerOrganization,
            ..self
        }
    }

    /// Whether it ends at a deadline, which should then be short.
    pub fn waits_for_deadline(&self) -> bool {
        let waits = |cause: &Cause| {
            matches!(
                cause,
                Cause::Trial(Failing::Deadline)
                    | Cause::SettingsFail(Failing::Deadline)
                    | Cause::Fails(Failing::Deadline)
            )
        };
        match &self.expected {
            Expected::OneOf(causes) => causes.iter().any(waits),
            // Any result is permitted, so there is no need to wait.
            Expected::Contained => true,
        }
    }
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Any credential, for the model [`MODEL`].
    #[default]
    Model,
    /// Any credential, for no model.
    Bare,
    /// The credential `second`, for the model.
    Named,
}

impl Query {
    /// The model of the request.
    pub fn model(self) -> Option<&'static str> {
        (self != Query::Bare).then_some(MODEL)
    }

    /// The credential of the request.
    pub fn credential(self) -> Option<&'static str> {
        (self == Query::Named).then_some("second")
    }

    /// The facts of the request.
    pub fn facts(self) -> Facts {
        let credential = |name: &str, state: Value| {
            let mut credential = json!({"id": format!("id-of-{name}"), "name": name});
            let object = credential.as_object_mut().unwrap();
            object.extend(state.as_object().unwrap().clone());
            credential
        };
        let facts = json!({
            "request": {
                "provider": PROVIDER,
                "model": self.model(),
                "credential": self.credential(),
                "principal": "local:owner",
                "now_ms": 1_800_000_000_000_u64,
            },
            "chain": [
                {"path": REQUESTING, "inheritance": "inherit", "credentials": [
                    credential("default", json!({})),
                    credential("second", json!({})),
                    credential("disabled", json!({"enabled": false})),
                    credential("expired", json!({"expires_at_ms": 1000})),
                    credential("unreadable", json!({"readable": false})),
                    credential("other-model", json!({"models": ["claude-*"]})),
                ]},
                {"path": "evil/lab", "inheritance": "isolated", "default_model": "lab-model", "credentials": [
                    credential("shared", json!({})),
                    credential("unshared", json!({"sharing": "none"})),
                    credential("elsewhere", json!({"sharing": {"paths": ["evil/other/**"]}})),
                ]},
                {"path": ORGANIZATION, "default_model": "beyond-model", "credentials": [
                    credential("beyond", json!({})),
                ]},
            ],
        });
        serde_json::from_value(facts).unwrap()
    }

    /// Whether a credential may be granted, or be an alternate.
    fn allows(self, name: &str) -> bool {
        match self {
            Query::Named => name == "second",
            Query::Model | Query::Bare => ["default", "second", "shared"].contains(&name),
        }
    }
}

/// The expected result of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Expected {
    /// One of these.
    OneOf(Vec<Cause>),
    /// Any result that is contained, because bytes were changed at random: a rejection, a
    /// failure, or a decision within the facts.
    Contained,
}

impl Expected {
    /// Whether a cause is expected.
    pub fn includes(&self, cause: Cause) -> bool {
        match self {
            Expected::OneOf(causes) => causes.contains(&cause),
            Expected::Contained => true,
        }
    }
}

impl From<Cause> for Expected {
    fn from(cause: Cause) -> Self {
        Expected::OneOf(vec![cause])
    }
}

impl<const N: usize> From<[Cause; N]> for Expected {
    fn from(causes: [Cause; N]) -> Self {
        Expected::OneOf(causes.to_vec())
    }
}

/// The result of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Not admitted: too many bytes.
    TooLarge,
    /// Not admitted: a core module.
    CoreModule,
    /// Not admitted: neither a component nor a module.
    NotAComponent,
    /// Not admitted: invalid WebAssembly, or not supported by the engine.
    Invalid,
    /// Not admitted: it imports something.
    Imports,
    /// Not admitted: a part of the contract is missing.
    MissingExport,
    /// Not admitted: a part of the contract has another type.
    WrongType,
    /// Not admitted: its description cannot be shown.
    Description,
    /// Not admitted, or not activated: its schema is invalid or too expensive.
    Schema,
    /// Not admitted: compiling it took too much memory.
    CompileMemory,
    /// Not admitted: compiling it took too long.
    CompileTime,
    /// Not admitted: compiling it crashed the compiler process.
    CompileCrashed,
    /// Not admitted: its trial call failed.
    Trial(Failing),
    /// Not activated: the settings are invalid.
    SettingsNotAccepted,
    /// Not activated: it failed when it validated the settings.
    SettingsFail(Failing),
    /// A request failed.
    Fails(Failing),
    /// It granted too much, and the guard refused that for this reason. The engine alone has
    /// no guard, so the reason is not compared there.
    Widens(#[serde(deserialize_with = "violation")] Violation),
    /// It refused.
    Refuses,
    /// It granted a permitted credential.
    Grants,
}

/// The guard's reason for refusing a grant: one of a few texts.
pub type Violation = &'static str;

/// All reasons.
const VIOLATIONS: [Violation; 14] = [
    "is named twice",
    "is not the effective model",
    "is beyond a scope that has not opted in",
    "was not offered",
    "is the id of several credentials",
    "is not shared with the requesting scope",
    "is overridden by a mandatory credential",
    "is above a scope that has its own credentials and does not fall back",
    "is granted although a mandatory credential is beyond a scope that has not opted in",
    "is not the credential that the request names",
    "is disabled",
    "cannot be read",
    "has expired",
    "does not allow the model",
];

fn violation<'de, D: Deserializer<'de>>(from: D) -> Result<Violation, D::Error> {
    let text = String::deserialize(from)?;
    let violation = VIOLATIONS.into_iter().find(|known| *known == text);
    violation.ok_or_else(|| D::Error::custom("the guard has no such reason"))
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failing {
    /// It ran too long.
    Deadline,
    /// It asked for too much memory.
    Memory,
    /// It asked for too many table elements.
    Table,
    /// Its calls nested too deeply.
    Stack,
    /// It returned too much.
    ResultBytes,
    /// It trapped.
    Trapped,
    /// Its result is not a value of the contract.
    Malformed,
    /// It reported that the facts are invalid.
    InvalidFacts,
    /// It reported that it could not decide.
    Undecided,
    /// It was not called, because of too many credentials or calls.
    NotCalled,
}

impl From<&CallError> for Failing {
    fn from(failure: &CallError) -> Self {
        match failure {
            CallError::Exceeded(Exceeded::DeadlineMs(_)) => Failing::Deadline,
            CallError::Exceeded(Exceeded::MemoryBytes(_)) => Failing::Memory,
            CallError::Exceeded(Exceeded::TableElements(_)) => Failing::Table,
            CallError::Exceeded(Exceeded::Stack) => Failing::Stack,
            CallError::Exceeded(Exceeded::ResultBytes(_)) => Failing::ResultBytes,
            CallError::Trapped(_) => Failing::Trapped,
            CallError::Malformed(_) => Failing::Malformed,
            CallError::InvalidFacts(_) => Failing::InvalidFacts,
            CallError::Undecided(_) => Failing::Undecided,
            CallError::TooManyCredentials { .. } | CallError::Busy => Failing::NotCalled,
            other => panic!("an unknown failure: {other}"),
        }
    }
}

impl From<&Rejected> for Cause {
    fn from(rejected: &Rejected) -> Self {
        match rejected {
            Rejected::TooLarge { .. } => Cause::TooLarge,
            Rejected::CoreModule => Cause::CoreModule,
            Rejected::NotAComponent => Cause::NotAComponent,
            Rejected::Invalid(_) => Cause::Invalid,
            Rejected::Imports(_) => Cause::Imports,
            Rejected::MissingExport(_) => Cause::MissingExport,
            Rejected::WrongType(_) => Cause::WrongType,
            Rejected::Description(_) => Cause::Description,
            Rejected::Schema(_) => Cause::Schema,
            Rejected::CompileMemory { .. } | Rejected::CodeTooLarge { .. } => Cause::CompileMemory,
            Rejected::CompileTime { .. } => Cause::CompileTime,
            Rejected::CompileCrashed(_) => Cause::CompileCrashed,
            Rejected::Trial(failure) => Cause::Trial(failure.into()),
            other => panic!("an unknown rejection: {other}"),
        }
    }
}

impl From<&BadSettings> for Cause {
    fn from(bad: &BadSettings) -> Self {
        match bad {
            BadSettings::NotAccepted(_) => Cause::SettingsNotAccepted,
            BadSettings::Schema(_) => Cause::Schema,
            BadSettings::Failed(failure) => Cause::SettingsFail(failure.into()),
            other => panic!("unknown bad settings: {other}"),
        }
    }
}

/// All cases.
pub fn collection() -> Vec<Case> {
    let cases = [
        exhaustion::cases(),
        traps::cases(),
        answers::cases(),
        ids::cases(),
        shapes::cases(),
        settings::cases(),
        compilation::cases(),
        flips::cases(),
    ]
    .concat();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    cases
}
