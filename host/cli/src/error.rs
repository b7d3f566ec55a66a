//! Errors of the command line: what happened, why, and what to do about it.

use std::fmt;

use entail::policy::{BadSettings, Code, Problem};
use entail::store::Proposal;
use entail::{Error, ErrorKind, ProviderId, ScopePath};

use crate::exit_status::ExitStatus;
use crate::suggest::nearest::nearest;
use crate::suggest::remedy::remedies;

/// An error that ends the program.
#[derive(Debug)]
pub struct CliError {
    code: ErrorCode,
    /// The code of the policy's refusal, which the policy chooses.
    refusal: Option<Code>,
    /// One line.
    message: String,
    /// More lines, one point each.
    details: Box<[String]>,
    /// Commands or steps that would help.
    remedies: Vec<String>,
    /// The name that does not exist.
    unknown: Option<Box<Unknown>>,
    /// The change that owners must sign.
    proposal: Option<Box<Proposal>>,
}

/// The kind of an error. Its name in `--json` output is the variant in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// A fresh build of a policy failed.
    Build,
    /// The person at the terminal did not confirm the change.
    Declined,
    /// A committed component differs from a fresh build.
    Differs,
    /// The policy chose what it may not choose.
    GuardViolated,
    /// The input is not valid.
    Invalid,
    /// The operating system reported an error.
    Io,
    /// There is work left to do; a command does it.
    Leftover,
    /// A scope is granted no credential for any provider.
    NoCredential,
    /// The principal may not do this.
    NotAuthorized,
    /// A scope, provider, credential or file does not exist.
    NotFound,
    /// Memory for secrets cannot be locked.
    NotLocked,
    /// The decision cannot be recorded.
    NotRecorded,
    /// The command of `entail run` cannot be started.
    NotStarted,
    /// The command of `entail run` is not found.
    CommandNotFound,
    /// The policy failed or is not admitted.
    PolicyFailed,
    /// The policy refused the request.
    Refused,
    /// A key is missing or locked, or a secret is for other keys or hosts.
    Sealed,
    /// The store or the log does not hold what was written.
    Tampered,
    /// Other users can use a private file.
    TooOpen,
    /// The store or the home is unavailable.
    Unavailable,
    /// A process was stopped before it finished.
    Unfinished,
    /// The command line is wrong.
    Usage,
    /// Vectors of a policy failed.
    VectorsFailed,
}

impl ErrorCode {
    /// The name in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Build => "build",
            ErrorCode::Declined => "declined",
            ErrorCode::Differs => "differs",
            ErrorCode::GuardViolated => "guard-violated",
            ErrorCode::Invalid => "invalid",
            ErrorCode::Io => "io",
            ErrorCode::Leftover => "leftover",
            ErrorCode::NoCredential => "no-credential",
            ErrorCode::NotAuthorized => "not-authorized",
            ErrorCode::NotFound => "not-found",
            ErrorCode::NotLocked => "not-locked",
            ErrorCode::NotRecorded => "not-recorded",
            ErrorCode::NotStarted => "not-started",
            ErrorCode::CommandNotFound => "command-not-found",
            ErrorCode::PolicyFailed => "policy-failed",
            ErrorCode::Refused => "refused",
            ErrorCode::Sealed => "sealed",
            ErrorCode::Tampered => "tampered",
            ErrorCode::TooOpen => "too-open",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Unfinished => "unfinished",
            ErrorCode::Usage => "usage",
            ErrorCode::VectorsFailed => "vectors-failed",
        }
    }

    /// The exit status of the program. This is the only place that maps one to the other.
    pub fn exit_status(self) -> ExitStatus {
        match self {
            ErrorCode::Build
            | ErrorCode::Declined
            | ErrorCode::Differs
            | ErrorCode::Io
            | ErrorCode::Leftover
            | ErrorCode::NotLocked
            | ErrorCode::Unfinished
            | ErrorCode::VectorsFailed => ExitStatus::OtherError,
            ErrorCode::Usage => ExitStatus::Usage,
            ErrorCode::NoCredential | ErrorCode::Refused => ExitStatus::Refused,
            ErrorCode::NotAuthorized => ExitStatus::NotAuthorized,
            ErrorCode::PolicyFailed => ExitStatus::PolicyFailed,
            ErrorCode::GuardViolated => ExitStatus::GuardViolated,
            ErrorCode::TooOpen | ErrorCode::Unavailable => ExitStatus::Unavailable,
            ErrorCode::Tampered => ExitStatus::Tampered,
            ErrorCode::Sealed => ExitStatus::Sealed,
            ErrorCode::NotRecorded => ExitStatus::NotRecorded,
            ErrorCode::NotFound => ExitStatus::NotFound,
            ErrorCode::Invalid => ExitStatus::Invalid,
            ErrorCode::NotStarted => ExitStatus::CannotStart,
            ErrorCode::CommandNotFound => ExitStatus::CommandNotFound,
        }
    }
}

impl From<ErrorKind> for ErrorCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Refused => ErrorCode::Refused,
            ErrorKind::NotAuthorized => ErrorCode::NotAuthorized,
            ErrorKind::PolicyFailed => ErrorCode::PolicyFailed,
            ErrorKind::GuardViolated => ErrorCode::GuardViolated,
            ErrorKind::Unavailable => ErrorCode::Unavailable,
            ErrorKind::Tampered => ErrorCode::Tampered,
            ErrorKind::Sealed => ErrorCode::Sealed,
            ErrorKind::NotRecorded => ErrorCode::NotRecorded,
            ErrorKind::NotFound => ErrorCode::NotFound,
            ErrorKind::Invalid => ErrorCode::Invalid,
            ErrorKind::Io => ErrorCode::Io,
        }
    }
}

/// A name that does not exist.
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

impl CliError {
    /// An error without remedies.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        CliError {
            code,
            refusal: None,
            message: message.into(),
            details: Box::default(),
            remedies: Vec::new(),
            unknown: None,
            proposal: None,
        }
    }

    /// The input is not valid.
    pub fn invalid(message: impl Into<String>) -> Self {
        CliError::new(ErrorCode::Invalid, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        CliError::new(ErrorCode::Usage, message)
    }

    /// A policy does not accept its settings: each problem is a detail.
    pub fn not_accepted(message: impl fmt::Display, problems: &[Problem]) -> Self {
        match problems {
            [one] => CliError::invalid(format!("{message}: {one}")),
            several => {
                CliError::invalid(format!("{message}: there are {} problems", several.len()))
                    .with_details(several.iter().map(ToString::to_string).collect())
            }
        }
    }

    /// An error of the operating system about `what`.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        CliError::new(ErrorCode::Io, format!("{what}: {error}"))
    }

    /// Replaces the details.
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Replaces the remedies.
    pub fn with_remedies(mut self, remedies: Vec<String>) -> Self {
        self.remedies = remedies;
        self
    }

    /// Adds the question whether `near` was meant.
    pub fn did_you_mean(mut self, near: &str) -> Self {
        self.message = format!("{}; did you mean {near}?", self.message);
        self
    }

    /// The change that owners must sign.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_deref()
    }

    /// The same error of a dry run, which proposes nothing.
    pub fn without_proposal(self) -> Self {
        if self.proposal.is_none() {
            return self;
        }
        CliError {
            proposal: None,
            remedies: Vec::new(),
            ..self
        }
    }

    /// The name that does not exist.
    pub fn unknown(&self) -> Option<&Unknown> {
        self.unknown.as_deref()
    }

    /// The kind of error. A policy has no influence on it.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The code of the policy's refusal, if the policy refused.
    pub fn refusal(&self) -> Option<&Code> {
        self.refusal.as_ref()
    }

    /// The message, one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// More about the error, one point each.
    pub fn details(&self) -> &[String] {
        &self.details
    }

    /// Commands or steps that would help.
    pub fn remedies(&self) -> &[String] {
        &self.remedies
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        if let Error::BadSettings(BadSettings::NotAccepted(problems)) = &error {
            return CliError::not_accepted("the policy does not take these settings", problems);
        }
        let refusal = match &error {
            Error::Refused { refusal, .. } => Some(refusal.code.clone()),
            _ => None,
        };
        let failure = CliError {
            refusal,
            ..CliError::new(error.kind().into(), error.to_string())
                .with_remedies(remedies(&error.hints()))
        };
        match error {
            Error::UnknownProvider(unknown) => {
                let known = unknown.known.iter().map(ProviderId::as_str);
                match nearest(unknown.id.as_str(), known) {
                    Some(near) => failure.did_you_mean(near),
                    None => failure,
                }
            }
            Error::UnknownScope(scope) => CliError {
                unknown: Some(Box::new(Unknown::Scope(scope))),
                ..failure
            },
            Error::UnknownCredential {
                scope,
                provider,
                name,
            } => CliError {
                unknown: Some(Box::new(Unknown::Credential {
                    scope,
                    provider: provider.to_string(),
                    name: name.to_string(),
                })),
                ..failure
            },
            Error::OwnersRequired(proposal) => CliError {
                proposal: Some(proposal),
                ..failure
            },
            _ => failure,
        }
    }
}
