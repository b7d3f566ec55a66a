//! Who the ids in the decision log are: a file beside it, `principals.jsonl`.
//!
//! A record contains a random id in place of its principal, and a line of this file says who
//! that is. The file is no part of the chains and has no head. So a name can be erased, while
//! the log stays as it was written: what erases it replaces the file by one without the line.
//!
//! The line is written, and synced if the settings say so, before the record that uses the id.
//! A process that is stopped in between leaves a line that no record uses. A principal has one
//! id for all processes of a home; after it was erased, its next record gets another one.
//!
//! A reader never fails because of this file. An id that it does not name is shown as
//! `unknown:` and the id, which is not the text of any principal.
//!
//! # Security
//!
//! The file is not authenticated: someone who can write the files of the home can let an id
//! have another name. A writer refuses a file that others can use, and one that is a link,
//! since erasing a name would leave it in the target.

mod file;
mod ids;
mod names;

use std::collections::BTreeMap;

use entail_store::RandomId;

use super::files::with_path;
use crate::error::Error;
use crate::home::Home;
use crate::principal::Principal;

use file::MappingFile;
pub(super) use ids::PrincipalIds;
pub(crate) use names::PrincipalNames;

/// The principals in the log of a home that were not erased, by their ids.
///
/// # Errors
///
/// [`Error::Home`] if the file exists and cannot be read.
pub(crate) fn logged_principals(home: &Home) -> Result<BTreeMap<RandomId, Principal>, Error> {
    let mapping = MappingFile::of(home);
    mapping
        .principals()
        .map_err(|error| failed(&mapping, error))
}

/// Erases who a principal is, and returns its ids. After that, the file is on the disk without
/// its lines.
///
/// # Errors
///
/// [`Error::Home`] if the file exists and cannot be replaced.
pub(crate) fn erase_logged_principal(
    home: &Home,
    erased: &Principal,
) -> Result<Vec<RandomId>, Error> {
    let mapping = MappingFile::of(home);
    mapping
        .erase(erased)
        .map_err(|error| failed(&mapping, error))
}

fn failed(mapping: &MappingFile, error: std::io::Error) -> Error {
    Error::Home(with_path(mapping.path(), error).to_string())
}
