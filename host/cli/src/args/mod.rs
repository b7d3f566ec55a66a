//! Groups of arguments that several commands share.

pub mod attributes;
pub mod credential;
pub mod dry_run;
pub mod filter;
pub mod format;
pub mod path;
pub mod request;
pub mod request_target;
pub mod secret_input;
pub mod time;
