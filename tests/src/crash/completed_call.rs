//! Calls that succeeded, and access to their arguments.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::trace::{Argument, Call};

/// A call that succeeded.
#[derive(Debug)]
pub(super) struct CompletedCall<'a> {
    pub(super) call: &'a Call,
    pub(super) process: usize,
    pub(super) paths: Vec<Option<PathBuf>>,
    pub(super) returned: &'a Argument,
    /// The number of effects recorded when the call began.
    pub(super) before: usize,
}

impl CompletedCall<'_> {
    pub(super) fn path(&self, index: usize) -> Option<&PathBuf> {
        self.paths.get(index)?.as_ref()
    }
}

/// Removes `.` and `..` without resolving symbolic links.
pub(super) fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            _ => normal.push(component),
        }
    }
    normal
}

pub(super) fn argument(call: &Call, index: usize) -> io::Result<&Argument> {
    call.arguments
        .get(index)
        .ok_or_else(|| unknown(call, "its arguments"))
}

pub(super) fn number(call: &Call, argument: &Argument) -> io::Result<i64> {
    argument
        .number()
        .ok_or_else(|| unknown(call, "its numbers"))
}

pub(super) fn size(call: &Call, argument: &Argument) -> io::Result<usize> {
    usize::try_from(number(call, argument)?).map_err(|_| unknown(call, "its numbers"))
}

pub(super) fn unknown(call: &Call, what: &str) -> io::Error {
    let arguments: Vec<String> = call.arguments.iter().map(shown).collect();
    io::Error::other(format!(
        "cannot determine {what} for a call: {}({})",
        call.name,
        arguments.join(", ")
    ))
}

fn shown(argument: &Argument) -> String {
    let readable = match (argument.descriptor_path(), argument.path()) {
        (Some(path), _) => path.display().to_string(),
        (None, Ok(path)) if argument.is_string() => path.display().to_string(),
        _ => argument.0.clone(),
    };
    readable.chars().take(100).collect()
}
