//! A model of the protocol of keyrings, checkpoints, anchors and restores (`host/FORMATS.md`),
//! which a checker explores exhaustively. Its traces are replayed on the store.
//!
//! - [`statements`], [`reading`], [`home`], [`restoring`], [`changes`] and [`actions`] are the protocol, with
//!   abstract keys and digests. Each of its [`rules`] can be broken. [`adversary`] is who
//!   attacks it.
//! - [`properties`] is what it promises. [`scopes`] says what is explored.
//! - [`checks`]: every property holds in the whole space of each scope, and without any one of
//!   the rules a property does not.
//! - [`replay`]: the store, with real files, keys and secrets, does and refuses what the model
//!   does and refuses, in the traces that broke a property and in random ones.
//!
//! # What is modelled
//!
//! One database; a machine with all keys, one with an identity to which a signer is added, and
//! one that is set up from a backup; a running process on each; a reader who comes and goes; the
//! recovery key and its receipt; and an adversary, who replaces the database at any time by any
//! state that it was ever in, also with keyrings of a later one, and continues any of them with
//! entries and keyrings that it signs with the keys that it has stolen.
//!
//! # What is not
//!
//! Several organizations and secrets, signers of some scopes, heartbeats, thresholds of several
//! owners, the rotation of an identity, documents and their tree, blobs that are missing,
//! concurrent commits, crashes between two steps, an anchor that the adversary can write,
//! `--at-least` and named owners at a restore. A journal of the model is always a chain. Whoever
//! holds a present owner key has all power, and whoever holds a present signer can change the
//! store: no property says otherwise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

mod actions;
mod adversary;
mod changes;
mod checks;
mod home;
mod model;
mod properties;
mod reading;
mod replay;
mod restoring;
mod rules;
mod scopes;
mod state;
mod statements;
