//! The collection as files: each component, with its expected result.
//!
//! Generating the collection takes more memory than a host does, and leaves free memory that
//! the host would then reuse. So a process whose memory is measured has another process
//! generate it, and reads each component when it needs it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Case;

/// A case in an archive.
#[derive(Clone, Debug)]
pub struct Archived {
    case: Case,
    component: PathBuf,
}

impl Archived {
    /// The case without its bytes.
    pub fn outline(&self) -> &Case {
        &self.case
    }

    /// The whole case.
    pub fn read(&self) -> Case {
        Case {
            bytes: fs::read(&self.component).unwrap(),
            ..self.case.clone()
        }
    }
}

/// Writes cases to an empty directory.
pub fn write(cases: &[Case], directory: &Path) {
    let outlines = serde_json::to_vec(cases).unwrap();
    fs::write(outlines_in(directory), outlines).unwrap();
    for (number, case) in cases.iter().enumerate() {
        fs::write(component_in(directory, number), &case.bytes).unwrap();
    }
}

/// Opens the archive in a directory.
pub fn open(directory: &Path) -> Vec<Archived> {
    let outlines = fs::read(outlines_in(directory)).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&outlines).unwrap();
    cases
        .into_iter()
        .enumerate()
        .map(|(number, case)| Archived {
            case,
            component: component_in(directory, number),
        })
        .collect()
}

fn outlines_in(directory: &Path) -> PathBuf {
    directory.join("cases.json")
}

fn component_in(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number}.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{Cause, Query};

    #[test]
    fn a_case_is_read_as_it_was_written() {
        let case = Case::new("odd/one", b"bytes", Cause::Widens("was not offered"))
            .settings(serde_json::json!({"a": 1}))
            .query(Query::Named)
            .calls(3)
            .warm();
        let directory = tempfile::tempdir().unwrap();
        write(std::slice::from_ref(&case), directory.path());
        let cases = open(directory.path());
        assert_eq!(format!("{:?}", cases[0].read()), format!("{case:?}"));
    }
}
