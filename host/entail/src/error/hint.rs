//! What a caller can do about an error or a refusal.
//!
//! The library knows no command line and no page: a command line renders a hint as a
//! command, an HTTP API as a link, a web page as a button.

use std::path::PathBuf;

use serde::Serialize;

use crate::credential_ref::CredentialRef;
use entail_decision::name::{ProviderId, ScopePath};

/// A step that would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "hint",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
#[non_exhaustive]
pub enum Hint {
    // Credentials and inheritance.
    /// Set this credential; there is none yet.
    SetCredential {
        /// The scope that would hold it.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
    },
    /// Let the scope inherit the provider's credentials from its parent.
    OptIn {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
    },
    /// Enable the credential.
    EnableCredential {
        /// Which one.
        credential: CredentialRef,
    },
    /// Replace the secret of the credential.
    RotateCredential {
        /// Which one.
        credential: CredentialRef,
    },
    /// Make the credential no longer mandatory.
    LiftMandatory {
        /// Which one.
        credential: CredentialRef,
    },
    /// Allow more models for the credential.
    AllowModels {
        /// Which one.
        credential: CredentialRef,
    },
    /// Set a default model for the scope.
    SetDefaultModel {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
    },

    // The request.
    /// Name a model in the request.
    NameModel,
    /// Make the request without the name of a credential.
    OmitCredentialName,
    /// Name the providers to grant, and leave out the one whose variables are kept.
    NameProviders {
        /// The provider to leave out.
        without: ProviderId,
    },

    // The input of a change.
    /// Enter the secret field.
    EnterSecret {
        /// The field.
        field: String,
    },
    /// Send a heartbeat from a machine with a signer.
    SendHeartbeat,
    /// Enter the secret again, together with the changed parameters.
    EnterSecretAgain,
    /// Give a value for the public field.
    SetParameter {
        /// The field.
        field: String,
    },
    /// Choose one of the provider's modes.
    ChooseMode {
        /// The modes.
        modes: Vec<String>,
    },
    /// Allow plain HTTP to a trusted private network.
    AllowUnsafeHttp,

    // What exists.
    /// List the scopes.
    ListScopes,
    /// List the credentials of the scope.
    ListCredentials {
        /// The scope.
        scope: ScopePath,
    },
    /// List the installed policies.
    ListPolicies,
    /// List the keys and recipients.
    ListKeys,

    // Policies.
    /// Activate an installed policy.
    ActivatePolicy {
        /// The organization.
        organization: ScopePath,
    },
    /// Stop running the shadow policy.
    EndShadow {
        /// The organization.
        organization: ScopePath,
    },
    /// Check the active policy; the previous one can be reactivated.
    CheckPolicy {
        /// The organization, if the error names one.
        organization: Option<ScopePath>,
    },

    // The home, its keys and its store.
    /// Create a home.
    CreateHome {
        /// Its directory.
        directory: PathBuf,
    },
    /// Unlock the identity with its passphrase.
    UnlockIdentity,
    /// Supply an identity: the machine has none.
    SupplyIdentity,
    /// Renew the identity of this machine.
    RotateIdentity,
    /// Renew the signer of this machine.
    RotateSigner,
    /// Correct the program that has a key, or what it needs.
    CheckKeyProgram,
    /// Let other owners sign the proposal on their machines, and apply it.
    CollectSignatures,
    /// Restore the backup with the signed proposal.
    ApplyRestore,
    /// Give a number of owners that there are.
    ChooseRequiredOwners {
        /// How many there would be.
        owners: usize,
    },
    /// Make the change again, which makes a new proposal.
    MakeChangeAgain,
    /// Let a machine that opens the secrets of the organization add this machine's identity as a
    /// recipient; or supply an identity that is one.
    AddOwnRecipient {
        /// The public key of this machine's identity.
        recipient: String,
        /// The organization; `None` means all.
        organization: Option<String>,
    },
    /// Supply a recovery key that opens the secrets of the backup.
    SupplyRecoveryKey,
    /// Trust the owners of the backup.
    TrustOwners {
        /// The fingerprints of the owners' keys.
        owners: Vec<String>,
    },
    /// Restore the store from a backup.
    RestoreBackup,
    /// Verify the store against its journal.
    VerifyStore,
    /// Accept the state that was restored on another machine; without the owner key, copy the
    /// anchor and the keyring from there.
    AcceptRestore,
    /// Restore the anchor file, or, if the database is known to be right, accept its
    /// state.
    AcceptRollback,
}
