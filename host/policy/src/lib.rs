//! Runs policy components.
//!
//! A policy turns [`Facts`] into a [`Decision`]. It is foreign code: this crate guarantees
//! that each call returns a decision or a [`CallError`] in bounded time and memory, and that
//! no call affects the next, unless that was asked for ([`Isolation`]).
//!
//! - [`Engine`] runs policies under [`Limits`]; one engine serves a whole process.
//! - [`Engine::admit`] checks a component and returns a [`Policy`], or why it is
//!   [`Rejected`]. A [`Sandbox`] limits what compiling takes, a [`CodeCache`] stores compiled
//!   code.
//! - [`Policy::with_settings`] validates settings and applies them.
//! - [`Policy::decide`] decides one request in a fresh instance; [`Policy::decide_async`]
//!   does so on threads for policy calls.
//! - [`Engine::compose`] composes a layer with the policy below it.
//!
//! Policies of every released version of the contract run ([`Contract`]).
//!
//! This crate does not guarantee that a decision is *right*. Callers must check it against
//! the facts: [`entail_decision::guard`] does.

mod admission;
mod admitted;
mod call_queue;
mod code_cache;
mod compile_worker;
mod compiled;
mod compose;
mod config;
mod contract;
mod digest;
mod engine;
mod engine_errors;
mod error;
mod isolation;
mod lanes;
mod limits;
mod policy;
mod rejected;
mod sandbox;
mod settings;
mod wasmtime_engine;

pub use admission::is_core_module;
pub use admitted::{Costs, Description};
pub use code_cache::CodeCache;
pub use compile_worker::{run_compile_worker, run_compile_worker_with};
pub use compose::ComposeError;
pub use config::{Compiler, EngineConfig};
pub use contract::Contract;
pub use digest::{InvalidPolicyDigest, PolicyDigest};
pub use engine::Engine;
pub use entail_decision::{
    Attributes, Code, CredentialFacts, Decision, Facts, Finding, Grant, Inheritance, InvalidCode,
    Outcome, Refusal, RequestFacts, ScopeFacts, Sharing,
};
pub use entail_text::ForeignText;
pub use error::{CallError, CompilerDisabled, EngineError};
pub use isolation::Isolation;
pub use limits::{Exceeded, Limits};
pub use policy::Policy;
pub use rejected::Rejected;
pub use sandbox::{Job, JobError, JobLimits, Sandbox};
pub use settings::{BadSettings, Problem, Values};
