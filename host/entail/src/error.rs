//! What can go wrong, told apart by who failed: the request, the policy, the
//! store, the keys, or the record.

use std::path::PathBuf;

use entail_policy::{BadSettings, ComposeError, Digest, EngineError, Failure, Refusal, Rejected};
use entail_store::{AnchorError, KeyError, RecipientError, SealError, Tampering};
use entail_text::sanitized;

use crate::change::value::InvalidValue;
use crate::home::settings::InvalidSettings;
use crate::principal::{Action, Principal};
use entail_decision::guard::Violation;
use entail_decision::name::{CredentialName, InvalidName, ProviderId, ScopePath};
use entail_decision::provider::{InvalidProviders, UnknownMode, UnknownProvider};

/// What went wrong. Nothing was revealed, and nothing was changed.
///
/// Its text is one line of plain characters, whatever names and words are in it: the
/// parts that may be foreign are sanitized where it is shown, not where it is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy refused.
    #[error("{}", refusal.message.shown())]
    Refused {
        /// The scope that asked.
        scope: ScopePath,
        /// For which provider.
        provider: ProviderId,
        /// The policy's refusal.
        refusal: Refusal,
    },
    /// The principal may not do this here.
    #[error("{principal} may not {action:?} in {scope}")]
    NotAuthorized {
        /// Who.
        principal: Principal,
        /// What.
        action: Action,
        /// Where.
        scope: ScopePath,
    },
    /// The policy gave no decision.
    #[error("the policy failed, so nothing is granted: {0}")]
    PolicyFailed(#[from] Failure),
    /// The policy chose what it may not choose.
    #[error("the policy's choice is not allowed, so nothing is granted: {0}")]
    GuardViolated(Violation),
    /// What the database holds is not what was written.
    #[error("tampered: {0}")]
    Tampered(Tampering),
    /// A copy of a store is not signed by anybody who is trusted.
    #[error("{}", sanitized(.0))]
    Untrusted(String),
    /// The anchor cannot be read or written.
    #[error(transparent)]
    Anchor(AnchorError),
    /// The change is made, and the anchor does not know of it yet.
    #[error("the change is made, but the anchor could not be told: {0}")]
    NotAnchored(#[source] AnchorError),
    /// A recipient was not taken.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    /// The database does not answer.
    #[error("the store is unavailable: {}", sanitized(.0))]
    Unavailable(String),
    /// Somebody else keeps changing the store.
    #[error("the store was changed by others at each try; try again")]
    Contended,
    /// The secret cannot be opened, or nothing can be sealed or signed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The secret cannot be opened here.
    #[error(
        "the secret of {} in {scope} cannot be opened: {error}",
        sanitized(.credential)
    )]
    Sealed {
        /// The scope that holds it.
        scope: ScopePath,
        /// Its provider and name.
        credential: String,
        /// Why.
        #[source]
        error: SealError,
    },
    /// The provider file leads to a host that the secret was not sealed for.
    #[error(
        "the provider file leads to {}, and the secret of {} in {scope} is for {} only, so \
         nothing is handed out; enter the secret again, or put the provider file right",
        sanitized(.host),
        sanitized(.credential),
        sanitized(.hosts.join(", "))
    )]
    HostNotBound {
        /// The scope that holds the credential.
        scope: ScopePath,
        /// Its provider and name.
        credential: String,
        /// Where it would be sent.
        host: String,
        /// The hosts that it was sealed for.
        hosts: Vec<String>,
    },
    /// The decision could not be recorded, so nothing is granted.
    #[error(
        "the decision cannot be recorded in {}, so nothing is granted: {}",
        sanitized(.file.display()),
        sanitized(.error)
    )]
    NotRecorded {
        /// The decision log.
        file: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// There is no such scope.
    #[error("there is no scope {0}")]
    UnknownScope(ScopePath),
    /// There is no such provider.
    #[error(transparent)]
    UnknownProvider(#[from] UnknownProvider),
    /// The provider has no such mode.
    #[error(transparent)]
    UnknownMode(#[from] UnknownMode),
    /// There is no such credential.
    #[error("{scope} has no credential {name} for {provider}")]
    UnknownCredential {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
        /// The name.
        name: CredentialName,
    },
    /// The scope is there already.
    #[error("{0} is there already")]
    ScopeExists(ScopePath),
    /// The scope has projects below it.
    #[error(
        "{scope} still has projects below it, such as {}",
        sanitized(.below)
    )]
    HasProjects {
        /// The scope.
        scope: ScopePath,
        /// One of them.
        below: String,
    },
    /// What was asked makes no sense; the text says what and why.
    #[error("{}", sanitized(.0))]
    Invalid(String),
    /// A value was not taken.
    #[error(transparent)]
    InvalidValue(#[from] InvalidValue),
    /// A name was not taken.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The settings file of the home is not valid.
    #[error(transparent)]
    InvalidSettings(#[from] InvalidSettings),
    /// The provider file of the home is not valid.
    #[error(transparent)]
    InvalidProviders(#[from] InvalidProviders),
    /// The home is not usable.
    #[error("{}", sanitized(.0))]
    Home(String),
    /// The policy engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The policy is not admitted.
    #[error("the policy is not admitted: {0}")]
    Rejected(#[from] Rejected),
    /// The policy in service cannot be made ready, so nothing is granted.
    #[error(
        "the policy in service cannot be used, so nothing is granted: {}",
        sanitized(.0)
    )]
    PolicyUnready(String),
    /// The policy does not take the settings.
    #[error(transparent)]
    BadSettings(#[from] BadSettings),
    /// The layer cannot be put on the policy.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// No such policy is installed.
    #[error("no policy {0} is installed")]
    UnknownPolicy(Digest),
}

/// The kinds of error that a caller answers in different ways: by exit code, by
/// HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Denied by policy.
    Refused,
    /// Not authorized.
    NotAuthorized,
    /// The policy failed: trap, deadline, memory, bad output.
    PolicyFailed,
    /// The guard stopped the policy.
    GuardViolated,
    /// The store is unavailable.
    Unavailable,
    /// Tampered.
    Tampered,
    /// Keys are missing, locked, or do not fit; or a secret is for other hosts.
    Sealed,
    /// The decision cannot be recorded.
    NotRecorded,
    /// There is no such thing.
    NotFound,
    /// The input is wrong.
    Invalid,
}

impl Error {
    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Refused { .. } => ErrorKind::Refused,
            Error::NotAuthorized { .. } => ErrorKind::NotAuthorized,
            Error::PolicyFailed(_)
            | Error::Engine(_)
            | Error::Rejected(_)
            | Error::PolicyUnready(_)
            | Error::BadSettings(
                BadSettings::Failed(_)
                | BadSettings::Schema(_)
                | BadSettings::Engine(_)
                | BadSettings::NotCompiled(_)
                | BadSettings::NotInThisBuild,
            ) => ErrorKind::PolicyFailed,
            Error::GuardViolated(_) => ErrorKind::GuardViolated,
            // A secret that is damaged, or lies where it was not sealed for, was
            // written by nobody who may.
            Error::Tampered(_)
            | Error::Untrusted(_)
            | Error::Sealed {
                error: SealError::Damaged | SealError::Misplaced(_),
                ..
            } => ErrorKind::Tampered,
            Error::Anchor(AnchorError::Missing(_) | AnchorError::Malformed(_)) => {
                ErrorKind::Tampered
            }
            Error::Unavailable(_)
            | Error::Contended
            | Error::Home(_)
            | Error::Anchor(_)
            | Error::NotAnchored(_) => ErrorKind::Unavailable,
            Error::Keys(_) | Error::Sealed { .. } | Error::HostNotBound { .. } => ErrorKind::Sealed,
            Error::NotRecorded { .. } => ErrorKind::NotRecorded,
            Error::UnknownScope(_)
            | Error::UnknownProvider(_)
            | Error::UnknownCredential { .. }
            | Error::UnknownPolicy(_) => ErrorKind::NotFound,
            Error::ScopeExists(_)
            | Error::HasProjects { .. }
            | Error::Invalid(_)
            | Error::InvalidValue(_)
            | Error::InvalidName(_)
            | Error::UnknownMode(_)
            | Error::Recipient(_)
            | Error::BadSettings(_)
            | Error::Compose(_)
            | Error::InvalidSettings(_)
            | Error::InvalidProviders(_) => ErrorKind::Invalid,
        }
    }
}

impl From<entail_store::Error> for Error {
    fn from(error: entail_store::Error) -> Self {
        match error {
            entail_store::Error::Tampered(tampering) => tampering.into(),
            entail_store::Error::Key(error) => Error::Keys(error),
            entail_store::Error::Anchor(error) => Error::Anchor(error),
            entail_store::Error::NotAnchored(error) => Error::NotAnchored(error),
            entail_store::Error::Conflict { .. } => Error::Contended,
            entail_store::Error::Unavailable(error) => Error::Unavailable(error.to_string()),
            other => Error::Unavailable(other.to_string()),
        }
    }
}

impl From<Tampering> for Error {
    fn from(tampering: Tampering) -> Self {
        Error::Tampered(tampering)
    }
}
