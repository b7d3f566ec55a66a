//! The built-in policy: the nearest scope that opted in wins, mandatory credentials
//! override it, and another scope never pays silently.
//!
//! The rules are in [`rules`], in the order of `guest/default/README.md`, as plain
//! functions over the types of the contract. The same code runs as a component in a
//! host and natively in tests.

// The bindings are generated; they pass memory across the component's boundary.
#[allow(
    unsafe_code,
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::nursery,
    clippy::pedantic,
    clippy::restriction
)]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "policy",
        path: "../../wit/policy.wit",
        // Other policies that use these rules export the same types.
        pub_export_macro: true,
        default_bindings_module: "entail_default_policy::bindings",
    });
}

#[cfg(all(target_family = "wasm", feature = "arena"))]
mod allocator;
pub mod facts;
pub mod pattern;
pub mod rules;

pub use bindings::exports::entail::policy::{about, resolver, settings};

/// The component's exports.
#[derive(Debug)]
pub struct Policy;

impl resolver::Guest for Policy {
    fn decide(
        request: resolver::Request,
        chain: Vec<resolver::Scope>,
    ) -> Result<resolver::Decision, resolver::Error> {
        rules::decide(&request, &chain)
    }
}

/// Nothing can be set.
impl settings::Guest for Policy {
    fn schema() -> String {
        r#"{"type": "object", "additionalProperties": false}"#.to_owned()
    }

    /// The schema rejects all settings.
    fn validate(_settings: String) -> Result<(), Vec<settings::Problem>> {
        Ok(())
    }
}

impl about::Guest for Policy {
    fn describe() -> about::Description {
        about::Description {
            name: "default".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

#[cfg(all(target_family = "wasm", feature = "component"))]
#[allow(unsafe_code)] // generated: the symbols that the component exports
mod exported {
    use crate::{Policy, bindings};

    bindings::export!(Policy with_types_in bindings);
}
