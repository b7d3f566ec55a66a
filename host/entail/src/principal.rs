//! Who asks, and what they may do.
//!
//! For now there is one principal, the owner of the home that the keys lie in,
//! who may do everything: whoever can read the identity needs no permission of
//! a program. The parameter is there on every call so that others can join
//! without a change of shape.

use std::fmt;

use crate::error::Error;
use entail_decision::name::ScopePath;

/// Who asks.
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

/// What somebody wants to do in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// See metadata.
    View,
    /// Be handed a credential.
    Resolve,
    /// Change what is there.
    Change,
    /// Renew keys, say who secrets are sealed to, look at the whole store, copy it.
    Administer,
}

/// The same for what concerns no one scope.
#[allow(clippy::unnecessary_wraps)] // the owner may; others will not always
pub(crate) fn authorize_whole(principal: &Principal, _action: Action) -> Result<(), Error> {
    match principal {
        Principal::LocalOwner => Ok(()),
    }
}

/// The first step of every call: may this principal do this in this scope at
/// all?
#[allow(clippy::unnecessary_wraps)] // the owner may; others will not always
pub(crate) fn authorize(
    principal: &Principal,
    _action: Action,
    _scope: &ScopePath,
) -> Result<(), Error> {
    match principal {
        Principal::LocalOwner => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_named_as_policies_and_logs_see_it() {
        assert_eq!(Principal::LocalOwner.to_string(), "local:owner");
    }
}
