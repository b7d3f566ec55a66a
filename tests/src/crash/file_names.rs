//! The names of the files that a program uses.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The names below a directory that existed or were looked up while a program ran.
/// [`run_with_fault`](super::run_with_fault) needs them.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    /// The process id of the program. In the next run, a name that contains it contains
    /// another id.
    pub(super) process: u32,
    /// Relative to the directory. The empty path is the directory itself.
    pub(super) relative: BTreeSet<PathBuf>,
}
