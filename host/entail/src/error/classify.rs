//! The kind, the code and the hints of each error.

use entail_bundle::BundleError;
use entail_policy::BadSettings;
use entail_store::{
    AnchorError, Fault, KeyError, ProposalError, RecipientError, SealError, ShareError,
};

use crate::error::Error;
use crate::error::hint::Hint;

/// The code of what a newer version of this program wrote.
const NEWER_VERSION: &str = "newer-version";

/// The kinds of error that callers treat differently: by exit status, by HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The policy refused.
    Refused,
    /// The principal is not authorized.
    NotAuthorized,
    /// The policy failed: trap, deadline, memory, bad output.
    PolicyFailed,
    /// The guard rejected the policy's decision.
    GuardViolated,
    /// The store is unavailable.
    Unavailable,
    /// The store was tampered with.
    Tampered,
    /// Keys are missing, locked, or do not fit; or the secret is bound to other hosts.
    Sealed,
    /// The decision cannot be recorded.
    NotRecorded,
    /// Something that was named does not exist.
    NotFound,
    /// The input is invalid.
    Invalid,
    /// A file that was named cannot be read or written.
    Io,
}

impl ErrorKind {
    /// Its stable name, in kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Refused => "refused",
            ErrorKind::NotAuthorized => "not-authorized",
            ErrorKind::PolicyFailed => "policy-failed",
            ErrorKind::GuardViolated => "guard-violated",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Tampered => "tampered",
            ErrorKind::Sealed => "sealed",
            ErrorKind::NotRecorded => "not-recorded",
            ErrorKind::NotFound => "not-found",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Io => "io",
        }
    }
}

/// The kind of an error of a bundle.
fn of_bundle(error: &BundleError) -> ErrorKind {
    match error {
        BundleError::UntrustedSigner(_)
        | BundleError::InvalidSignature
        | BundleError::OtherStore
        | BundleError::OtherOrganization(_)
        | BundleError::Outdated { .. }
        | BundleError::ChangedBlob(_) => ErrorKind::Tampered,
        BundleError::Newer | BundleError::Expired { .. } | BundleError::NotYetValid { .. } => {
            ErrorKind::Unavailable
        }
        BundleError::OtherPolicy(_) | BundleError::PolicyFailed(_) => ErrorKind::PolicyFailed,
        BundleError::GuardViolated(_) => ErrorKind::GuardViolated,
        BundleError::UnknownScope { .. } | BundleError::UnknownProvider { .. } => {
            ErrorKind::NotFound
        }
        _ => ErrorKind::Invalid,
    }
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Bundle(error) => of_bundle(error),
            Error::Refused { .. } => ErrorKind::Refused,
            Error::Withheld { kind, .. } => *kind,
            Error::NotAuthorized { .. } => ErrorKind::NotAuthorized,
            Error::PolicyFailed(_)
            | Error::Engine(_)
            | Error::Rejected(_)
            | Error::PolicyUnready(_)
            | Error::BadSettings(
                BadSettings::Failed(_)
                | BadSettings::Schema(_)
                | BadSettings::Engine(_)
                | BadSettings::CompilerDisabled(_),
            ) => ErrorKind::PolicyFailed,
            Error::GuardViolated(_) => ErrorKind::GuardViolated,
            Error::Tampered(fault) if fault.fault() == Fault::Newer => ErrorKind::Unavailable,
            // No authorized writer stores a secret that is damaged or out of place.
            Error::Tampered(_)
            | Error::Untrusted { .. }
            | Error::Proposal(ProposalError::Untrusted(_) | ProposalError::Changed)
            | Error::Sealed {
                error: SealError::Damaged | SealError::Misplaced(_),
                ..
            }
            | Error::Anchor(AnchorError::Missing(_) | AnchorError::Malformed(_)) => {
                ErrorKind::Tampered
            }
            Error::Unavailable(_)
            | Error::Proposal(ProposalError::Newer)
            | Error::RestoredElsewhere { .. }
            | Error::DatabaseMissing(_)
            | Error::NotFresh { .. }
            | Error::Contended
            | Error::Home(_)
            | Error::NotAHome(_)
            | Error::Anchor(_)
            | Error::NotAnchored(_) => ErrorKind::Unavailable,
            Error::Keys(_)
            | Error::OwnersRequired(_)
            | Error::Sealed { .. }
            | Error::HostNotBound { .. }
            | Error::NotARecipient { .. } => ErrorKind::Sealed,
            Error::NotRecorded { .. } => ErrorKind::NotRecorded,
            Error::Unreadable { .. } | Error::Proposal(ProposalError::File(_)) => ErrorKind::Io,
            Error::UnknownScope(_)
            | Error::UnknownProvider(_)
            | Error::UnknownCredential { .. }
            | Error::UnknownPrincipal(_)
            | Error::UnknownPolicy(_) => ErrorKind::NotFound,
            Error::ScopeExists(_)
            | Error::HasProjects { .. }
            | Error::Invalid(_)
            | Error::InvalidValue(_)
            | Error::InvalidName(_)
            | Error::OtherHost { .. }
            | Error::DestinationSealed { .. }
            | Error::NoMode { .. }
            | Error::KeptAndGranted(_)
            | Error::NoPreviousPolicy(_)
            | Error::PolicyInUse { .. }
            | Error::UnknownPolicyName(_)
            | Error::AmbiguousPolicyName(_)
            | Error::UnknownRecipient(_)
            | Error::UnknownSigner(_)
            | Error::SignerExists(_)
            | Error::UnknownOwner(_)
            | Error::OwnerExists(_)
            | Error::OwnersOutOfRange { .. }
            | Error::Proposal(_)
            | Error::OwnSigner
            | Error::OwnRecipient
            | Error::RecoveryKeyRequired
            | Error::UnknownMode(_)
            | Error::Recipient(_)
            | Error::BadSettings(_)
            | Error::Compose(_)
            | Error::InvalidSettings(_)
            | Error::InvalidProviders(_) => ErrorKind::Invalid,
        }
    }

    /// Its stable code, in kebab-case: finer than its [kind](Error::kind).
    pub fn code(&self) -> &'static str {
        match self {
            Error::Bundle(error) => error.code(),
            Error::Refused { .. } => "refused",
            Error::Withheld { code, .. } => code,
            Error::NotAuthorized { .. } => "not-authorized",
            Error::PolicyFailed(_) => "policy-failed",
            Error::GuardViolated(_) => "guard-violated",
            Error::Tampered(fault) if fault.fault() == Fault::Newer => NEWER_VERSION,
            Error::Anchor(AnchorError::Newer(_))
            | Error::Keys(KeyError::NewerKeyring | KeyError::Share(ShareError::Newer(_))) => {
                NEWER_VERSION
            }
            Error::Tampered(_) => "tampered",
            Error::RestoredElsewhere { .. } => "restored-elsewhere",
            Error::Untrusted { .. } => "untrusted",
            Error::Anchor(AnchorError::Missing(_)) => "anchor-missing",
            Error::Anchor(_) => "anchor-failed",
            Error::NotAnchored(_) => "not-anchored",
            Error::Recipient(_) => "invalid-recipient",
            Error::UnknownRecipient(_) => "unknown-recipient",
            Error::UnknownSigner(_) => "unknown-signer",
            Error::SignerExists(_) => "signer-exists",
            Error::UnknownOwner(_) => "unknown-owner",
            Error::OwnerExists(_) => "owner-exists",
            Error::OwnersOutOfRange { .. } => "owners-out-of-range",
            Error::OwnersRequired(_) => "owners-required",
            Error::Proposal(ProposalError::Newer) => NEWER_VERSION,
            Error::Proposal(ProposalError::Untrusted(_) | ProposalError::Changed) => {
                "untrusted-proposal"
            }
            Error::Proposal(ProposalError::Outdated) => "outdated-proposal",
            Error::Proposal(_) => "invalid-proposal",
            Error::OwnSigner => "own-signer",
            Error::OwnRecipient => "own-recipient",
            Error::NotARecipient { .. } => "not-a-recipient",
            Error::RecoveryKeyRequired => "recovery-key-required",
            Error::Unavailable(_) => "unavailable",
            Error::DatabaseMissing(_) => "database-missing",
            Error::NotFresh { .. } => "not-fresh",
            Error::Contended => "contended",
            Error::Keys(KeyError::NoIdentity) => "no-identity",
            Error::Keys(KeyError::Locked) => "identity-locked",
            Error::Keys(KeyError::WrongPassphrase) => "wrong-passphrase",
            Error::Keys(KeyError::NoSigner) => "no-signer",
            Error::Keys(KeyError::NoOwner) => "no-owner",
            Error::Keys(KeyError::Service(_)) => "key-program-failed",
            Error::Keys(_) => "keys-failed",
            Error::Sealed { .. } => "sealed",
            Error::HostNotBound { .. } => "host-not-bound",
            Error::NotRecorded { .. } => "not-recorded",
            Error::UnknownScope(_) => "unknown-scope",
            Error::UnknownProvider(_) => "unknown-provider",
            Error::UnknownMode(_) => "unknown-mode",
            Error::NoMode { .. } => "no-mode",
            Error::UnknownCredential { .. } => "unknown-credential",
            Error::UnknownPrincipal(_) => "unknown-principal",
            Error::ScopeExists(_) => "scope-exists",
            Error::HasProjects { .. } => "has-projects",
            Error::Invalid(_) => "invalid",
            Error::InvalidValue(_) => "invalid-value",
            Error::InvalidName(_) => "invalid-name",
            Error::OtherHost { .. } => "other-host",
            Error::DestinationSealed { .. } => "destination-sealed",
            Error::KeptAndGranted(_) => "kept-and-granted",
            Error::Unreadable { .. } => "unreadable-file",
            Error::InvalidSettings(_) => "invalid-settings",
            Error::InvalidProviders(_) => "invalid-providers",
            Error::Home(_) => "home-failed",
            Error::NotAHome(_) => "not-a-home",
            Error::Engine(_) => "engine-failed",
            Error::Rejected(_) => "policy-rejected",
            Error::PolicyUnready(_) => "policy-unready",
            Error::BadSettings(_) => "bad-policy-settings",
            Error::Compose(_) => "composition-failed",
            Error::UnknownPolicy(_) => "unknown-policy",
            Error::NoPreviousPolicy(_) => "no-previous-policy",
            Error::PolicyInUse { .. } => "policy-in-use",
            Error::UnknownPolicyName(_) => "unknown-policy-name",
            Error::AmbiguousPolicyName(_) => "ambiguous-policy-name",
        }
    }

    /// What would help; empty if nothing in particular does. The hints of a refusal
    /// need its facts: see [`Explanation::hints`](crate::Explanation::hints).
    pub fn hints(&self) -> Vec<Hint> {
        let hint = match self {
            Error::UnknownScope(_) => Hint::ListScopes,
            Error::UnknownCredential { scope, .. } => Hint::ListCredentials {
                scope: scope.clone(),
            },
            Error::PolicyFailed(_) | Error::GuardViolated(_) | Error::PolicyUnready(_) => {
                Hint::CheckPolicy { organization: None }
            }
            Error::Tampered(fault) if fault.fault() == Fault::Newer => return Vec::new(),
            Error::Tampered(_) => Hint::VerifyStore,
            Error::Anchor(
                AnchorError::Missing(_) | AnchorError::Malformed(_) | AnchorError::OtherStore(_),
            ) => Hint::AcceptRollback,
            Error::RestoredElsewhere { .. } => Hint::AcceptRestore,
            Error::Untrusted { owners, .. } if !owners.is_empty() => Hint::TrustOwners {
                owners: owners.clone(),
            },
            Error::UnknownRecipient(_)
            | Error::UnknownSigner(_)
            | Error::SignerExists(_)
            | Error::UnknownOwner(_)
            | Error::OwnerExists(_)
            | Error::Proposal(ProposalError::NotAnOwner)
            | Error::Recipient(
                RecipientError::Duplicate(_)
                | RecipientError::Ambiguous(_)
                | RecipientError::Last
                | RecipientError::TooMany,
            ) => Hint::ListKeys,
            Error::NotARecipient { recipient } => Hint::AddOwnRecipient {
                recipient: recipient.clone(),
                organization: None,
            },
            Error::OwnersRequired(_) => Hint::CollectSignatures,
            Error::Proposal(ProposalError::Outdated) => Hint::MakeChangeAgain,
            Error::Proposal(ProposalError::IsRestore) => Hint::ApplyRestore,
            Error::OwnersOutOfRange { owners, .. } if *owners > 0 => {
                Hint::ChooseRequiredOwners { owners: *owners }
            }
            Error::OwnSigner => Hint::RotateSigner,
            Error::OwnRecipient => Hint::RotateIdentity,
            Error::RecoveryKeyRequired => Hint::SupplyRecoveryKey,
            Error::DatabaseMissing(_) => Hint::RestoreBackup,
            Error::NotFresh { .. } => Hint::SendHeartbeat,
            Error::Keys(KeyError::NoIdentity) => Hint::SupplyIdentity,
            Error::Keys(KeyError::Locked) => Hint::UnlockIdentity,
            Error::Keys(KeyError::Service(_)) => Hint::CheckKeyProgram,
            Error::NoMode { modes, .. } => Hint::ChooseMode {
                modes: modes.clone(),
            },
            Error::KeptAndGranted(provider) => Hint::NameProviders {
                without: provider.clone(),
            },
            Error::NotAHome(directory) => Hint::CreateHome {
                directory: directory.clone(),
            },
            Error::PolicyInUse {
                organization,
                is_shadow: true,
                ..
            } => Hint::EndShadow {
                organization: organization.clone(),
            },
            Error::PolicyInUse { organization, .. } => Hint::ActivatePolicy {
                organization: organization.clone(),
            },
            Error::UnknownPolicyName(_) | Error::AmbiguousPolicyName(_) => Hint::ListPolicies,
            Error::OtherHost { .. } | Error::DestinationSealed { .. } => Hint::EnterSecretAgain,
            Error::NoPreviousPolicy(organization) => {
                let organization = organization.clone();
                return vec![Hint::ListPolicies, Hint::ActivatePolicy { organization }];
            }
            Error::InvalidValue(error) => return error.hint().cloned().into_iter().collect(),
            _ => return Vec::new(),
        };
        vec![hint]
    }
}
