//! Simulates a power loss, and failing system calls, for a program that writes files.
//!
//! The program runs unchanged under strace. [`record`] records, in order, what it does to
//! the files below a directory, and the lines that it writes to standard output. A line is
//! an acknowledgement: it promises that everything before it is durable.
//! [`Recording::crash`] then creates the directory that could be found after a power loss at
//! any point. [`run_with_fault`] runs the program while one of its calls on those files
//! fails.
//!
//! A recording is complete: a call that could change the directory and is not understood
//! is an error, and the replayed recording is compared with the directory that the program
//! left.
//!
//! What survives a power loss:
//!
//! - The contents of a file as of its last sync. Each later write survives, is lost, is
//!   lost but has extended the file, or is torn at a multiple of 512 bytes. Each later
//!   change of length survives or is lost. Surviving changes keep their order.
//! - A name change (create, rename, link, remove), after its directory was synced. Of the
//!   later name changes a prefix survives, as in a file system's journal. POSIX promises no
//!   more; ext4 also keeps the name of a new file, and all earlier name changes, when the
//!   file itself is synced. Each image follows one of the two.
//!
//! Limitations:
//!
//! - A sector is written completely or not at all, and a write never damages adjacent
//!   bytes. Synced data is never lost: disks that ignore a sync are not modelled.
//! - Ownership and times are not recorded. Modes are, and survive immediately. Hard links
//!   become copies. Symbolic links, `O_SYNC`, `copy_file_range`, io_uring and writable
//!   shared mappings are errors.
//! - A rename between directories survives once either directory was synced.
//! - strace sees when a call begins and ends, not when it takes effect. Concurrent changes of
//!   the same bytes or names can therefore be recorded in the wrong order; the comparison at
//!   the end detects that.
//! - A fault fails a whole call; short writes are not simulated.

mod call_effects;
mod chance;
mod completed_call;
mod disk;
mod effect;
mod effect_recorder;
mod fault;
mod file_names;
mod image;
mod names;
mod processes;
mod recording;
mod strace;
#[cfg(test)]
mod tests;
mod trace;

pub use chance::Fate;
pub use fault::{CALLS, Fault, Faulted, run_with_fault};
pub use file_names::FileNames;
pub use recording::{Recording, record};
