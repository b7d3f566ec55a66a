//! The commands, one file each: its arguments, its code and what it prints.

pub mod dry_run;
pub mod policy;
