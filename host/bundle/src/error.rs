//! Why a bundle resolves nothing.

use entail_decision::guard::Violation;
use entail_decision::name::{ProviderId, ScopePath};
use entail_text::ForeignText;
use serde_json::error::Category;

/// Why a bundle resolves nothing. No message contains text of the bundle that is not sanitized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bundle, or a part of it, is larger than allowed.
    #[error("the {what} has more than {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, with its unit.
        max: String,
    },
    /// It is not a bundle.
    #[error("the bundle is malformed: {0}")]
    Malformed(String),
    /// A newer version wrote it.
    #[error("the bundle was made by a newer version of Entail, which is needed to read it")]
    Newer,
    /// No key that is trusted signed it.
    #[error("the bundle is signed by {0}, which is not trusted")]
    UntrustedSigner(String),
    /// A signature is invalid.
    #[error("the signature of the bundle is invalid")]
    InvalidSignature,
    /// It is of another store.
    #[error("the bundle is of another store")]
    OtherStore,
    /// It is of another organization.
    #[error("the bundle is of the organization {0}")]
    OtherOrganization(ScopePath),
    /// Its time is over.
    #[error("the bundle has expired; a new one is needed")]
    Expired {
        /// When, in milliseconds since 1970-01-01T00:00:00Z.
        expires_at_ms: u64,
    },
    /// The clock is before the time at which it was made.
    #[error("the bundle was made later than the clock says it is")]
    NotYetValid {
        /// When it was made, in milliseconds since 1970-01-01T00:00:00Z.
        issued_at_ms: u64,
    },
    /// A newer one was accepted before.
    #[error(
        "the bundle is of revision {found}, and at least {required} is required: a newer one was \
         made"
    )]
    Outdated {
        /// Its revision.
        found: u64,
        /// The lowest revision that is accepted.
        required: u64,
    },
    /// Another policy decides for it than the one that is here.
    #[error("the policy {0} decides for the bundle, and it is not here")]
    OtherPolicy(String),
    /// A blob has another digest than its name.
    #[error("the sealed secret {0} was changed")]
    ChangedBlob(String),
    /// The request is malformed.
    #[error("the request is invalid: {0}")]
    InvalidRequest(String),
    /// It contains no facts of the scope.
    #[error("the bundle is not for {scope}, only for {known}")]
    UnknownScope {
        /// The scope.
        scope: ScopePath,
        /// Some of those that it is for.
        known: String,
    },
    /// It contains no facts of the provider.
    #[error("the bundle contains nothing for {provider}, only for {known}")]
    UnknownProvider {
        /// The provider.
        provider: ProviderId,
        /// Some of those that it contains facts of.
        known: String,
    },
    /// The policy made no decision.
    #[error("the policy failed, so nothing is granted: {}", .0.shown())]
    PolicyFailed(ForeignText),
    /// The policy chose a credential that it may not choose.
    #[error("the policy's choice is not allowed, so nothing is granted: {0}")]
    GuardViolated(Violation),
}

impl BundleError {
    /// Its code, which stays the same: `expired`.
    pub fn code(&self) -> &'static str {
        match self {
            BundleError::TooLarge { .. } => "too-large",
            BundleError::Malformed(_) => "malformed",
            BundleError::Newer => "newer-version",
            BundleError::UntrustedSigner(_) => "untrusted-signer",
            BundleError::InvalidSignature => "invalid-signature",
            BundleError::OtherStore => "other-store",
            BundleError::OtherOrganization(_) => "other-organization",
            BundleError::Expired { .. } => "expired",
            BundleError::NotYetValid { .. } => "not-yet-valid",
            BundleError::Outdated { .. } => "outdated",
            BundleError::OtherPolicy(_) => "other-policy",
            BundleError::ChangedBlob(_) => "changed-blob",
            BundleError::InvalidRequest(_) => "invalid-request",
            BundleError::UnknownScope { .. } => "unknown-scope",
            BundleError::UnknownProvider { .. } => "unknown-provider",
            BundleError::PolicyFailed(_) => "policy-failed",
            BundleError::GuardViolated(_) => "guard-violated",
        }
    }
}

/// The error that something in the bundle is malformed.
pub(crate) fn malformed(reason: impl ToString) -> BundleError {
    BundleError::Malformed(entail_text::sanitize(&reason.to_string()).into_owned())
}

/// Where JSON is not what is expected, without what is there: it may be a key in the wrong place.
pub(crate) fn place_of(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Data => "is not what it should be",
        Category::Syntax | Category::Eof | Category::Io => "is not JSON",
    };
    let message = error.to_string();
    // The name is one of this form.
    if let Some(rest) = message.strip_prefix("missing field `")
        && let Some((name, _)) = rest.split_once('`')
    {
        return format!("the object that ends at line {line}, column {column} lacks {name}");
    }
    if line == 0 {
        return format!("a member {what}");
    }
    format!("line {line}, column {column} {what}")
}

/// The error that JSON of the bundle is malformed.
pub(crate) fn not_the_form(error: serde_json::Error) -> BundleError {
    malformed(place_of(&error))
}
