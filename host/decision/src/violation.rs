//! A decision that grants more than the facts allow.

use entail_text::Shown;

/// A grant that the facts do not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {}", .breach.text())]
pub struct Violation {
    /// The id of a credential, or a model: text of the policy, sanitized.
    subject: String,
    breach: Breach,
}

impl Violation {
    pub(crate) fn new(subject: &str, breach: Breach) -> Self {
        let subject = Shown::of(subject).to_string();
        Violation { subject, breach }
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
        self.breach.code()
    }
}

/// The reason for a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
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

impl Breach {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Breach::WrongModel => "wrong-model",
            Breach::Duplicate => "duplicate",
            Breach::UnknownCredential => "unknown-credential",
            Breach::AmbiguousCredential => "ambiguous-credential",
            Breach::MandatoryNotReachable => "organization-credential-required",
            Breach::NotOptedIn => "not-opted-in",
            Breach::NotShared => "not-shared",
            Breach::OverrideForbidden => "override-forbidden",
            Breach::NameMismatch => "name-mismatch",
            Breach::OutsideSearch => "outside-search",
            Breach::Disabled => "disabled",
            Breach::Unreadable => "unreadable",
            Breach::Expired => "expired",
            Breach::ModelNotAllowed => "model-not-allowed",
        }
    }

    /// The reason, as a sentence whose subject is the credential or the model.
    fn text(self) -> &'static str {
        match self {
            Breach::WrongModel => "is not the effective model",
            Breach::Duplicate => "is named twice",
            Breach::UnknownCredential => "was not offered",
            Breach::AmbiguousCredential => "is the id of several credentials",
            Breach::MandatoryNotReachable => {
                "is granted although a mandatory credential is beyond a scope that has not opted in"
            }
            Breach::NotOptedIn => "is beyond a scope that has not opted in",
            Breach::NotShared => "is not shared with the requesting scope",
            Breach::OverrideForbidden => "is overridden by a mandatory credential",
            Breach::NameMismatch => "is not the credential that the request names",
            Breach::OutsideSearch => {
                "is above a scope that has its own credentials and does not fall back"
            }
            Breach::Disabled => "is disabled",
            Breach::Unreadable => "cannot be read",
            Breach::Expired => "has expired",
            Breach::ModelNotAllowed => "does not allow the model",
        }
    }
}
