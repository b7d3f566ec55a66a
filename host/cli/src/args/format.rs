//! Output formats.

use clap::ValueEnum;

/// The format in which a lease is printed.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    /// Text for a person
    Text,
    /// One JSON object
    Json,
    /// NAME=value, as env(1) prints it
    Env,
    /// NAME="value", for a .env file
    Dotenv,
    /// export NAME='value', for a shell to evaluate
    Shell,
}
