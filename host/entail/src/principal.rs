//! Who makes a request, and what it may do.
//!
//! There is one principal for now, the owner of the home, who may do everything: anybody who
//! can read the identity needs no permission from a program. Every call takes a principal
//! anyway, so that others can be added without a change of signatures.

use std::fmt;

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// The owner of the home.
    LocalOwner,
}

/// In canonical form, as policies and logs see it: `local:owner`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::LocalOwner => f.write_str("local:owner"),
        }
    }
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
    /// Rotate keys, change recipients and policies, verify and back up the store.
    Administer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_has_the_name_that_policies_and_logs_see() {
        assert_eq!(Principal::LocalOwner.to_string(), "local:owner");
    }
}
