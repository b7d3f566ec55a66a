//! The frame of a secret: the plaintext inside the age file.

use serde::{Deserialize, Serialize};

use super::context::{Fields, MAX_FRAME_BYTES, SealContext, SealError};
use crate::secret::Secret;

/// The first line of a frame.
pub(crate) const FORMAT: &[u8] = b"entail-secret/1\n";

/// What the first line of a frame of any version begins with.
const ANY_FORMAT: &[u8] = b"entail-secret/";

/// Frames are padded to a multiple of this, so that nearly every secret has the same
/// size: the largest kind, a service account's JSON, has about 2,400 bytes.
pub(super) const PADDED_TO: usize = 4096;

/// The second line of a frame.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    #[serde(flatten)]
    pub(crate) context: SealContext,
    /// The name and length of each field.
    fields: Vec<(String, usize)>,
}

impl Header {
    /// The context that it names, with its fields.
    #[cfg(fuzzing)]
    pub(crate) fn to_context(&self) -> SealContext {
        let mut fields: Vec<String> = self.fields.iter().map(|(name, _)| name.clone()).collect();
        fields.sort();
        SealContext {
            fields,
            ..self.context.clone()
        }
    }
}

/// Builds the frame of `fields`.
pub(super) fn encode(context: &SealContext, fields: &Fields) -> Result<Secret, SealError> {
    let header = Header {
        context: context.clone(),
        fields: fields
            .iter()
            .map(|(name, value)| (name.clone(), value.len()))
            .collect(),
    };
    // Strings, numbers and lists always serialize.
    let header = serde_json::to_vec(&header).map_err(|_| SealError::Damaged)?;
    let secret: usize = fields.iter().map(|(_, value)| value.len()).sum();
    let length = (FORMAT.len() + header.len() + 1 + secret).next_multiple_of(PADDED_TO);
    if length > MAX_FRAME_BYTES {
        return Err(SealError::TooLarge(secret));
    }
    let parts = [FORMAT, &header, b"\n"]
        .into_iter()
        .chain(fields.iter().map(|(_, value)| value.expose()));
    Secret::filled(length, |memory| {
        let mut rest = memory;
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        Ok(length)
    })
    .map_err(|_| SealError::TooLarge(secret))
}

/// Parses a frame, if it was sealed for the context `expected`.
pub(crate) fn decode(frame: &Secret, expected: &SealContext) -> Result<Fields, SealError> {
    let bytes = frame.expose();
    let rest = bytes.strip_prefix(FORMAT).ok_or_else(|| {
        if bytes.starts_with(ANY_FORMAT) {
            SealError::Newer
        } else {
            SealError::Damaged
        }
    })?;
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(SealError::Damaged)?;
    let header = rest.get(..end).ok_or(SealError::Damaged)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| SealError::Damaged)?;
    check_context(&header, expected)?;
    let mut start = FORMAT.len() + end + 1;
    let mut fields = Fields::with_capacity(header.fields.len());
    for (name, length) in header.fields {
        let end = start.checked_add(length).ok_or(SealError::Damaged)?;
        // The fields share the memory of the frame.
        let value = frame.part(start..end).ok_or(SealError::Damaged)?;
        fields.push((name, value));
        start = end;
    }
    let padding = bytes.get(start..).ok_or(SealError::Damaged)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(SealError::Damaged);
    }
    Ok(fields)
}

fn check_context(header: &Header, expected: &SealContext) -> Result<(), SealError> {
    let found = &header.context;
    let mut fields: Vec<&String> = header.fields.iter().map(|(name, _)| name).collect();
    fields.sort();
    let differs = [
        ("store", found.store != expected.store),
        ("scope", found.scope != expected.scope),
        ("credential", found.credential != expected.credential),
        ("version", found.version != expected.version),
        ("provider", found.provider != expected.provider),
        ("mode", found.mode != expected.mode),
        ("list of hosts", found.hosts != expected.hosts),
        ("destination", found.destination != expected.destination),
        ("key epoch", found.epoch != expected.epoch),
        ("list of fields", !fields.into_iter().eq(&expected.fields)),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(SealError::Misplaced(what)),
        None => Ok(()),
    }
}
