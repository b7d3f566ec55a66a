//! Putting a layer on a policy.
//!
//! A layer imports what a policy exports, and exports it too. Joined with the policy
//! below it is one component that imports nothing, admitted like any other.
//!
//! # Security
//!
//! Composing parses both components without limits of time and memory. An engine with a
//! sandbox therefore does it in a child process.

use entail_text::sanitized;
use serde::{Deserialize, Serialize};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, PlugError, plug};

use crate::error::{CallError, CompilerDisabled, sanitize};
use crate::limits::Limits;
use crate::sandbox::{Job, JobError, JobLimits, Sandbox};

/// The most bytes that composing adds to two components.
const AROUND_BYTES: usize = 1 << 20;

/// Composes two components in a child process.
pub(crate) const COMPOSE: Job = Job {
    name: "compose",
    run: |input| {
        let (layer, below) = unpack(input).ok_or("two components are expected")?;
        compose(layer, below).map_err(|error| json(&error))
    },
};

/// Why a layer cannot be put on a policy.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// One of the two is no component.
    #[error("the {part} is no valid component: {}", sanitized(.reason))]
    Invalid {
        /// Which one: `layer` or `policy below`.
        part: String,
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
    /// The child process failed.
    #[error("the layer and the policy below cannot be composed: {0}")]
    #[serde(skip)]
    NotDone(JobError),
    /// Nobody said where it may be done.
    #[error(transparent)]
    #[serde(skip)]
    CompilerDisabled(#[from] CompilerDisabled),
    /// It was not tried.
    #[error("the layer and the policy below were not composed: {0}")]
    #[serde(skip)]
    Unfinished(#[from] CallError),
}

/// Composes a layer with the policy below it, in this process and without limits.
pub(crate) fn compose(layer: &[u8], below: &[u8]) -> Result<Vec<u8>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let layer = register(&mut graph, "layer", layer)?;
    let below = register(&mut graph, "policy below", below)?;
    plug(&mut graph, vec![below], layer).map_err(|error| match error {
        PlugError::NoPlugHappened => ComposeError::NoFit,
        error @ PlugError::GraphError { .. } => {
            ComposeError::Graph(sanitize(&format!("{error:#}")))
        }
    })?;
    graph
        .encode(EncodeOptions::default())
        .map_err(|error| ComposeError::Graph(sanitize(&format!("{error:#}"))))
}

fn register(
    graph: &mut CompositionGraph,
    part: &'static str,
    bytes: &[u8],
) -> Result<PackageId, ComposeError> {
    let invalid = |error: &dyn std::fmt::Display| ComposeError::Invalid {
        part: part.to_owned(),
        reason: sanitize(&error.to_string()),
    };
    let name = format!("entail:{}", part.replace(' ', "-"));
    let package = Package::from_bytes(&name, None, bytes, graph.types_mut())
        .map_err(|error| invalid(&format_args!("{error:#}")))?;
    graph
        .register_package(package)
        .map_err(|error| invalid(&error))
}

/// The same in a child process.
pub(crate) fn compose_in(
    sandbox: &Sandbox,
    layer: &[u8],
    below: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, ComposeError> {
    let most = (layer.len() + below.len()).saturating_mul(2) + AROUND_BYTES;
    let bounds = JobLimits::of(limits, most);
    let done = sandbox.run(COMPOSE, &pack(layer, below), &bounds);
    done.map_err(|error| match error {
        JobError::Refused(reason) => {
            serde_json::from_str(&reason).unwrap_or_else(|_| ComposeError::Graph(sanitize(&reason)))
        }
        other => ComposeError::NotDone(other),
    })
}

/// The length of the first, then both.
fn pack(layer: &[u8], below: &[u8]) -> Vec<u8> {
    // No length is greater.
    let length = u64::try_from(layer.len()).unwrap_or(u64::MAX);
    [length.to_le_bytes().as_slice(), layer, below].concat()
}

fn unpack(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, both) = input.split_first_chunk()?;
    both.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn json(error: &ComposeError) -> String {
    // Serializing texts does not fail.
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}
