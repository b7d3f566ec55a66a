//! The settings of a home: `settings.toml`, which need not be there.
//!
//! ```toml
//! [decision-log]
//! max-bytes = 67108864     # a new file is begun when this one is as large
//! also-to = "syslog"       # a second place: "syslog", "stdout", or the path of a file
//! enough = "all"           # "any": one of the two places suffices to reveal a secret
//! ```
//!
//! The second place is outside of the home, by whatever name it is reached.

use std::path::PathBuf;

use entail_decision::describe_toml_error;
use entail_text::sanitized;
use serde::Deserialize;

/// The size at which a new decision log is begun, unless the settings say otherwise:
/// some fifty thousand decisions.
const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Smaller logs would be begun with nearly every decision.
const MIN_MAX_BYTES: u64 = 16 * 1024;

/// No settings are larger; nothing more is read.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;

/// What a home's settings say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HomeSettings {
    /// About the decision log.
    pub decision_log: DecisionLogSettings,
}

/// How decisions are recorded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DecisionLogSettings {
    /// The size in bytes at which a new file is begun.
    pub max_bytes: u64,
    /// A second place to record decisions in.
    pub also_to: Option<SecondSink>,
    /// How many of the places must have a record before a secret is revealed.
    pub enough: Enough,
}

impl Default for DecisionLogSettings {
    fn default() -> Self {
        DecisionLogSettings {
            max_bytes: DEFAULT_MAX_BYTES,
            also_to: None,
            enough: Enough::All,
        }
    }
}

/// A second place to record decisions in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum SecondSink {
    /// The system's log, by the socket `/dev/log`.
    Syslog,
    /// The standard output of the program.
    Stdout,
    /// A file, or a named pipe, outside of the home.
    File(PathBuf),
}

impl From<String> for SecondSink {
    fn from(text: String) -> Self {
        match text.as_str() {
            "syslog" => SecondSink::Syslog,
            "stdout" => SecondSink::Stdout,
            _ => SecondSink::File(PathBuf::from(text)),
        }
    }
}

/// How many of the places must have a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enough {
    /// All of them.
    #[default]
    All,
    /// One of them.
    Any,
}

/// Settings that make no sense.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", sanitized(.file.display()), sanitized(.problem))]
pub struct InvalidSettings {
    pub(crate) file: PathBuf,
    pub(crate) problem: String,
}

impl HomeSettings {
    /// Reads settings; the error says what is wrong and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings: HomeSettings =
            toml::from_str(text).map_err(|error| describe_toml_error(text, &error))?;
        if settings.decision_log.max_bytes < MIN_MAX_BYTES {
            return Err(format!(
                "decision-log.max-bytes is {}, and must be at least {MIN_MAX_BYTES}",
                settings.decision_log.max_bytes
            ));
        }
        if let Some(SecondSink::File(file)) = &settings.decision_log.also_to
            && !file.is_absolute()
        {
            return Err(format!(
                "decision-log.also-to is {:?}: give \"syslog\", \"stdout\" or an absolute path",
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
        let all = "[decision-log]\nmax-bytes = 20000\nalso-to = \"/tmp/x\"\nenough = \"any\"";
        let all = HomeSettings::parse(all).unwrap().decision_log;
        assert_eq!(all.also_to, Some(SecondSink::File("/tmp/x".into())));
        assert_eq!(all.enough, Enough::Any);
        for (text, said) in [
            ("[decision-log]\nmax-byte = 1", "max-byte"),
            ("[decision-log]\nmax-bytes = 1", "at least"),
            ("[decision-log]\nalso-to = \"here\"", "absolute"),
            ("[decision-log]\nenough = \"none\"", "any"),
            ("[other]", "other"),
        ] {
            let error = HomeSettings::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
