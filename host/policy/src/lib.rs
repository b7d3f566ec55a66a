//! Runs policy components.
//!
//! A policy turns [`Facts`] into a [`Decision`]. It is foreign code: this crate
//! promises that whatever a component does, its caller gets a decision or one
//! named failure, in bounded time and memory, and that one call can leave
//! nothing behind for the next, unless that was asked for ([`Isolation`]).
//!
//! - [`Engine`] is the machine and its [`Limits`]; one serves a whole process.
//! - [`Engine::admit`] looks a component over and makes a [`Policy`] of it, or
//!   says why it is [`Rejected`]. A [`Sandbox`] bounds what compiling it takes, a
//!   [`CodeCache`] keeps what was compiled.
//! - [`Policy::with_settings`] sets something for it, if it takes that.
//! - [`Policy::decide`] answers one request in a fresh instance, or says which
//!   [`Failure`] it met; [`Policy::decide_in_turn`] does so on threads of its own.
//! - [`Engine::compose`] puts a layer on a policy.
//!
//! Policies of every released version of the contract are served ([`Contract`]).
//!
//! What it does not promise: that a decision is *right*. Whoever acts on one
//! checks it against what was offered.

mod admission;
mod code_cache;
mod compiled;
mod compose;
mod contract;
mod digest;
mod engine;
mod failure;
mod lanes;
mod limits;
mod machine;
mod policy;
mod sandbox;
mod settings;
mod worker;

pub use admission::{Costs, Description, Rejected, is_core_module};
pub use code_cache::CodeCache;
pub use compose::ComposeError;
pub use contract::Contract;
pub use digest::{Digest, InvalidDigest};
pub use engine::{Engine, EngineError, Settings};
pub use entail_decision::{
    Attributes, Code, CredentialFacts, Decision, Facts, Finding, Grant, Inheritance, InvalidCode,
    Outcome, Refusal, RequestFacts, ScopeFacts, Sharing,
};
pub use entail_text::ForeignText;
pub use failure::Failure;
pub use limits::{Exceeded, Limits};
pub use policy::{Isolation, Policy};
pub use sandbox::{Bounds, Compile, Job, JobError, NotCompiled, Sandbox};
pub use settings::{BadSettings, Problem, Values};
pub use worker::{serve, serve_with};
