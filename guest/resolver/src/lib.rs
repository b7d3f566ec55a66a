//! The resolver core: a WebAssembly module without imports that resolves requests on bundles.
//!
//! It is a core module, so that every engine runs it, also one without the component model. All
//! that a host needs is in the exports of `abi.rs`; `README.md` beside this crate documents them.

#[cfg(target_family = "wasm")]
mod abi;
