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
//! The head is written without fsync, and so are records that reveal nothing. If the machine
//! crashes, the newest of both can be lost, and the log may end before its head. So a
//! checkpoint names the boot that it was made in. Within one boot, a log that ends before its
//! head was truncated. After another boot, what came after the durable checkpoint may be
//! missing, and is counted as lost; anything else is a breach. A head that is older than the
//! log is harmless: a writer continues from the end of the log.
//!
//! A sync of the log makes everything before it durable, and then stores the durable
//! checkpoint. So what was revealed after a sync is never excused as lost, as far as the head
//! file itself reached the disk. Without syncs ([`LogSync::None`](crate::LogSync::None)), a record
//! counts as durable after a minute.
//!
//! The system may write later parts of the log before earlier ones. So after a reboot a
//! part after the durable checkpoint may read as zeros. The next writer removes the log from
//! there on.
//!
//! When a file is full, each step is on the disk before the next: its records, where it ended
//! (closed), its number (the rename), and that the next file is the current one (head). So a
//! crash never separates a file from its checkpoint.
//!
//! # Security
//!
//! Someone who can write the log and the head, but cannot read the key, can restore both
//! together to an earlier state, and can remove what came after the durable checkpoint
//! (what revealed nothing; without syncs, a minute or two of a busy log, or the last two
//! records of an idle one) if the machine is rebooted before the next verification. Someone who can read the key can do anything.

mod checkpoint;
mod file;
mod key;
mod position;
mod recovery;
mod state;

pub(super) use checkpoint::{Checkpoint, CheckpointKind, MachineTime};
pub(super) use file::HeadFile;
pub(super) use key::LogKey;
pub(super) use position::Position;
pub(super) use recovery::{intact_length, surviving_part};
pub(super) use state::{DurableMark, Heads, max_gap, reinitialize};
