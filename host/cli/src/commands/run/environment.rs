//! The environment of a command.

use std::ffi::OsString;
use std::process::Command;

use entail::{CommandEnvironment, Secret};

use crate::error::CliError;
use crate::output::{Style, err};
use crate::session::Session;

/// Variables that name this program's own secrets, which no command needs.
const OWN_VARIABLES: [&str; 3] = [
    "ENTAIL_PASSPHRASE_FILE",
    "ENTAIL_IDENTITY_FD",
    "ENTAIL_SIGNER_FD",
];

/// The differences between the environment of this process and the command's.
#[derive(Default)]
pub struct EnvironmentChanges {
    /// Whether the command gets no variable of the caller.
    pub pristine: bool,
    /// The variables that are removed.
    pub remove: Vec<OsString>,
    /// The variables that are set.
    pub set: Vec<(OsString, OsString)>,
}

impl EnvironmentChanges {
    /// The variables of the caller that the command does not get.
    ///
    /// # Errors
    ///
    /// Fails if the directory of the home is not valid.
    pub fn of_caller(
        session: &Session,
        pristine: bool,
        environment: &CommandEnvironment<'_>,
    ) -> Result<Self, CliError> {
        let mut changes = EnvironmentChanges {
            pristine,
            ..EnvironmentChanges::default()
        };
        for (name, value) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if OWN_VARIABLES.contains(&&*text) || !environment.passes(&text) {
                changes.remove.push(name);
            } else if pristine && environment.is_kept(&text) {
                changes.set.push((name, value));
            }
        }
        if Session::identity_is_from_systemd() {
            changes.remove.push("CREDENTIALS_DIRECTORY".into());
        }
        if !pristine && std::env::var_os("ENTAIL_HOME").is_some() {
            // An absolute path names the same home after the command changes its directory.
            changes
                .set
                .push(("ENTAIL_HOME".into(), session.home_directory()?.into()));
        }
        Ok(changes)
    }

    /// Applies the differences to a command.
    pub fn apply(&self, command: &mut Command) {
        if self.pristine {
            command.env_clear();
        }
        for name in &self.remove {
            command.env_remove(name);
        }
        for (name, value) in &self.set {
            command.env(name, value);
        }
    }
}

/// Warns of parts of the granted credentials that a client does not read from a variable: it
/// would go to the vendor's host, or lack the value.
pub fn warn_of_unread(environment: &CommandEnvironment<'_>) {
    for unread in environment.unread() {
        err!(Style::Warn => "note:"; " {unread}");
    }
    for (fixed, other) in environment.withheld() {
        err!(Style::Warn => "note:"; " {} is not set, because {other} is granted too; give --provider if only one is meant", fixed.name);
    }
}

/// Whether a shell accepts the name of a variable.
pub fn is_shell_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(is_allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// The text of a secret.
///
/// # Errors
///
/// Fails if it is not text.
pub fn text_of<'a>(name: &str, secret: &'a Secret) -> Result<&'a str, CliError> {
    secret
        .expose_text()
        .ok_or_else(|| CliError::invalid(format!("the value of {name} is not text")))
}
