//! Putting a layer on a policy.
//!
//! A layer imports what a policy exports, and exports it too. Joined with the policy
//! below it is one component that imports nothing, admitted like any other.

use entail_text::sanitized;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, PlugError, plug};

use crate::failure::plain;

/// Why a layer cannot be put on a policy.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// One of the two is no component.
    #[error("the {part} is no valid component: {}", sanitized(.reason))]
    Invalid {
        /// Which one: `layer` or `policy below`.
        part: &'static str,
        /// Why.
        reason: String,
    },
    /// The layer does not ask what the policy answers.
    #[error(
        "the layer imports nothing that the policy below exports with the same types; a layer imports entail:policy/resolver of the version that the policy below was built against"
    )]
    NoFit,
    /// They do not go together.
    #[error("the layer and the policy below do not go together: {}", sanitized(.0))]
    Graph(String),
}

/// Joins a layer and the policy below it to one component. The same two give the same
/// bytes.
///
/// # Errors
///
/// [`ComposeError`]. What comes out may still have imports of the layer's own, which
/// its admission will find.
pub fn compose(layer: &[u8], below: &[u8]) -> Result<Vec<u8>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let layer = register(&mut graph, "layer", layer)?;
    let below = register(&mut graph, "policy below", below)?;
    plug(&mut graph, vec![below], layer).map_err(|error| match error {
        PlugError::NoPlugHappened => ComposeError::NoFit,
        error @ PlugError::GraphError { .. } => ComposeError::Graph(plain(&format!("{error:#}"))),
    })?;
    graph
        .encode(EncodeOptions::default())
        .map_err(|error| ComposeError::Graph(plain(&format!("{error:#}"))))
}

fn register(
    graph: &mut CompositionGraph,
    part: &'static str,
    bytes: &[u8],
) -> Result<PackageId, ComposeError> {
    let invalid = |error: &dyn std::fmt::Display| ComposeError::Invalid {
        part,
        reason: plain(&error.to_string()),
    };
    let name = format!("entail:{}", part.replace(' ', "-"));
    let package = Package::from_bytes(&name, None, bytes, graph.types_mut())
        .map_err(|error| invalid(&format_args!("{error:#}")))?;
    graph
        .register_package(package)
        .map_err(|error| invalid(&error))
}
