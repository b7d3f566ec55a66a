//! The first step of every call: may the principal do this?

use crate::error::Error;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// Checks that `principal` may do this in `scope`.
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

/// Checks that `principal` may do this in the whole installation.
#[allow(clippy::unnecessary_wraps)] // the owner may; others will not always
pub(crate) fn authorize_whole(principal: &Principal, _action: Action) -> Result<(), Error> {
    match principal {
        Principal::LocalOwner => Ok(()),
    }
}
