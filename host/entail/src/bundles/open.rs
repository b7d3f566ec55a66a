//! Opens the secret of a grant on a bundle.

use entail_bundle::{Frame, SealedLease};
use entail_store::{Fields, KeyError, SealContext, SealError, Secret, open_sealed, recipients_of};

use crate::error::Error;

/// The age recipients of identities, in the format of the age tools.
///
/// # Errors
///
/// [`Error::Keys`] if they are malformed.
pub fn bundle_recipients(identities: &Secret) -> Result<Vec<String>, Error> {
    Ok(recipients_of(identities)?)
}

/// Opens the secret of a grant, and checks that it was sealed for what the bundle says.
///
/// # Errors
///
/// [`Error::Keys`] if the identities are malformed; [`Error::Sealed`].
pub fn open_bundle_lease(lease: &SealedLease<'_>, identities: &Secret) -> Result<Fields, Error> {
    let frame = &lease.secret.frame;
    let failed = |error: SealError| Error::Sealed {
        scope: frame.scope.clone(),
        credential: format!("{}/{}", frame.provider, lease.name),
        error,
    };
    let context = context_of(frame).ok_or_else(|| failed(SealError::Damaged))?;
    let opened: Result<_, KeyError> = open_sealed(identities, &lease.sealed, &context);
    opened?.map_err(failed)
}

fn context_of(frame: &Frame) -> Option<SealContext> {
    Some(SealContext {
        store: frame.store.parse().ok()?,
        scope: frame.scope.to_string(),
        credential: frame.credential.clone(),
        version: frame.version,
        provider: frame.provider.clone(),
        mode: frame.mode.clone(),
        hosts: frame.hosts.clone(),
        destination: frame.destination.parse().ok()?,
        epoch: frame.epoch,
        fields: frame.fields.clone(),
    })
}
