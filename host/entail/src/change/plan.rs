//! Plans a change against one revision of the store, without making it.
//!
//! The same plan is previewed ([`Entail::preview`]) or committed ([`Entail::change`]).

use std::sync::Arc;

use entail_store::{Batch, Document, DocumentKey, Fields, Keyring, Revision};
use serde::de::DeserializeOwned;

use crate::change::{Applied, Change, Context};
use crate::clock::ClockReading;
use crate::credential_ref::CredentialRef;
use crate::documents::encode;
use crate::documents::principal::{PRINCIPAL_KIND, is_known_form};
use crate::documents::retirements::{Retirements, SCHEDULE_KIND, Times, retirements_key};
use crate::documents::scope::{self, SCOPE_KIND, Scope};
use crate::entail::Entail;
use crate::error::Error;
use entail_decision::name::ScopePath;

/// What a change does to the store.
pub(crate) struct Plan {
    /// The revision that it was planned against.
    pub(crate) revision: Revision,
    /// The scope after the change; `None` if the change removes it.
    pub(crate) scope: Option<Arc<Scope>>,
    /// What is written.
    pub(crate) batch: Batch,
    /// What the caller learns of it.
    pub(crate) applied: Applied,
}

/// The documents that a change reads.
struct ChangeInput {
    revision: Revision,
    scope: Option<Scope>,
    retirements: Option<Retirements>,
    keyring: Arc<Keyring>,
    has_parent: bool,
}

impl Entail {
    /// Plans what `change` does to the store at its current revision.
    pub(crate) async fn plan(&self, change: &Change) -> Result<Plan, Error> {
        let path = change.scope();
        let provider = change.provider().map(|id| self.provider(id)).transpose()?;
        let documents = self.read_for_change(change).await?;
        let revision = documents.revision;
        let strays = self.check_relatives(change, documents.has_parent).await?;
        let now = ClockReading::of(&*self.documents.clock);
        let retirements = documents.retirements.as_ref();
        let seen_over = retirements.and_then(|retirements| retirements.seen_over.clone());
        let present_secret = self.present_secret(change, &documents).await?;
        let context = Context {
            times: Times {
                now: &now,
                newest_ms: self.documents.newest_change_ms(revision).await?,
                seen_over: seen_over.as_ref(),
            },
            keyring: &documents.keyring,
            keys: &self.documents.store.keys(),
            provider,
            present_secret,
        };
        let (scope, effects) = change.apply(documents.scope, &context)?;
        let mut batch = Batch {
            keyring: effects.keyring.map(Into::into),
            add_blobs: effects.add_blobs,
            remove_blobs: effects.remove_blobs,
            remove: strays,
            ..Batch::default()
        };
        let due = scope.as_ref().and_then(Scope::first_due);
        match due {
            Some(due_ms) if retirements.is_none_or(|found| found.due_ms != due_ms) => {
                let rescheduled = Retirements { due_ms, seen_over };
                let rescheduled = (retirements_key(path), encode(&rescheduled)?);
                batch.put.push(rescheduled);
            }
            None if retirements.is_some() => batch.remove.push(retirements_key(path)),
            _ => {}
        }
        let key = scope::document_key(path);
        match &scope {
            Some(scope) => batch.put.push((key, encode(scope)?)),
            None => batch.remove.push(key),
        }
        Ok(Plan {
            revision,
            scope: scope.map(Arc::new),
            batch,
            applied: effects.applied,
        })
    }

    /// Opens the secret of a credential if `change` may have to seal it again, for another
    /// destination. `None` if this machine cannot open it.
    async fn present_secret(
        &self,
        change: &Change,
        documents: &ChangeInput,
    ) -> Result<Option<Fields>, Error> {
        let Change::SetCredential(set) = change else {
            return Ok(None);
        };
        let CredentialRef {
            scope: path,
            provider,
            name,
        } = &set.credential;
        let scope = documents.scope.as_ref();
        let credential = scope
            .and_then(|scope| scope.credential(provider, name))
            .filter(|credential| set.may_change_destination(&credential.version));
        let Some(credential) = credential else {
            return Ok(None);
        };
        match self.open_secret(&documents.keyring, path, credential).await {
            Ok(fields) => Ok(Some(fields)),
            Err(Error::Keys(_) | Error::Sealed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_for_change(&self, change: &Change) -> Result<ChangeInput, Error> {
        let path = change.scope();
        // What cannot be read can still be removed.
        let is_removal = matches!(change, Change::RemoveProject { .. });
        // The parent too: a project is added below what exists at this revision.
        let keys: Vec<_> = [scope::document_key(path), retirements_key(path)]
            .into_iter()
            .chain(path.parent().map(|parent| scope::document_key(&parent)))
            .collect();
        let snapshot = self.documents.store.read(&keys).await?;
        let mut documents = snapshot.documents.into_iter();
        let scope = documents.next().flatten();
        let scope = read_or(scope, is_removal.then(Scope::default))?;
        let retirements = documents.next().flatten();
        let retirements = read_or(retirements, is_removal.then(Retirements::default))?;
        Ok(ChangeInput {
            revision: snapshot.revision,
            scope,
            retirements,
            keyring: snapshot.keyring,
            // An organization needs no parent.
            has_parent: documents.next().is_none_or(|parent| parent.is_some()),
        })
    }

    /// Checks that the change fits the scope's parent and children. Returns documents that are
    /// removed together with the scope.
    async fn check_relatives(
        &self,
        change: &Change,
        has_parent: bool,
    ) -> Result<Vec<DocumentKey>, Error> {
        let path = change.scope();
        match (change, path.parent()) {
            (Change::AddScope { .. }, Some(parent)) if !has_parent => {
                Err(Error::UnknownScope(parent))
            }
            (Change::RemoveProject { .. }, _) => self.check_removable(path).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Checks that the scope is a project without projects below it. One that is added
    /// meanwhile makes a newer revision, and the commit a conflict. Returns the documents below it
    /// that are no projects: a signer of this scope alone may have written them.
    async fn check_removable(&self, path: &ScopePath) -> Result<Vec<DocumentKey>, Error> {
        if path.is_organization() {
            return Err(Error::Invalid(format!(
                "{path} is an organization, not a project"
            )));
        }
        let scopes = self.documents.scopes(Some(path)).await?;
        if let Some(below) = scopes.iter().find(|scope| *scope != path) {
            return Err(Error::HasProjects {
                scope: path.clone(),
                below: below.to_string(),
            });
        }
        let store = &self.documents.store;
        let mut strays = Vec::new();
        for kind in [SCOPE_KIND, SCHEDULE_KIND, PRINCIPAL_KIND] {
            let names = store.names(kind, path.as_str(), None, usize::MAX).await?;
            let below = names.into_iter().filter(|name| name != path.as_str());
            strays.extend(below.map(|name| DocumentKey::new(kind, name)));
        }
        let found = store.read(&strays).await?.documents;
        // Principals who can be read keep their names: the journal contains their ids.
        let is_stray = |(key, document): &(DocumentKey, Option<Arc<Document>>)| {
            let is_read = document
                .as_ref()
                .is_some_and(|document| is_known_form(document));
            key.kind != PRINCIPAL_KIND || !is_read
        };
        let strays = strays.into_iter().zip(found).filter(is_stray);
        Ok(strays.map(|(key, _)| key).collect())
    }
}

/// The body of a document; `otherwise`, if given, for one that cannot be read.
fn read_or<T: Clone + DeserializeOwned + Send + Sync + 'static>(
    document: Option<Arc<Document>>,
    otherwise: Option<T>,
) -> Result<Option<T>, Error> {
    let Some(document) = document else {
        return Ok(None);
    };
    match (document.body::<T>(), otherwise) {
        (Ok(body), _) => Ok(Some(T::clone(&*body))),
        (Err(_), Some(otherwise)) => Ok(Some(otherwise)),
        (Err(error), None) => Err(error.into()),
    }
}
