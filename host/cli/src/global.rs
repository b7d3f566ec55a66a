//! The options that every command has.

use std::path::PathBuf;

use clap::Args;

use crate::args::path;

/// The heading of these options in help.
const HEADING: &str = "Global options";

/// The options that every command has.
#[derive(Args, Clone)]
pub struct GlobalArgs {
    /// The directory that holds everything [env: ENTAIL_HOME] [default: entail in the
    /// user's data directory]
    #[arg(long, global = true, help_heading = HEADING, value_name = "DIR", value_parser = path::parser())]
    pub home: Option<PathBuf>,
    /// Print JSON, also for errors
    #[arg(long, global = true, help_heading = HEADING)]
    pub json: bool,
    /// Continue without asking for confirmation
    #[arg(short, long, global = true, help_heading = HEADING)]
    pub yes: bool,
    /// Read the identity's passphrase from a file instead of the terminal
    /// [env: ENTAIL_PASSPHRASE_FILE]
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", value_parser = path::parser())]
    pub passphrase_file: Option<PathBuf>,
    /// Read the identity from this open file descriptor instead of the home
    /// [env: ENTAIL_IDENTITY_FD]
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(i32).range(3..)
    )]
    pub identity_fd: Option<i32>,
    /// Read the signer from this open file descriptor instead of the home
    /// [env: ENTAIL_SIGNER_FD]
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(i32).range(3..)
    )]
    pub signer_fd: Option<i32>,
}
