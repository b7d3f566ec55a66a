//! Runs policy components.
//!
//! A policy turns [`Facts`] into a [`Decision`]. It is foreign code: this crate
//! promises that whatever a component does, its caller gets a decision or one
//! named failure, in bounded time and memory, and that one call can leave
//! nothing behind for the next.
//!
//! - [`Engine`] is the machine and its [`Limits`]; one serves a whole process.
//! - [`Engine::admit`] looks a component over and makes a [`Policy`] of it, or
//!   says why it is [`Rejected`].
//! - [`Policy::decide`] answers one request in a fresh instance, or says which
//!   [`Failure`] it met.
//!
//! What it does not promise: that a decision is *right*. Whoever acts on one
//! checks it against what was offered.

mod contract;
mod decision;
mod engine;
mod facts;
mod limits;
mod policy;

pub use decision::{Decision, Finding, Grant, Outcome, Refusal};
pub use engine::{Engine, EngineError, Settings};
pub use facts::{Credential, Facts, Inheritance, Request, Scope, Sharing};
pub use limits::{Exceeded, Limits};
pub use policy::{Description, Digest, Failure, Policy, Rejected};
