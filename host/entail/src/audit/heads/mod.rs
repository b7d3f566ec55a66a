//! The head of the decision log: a small file beside the log, `decisions.head`, that
//! stores the length of the log and a digest over all of it.
//!
//! The hash chains within the log use no key, so anyone who can write the log can rewrite
//! all of it. The head is updated with each record, under a lock that all writers of a
//! home share, and is authenticated by a key of the home, `keys/log.key`. It holds the
//! number of lines so far and a digest over them, so one head covers the records of every
//! process. Each full file has one more checkpoint, which stores where it ended.
//!
//! | checkpoint | contents |
//! |---|---|
//! | begin | where the heads begin, and whether earlier heads were lost |
//! | head | the newest record |
//! | durable | a record that is certainly on the disk |
//! | next durable | the record that becomes durable next |
//! | lost | how many records were lost in crashes of the machine |
//! | closed | the end of a full file; one per file |
//!
//! A writer continues from the head, not from what it finds in the log. So a log that was
//! truncated or changed is detected even after later records.
//!
//! # Crashes of the machine
//!
//! Records and heads are written without fsync. If the machine crashes, the newest of both
//! can be lost, and the log may end before its head. So a checkpoint names the boot that it
//! was made in. Within one boot, a log that ends before its head was truncated. After
//! another boot, what came after the durable checkpoint may be missing, and is counted as
//! lost; anything else is a breach. A full file is fsynced as soon as it has its number; a
//! crash between the two can look like a breach.
//!
//! # Security
//!
//! Someone who can write the log and the head, but cannot read the key, can restore both
//! together to an earlier state, and can remove what came after the durable checkpoint (a
//! minute or two of a busy log, the last two records of an idle one) if the machine is
//! rebooted before the next verification. Someone who can read the key can do anything.

mod checkpoint;
mod file;
mod key;
mod position;
mod recovery;
mod state;

pub(super) use checkpoint::{Checkpoint, CheckpointKind, MachineTime};
pub(super) use file::{HeadFile, LogLock};
pub(super) use key::LogKey;
pub(super) use position::Position;
pub(super) use recovery::surviving_part;
pub(super) use state::{Heads, max_gap, reinitialize};
