//! A layer: calls the policy below, and replaces a grant of certain models by a refusal
//! outside working hours.
//!
//! It only restricts: what the policy below refuses stays refused, and whether a grant
//! passes depends on its model and the time of the request (`hours`). The settings
//! of the policy below are passed to it unchanged
//! (`settings`).

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
mod bindings {
    wit_bindgen::generate!({
        world: "layer",
        path: "../../wit/policy.wit",
        // The imported and the exported interface use the same types.
        merge_structurally_equal_types: true,
    });
}

mod decision;
mod hours;
mod settings;

use bindings::entail::policy::{resolver as below, settings as settings_below};
use bindings::exports::entail::policy::{about, resolver};

/// The component's exports.
#[derive(Debug)]
pub struct Layer;

impl resolver::Guest for Layer {
    fn decide(
        request: resolver::Request,
        chain: Vec<resolver::Scope>,
    ) -> Result<resolver::Decision, resolver::Error> {
        let own = request.settings;
        let settings = settings::read(&own).map_err(|error| {
            resolver::Error::Other(format!("the settings do not fit their schema: {error}"))
        })?;
        let request = resolver::Request {
            settings: settings.below().to_owned(),
            ..request
        };
        let decision = below::decide(&request, &chain)?;
        Ok(decision::narrow(decision, &settings, request.now_ms))
    }
}

impl bindings::exports::entail::policy::settings::Guest for Layer {
    fn schema() -> String {
        settings::schema(&settings_below::schema())
    }

    fn validate(settings: String) -> Result<(), Vec<settings_below::Problem>> {
        settings::validate(&settings, settings_below::validate)
    }
}

impl about::Guest for Layer {
    fn describe() -> about::Description {
        about::Description {
            name: "working-hours".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)] // generated: the symbols that the component exports
mod exported {
    use crate::{Layer, bindings};

    bindings::export!(Layer with_types_in bindings);
}
