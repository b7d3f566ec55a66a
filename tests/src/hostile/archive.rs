//! The collection as files, each component with what must come of it beside it.
//!
//! Making the collection takes more memory than a host does, and leaves holes that the
//! host would then grow into. So a process whose memory is measured has another one
//! make it, and reads a component when it needs one.

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
pub fn write(cases: &[Case], folder: &Path) {
    let outlines = serde_json::to_vec(cases).unwrap();
    fs::write(outlines_in(folder), outlines).unwrap();
    for (number, case) in cases.iter().enumerate() {
        fs::write(component_in(folder, number), &case.bytes).unwrap();
    }
}

/// Opens the archive in a directory.
pub fn open(folder: &Path) -> Vec<Archived> {
    let outlines = fs::read(outlines_in(folder)).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&outlines).unwrap();
    cases
        .into_iter()
        .enumerate()
        .map(|(number, case)| Archived {
            case,
            component: component_in(folder, number),
        })
        .collect()
}

fn outlines_in(folder: &Path) -> PathBuf {
    folder.join("cases.json")
}

fn component_in(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{Ask, Cause};

    #[test]
    fn a_case_comes_back_as_it_was() {
        let case = Case::new("odd/one", b"bytes", Cause::Widens("was not offered"))
            .settings(serde_json::json!({"a": 1}))
            .ask(Ask::Named)
            .calls(3)
            .warm();
        let folder = tempfile::tempdir().unwrap();
        write(std::slice::from_ref(&case), folder.path());
        let back = open(folder.path());
        assert_eq!(format!("{:?}", back[0].read()), format!("{case:?}"));
    }
}
