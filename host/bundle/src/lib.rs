//! Sealed bundles: the facts and the sealed secrets of some scopes in one signed file, which
//! resolves requests without a store, without an engine, and without a connection.
//!
//! - [`Bundle::open`] reads a bundle strictly and verifies it: its signature, its store, its
//!   expiry and its revision.
//! - [`Bundle::resolve`] decides a request on it, with the built-in rules and the guard, as the
//!   host does. For a grant it names the sealed secret, and what its frame must say.
//! - [`answer()`] does both, with JSON text in and out: the form for hosts in other languages.
//! - [`Manifest`] is what is signed. [`BundleFile`] is the file around it.
//!
//! The format is documented in `host/BUNDLES.md`.
//!
//! # Security
//!
//! The file is not trusted before its signature is verified, and then only as far as its signer
//! is: the guard applies to what it says. Everything that is parsed has a maximum size. Opening
//! the secret is left to the caller, which has the identity.

mod answer;
mod built_in;
mod bundle;
mod check;
mod error;
mod file;
mod manifest;
mod resolve;
mod signature;

pub use answer::{MAX_REQUEST_BYTES, answer, answer_bytes};
pub use built_in::{BUILT_IN_POLICY, decide};
pub use bundle::{Bundle, Expected};
pub use check::MAX_LIFETIME_MS;
pub use error::BundleError;
pub use file::{BundleFile, Envelope, MAX_BUNDLE_BYTES, MEDIA_TYPE, digest_of};
pub use manifest::{
    Frame, MAX_INTEGER, Manifest, PolicyVersion, ProviderFacts, SealedSecret, VERSION,
};
pub use resolve::{Request, Resolution, SealedLease};
pub use signature::{PAYLOAD_TYPE, Signature, fingerprint, signed_bytes};
