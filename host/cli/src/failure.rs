//! Errors as a person sees them: what, why, and what to do about it.

use std::path::Path;
use std::process::ExitCode;

use entail::policy::{BadSettings, Code, Problem};
use entail::{Error, ErrorKind, ScopePath, quoted};
use serde_json::json;

use crate::nearest::nearest;
use crate::output::{Style, print_json_error, tell, with_member};
use crate::remedy;

/// What the program says when it fails. The numbers are listed in `--help`.
#[derive(Debug)]
pub struct Failure {
    exit: u8,
    /// A word for programs, of this program's own.
    code: &'static str,
    /// The code of a policy's refusal, which is the policy's own.
    refusal: Option<Code>,
    /// One line.
    message: String,
    /// More lines, each a point of its own.
    details: Box<[String]>,
    /// Commands or steps that would help.
    remedies: Vec<String>,
    /// What was named and is not there.
    unknown: Option<Box<Unknown>>,
}

/// What was named and is not there.
#[derive(Debug)]
pub enum Unknown {
    /// A scope.
    Scope(ScopePath),
    /// A credential.
    Credential {
        scope: ScopePath,
        provider: String,
        name: String,
    },
}

impl Failure {
    pub fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Failure {
            exit,
            code,
            refusal: None,
            message: message.into(),
            details: Box::default(),
            remedies: Vec::new(),
            unknown: None,
        }
    }

    /// The input is not valid.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(19, "invalid", message)
    }

    /// A policy does not take what is set for it: each problem on a line of its own.
    pub fn not_accepted(message: impl std::fmt::Display, problems: &[Problem]) -> Self {
        match problems {
            [one] => Failure::invalid(format!("{message}: {one}")),
            several => Failure::invalid(format!("{message}: there are {} problems", several.len()))
                .with_details(several.iter().map(ToString::to_string).collect()),
        }
    }

    /// The system said no.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Failure::new(1, "io", format!("{what}: {error}"))
    }

    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details.into();
        self
    }

    pub fn with_remedies(mut self, remedies: Vec<String>) -> Self {
        self.remedies = remedies;
        self
    }

    /// Asks whether something else was meant.
    pub fn meaning(mut self, near: &str) -> Self {
        self.message = format!("{}; did you mean {near}?", self.message);
        self
    }

    /// What was named and is not there.
    pub fn unknown(&self) -> Option<&Unknown> {
        self.unknown.as_deref()
    }

    pub fn exit_number(&self) -> u8 {
        self.exit
    }

    /// What failed, in a word for programs. A policy has no say in it.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The code of the policy's refusal, if it is one.
    pub fn refusal(&self) -> Option<&Code> {
        self.refusal.as_ref()
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, as commands or words.
    pub fn remedies(&self) -> &[String] {
        &self.remedies
    }

    /// Says it, and returns the exit code.
    pub fn report(&self, as_json: bool) -> ExitCode {
        if as_json {
            let mut error = json!({
                "code": self.code, "message": self.message, "remedies": self.remedies,
            });
            if let Some(refusal) = &self.refusal {
                error = with_member(error, "refusal", refusal.as_str());
            }
            if !self.details.is_empty() {
                error = with_member(error, "details", self.details.to_vec());
            }
            print_json_error(&json!({"error": error}));
        } else {
            tell!(Style::Bad => "error"; ": {}", self.message);
            for detail in &self.details {
                tell!("  - {detail}");
            }
            for remedy in &self.remedies {
                tell!(Style::Faint => "  try:"; " {remedy}");
            }
        }
        ExitCode::from(self.exit)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::BadSettings(BadSettings::NotAccepted(problems)) = &error {
            return Failure::not_accepted("the policy does not take these settings", problems);
        }
        let exit = match error.kind() {
            ErrorKind::Refused => 10,
            ErrorKind::NotAuthorized => 11,
            ErrorKind::PolicyFailed => 12,
            ErrorKind::GuardViolated => 13,
            ErrorKind::Unavailable => 14,
            ErrorKind::Tampered => 15,
            ErrorKind::Sealed => 16,
            ErrorKind::NotRecorded => 17,
            ErrorKind::NotFound => 18,
            ErrorKind::Invalid => 19,
        };
        let code = error.kind().as_str();
        let refusal = match &error {
            Error::Refused { refusal, .. } => Some(refusal.code.clone()),
            _ => None,
        };
        let remedies = remedy::remedies(&error.hints());
        let failure = Failure {
            refusal,
            ..Failure::new(exit, code, error.to_string()).with_remedies(remedies)
        };
        match error {
            Error::UnknownProvider(unknown) => match nearest(
                unknown.id.as_str(),
                unknown.known.iter().map(entail::ProviderId::as_str),
            ) {
                Some(near) => failure.meaning(near),
                None => failure,
            },
            Error::UnknownScope(scope) => Failure {
                unknown: Some(Box::new(Unknown::Scope(scope))),
                ..failure
            },
            Error::UnknownCredential {
                scope,
                provider,
                name,
            } => Failure {
                unknown: Some(Box::new(Unknown::Credential {
                    scope,
                    provider: provider.to_string(),
                    name: name.to_string(),
                })),
                ..failure
            },
            _ => failure,
        }
    }
}

/// The longest extension of a file's name. Keys have points in them as well, with more
/// after them.
const MAX_EXTENSION_BYTES: usize = 8;

/// The name of a file, unless it may be a key in the place of one.
pub fn shown(file: &Path) -> String {
    let text = file.display().to_string();
    let has_folder = file
        .parent()
        .is_some_and(|folder| folder != Path::new("") && folder.is_dir());
    let extension = file.extension().map_or(0, std::ffi::OsStr::len);
    let looks_like_a_path = has_folder || (1..=MAX_EXTENSION_BYTES).contains(&extension);
    if looks_like_a_path {
        text
    } else {
        quoted(&text)
    }
}

/// The option that names a credential, if it needs one.
pub fn named(name: &str) -> String {
    match name {
        "default" => String::new(),
        name => format!(" --name {name}"),
    }
}
