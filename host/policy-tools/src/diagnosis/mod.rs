//! What is wrong with a component that is not admitted, in words for its author, and what
//! to do about it.

mod defect;
mod limits;
mod rejection;
mod toolchain;

pub use self::defect::{Defect, DefectCode, Remedy, SystemRemedy};
pub use self::limits::find_limits;
pub use self::rejection::{diagnose, diagnose_call, diagnose_settings};
