//! Test vectors of policies: facts, and the result that a policy must return for them.
//!
//! A file of vectors is a JSON list. A vector has a `name`, which states what it shows;
//! `settings`, unless there are none; `facts`; and either the `decision` or the `error`
//! (`invalid-facts` or `other`) that must result from them. The message of a refusal is for
//! people, and is not compared.

mod decide_result;
mod error;
mod file;
mod junit;
mod limits;
mod run;

pub use self::decide_result::{DecideErrorCode, DecideResult};
pub use self::error::VectorError;
pub use self::file::{VECTORS_DIRECTORY, VectorFile, find_directory, read_directory};
pub use self::junit::write_junit;
pub use self::run::{CaseResult, DiffLine, DiffLineKind, FileResult, Mismatch, run};
