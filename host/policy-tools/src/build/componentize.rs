//! Makes components of core modules.

use std::path::Path;

use entail::policy::{Job, JobLimits, Limits, Sandbox, is_core_module};
use entail::store::InputFile;
use wit_component::ComponentEncoder;

use super::error::BuildError;
use super::wasm_bindgen;
use crate::source::component_limit;

/// Makes a component of a core module, in the limited child process: the module may come
/// from anywhere.
pub const COMPONENTIZE: Job = Job {
    name: "componentize",
    run: |module| {
        if let Some(reason) = wasm_bindgen::reason(module) {
            return Err(reason);
        }
        ComponentEncoder::default()
            .validate(true)
            .module(module)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| format!("{error:#}"))
    },
};

/// Makes a component of a core module that carries its world, as wit-bindgen writes it.
pub(super) fn componentize(module: &Path, sandbox: &Sandbox) -> Result<Vec<u8>, BuildError> {
    let bytes = InputFile::open_given(module)
        .and_then(|opened| opened.read_to_limit(component_limit()))
        .map_err(|error| BuildError::File(module.to_owned(), error.into()))?;
    if !is_core_module(&bytes) {
        return Err(BuildError::NotACoreModule(module.to_owned()));
    }
    let bounds = JobLimits::of(&Limits::default(), Limits::CEILING.component_bytes);
    sandbox
        .run(COMPONENTIZE, &bytes, &bounds)
        .map_err(|error| BuildError::Encode(error.to_string()))
}
