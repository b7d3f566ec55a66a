//! The program as a person uses it: real processes, real files, a real database.
//!
//! Every secret is a canary, and every test ends with a search for all of its
//! canaries in everything that was written or printed ([`sandbox::Sandbox`]).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

mod audit;
mod bundles;
mod canaries;
mod code_cache;
mod codes;
mod components;
mod directory_scope;
mod disaster;
mod environment;
mod foreign;
mod formats;
mod guides;
mod hardening;
mod help;
mod hostile_text;
mod import;
mod input;
mod interop;
mod key_programs;
mod keys;
mod limits;
mod outside_files;
mod owners;
mod pasted;
mod policy_author;
mod policy_compare;
mod principals;
mod processes;
mod prompts;
mod replaced_secrets;
mod run;
mod samples;
mod sandbox;
mod shares;
mod signers;
mod slips;
mod tampering;
mod terminal;
mod tour;
