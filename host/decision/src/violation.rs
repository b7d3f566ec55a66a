//! A decision that grants more than the facts allow.

use entail_text::Shown;

/// A grant that the facts do not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {}", .kind.text())]
pub struct Violation {
    /// The id of a credential, or a model: text of the policy, sanitized.
    subject: String,
    kind: ViolationKind,
}

impl Violation {
    pub(crate) fn new(subject: &str, kind: ViolationKind) -> Self {
        let subject = Shown::of(subject).to_string();
        Violation { subject, kind }
    }

    /// A stable code for the reason. Where a finding of the default policy means the same, it
    /// has that finding's code:
    ///
    /// | code | the policy granted |
    /// |---|---|
    /// | `wrong-model` | another model than the effective one |
    /// | `duplicate` | a credential twice |
    /// | `unknown-credential` | a credential that is not in the facts |
    /// | `ambiguous-credential` | an id that several credentials have |
    /// | `organization-credential-required` | a credential, although a mandatory one is not reachable |
    /// | `not-opted-in` | a credential of a scope that is not reachable |
    /// | `not-shared` | a credential that is not shared with the requesting scope |
    /// | `override-forbidden` | a credential that a mandatory one overrides |
    /// | `name-mismatch` | another credential than the request names |
    /// | `outside-search` | a credential above the scope that ends the search |
    /// | `disabled`, `unreadable`, `expired` | an unusable credential |
    /// | `model-not-allowed` | a credential that does not allow the model, or needs one |
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// The reason for a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViolationKind {
    WrongModel,
    Duplicate,
    UnknownCredential,
    AmbiguousCredential,
    MandatoryNotReachable,
    NotOptedIn,
    NotShared,
    OverrideForbidden,
    NameMismatch,
    OutsideSearch,
    Disabled,
    Unreadable,
    Expired,
    ModelNotAllowed,
}

impl ViolationKind {
    pub(crate) fn code(self) -> &'static str {
        match self {
            ViolationKind::WrongModel => "wrong-model",
            ViolationKind::Duplicate => "duplicate",
            ViolationKind::UnknownCredential => "unknown-credential",
            ViolationKind::AmbiguousCredential => "ambiguous-credential",
            ViolationKind::MandatoryNotReachable => "organization-credential-required",
            ViolationKind::NotOptedIn => "not-opted-in",
            ViolationKind::NotShared => "not-shared",
            ViolationKind::OverrideForbidden => "override-forbidden",
            ViolationKind::NameMismatch => "name-mismatch",
            ViolationKind::OutsideSearch => "outside-search",
            ViolationKind::Disabled => "disabled",
            ViolationKind::Unreadable => "unreadable",
            ViolationKind::Expired => "expired",
            ViolationKind::ModelNotAllowed => "model-not-allowed",
        }
    }

    /// The reason, as a sentence whose subject is the credential or the model.
    fn text(self) -> &'static str {
        match self {
            ViolationKind::WrongModel => "is not the effective model",
            ViolationKind::Duplicate => "is named twice",
            ViolationKind::UnknownCredential => "was not offered",
            ViolationKind::AmbiguousCredential => "is the id of several credentials",
            ViolationKind::MandatoryNotReachable => {
                "is granted although a mandatory credential is beyond a scope that has not opted in"
            }
            ViolationKind::NotOptedIn => "is beyond a scope that has not opted in",
            ViolationKind::NotShared => "is not shared with the requesting scope",
            ViolationKind::OverrideForbidden => "is overridden by a mandatory credential",
            ViolationKind::NameMismatch => "is not the credential that the request names",
            ViolationKind::OutsideSearch => {
                "is above a scope that has its own credentials and does not fall back"
            }
            ViolationKind::Disabled => "is disabled",
            ViolationKind::Unreadable => "cannot be read",
            ViolationKind::Expired => "has expired",
            ViolationKind::ModelNotAllowed => "does not allow the model",
        }
    }
}
