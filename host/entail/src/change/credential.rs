//! Changes of a credential that exists: rolling back, removing and restoring it.

use crate::change::context::{Context, Effects};
use crate::credential_ref::CredentialRef;
use crate::documents::scope::{Credential, Scope};
use crate::error::Error;
use crate::urls::unsafe_url;

/// The credential in its scope.
pub(super) fn find<'a>(
    id: &CredentialRef,
    scope: &'a mut Scope,
) -> Result<&'a mut Credential, Error> {
    scope
        .credentials
        .iter_mut()
        .find(|credential| credential.is(&id.provider, &id.name))
        .ok_or_else(|| Error::unknown_credential(id))
}

/// Swaps the version that was retired last with the current one.
pub(super) fn roll_back(
    id: &CredentialRef,
    scope: &mut Scope,
    grace_ms: u64,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Result<(), Error> {
    let credential = find(id, scope)?;
    if credential.retired.is_empty() {
        return Err(Error::Invalid(format!(
            "{} {} {} has no earlier version: it was never rotated, or the grace period is over",
            id.scope, id.provider, id.name
        )));
    }
    let restored = credential.retired.remove(0);
    let replaced = std::mem::replace(&mut credential.version, restored.version);
    let expires_at_ms =
        std::mem::replace(&mut credential.rules.expires_at_ms, restored.expires_at_ms);
    // Plain HTTP was allowed when that version was set.
    credential.rules.unsafe_http = unsafe_url(&credential.version.parameters).is_some();
    effects.retire(credential, replaced, expires_at_ms, grace_ms, context);
    effects.applied.version = Some(credential.version.number);
    Ok(())
}

/// Removes the credential; it can be restored during the grace period.
pub(super) fn remove(
    id: &CredentialRef,
    scope: &mut Scope,
    grace_ms: u64,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Result<(), Error> {
    let mut credentials = scope.credentials.iter();
    let position = credentials
        .position(|credential| credential.is(&id.provider, &id.name))
        .ok_or_else(|| Error::unknown_credential(id))?;
    let grace = effects.grace(grace_ms, context);
    effects.applied.retired_until_ms = scope.remove(
        position,
        grace,
        &mut effects.remove_blobs,
        &mut effects.applied.notes,
    );
    Ok(())
}

/// Restores the credential with this name that was removed last.
pub(super) fn restore(
    id: &CredentialRef,
    scope: &mut Scope,
    effects: &mut Effects,
) -> Result<(), Error> {
    if scope.credential(&id.provider, &id.name).is_some() {
        return Err(Error::Invalid(format!(
            "{} has a credential {} for {}, so the one that was removed cannot be restored \
             under that name",
            id.scope, id.name, id.provider
        )));
    }
    scope.check_room(&id.scope)?;
    let mut removed = scope.removed.iter();
    let position = removed
        .position(|removed| removed.credential.is(&id.provider, &id.name))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "{} has no removed credential {} for {}: none was removed, or the time to \
                 restore it is over",
                id.scope, id.name, id.provider
            ))
        })?;
    let credential = scope.removed.remove(position).credential;
    effects.applied.version = Some(credential.version.number);
    scope.credentials.push(credential);
    Ok(())
}
