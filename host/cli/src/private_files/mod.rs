//! Private files, for a command that reads a secret only from a file, as Google's clients read
//! a service account.
//!
//! # Why they have a name
//!
//! A file without a name (a memfd, an unlinked file, both as `/proc/PID/fd/N`) would
//! disappear with its last user. But Google's client for Node resolves the path before it
//! opens the file (`realpath`, then `lstat`; google-auth-library 10.9), which fails for a
//! file without a name; sudo and daemons close inherited descriptors; and Docker cannot mount
//! such a file. So the file has a name, in a new directory.
//!
//! # Security
//!
//! - The directory has mode 0700 and is created where no other user can replace it: in
//!   `XDG_RUNTIME_DIR` if only this user can use that, else in `/dev/shm`, which is in memory
//!   too, else in the directory for temporary files. An unsafe place is skipped.
//! - The directory and every file stay open. The path of a file is used once, to create it:
//!   with `O_EXCL`, mode 0600, relative to the directory.
//! - At the end each file is overwritten through the descriptor that created it, with as many
//!   bytes as were written, even if its name or length has changed. Names are only removed,
//!   relative to the open directory.
//! - Files that the command put into the directory stay, and so does the directory; a note
//!   says so.
//!
//! If this process is killed by a signal that cannot be caught, a [`keeper`] removes the
//! files after the command has ended. If the keeper is killed too, the files stay, readable
//! by their owner only, until the next run that needs a file ([`directory::remove_leftovers`])
//! or until `entail doctor` reports them. A directory is in use as long as this process or its
//! keeper locks it, or the command runs that is noted in it.

pub mod directory;
mod files;
pub mod keeper;
mod process;

pub use self::files::PrivateFiles;
