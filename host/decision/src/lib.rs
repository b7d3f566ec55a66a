//! The data of a decision, and the rules that a host enforces on it.
//!
//! This crate needs neither an engine nor a store, so that every host can use it, also one
//! that runs the policy component with another WebAssembly engine:
//!
//! - [`Facts`] are what a policy sees: the request and the chain of scopes.
//! - [`Decision`] is what a policy returns: a grant or a refusal, and a trail.
//! - [`guard::enforce`] rejects a decision that grants more than the facts allow.
//! - [`Catalog`] holds the providers, built-in and added.
//! - [`name`] parses names of scopes, providers, credentials and models into their canonical
//!   form.
//!
//! Facts and decisions have one JSON form: that of the conformance vectors, of
//! `entail policy decide` and of the decision log. The example of [`guard`] goes from facts to
//! an enforced decision.

mod decision;
mod facts;
pub mod guard;
mod json;
pub mod name;
pub mod provider;
mod toml_error;
mod violation;

pub use decision::{Attributes, Code, Decision, Finding, Grant, InvalidCode, Outcome, Refusal};
pub use facts::{CredentialFacts, Facts, Inheritance, RequestFacts, ScopeFacts, Sharing};
pub use provider::Catalog;
pub use toml_error::describe_toml_error;
