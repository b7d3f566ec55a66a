//! Suggestions: commands that help, and names that were probably meant.

pub mod command_line;
pub mod complete;
pub mod nearest;
pub mod remedy;
