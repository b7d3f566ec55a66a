//! Metadata of components: name, version, description and licence, in the custom sections
//! that `wasm-tools metadata show` and registries read.

use std::borrow::Cow;

use entail::policy::{Job, JobLimits, Limits, Sandbox};
use serde::{Deserialize, Serialize};
use wasm_encoder::{ComponentSection as _, CustomSection};
use wasm_metadata::{AddMetadata, AddMetadataField};

use super::error::BuildError;

/// The metadata of a project, from its manifest.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ComponentMetadata {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    /// An SPDX expression.
    pub(super) licenses: Option<String>,
}

/// The input of [`ADD_METADATA`]: the length of the metadata as JSON in four bytes, the
/// metadata, the component.
const LENGTH_BYTES: usize = 4;

/// Adds metadata to a component, in the limited child process: the component may come from
/// anywhere.
pub const ADD_METADATA: Job = Job {
    name: "add-metadata",
    run: |input| {
        let (length, rest) = input
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or("the input has no length")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|e| e.to_string())?;
        let (metadata, component) = rest
            .split_at_checked(length)
            .ok_or("the input is too short")?;
        let metadata = serde_json::from_slice(metadata).map_err(|error| error.to_string())?;
        add(component, metadata)
    },
};

/// Returns the component with its metadata.
pub(super) fn add_metadata(
    component: Vec<u8>,
    metadata: &ComponentMetadata,
    sandbox: &Sandbox,
) -> Result<Vec<u8>, BuildError> {
    if *metadata == ComponentMetadata::default() {
        return Ok(component);
    }
    let failed = |error: String| BuildError::Encode(format!("its metadata: {error}"));
    let metadata = serde_json::to_vec(metadata).map_err(|error| failed(error.to_string()))?;
    let length = u32::try_from(metadata.len()).map_err(|error| failed(error.to_string()))?;
    let input = [&length.to_le_bytes()[..], &metadata, &component].concat();
    let bounds = JobLimits::of(&Limits::default(), Limits::CEILING.component_bytes);
    sandbox
        .run(ADD_METADATA, &input, &bounds)
        .map_err(|error| failed(error.to_string()))
}

fn add(component: &[u8], metadata: ComponentMetadata) -> Result<Vec<u8>, String> {
    let mut name = AddMetadata::default();
    if let Some(text) = metadata.name {
        name.name = AddMetadataField::Set(text);
    }
    let mut component = name
        .to_wasm(component)
        .map_err(|error| format!("{error:#}"))?;
    for (section, text) in [
        ("version", metadata.version),
        ("description", metadata.description),
        ("licenses", metadata.licenses),
    ] {
        if let Some(text) = text {
            let section = CustomSection {
                name: Cow::Borrowed(section),
                data: Cow::Borrowed(text.as_bytes()),
            };
            section.append_to_component(&mut component);
        }
    }
    Ok(component)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use wasmparser::{KnownCustom, Parser, Payload};

    use super::*;

    #[test]
    fn a_component_carries_its_metadata() {
        let component = wat::parse_str("(component)").unwrap();
        let metadata = ComponentMetadata {
            name: Some("mine".to_owned()),
            version: Some("1.2.0".to_owned()),
            description: None,
            licenses: Some("MIT OR Apache-2.0".to_owned()),
        };
        let made = add(&component, metadata).unwrap();
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&made) {
            if let Payload::CustomSection(section) = payload.unwrap() {
                let text = match section.as_known() {
                    KnownCustom::ComponentName(names) => {
                        let mut names = names.into_iter();
                        match names.next().unwrap().unwrap() {
                            wasmparser::ComponentName::Component { name, .. } => name.to_owned(),
                            _ => String::new(),
                        }
                    }
                    _ => String::from_utf8_lossy(section.data()).into_owned(),
                };
                found.push((section.name().to_owned(), text));
            }
        }
        for (section, text) in [
            ("component-name", "mine"),
            ("version", "1.2.0"),
            ("licenses", "MIT OR Apache-2.0"),
        ] {
            let expected = (section.to_owned(), text.to_owned());
            assert!(found.contains(&expected), "{section}: {found:?}");
        }
    }
}
