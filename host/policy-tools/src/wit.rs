//! The WIT of components.

use entail::policy::{Job, JobError, JobLimits, Limits, Sandbox, is_core_module};
use serde::{Deserialize, Serialize};
use wit_component::{DecodedWasm, WitPrinter};

/// The most bytes of the WIT of a component: a policy's has some twenty thousand.
const MAX_WIT_BYTES: usize = 1 << 20;

/// The interface of a component.
#[derive(Debug, Serialize, Deserialize)]
pub struct ComponentWit {
    /// What it imports and exports, as WIT.
    pub text: String,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports: `entail:policy/resolver@0.2.0`.
    pub exports: Vec<String>,
}

/// The WIT of a component cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the WIT of the component cannot be read: {0}")]
pub struct WitError(String);

/// Reads the WIT of a component in the limited child process.
pub const READ_WIT: Job = Job {
    name: "read-wit",
    run: |component| {
        let wit = decode(component)?;
        serde_json::to_vec(&wit).map_err(|error| error.to_string())
    },
};

/// Returns the WIT of a component.
///
/// # Errors
///
/// Fails if it is not a component, or needs more than `limits` allow for compiling.
pub fn read_wit(
    component: &[u8],
    limits: &Limits,
    sandbox: &Sandbox,
) -> Result<ComponentWit, WitError> {
    let bounds = JobLimits::of(limits, MAX_WIT_BYTES);
    let wit = sandbox
        .run(READ_WIT, component, &bounds)
        .map_err(|error: JobError| WitError(error.to_string()))?;
    serde_json::from_slice(&wit).map_err(|error| WitError(error.to_string()))
}

fn decode(component: &[u8]) -> Result<ComponentWit, String> {
    // The decoder would take a core module for a component without imports and exports.
    if is_core_module(component) {
        return Err("this is a core WebAssembly module, not a component".to_owned());
    }
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world_id) = &decoded else {
        return Err("this is a WIT package, not a component".to_owned());
    };
    let world = resolve.worlds.get(*world_id).ok_or("it has no world")?;
    let package = decoded.package();
    let others: Vec<_> = resolve
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != package)
        .collect();
    let mut printer = WitPrinter::default();
    printer
        .print(resolve, package, &others)
        .map_err(|error| format!("{error:#}"))?;
    Ok(ComponentWit {
        text: printer.output.to_string(),
        imports: world
            .imports
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect(),
        exports: world
            .exports
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_exports_the_contract() {
        let wit = decode(entail::DEFAULT_POLICY).unwrap();
        assert!(wit.imports.is_empty());
        assert!(
            wit.exports
                .contains(&"entail:policy/resolver@0.2.0".to_owned())
        );
        for part in [
            "export entail:policy/resolver@0.2.0;",
            "expires-at-ms: option<u64>",
            "decide: func(request: request, chain: list<scope>) -> result<decision, error>;",
        ] {
            assert!(wit.text.contains(part), "{part}: {}", wit.text);
        }
    }

    #[test]
    fn other_bytes_have_no_wit() {
        assert!(decode(b"").is_err());
        assert!(decode(b"\0asm\x01\0\0\0").is_err());
    }
}
