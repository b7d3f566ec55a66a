//! Who makes a request, and what it wants to do.
//!
//! A principal has a kind, which decides what it may do, an issuer, which vouches for it, and
//! a subject, which identifies it there. Policies see it as text, and so does
//! everything else that names one: `kind:subject`, or `kind:issuer:subject` if the issuer is
//! not the home itself. In issuer and subject, each byte other than `A-Z`, `a-z`, `0-9` and
//! `-._~/@+` is written as `%` and two upper-case hexadecimal digits. So there is one text
//! for each principal, and it is plain.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use entail_decision::name::{ScopePath, quoted};
use entail_store::RandomId;

/// The longest issuer and the longest subject, in bytes: an e-mail address has at most 254.
const MAX_BYTES: usize = 256;

/// What sort of principal it is: that decides what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person on the machine of the home, who may do everything: anybody who can read the
    /// identity needs no permission from a program.
    Local,
    /// The code of a project. It may resolve and view its scope and those below it, and
    /// nothing else. Its subject is the path of the scope.
    Project,
}

impl PrincipalKind {
    /// Its name, with which the text of a principal begins.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::Local => "local",
            PrincipalKind::Project => "project",
        }
    }

    /// The kind with a name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let all = [PrincipalKind::Local, PrincipalKind::Project];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Who makes a request.
///
/// ```
/// use entail::Principal;
///
/// let evals: Principal = "project:acme/evals".parse()?;
/// assert_eq!(evals, Principal::project(&"acme/evals".parse()?));
/// assert_eq!(Principal::LocalOwner.to_string(), "local:owner");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    kind: PrincipalKind,
    issuer: Cow<'static, str>,
    subject: Cow<'static, str>,
}

impl Principal {
    /// The owner of the home: `local:owner`.
    #[allow(non_upper_case_globals)] // reads like the value of an enum
    pub const LocalOwner: Principal = Principal {
        kind: PrincipalKind::Local,
        issuer: Cow::Borrowed(""),
        subject: Cow::Borrowed("owner"),
    };

    /// A principal that `issuer` vouches for. An empty issuer is the home itself.
    ///
    /// # Errors
    ///
    /// If the subject is empty, one of the texts has more than 256 bytes, or the
    /// subject of a project is not the path of a scope.
    pub fn new(kind: PrincipalKind, issuer: &str, subject: &str) -> Result<Self, InvalidPrincipal> {
        let is_scope = || subject.parse::<ScopePath>().is_ok();
        if subject.is_empty()
            || subject.len().max(issuer.len()) > MAX_BYTES
            || kind == PrincipalKind::Project && !is_scope()
        {
            return Err(InvalidPrincipal(encode(subject)));
        }
        Ok(Principal {
            kind,
            issuer: Cow::Owned(issuer.to_owned()),
            subject: Cow::Owned(subject.to_owned()),
        })
    }

    /// The code of a project.
    pub fn project(scope: &ScopePath) -> Self {
        Principal {
            kind: PrincipalKind::Project,
            issuer: Cow::Borrowed(""),
            subject: Cow::Owned(scope.to_string()),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Who vouches for it; empty if that is the home itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What identifies it to its issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether its own scopes include `scope`. All are those of a local principal.
    pub(crate) fn holds(&self, scope: &str) -> bool {
        match self.kind {
            PrincipalKind::Local => true,
            PrincipalKind::Project => {
                let below = scope.strip_prefix(&*self.subject);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            }
        }
    }
}

/// In canonical form, as policies and logs see it: `local:owner`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if !self.issuer.is_empty() {
            write!(f, ":{}", encode(&self.issuer))?;
        }
        write!(f, ":{}", encode(&self.subject))
    }
}

impl FromStr for Principal {
    type Err = InvalidPrincipal;

    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        let invalid = || InvalidPrincipal(text.to_owned());
        let mut parts = text.split(':');
        let kind = parts.next().and_then(PrincipalKind::find);
        let kind = kind.ok_or_else(invalid)?;
        let (issuer, subject) = match (parts.next(), parts.next(), parts.next()) {
            (Some(subject), None, None) => (String::new(), decode(subject)),
            (Some(issuer), Some(subject), None) => {
                (decode(issuer).ok_or_else(invalid)?, decode(subject))
            }
            _ => return Err(invalid()),
        };
        let principal = Principal::new(kind, &issuer, &subject.ok_or_else(invalid)?)?;
        // Each principal has one text.
        if principal.to_string() == text {
            Ok(principal)
        } else {
            Err(invalid())
        }
    }
}

/// A text is not a principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a principal: it is local:NAME, or project:SCOPE", quoted(.0))]
pub struct InvalidPrincipal(String);

/// Which principal is meant: by its text, or by an id that it has in the journal or in the
/// decision log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalRef {
    /// The one with this id.
    Id(RandomId),
    /// This one.
    Principal(Principal),
}

impl fmt::Display for PrincipalRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrincipalRef::Id(id) => id.fmt(f),
            PrincipalRef::Principal(principal) => principal.fmt(f),
        }
    }
}

impl FromStr for PrincipalRef {
    type Err = InvalidPrincipalRef;

    fn from_str(text: &str) -> Result<Self, InvalidPrincipalRef> {
        if let Ok(id) = text.parse() {
            return Ok(PrincipalRef::Id(id));
        }
        let principal = text.parse().map(PrincipalRef::Principal);
        principal.map_err(|_| InvalidPrincipalRef)
    }
}

/// A text is neither an id nor a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is neither an id (32 lower-case hexadecimal digits) nor a principal (local:NAME, project:SCOPE)"
)]
pub struct InvalidPrincipalRef;

impl PrincipalRef {
    /// The principal that is meant, given who some ids are.
    pub fn find(&self, known: &BTreeMap<RandomId, Principal>) -> Option<Principal> {
        match self {
            PrincipalRef::Id(id) => known.get(id).cloned(),
            PrincipalRef::Principal(principal) => Some(principal.clone()),
        }
    }
}

/// A part of the text of a principal.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b'@'
            | b'+' => encoded.push(char::from(byte)),
            _ => {
                // Writing to a text does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).ok()
}

/// What a principal wants to do in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Read metadata.
    View,
    /// Resolve a credential.
    Resolve,
    /// Change credentials, inheritance and models.
    Change,
    /// Rotate keys, change recipients and policies, read the logs, verify and back up the
    /// store.
    Administer,
}

impl Action {
    /// Its name: `view`.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::View => "view",
            Action::Resolve => "resolve",
            Action::Change => "change",
            Action::Administer => "administer",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_has_the_name_that_policies_and_logs_see() {
        assert_eq!(Principal::LocalOwner.to_string(), "local:owner");
        let evals = Principal::project(&"acme/evals".parse().unwrap());
        assert_eq!(evals.to_string(), "project:acme/evals");
    }

    #[test]
    fn each_principal_has_one_text_which_is_plain() {
        let local = |issuer, subject| Principal::new(PrincipalKind::Local, issuer, subject);
        for (issuer, subject, text) in [
            ("", "owner", "local:owner"),
            ("", "a@example.com", "local:a@example.com"),
            ("", "a:b%c", "local:a%3Ab%25c"),
            ("", "\u{1b}[2K\n", "local:%1B%5B2K%0A"),
            (
                "https://id.example",
                "Zoë",
                "local:https%3A//id.example:Zo%C3%AB",
            ),
        ] {
            let principal = local(issuer, subject).unwrap();
            assert_eq!(principal.to_string(), text);
            assert_eq!(text.parse(), Ok(principal));
        }
        // A colon in an issuer or a subject cannot be confused with the separator.
        assert_ne!(
            local("a", "b").unwrap().to_string(),
            local("", "a:b").unwrap().to_string()
        );
    }

    #[test]
    fn a_text_in_another_form_is_not_a_principal() {
        for text in [
            "",
            "owner",
            "local",
            "local:",
            "Local:owner",
            "other:owner",
            "local::owner",
            "local:a:b:c",
            "local:%6Fwner",
            "local:%3a",
            "local:%3",
            "local:%ZZ",
            "local:%+1",
            "local:%FF",
            "local:a b",
            "local:ë",
            "project:",
            "project:Acme",
            "project:acme//evals",
            "project:acme%2Fevals",
            &format!("local:{}", "x".repeat(257)),
        ] {
            let error = text.parse::<Principal>().unwrap_err().to_string();
            assert!(error.chars().all(entail_text::is_plain), "{error}");
        }
    }

    #[test]
    fn a_project_holds_its_scope_and_those_below_it() {
        let evals = Principal::project(&"acme/evals".parse().unwrap());
        for scope in ["acme/evals", "acme/evals/nightly"] {
            assert!(evals.holds(scope) && Principal::LocalOwner.holds(scope));
        }
        for scope in ["acme", "acme/evalset", "acme/agents", "globex/acme/evals"] {
            assert!(!evals.holds(scope), "{scope}");
            assert!(Principal::LocalOwner.holds(scope), "{scope}");
        }
    }
    #[test]
    fn a_principal_is_meant_by_its_id_or_its_text() {
        let id = "0123456789abcdef0123456789abcdef";
        let meant = |text: &str| text.parse::<PrincipalRef>();
        assert_eq!(meant(id), Ok(PrincipalRef::Id(id.parse().unwrap())));
        let owner = PrincipalRef::Principal(Principal::LocalOwner);
        assert_eq!(meant("local:owner"), Ok(owner.clone()));
        for text in ["", "owner", "unknown:1", &id[1..], &id.to_uppercase()] {
            assert_eq!(meant(text), Err(InvalidPrincipalRef), "{text}");
        }
        assert_eq!(owner.to_string(), "local:owner");
        assert_eq!(meant(id).unwrap().to_string(), id);
    }
}
