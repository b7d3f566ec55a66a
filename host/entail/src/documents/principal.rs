//! Who the principals in the journal are.
//!
//! A change record contains a random id in place of the principal, and a document says who that
//! is. Its removal erases the name, while the journal stays as it was signed. The digest
//! of the document remains in the journal; the document contains a random salt, so that nobody
//! can confirm a guess of the name with it.
//!
//! The name of a document is the id. A signer that is limited to some scopes writes only below
//! these, so the name is then its first scope, `/` and the id.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use entail_store::{DocumentKey, RandomId};
use serde::{Deserialize, Serialize};

use crate::principal::{Principal, PrincipalKind};

/// The kind of the documents of principals.
pub(crate) const PRINCIPAL_KIND: &str = "principal";

/// The document of a principal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrincipalDocument {
    /// Makes the digest of the document unpredictable.
    salt: RandomId,
    kind: PrincipalKind,
    issuer: String,
    subject: String,
}

impl PrincipalDocument {
    pub(super) fn new(principal: &Principal, salt: RandomId) -> Self {
        PrincipalDocument {
            salt,
            kind: principal.kind(),
            issuer: principal.issuer().to_owned(),
            subject: principal.subject().to_owned(),
        }
    }

    pub(super) fn principal(&self) -> Option<Principal> {
        Principal::new(self.kind, &self.issuer, &self.subject).ok()
    }
}

/// The id in the name of a principal's document.
pub(super) fn id_of(key: &DocumentKey) -> Option<RandomId> {
    key.name.rsplit('/').next()?.parse().ok()
}

/// Whether a document of this kind has the form that this version knows.
pub(crate) fn is_known_form(document: &entail_store::Document) -> bool {
    let body = document.body::<PrincipalDocument>();
    id_of(document.key()).is_some() && body.is_ok_and(|body| body.principal().is_some())
}

/// A principal that this process knows.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: RandomId,
    pub(super) key: DocumentKey,
    /// The document, unless the store had it: then its absence means that it was erased.
    pub(super) new: Option<PrincipalDocument>,
}

/// The principals that this process knows.
#[derive(Default)]
pub(crate) struct KnownPrincipals(Mutex<HashMap<Principal, Known>>);

impl KnownPrincipals {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Principal, Known>> {
        // A panic cannot leave the map inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
