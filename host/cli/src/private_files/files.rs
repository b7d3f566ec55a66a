//! Files for a command, removed when the command has ended.

use std::path::PathBuf;
use std::process::Child;

use entail::Secret;

use super::directory::{PrivateDirectory, remove_leftovers};
use super::keeper::Keeper;
use super::process::Process;
use crate::error::CliError;
use crate::output::{Style, err};

/// Files that contain secrets. They are overwritten and removed when this is dropped.
#[derive(Default)]
pub struct PrivateFiles {
    directory: Option<PrivateDirectory>,
    /// Dropped last, when everything is removed.
    keeper: Option<Keeper>,
}

impl PrivateFiles {
    /// Writes a new file and returns its path.
    ///
    /// # Errors
    ///
    /// Fails if there is no safe place for it, or it cannot be written.
    pub fn add(&mut self, secret: &Secret) -> Result<PathBuf, CliError> {
        let directory = match &mut self.directory {
            Some(directory) => directory,
            none => {
                remove_leftovers();
                let made = none.insert(PrivateDirectory::new()?);
                match Keeper::start(made.path()) {
                    Ok(keeper) => self.keeper = Some(keeper),
                    Err(error) => {
                        err!(Style::Warn => "note:"; " if this process is killed, the private file of the command is not removed: {error}");
                    }
                }
                made
            }
        };
        directory
            .add(secret)
            .map_err(|error| CliError::io("a private file for the command", &error))
    }

    /// Keeps the files as long as `command` runs, even if this process is killed.
    pub fn keep_for(&mut self, command: &Child) {
        if let Some(directory) = &self.directory {
            // Without the note, another process may remove the files too early, but only
            // after both this process and its keeper were killed.
            let _ = directory.note_command(&Process::of(command.id()));
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.watch(command);
        }
    }
}
