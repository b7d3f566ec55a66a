//! A home: the directory that holds everything of one installation.
//!
//! | entry | contents |
//! |---|---|
//! | `entail.db` | the database, which is not trusted |
//! | `anchor.json` | the newest change that was seen, so that the database cannot be rolled back |
//! | `keys/` | the keys ([`entail_store::Keys`]) |
//! | `decisions.jsonl` | the decision log; full files have a number: `decisions.000001.jsonl` |
//! | `decisions.ledger` | archived files and accepted losses of the log |
//! | `decisions.head` | the length and digest of the log, authenticated by `keys/log.key` |
//! | `principals.jsonl` | who the ids in the log are, so that a name can be erased |
//! | `settings.toml` | settings, if any ([`HomeSettings`](settings::HomeSettings)) |
//! | `providers.toml` | additional providers, if any |
//! | `cache/`, `cache.key` | compiled policies and the key that authenticates them; may be deleted at any time |
//!
//! # Security
//!
//! Directories are created with mode 0700 and files with mode 0600. Opening a home fails if
//! others can use one of its files, or could replace the home through a directory above it.
//! The path is checked as it was given, links included ([`entail_store::check_ancestors`]).
//!
//! A file of the home may be a link, for example to a mounted secret, if only the owner and
//! the system can change where it leads or write the target; the target of a private file
//! must be private. A dangling link is an error, not a missing file. All files but the
//! decision log must be regular files, and are read up to a limit: a pipe or a device cannot
//! block the program.

mod create;
mod key_programs;
mod layout;
mod open;
pub(crate) mod settings;

pub(crate) use create::FIRST_LABEL;
pub use layout::Home;
