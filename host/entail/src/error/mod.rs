//! The errors of the library, by what failed: the request, the policy, the
//! store, the keys, or the decision log.

pub(crate) mod classify;
pub(crate) mod hint;
pub(crate) mod invalid_value;

use std::path::PathBuf;

use entail_bundle::BundleError;
use entail_policy::{
    BadSettings, CallError, ComposeError, EngineError, PolicyDigest, Refusal, Rejected,
};
use entail_store::{
    AnchorError, KeyError, Proposal, ProposalError, RecipientError, Revision, SealError, Tampering,
};
use entail_text::sanitized;

use crate::credential_ref::CredentialRef;
use crate::error::classify::ErrorKind;
use crate::error::invalid_value::InvalidValue;
use crate::home::settings::InvalidSettings;
use crate::principal::{Action, Principal, PrincipalRef};
use entail_decision::guard::Violation;
use entail_decision::name::{CredentialName, InvalidName, ProviderId, ScopePath, quoted};
use entail_decision::provider::{InvalidProviders, UnknownMode, UnknownProvider};

/// What failed. Nothing was revealed, and nothing was changed.
///
/// The text is one line of plain characters, whatever names it contains: parts that may
/// come from outside are sanitized on display.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy refused.
    #[error("{}", refusal.message.shown())]
    Refused {
        /// The requesting scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
        /// The policy's refusal.
        refusal: Refusal,
    },
    /// The principal may not do this here.
    #[error(
        "{principal} may not {action} {}",
        scope.as_ref().map_or("the installation", ScopePath::as_str)
    )]
    NotAuthorized {
        /// Who.
        principal: Principal,
        /// What.
        action: Action,
        /// Where; `None` for the whole installation.
        scope: Option<ScopePath>,
    },
    /// Something failed, and why is not for this principal.
    #[error("it failed for a reason that only who administers the installation is told ({code})")]
    Withheld {
        /// The kind of the error.
        kind: ErrorKind,
        /// Its code.
        code: &'static str,
    },
    /// The policy made no decision.
    #[error("the policy failed, so nothing is granted: {0}")]
    PolicyFailed(#[from] CallError),
    /// The policy chose a credential that it may not choose.
    #[error("the policy's choice is not allowed, so nothing is granted: {0}")]
    GuardViolated(Violation),
    /// The database does not hold what was written.
    #[error("{}", .0.as_error())]
    Tampered(Tampering),
    /// Owners that this machine trusts restored an earlier state on another machine, which this
    /// machine has not accepted yet.
    #[error(
        "the store was restored to an earlier state elsewhere, by owners that this machine \
         trusts: it is at revision {found}, and this machine has seen revision {seen} of the \
         state before"
    )]
    RestoredElsewhere {
        /// The newest revision of the database.
        found: Revision,
        /// The newest revision that this machine has seen.
        seen: Revision,
    },
    /// A backup is not trusted.
    #[error("{}", sanitized(.message))]
    Untrusted {
        /// Why.
        message: String,
        /// The fingerprints of its owners, if trusting those keys would help.
        owners: Vec<String>,
    },
    /// The anchor cannot be read or written.
    #[error(transparent)]
    Anchor(AnchorError),
    /// The change is committed, but the anchor could not be updated.
    #[error("the change is made, but the anchor could not be updated: {0}")]
    NotAnchored(#[source] AnchorError),
    /// A recipient is invalid.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    /// No recipient has this id or label.
    // The text that was given may be a key in the wrong place.
    #[error("there is no recipient {}", quoted(.0))]
    UnknownRecipient(String),
    /// No signer has this fingerprint or label.
    #[error("there is no signer {}", quoted(.0))]
    UnknownSigner(String),
    /// The key is a signer already.
    #[error("{} is a signer already", sanitized(.0))]
    SignerExists(String),
    /// No owner has this fingerprint or label.
    #[error("there is no owner {}", quoted(.0))]
    UnknownOwner(String),
    /// The key is an owner already.
    #[error("{} is an owner already", sanitized(.0))]
    OwnerExists(String),
    /// The number of owners that must sign is not between 1 and the number of owners.
    #[error(
        "{}",
        if *.owners == 0 {
            "a store needs an owner".to_owned()
        } else {
            format!("there would be {owners} owners, so {required} of them cannot be required to sign")
        }
    )]
    OwnersOutOfRange {
        /// How many would have to sign.
        required: usize,
        /// How many there would be.
        owners: usize,
    },
    /// More owners must sign the change than this machine has keys of.
    #[error("{}", .0.waiting())]
    OwnersRequired(Box<Proposal>),
    /// A bundle resolves nothing.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A proposal cannot be signed or applied.
    #[error("the proposal cannot be used: {0}")]
    Proposal(#[from] ProposalError),
    /// The signer of this machine cannot be removed.
    #[error("that is the signer of this machine, which could then change nothing")]
    OwnSigner,
    /// The recipient of this machine's own identity cannot be removed.
    #[error("that is the recipient of this machine's own identity, which could then open nothing")]
    OwnRecipient,
    /// This machine's identity is a recipient of no organization.
    #[error(
        "this machine's identity is not a recipient of any organization, so there is nothing to \
         replace"
    )]
    NotARecipient {
        /// Its public key.
        recipient: String,
    },
    /// This machine's identity opens nothing in the backup.
    #[error(
        "the backup is older than this machine's identity, which opens nothing in it; a recovery \
         key is needed that does"
    )]
    RecoveryKeyRequired,
    /// The database cannot be used.
    #[error("the store is unavailable: {}", sanitized(.0))]
    Unavailable(String),
    /// The database file is missing.
    #[error("the store is unavailable: {} is missing", sanitized(.0.display()))]
    DatabaseMissing(PathBuf),
    /// No signer has confirmed lately that this is the newest state of the store.
    #[error(
        "no signer has confirmed lately that this is the newest state of the store, so it may be \
         an old one, and nothing is granted"
    )]
    NotFresh {
        /// Until when it counted as the newest, in milliseconds since 1970-01-01T00:00:00Z.
        until_ms: u64,
    },
    /// Other writers kept changing the store.
    #[error("the store was changed by others at each try; try again")]
    Contended,
    /// Nothing can be opened, sealed or signed.
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
    /// The provider file names a host that the secret is not bound to.
    #[error(
        "the provider file leads to {}, and the secret of {} in {scope} is for {} only, so \
         nothing is granted; enter the secret again, or correct the provider file",
        sanitized(.host),
        sanitized(.credential),
        sanitized(.hosts.join(", "))
    )]
    HostNotBound {
        /// The scope that holds the credential.
        scope: ScopePath,
        /// Its provider and name.
        credential: String,
        /// The host it would be sent to.
        host: String,
        /// The hosts that the secret is bound to.
        hosts: Vec<String>,
    },
    /// The decision cannot be recorded, so nothing is granted.
    #[error(
        "the decision cannot be recorded in {}, so nothing is granted: {}",
        sanitized(.file.display()),
        sanitized(.error)
    )]
    NotRecorded {
        /// The decision log.
        file: PathBuf,
        /// The system's error.
        #[source]
        error: std::io::Error,
    },
    /// The scope does not exist.
    #[error("there is no scope {0}")]
    UnknownScope(ScopePath),
    /// The provider does not exist.
    #[error(transparent)]
    UnknownProvider(#[from] UnknownProvider),
    /// The provider has no such mode.
    #[error(transparent)]
    UnknownMode(#[from] UnknownMode),
    /// No mode of the provider takes all the given fields.
    #[error("no mode of {provider} takes these fields together; its modes are: {}", modes.join(", "))]
    NoMode {
        /// The provider.
        provider: ProviderId,
        /// Its modes.
        modes: Vec<String>,
    },
    /// The credential does not exist.
    #[error("{scope} has no credential {name} for {provider}")]
    UnknownCredential {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
        /// The name.
        name: CredentialName,
    },
    /// Neither the journal nor the decision log names this principal, or it was erased.
    #[error("neither the journal nor the decision log says who {0} is")]
    UnknownPrincipal(Box<PrincipalRef>),
    /// The scope exists already.
    #[error("{0} exists already")]
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
    /// The input is invalid; the text says what and why.
    #[error("{}", sanitized(.0))]
    Invalid(String),
    /// A value of a credential is invalid.
    #[error(transparent)]
    InvalidValue(#[from] InvalidValue),
    /// The secret may be sent to other hosts only.
    #[error(
        "the secret is bound to {}; to use it with {}, enter it again",
        sanitized(.hosts.join(", ")),
        sanitized(.host)
    )]
    OtherHost {
        /// The host that the new parameters name.
        host: String,
        /// The hosts that the secret is bound to.
        hosts: Vec<String>,
    },
    /// The secret is sealed with a parameter that changes, and cannot be opened here.
    #[error(
        "the secret is sealed with {}, which decides where it is sent, and this machine cannot \
         open it to seal it again; enter it again",
        sanitized(.parameters.join(" and "))
    )]
    DestinationSealed {
        /// The parameters that the secret is sealed with.
        parameters: Vec<String>,
    },
    /// A name is invalid.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The caller wants to keep its own variables of a provider that is granted.
    #[error("{0} is granted, so the caller's own variables for it cannot be kept")]
    KeptAndGranted(ProviderId),
    /// A file that the caller named cannot be read.
    #[error("{}: {}", sanitized(.file.display()), sanitized(.error))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        error: std::io::Error,
    },
    /// The settings file of the home is invalid.
    #[error(transparent)]
    InvalidSettings(#[from] InvalidSettings),
    /// The provider file of the home is invalid.
    #[error(transparent)]
    InvalidProviders(#[from] InvalidProviders),
    /// The home cannot be used.
    #[error("{}", sanitized(.0))]
    Home(String),
    /// There is no home in this directory.
    #[error("{} is not a home", sanitized(.0.display()))]
    NotAHome(PathBuf),
    /// The policy engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The policy is not admitted.
    #[error("the policy is not admitted: {0}")]
    Rejected(#[from] Rejected),
    /// The active policy cannot be loaded, so nothing is granted.
    #[error(
        "the active policy cannot be used, so nothing is granted: {}",
        sanitized(.0)
    )]
    PolicyUnready(String),
    /// The policy does not accept the settings.
    #[error(transparent)]
    BadSettings(#[from] BadSettings),
    /// The layer cannot be composed with the policy.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// No policy of this digest is installed.
    #[error("no policy {0} is installed")]
    UnknownPolicy(PolicyDigest),
    /// The policy is in use, and cannot be removed.
    #[error(
        "{} ({component}) {} {organization}, and cannot be removed until that ends",
        sanitized(.name),
        if *.is_shadow { "is the shadow policy of" } else { "is the active policy of" }
    )]
    PolicyInUse {
        /// Its name.
        name: String,
        /// Its digest.
        component: PolicyDigest,
        /// The organization that uses it.
        organization: ScopePath,
        /// Whether it runs beside the active policy.
        is_shadow: bool,
    },
    /// There is no previous policy to roll back to.
    #[error("{0} has no previous policy")]
    NoPreviousPolicy(ScopePath),
    /// No installed policy has this name or beginning of a digest.
    #[error(
        "{} is not an installed policy: give its name, the first digits of its digest (at \
         least {LEAST_DIGITS}), or {BUILT_IN}",
        quoted(.0)
    )]
    UnknownPolicyName(String),
    /// Several installed policies have this name or beginning of a digest.
    #[error("{} matches several installed policies; give more of the digest", quoted(.0))]
    AmbiguousPolicyName(String),
}

/// The name of the built-in policy.
pub const BUILT_IN: &str = "built-in";

/// The fewest digits of a digest that name a policy.
pub(crate) const LEAST_DIGITS: usize = 6;

impl Error {
    /// The credential does not exist.
    pub(crate) fn unknown_credential(credential: &CredentialRef) -> Self {
        Error::UnknownCredential {
            scope: credential.scope.clone(),
            provider: credential.provider.clone(),
            name: credential.name.clone(),
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
            entail_store::Error::RestoredElsewhere { found, seen } => {
                Error::RestoredElsewhere { found, seen }
            }
            entail_store::Error::OwnersRequired(proposal) => Error::OwnersRequired(proposal),
            entail_store::Error::Proposal(error) => Error::Proposal(error),
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
