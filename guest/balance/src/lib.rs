//! A policy that spreads requests over credentials of one scope.
//!
//! The rules of the default policy decide. If they grant, the granted credential
//! and its alternates in the same scope are ordered for the request (`spread`), by
//! their weights (`settings`). Credentials of other scopes are not included, so
//! another scope never pays.

mod settings;
mod spread;

use entail_default_policy::settings::Problem;
use entail_default_policy::{about, resolver, rules};

/// The component's exports.
#[derive(Debug)]
pub struct Policy;

impl resolver::Guest for Policy {
    fn decide(
        request: resolver::Request,
        chain: Vec<resolver::Scope>,
    ) -> Result<resolver::Decision, resolver::Error> {
        let settings = settings::read(&request.settings).map_err(|error| {
            resolver::Error::Other(format!("the settings do not fit their schema: {error}"))
        })?;
        let mut decision = rules::decide(&request, &chain)?;
        spread::spread(&mut decision, &request, &chain, &settings);
        Ok(decision)
    }
}

impl entail_default_policy::settings::Guest for Policy {
    fn schema() -> String {
        settings::SCHEMA.to_owned()
    }

    fn validate(settings: String) -> Result<(), Vec<Problem>> {
        settings::validate(&settings)
    }
}

impl about::Guest for Policy {
    fn describe() -> about::Description {
        about::Description {
            name: "balance".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)] // generated: the symbols that the component exports
mod exported {
    use crate::Policy;
    use entail_default_policy::bindings;

    bindings::export!(Policy with_types_in bindings);
}
