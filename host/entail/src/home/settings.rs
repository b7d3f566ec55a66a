//! The settings of a home: `settings.toml`, which is optional.
//!
//! ```toml
//! [decision-log]
//! max-bytes = 67108864     # begin a new file when the current one is this large
//! secondary = "syslog"     # a second log: "syslog", "stdout", or the path of a file
//! require = "all"          # "any": a record in one of the two logs is enough
//! sync = "grouped"         # "none": a power cut may lose records of what was revealed
//! ```
//!
//! The secondary log must be outside the home.
//!
//! Keys may be elsewhere: in hardware, at a key service, in another process. A program then does
//! what they are for, and `keys/` has the public key:
//!
//! ```toml
//! [key-programs]
//! # Decrypts an age file. keys/identity.pub has the recipient.
//! identity = ["/usr/bin/age", "--decrypt", "--identity", "/mnt/token/identity.txt"]
//! # Signs what it reads with Ed25519. keys/signer.pub has the public key (PEM).
//! signer = ["/usr/local/bin/sign-with-token"]
//! # The same for the key that signs the keyring, and keys/owner.pub.
//! owner = ["/usr/local/bin/sign-with-token", "--slot", "2"]
//! ```

use std::path::PathBuf;

use entail_decision::describe_toml_error;
use entail_text::sanitized;
use serde::Deserialize;

/// The default size at which a new file of the decision log is begun: some fifty thousand
/// decisions.
const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Smaller files would hold only a few decisions.
const MIN_MAX_BYTES: u64 = 16 * 1024;

/// The largest settings file that is read.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;

/// The settings of a home.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HomeSettings {
    /// Settings of the decision log.
    pub decision_log: DecisionLogSettings,
    /// The programs that have keys of the home.
    pub key_programs: KeyPrograms,
}

/// The programs that have keys of the home. Each is given by its absolute path, with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct KeyPrograms {
    /// The program that decrypts with the identity.
    pub identity: Option<Vec<String>>,
    /// The program that signs changes.
    pub signer: Option<Vec<String>>,
    /// The program that signs the keyring.
    pub owner: Option<Vec<String>>,
}

/// Settings of the decision log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DecisionLogSettings {
    /// The size in bytes at which a new file is begun.
    pub max_bytes: u64,
    /// The secondary log.
    pub secondary: Option<SecondarySink>,
    /// Which logs must have a record before a secret is revealed.
    pub require: Require,
    /// Whether it must be on the disk.
    pub sync: LogSync,
}

impl Default for DecisionLogSettings {
    fn default() -> Self {
        DecisionLogSettings {
            max_bytes: DEFAULT_MAX_BYTES,
            secondary: None,
            require: Require::All,
            sync: LogSync::Grouped,
        }
    }
}

/// Whether the records of a request are on the disk before its secret is revealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSync {
    /// They are. Requests that wait at the same time share one sync. The default: a sync takes
    /// 0.2 ms on a server's disk and some ms on a laptop's, which nobody notices in a command,
    /// and a service shares it.
    #[default]
    Grouped,
    /// They are not: a power cut may lose the records of the last minute.
    None,
}

/// A secondary log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum SecondarySink {
    /// The system log, through the socket `/dev/log`.
    Syslog,
    /// The standard output of the program.
    Stdout,
    /// A file or a named pipe outside the home.
    File(PathBuf),
}

impl From<String> for SecondarySink {
    fn from(text: String) -> Self {
        match text.as_str() {
            "syslog" => SecondarySink::Syslog,
            "stdout" => SecondarySink::Stdout,
            _ => SecondarySink::File(PathBuf::from(text)),
        }
    }
}

/// Which logs must have a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// All of them.
    #[default]
    All,
    /// One of them.
    Any,
}

/// The settings file is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", sanitized(.file.display()), sanitized(.problem))]
pub struct InvalidSettings {
    pub(crate) file: PathBuf,
    pub(crate) problem: String,
}

impl HomeSettings {
    /// Parses settings. The error names the key and the rule.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings: HomeSettings =
            toml::from_str(text).map_err(|error| describe_toml_error(text, &error))?;
        if settings.decision_log.max_bytes < MIN_MAX_BYTES {
            return Err(format!(
                "decision-log.max-bytes is {}, and must be at least {MIN_MAX_BYTES}",
                settings.decision_log.max_bytes
            ));
        }
        let programs = &settings.key_programs;
        for (name, command) in [
            ("identity", &programs.identity),
            ("signer", &programs.signer),
            ("owner", &programs.owner),
        ] {
            let program = command.as_ref().map(|command| command.first());
            if program.is_some_and(|program| program.is_none_or(|path| !path.starts_with('/'))) {
                return Err(format!(
                    "key-programs.{name} must begin with the absolute path of a program: [\"/usr/bin/age\", …]"
                ));
            }
        }
        if let Some(SecondarySink::File(file)) = &settings.decision_log.secondary
            && !file.is_absolute()
        {
            return Err(format!(
                "decision-log.secondary is {:?}; give \"syslog\", \"stdout\" or an absolute path",
                file.display().to_string()
            ));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_optional_and_unknown_ones_are_errors() {
        let none = HomeSettings::parse("").unwrap();
        assert_eq!(none.decision_log.max_bytes, DEFAULT_MAX_BYTES);
        assert_eq!(none.decision_log.sync, LogSync::Grouped);
        let all = "[decision-log]\nmax-bytes = 20000\nsecondary = \"/tmp/x\"\nrequire = \"any\"\nsync = \"none\"";
        let all = HomeSettings::parse(all).unwrap().decision_log;
        assert_eq!(all.secondary, Some(SecondarySink::File("/tmp/x".into())));
        assert_eq!((all.require, all.sync), (Require::Any, LogSync::None));
        for (text, expected) in [
            ("[decision-log]\nmax-byte = 1", "max-byte"),
            ("[decision-log]\nmax-bytes = 1", "at least"),
            ("[decision-log]\nsecondary = \"here\"", "absolute"),
            ("[decision-log]\nrequire = \"none\"", "any"),
            ("[decision-log]\nsync = \"all\"", "grouped"),
            ("[other]", "other"),
            ("[key-programs]\nsigner = [\"sign\"]", "absolute path"),
            ("[key-programs]\nidentity = []", "absolute path"),
            ("[key-programs]\nsign = [\"/sign\"]", "sign"),
        ] {
            let error = HomeSettings::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
