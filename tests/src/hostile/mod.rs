//! Components that try everything: to never end, to use up the machine, to crash the
//! host, to say what is no answer, to hand out what they may not.
//!
//! [`collection`] makes them all, the same ones each time. Each is a [`Case`] that
//! says what must come of it, by its [`Cause`]; whatever else happens is not contained.
//! They are held against the engine alone ([`engine`]), and against the library with a
//! neighbour that keeps asking ([`library`]). [`swap`] are policies that only differ, and
//! are activated in turn under load.
//!
//! What they ask for is the same everywhere: [`Ask::facts`] are facts of the project
//! [`REQUESTING`], in which there is a credential in each state that a policy must not
//! grant, by a name that says which.

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

/// The good one, as the product carries it.
const BUILT_IN: &[u8] = include_bytes!("../../../guest/default/default-policy.wasm");

/// The provider that makes the sketches evil.
pub const PROVIDER: &str = "evil";

/// The organization that they are bound to.
pub const ORGANIZATION: &str = "evil";

/// The project that asks.
pub const REQUESTING: &str = "evil/lab/deep";

/// The model that it asks for.
pub const MODEL: &str = "gpt-5";

/// A component, and what must come of it. As JSON without the component.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// What it does, after its group and a slash.
    pub name: String,
    /// The component.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// What is set for it, if anything.
    pub settings: Option<Map<String, Value>>,
    /// Whether its instance stays.
    pub isolation: Isolation,
    /// What is asked.
    pub ask: Ask,
    /// How often it is asked. The first failure counts, else the last answer.
    pub calls: usize,
    /// What must come of it.
    pub expected: Expected,
}

impl Case {
    /// Bytes that are asked once, with nothing set.
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
            ask: Ask::Model,
            calls: 1,
            expected: expected.into(),
        }
    }

    /// The same of a sketch.
    pub fn of(name: impl Into<String>, sketch: Sketch, expected: impl Into<Expected>) -> Self {
        Case::new(name, sketch.component(), expected)
    }

    /// With this set for it: an object.
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

    /// Asked for something else.
    #[must_use]
    pub fn ask(self, ask: Ask) -> Self {
        Case { ask, ..self }
    }

    /// Asked several times.
    #[must_use]
    pub fn calls(self, calls: usize) -> Self {
        Case { calls, ..self }
    }

    /// In an instance that stays.
    #[must_use]
    pub fn warm(self) -> Self {
        Case {
            isolation: Isolation::PerOrganization,
            ..self
        }
    }

    /// Whether it is to end at a deadline, which had better be a short one.
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
            // Nor need one wait for what anything may come of.
            Expected::Contained => true,
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Any credential, for the model [`MODEL`].
    #[default]
    Model,
    /// Any credential, for no model.
    Bare,
    /// The credential `second`, for the model.
    Named,
}

impl Ask {
    /// The model of the request.
    pub fn model(self) -> Option<&'static str> {
        (self != Ask::Bare).then_some(MODEL)
    }

    /// The credential of the request.
    pub fn credential(self) -> Option<&'static str> {
        (self == Ask::Named).then_some("second")
    }

    /// The facts.
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
            Ask::Named => name == "second",
            Ask::Model | Ask::Bare => ["default", "second", "shared"].contains(&name),
        }
    }
}

/// What must come of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Expected {
    /// One of these.
    OneOf(Vec<Cause>),
    /// Any: bytes were changed at random, and it is anybody's guess what they do. It
    /// must be a clean rejection, a failure, or a decision within the facts.
    Contained,
}

impl Expected {
    /// Whether it is.
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

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Not admitted: too many bytes.
    TooLarge,
    /// Not admitted: a core module.
    CoreModule,
    /// Not admitted: something else altogether.
    NotAComponent,
    /// Not admitted: against the rules of WebAssembly, or beyond the engine.
    Invalid,
    /// Not admitted: it imports something.
    Imports,
    /// Not admitted: a part of the contract is missing.
    MissingExport,
    /// Not admitted: a part of the contract has another type.
    WrongType,
    /// Not admitted: its description is unfit to be shown.
    Description,
    /// Not admitted, or not bound: its schema is none, or takes too much.
    Schema,
    /// Not admitted: compiling it took too much memory.
    CompileMemory,
    /// Not admitted: compiling it took too long.
    CompileTime,
    /// Not admitted: compiling it crashed the process for that.
    CompileCrashed,
    /// Not admitted: it failed when it was called on trial.
    Trial(Failing),
    /// Not bound: the settings do not fit.
    SettingsNotAccepted,
    /// Not bound: it failed when it was asked about the settings.
    SettingsFail(Failing),
    /// A request failed.
    Fails(Failing),
    /// It granted more than it may: stopped by the guard, for this reason. The engine
    /// alone has no guard, so there the reason is not looked at.
    Widens(#[serde(deserialize_with = "violation")] Violation),
    /// It refused.
    Refuses,
    /// It granted what may be granted.
    Grants,
}

/// How a guard says that a grant goes too far: one of a few texts.
pub type Violation = &'static str;

/// All of them.
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
    let known = VIOLATIONS.into_iter().find(|how| *how == text);
    known.ok_or_else(|| D::Error::custom("the guard does not say that"))
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
    /// Its answer is no value of the contract.
    Malformed,
    /// It says that the facts are invalid.
    InvalidFacts,
    /// It says that it could not decide.
    Undecided,
    /// It was not called: there were too many credentials, or calls.
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
            other => panic!("a failure that no case knows of: {other}"),
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
            other => panic!("a rejection that no case knows of: {other}"),
        }
    }
}

impl From<&BadSettings> for Cause {
    fn from(bad: &BadSettings) -> Self {
        match bad {
            BadSettings::NotAccepted(_) => Cause::SettingsNotAccepted,
            BadSettings::Schema(_) => Cause::Schema,
            BadSettings::Failed(failure) => Cause::SettingsFail(failure.into()),
            other => panic!("bad settings that no case knows of: {other}"),
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
