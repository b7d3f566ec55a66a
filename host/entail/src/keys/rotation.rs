//! Renewing keys, and saying who secrets are sealed to.
//!
//! Each of these is a small change that takes effect at once, followed by work on
//! all that was there before: secrets are sealed again, documents signed again, a
//! few scopes per commit. Everything stays readable meanwhile. Stopped at any point,
//! it goes on from there when it is called again, since what is left to do stands
//! in the documents: a secret's epoch, a document's signer.

use entail_store::{
    Author, Batch, Document, DocumentKey, Error as StoreError, Keys, Recipient, RecipientError,
    Recipients, Revision, SealError, Secret, recipients_key,
};
use serde_json::{Value, json};

use crate::authorize::authorize_whole;
use crate::documents::encode;
use crate::documents::scope::{self, OTHER_KINDS, SCOPE_KIND, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::home::FIRST;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// Scopes worked on per commit: enough to make the wait for the disk small beside
/// the work, few enough that others get their turn.
const SCOPES_AT_ONCE: usize = 16;

/// Names or documents read at a time.
pub(crate) const PAGE: usize = 1_000;

/// How far a piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Things done.
    pub done: usize,
    /// Things to do.
    pub all: usize,
}

/// Is told of each step.
pub type OnStep<'a> = &'a mut (dyn FnMut(Step) + Send);

/// What renewing a key came to.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Whether it had been begun earlier, and was taken to its end now.
    pub resumed: bool,
    /// Secrets that were sealed again, or documents that were signed again.
    pub renewed: usize,
    /// Secrets that are still as they were, each with the reason.
    pub left: Vec<Leftover>,
    /// Whether the old identity is kept on their account.
    pub old_kept: bool,
}

/// A secret that is sealed to an earlier list of recipients.
#[derive(Debug)]
pub struct Leftover {
    /// The scope that holds it.
    pub scope: ScopePath,
    /// Its provider, name and version.
    pub credential: String,
    /// Why it could not be sealed again; none if nobody tried.
    pub reason: Option<Error>,
}

/// How far the renewal of a signer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignerRenewal {
    /// There is one signer.
    NotBegun,
    /// The next one is made.
    Staged,
    /// The next one writes; documents of the old one may be left.
    HandedOver,
}

impl Leftover {
    /// Whether it could be opened here if it were mended.
    fn may_be_mended(&self) -> bool {
        let foreign = matches!(
            self.reason,
            Some(Error::Sealed {
                error: SealError::NotForThisIdentity,
                ..
            })
        );
        !foreign
    }
}

impl Entail {
    /// Who secrets are sealed to.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn recipients(&self, principal: &Principal) -> Result<Recipients, Error> {
        authorize_whole(principal, Action::View)?;
        Ok(Recipients::clone(&*self.store.recipients().await?))
    }

    /// Adds a recipient, and seals every secret to it as well.
    ///
    /// # Errors
    ///
    /// [`Error::Recipient`]; [`Error::Keys`] without a signer.
    pub async fn add_recipient(
        &self,
        principal: &Principal,
        recipient: Recipient,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        let record = json!({"change": "add-recipient", "recipient": recipient.key, "label": recipient.label});
        self.change_recipients(principal, &record, |list| list.with(recipient.clone()))
            .await?;
        self.reseal(principal, on_step).await
    }

    /// Takes a recipient off the list, by its name, label or key: nothing that is
    /// sealed from now on opens with it. What was sealed before is sealed again.
    ///
    /// # Errors
    ///
    /// [`Error::Recipient`]; [`Error::Keys`] without a signer; [`Error::Invalid`] for
    /// the node's own.
    pub async fn remove_recipient(
        &self,
        principal: &Principal,
        which: &str,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        self.list_without(&*self.store.recipients().await?, which)?;
        let record = json!({"change": "remove-recipient", "recipient": which});
        self.change_recipients(principal, &record, |list| list.without(which))
            .await?;
        self.reseal(principal, on_step).await
    }

    /// The list without one of its recipients, which must not be this node's own.
    pub(crate) fn list_without(&self, list: &Recipients, which: &str) -> Result<Recipients, Error> {
        let next = list.without(which).map_err(|error| match error {
            // What was given may be a key in the wrong place.
            RecipientError::Unknown(_) => Error::UnknownRecipient(which.to_owned()),
            other => other.into(),
        })?;
        let keys = self.store.keys();
        if keys.identity_ids().any(|id| list.has(id) && !next.has(id)) {
            return Err(Error::OwnRecipient);
        }
        Ok(next)
    }

    /// Renews this node's identity: makes a new one, puts its recipient in the place
    /// of the old one's, seals every secret again, and lets the old one go.
    /// `passphrase` is the one that it is under, if it is.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without an identity, or with one that is not in the folder of
    /// the keys.
    pub async fn rotate_identity(
        &self,
        principal: &Principal,
        passphrase: Option<&Secret>,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.store.keys().check_can_write()?;
        // Two at once would make two keys, and one of them would be lost.
        let _held = self.store.keys().lock()?;
        self.store.keys().check_identity_is_local()?;
        let mut keys = self.own_keys(passphrase)?;
        let resumed = self.identity_renewal(&keys).await?;
        if !resumed {
            keys.begin_new_identity(passphrase)?;
            self.store.reload_keys()?;
        }
        let own = keys.own_recipients(FIRST, self.now_ms())?;
        let (newest, before) = own
            .split_first()
            .ok_or(entail_store::KeyError::NoIdentity)?;
        let record = json!({"change": "rotate-identity", "recipient": newest.key});
        self.change_recipients(principal, &record, |list| replace(list, before, newest))
            .await?;
        let mut renewal = self.reseal_with(principal, &keys, on_step).await?;
        // What did not open may still be mended, and then only the old one opens it.
        renewal.old_kept = renewal.left.iter().any(Leftover::may_be_mended);
        if !renewal.old_kept {
            keys.end_old_identities(passphrase)?;
        }
        self.store.reload_keys()?;
        renewal.resumed = resumed;
        Ok(renewal)
    }

    /// Whether the renewal of an identity was begun earlier. One that nothing is sealed
    /// to cannot be renewed.
    pub(crate) async fn identity_renewal(&self, keys: &Keys) -> Result<bool, Error> {
        let own = keys.own_recipients(FIRST, 0)?;
        let resumed = own.len() > 1;
        let list = self.store.recipients().await?;
        match own.first() {
            Some(stranger) if !resumed && !list.has(&stranger.id()) => {
                Err(RecipientError::Unknown(stranger.id()).into())
            }
            _ => Ok(resumed),
        }
    }

    /// Renews the signer: makes a new one, hands the power to write on to it, signs
    /// every document again, and no longer believes the old one.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without a signer.
    pub async fn rotate_signer(
        &self,
        principal: &Principal,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.store.keys().check_can_write()?;
        // Two at once would make two keys, and one of them would be lost.
        let _held = self.store.keys().lock()?;
        self.store.revision().await?;
        let begun = self.signer_renewal()?;
        if begun != SignerRenewal::HandedOver {
            let principal = principal.to_string();
            let change = encode(&json!({"change": "rotate-signer"}))?;
            let author = Author {
                principal: &principal,
                at_ms: self.now_ms(),
                change: &change,
            };
            self.store.begin_new_signer(author).await?;
        }
        let renewed = self.resign(principal, on_step).await?;
        self.store.end_old_signer()?;
        Ok(Renewal {
            resumed: begun != SignerRenewal::NotBegun,
            renewed,
            ..Renewal::default()
        })
    }

    /// How far the renewal of the signer has come, by this process or an earlier one.
    pub(crate) fn signer_renewal(&self) -> Result<SignerRenewal, Error> {
        let staged = self.store.reload_keys()?.has_next_signer();
        Ok(match (staged, self.store.verifiers().len()) {
            (true, _) => SignerRenewal::Staged,
            (false, 2..) => SignerRenewal::HandedOver,
            (false, _) => SignerRenewal::NotBegun,
        })
    }

    /// Seals every secret again that is not sealed to the present recipients.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without a signer. What cannot be opened here is in
    /// [`Renewal::left`].
    pub async fn reseal(
        &self,
        principal: &Principal,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        authorize_whole(principal, Action::Administer)?;
        let keys = self.store.keys();
        self.reseal_with(principal, &keys, on_step).await
    }

    async fn reseal_with(
        &self,
        principal: &Principal,
        keys: &Keys,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        let scopes = self.scopes(principal, None).await?;
        let mut renewal = Renewal::default();
        let all = scopes.len();
        for (count, some) in scopes.chunks(SCOPES_AT_ONCE).enumerate() {
            let (renewed, left) = self
                .until_not_contended(|| self.reseal_some(principal, keys, some))
                .await?;
            renewal.renewed += renewed;
            renewal.left.extend(left);
            let done = (count * SCOPES_AT_ONCE + some.len()).min(all);
            on_step(Step { done, all });
        }
        Ok(renewal)
    }

    /// Seals the secrets of some scopes again, in one commit.
    async fn reseal_some(
        &self,
        principal: &Principal,
        keys: &Keys,
        scopes: &[ScopePath],
    ) -> Result<(usize, Vec<Leftover>), Error> {
        let documents: Vec<DocumentKey> = std::iter::once(recipients_key())
            .chain(scopes.iter().map(scope::document_key))
            .collect();
        let snapshot = self.store.read(&documents).await?;
        let recipients = self.store.recipients().await?;
        let mut batch = Batch::default();
        let mut renewed = 0;
        let mut left = Vec::new();
        for (path, document) in scopes.iter().zip(snapshot.documents.iter().skip(1)) {
            // Removed since it was listed.
            let Some(document) = document else { continue };
            let mut scope = Scope::clone(&*document.body::<Scope>()?);
            let before = renewed;
            renewed += self
                .reseal_scope(
                    path,
                    &mut scope,
                    keys,
                    &recipients,
                    (snapshot.revision, &mut batch),
                    &mut left,
                )
                .await?;
            if renewed > before {
                let body = encode(&scope)?;
                batch.put.push((scope::document_key(path), body));
            }
        }
        if renewed > 0 {
            let change = json!({"change": "reseal", "epoch": recipients.epoch});
            self.commit(principal, snapshot.revision, batch, &change)
                .await?;
        }
        Ok((renewed, left))
    }

    async fn reseal_scope(
        &self,
        path: &ScopePath,
        scope: &mut Scope,
        keys: &Keys,
        recipients: &Recipients,
        (revision, batch): (Revision, &mut Batch),
        left: &mut Vec<Leftover>,
    ) -> Result<usize, Error> {
        let mut renewed = 0;
        for credential in scope.all_credentials_mut() {
            let described = credential.clone();
            for version in credential.versions_mut() {
                if version.epoch == recipients.epoch {
                    continue;
                }
                let from = described.binding_of(version, path);
                let to = entail_store::SealContext {
                    epoch: recipients.epoch,
                    ..from.clone()
                };
                let named = format!(
                    "{} {} version {}",
                    described.provider, described.name, version.number
                );
                let leave = |reason| Leftover {
                    scope: path.clone(),
                    credential: named.clone(),
                    reason: Some(reason),
                };
                let opened = match self.store.blob(&version.blob).await {
                    Ok(sealed) => keys.unseal(&sealed, &from).map_err(StoreError::from),
                    Err(error) => Err(error),
                };
                let sealed = match opened {
                    Ok(Ok(fields)) => Keys::seal(recipients, &to, &fields),
                    Ok(Err(error)) => Err(error),
                    // Nothing is known of a secret that could not be read this time.
                    Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
                    Err(error) => {
                        // It may have been renewed since its document was read.
                        if self.store.revision().await? != revision {
                            return Err(Error::Contended);
                        }
                        left.push(leave(error.into()));
                        continue;
                    }
                };
                match sealed {
                    Ok(sealed) => {
                        batch.remove_blobs.push(version.blob);
                        version.blob = entail_store::Digest::of(&sealed);
                        version.epoch = recipients.epoch;
                        version.sealed_to = recipients.ids();
                        batch.add_blobs.push(sealed);
                        renewed += 1;
                    }
                    Err(error) => left.push(leave(Error::Sealed {
                        scope: path.clone(),
                        credential: named.clone(),
                        error,
                    })),
                }
            }
        }
        Ok(renewed)
    }

    /// Signs every document again that has the signature of an earlier key.
    pub(crate) async fn resign(
        &self,
        principal: &Principal,
        on_step: OnStep<'_>,
    ) -> Result<usize, Error> {
        let keys = self.all_documents().await?;
        let all = keys.len();
        let mut renewed = 0;
        for (count, some) in keys.chunks(SCOPES_AT_ONCE).enumerate() {
            renewed += self
                .until_not_contended(|| self.resign_some(principal, some))
                .await?;
            let done = (count * SCOPES_AT_ONCE + some.len()).min(all);
            on_step(Step { done, all });
        }
        Ok(renewed)
    }

    /// Every document that has a signature of its own.
    pub(crate) async fn all_documents(&self) -> Result<Vec<DocumentKey>, Error> {
        let mut keys = Vec::new();
        for kind in std::iter::once(SCOPE_KIND).chain(OTHER_KINDS) {
            keys.extend(self.documents_of(kind).await?);
        }
        Ok(keys)
    }

    pub(crate) async fn documents_of(&self, kind: &str) -> Result<Vec<DocumentKey>, Error> {
        let names = self.store.names(kind, "", None, usize::MAX).await?;
        let key = |name| DocumentKey::new(kind, name);
        Ok(names.into_iter().map(key).collect())
    }

    async fn resign_some(
        &self,
        principal: &Principal,
        keys: &[DocumentKey],
    ) -> Result<usize, Error> {
        let snapshot = self.store.read(keys).await?;
        let verifiers = self.store.verifiers();
        let current = verifiers.first().map(|verifier| verifier.id().as_str());
        let is_old = |document: &Document| Some(document.signer()) != current;
        let put: Vec<_> = snapshot
            .documents
            .iter()
            .flatten()
            .filter(|document| is_old(document))
            .map(|document| (document.key().clone(), document.raw().to_owned()))
            .collect();
        let renewed = put.len();
        if renewed > 0 {
            let batch = Batch {
                put,
                ..Batch::default()
            };
            let change = json!({"change": "sign-again"});
            self.commit(principal, snapshot.revision, batch, &change)
                .await?;
        }
        Ok(renewed)
    }

    async fn change_recipients(
        &self,
        principal: &Principal,
        change: &Value,
        next: impl Fn(&Recipients) -> Result<Recipients, RecipientError>,
    ) -> Result<(), Error> {
        authorize_whole(principal, Action::Administer)?;
        self.until_not_contended(|| async {
            let key = recipients_key();
            let snapshot = self.store.read(std::slice::from_ref(&key)).await?;
            let list = self.store.recipients().await?;
            let next = next(&list)?;
            if next.recipients == list.recipients {
                return Ok(());
            }
            let body = encode(&next)?;
            let batch = Batch {
                put: vec![(key, body)],
                ..Batch::default()
            };
            self.commit(principal, snapshot.revision, batch, change)
                .await
        })
        .await
    }

    /// Refuses where nothing can be written, as a commit would.
    pub(crate) async fn check_can_commit(&self) -> Result<(), Error> {
        // Another process may have renewed the signer.
        self.store.revision().await?;
        self.store.reload_keys()?.signer()?;
        Ok(())
    }

    /// The keys as they are in their files, unlocked.
    fn own_keys(&self, passphrase: Option<&Secret>) -> Result<Keys, Error> {
        let mut keys = Keys::open(self.store.keys().directory())?;
        if let Some(passphrase) = passphrase {
            keys.unlock(passphrase)?;
        }
        Ok(keys)
    }

    pub(crate) async fn commit(
        &self,
        principal: &Principal,
        expected: Revision,
        batch: Batch,
        change: &Value,
    ) -> Result<(), Error> {
        let change = encode(change)?;
        let author = Author {
            principal: &principal.to_string(),
            at_ms: self.now_ms(),
            change: &change,
        };
        self.store.commit(expected, batch, author).await?;
        Ok(())
    }
}

/// The list with `newest` in the place of those `before`; as it is if that was done.
pub(crate) fn replace(
    list: &Recipients,
    before: &[Recipient],
    newest: &Recipient,
) -> Result<Recipients, RecipientError> {
    let is_old = |recipient: &Recipient| before.iter().any(|old| old.key == recipient.key);
    let Some(old) = list.recipients.iter().find(|recipient| is_old(recipient)) else {
        return match list.has(&newest.id()) {
            true => Ok(list.clone()),
            // The identity that was here opens nothing, so nothing could be renewed.
            false => Err(RecipientError::Unknown(newest.id())),
        };
    };
    let newest = Recipient {
        label: old.label.clone(),
        ..newest.clone()
    };
    let mut recipients: Vec<Recipient> = list.recipients.clone();
    recipients.retain(|recipient| !is_old(recipient) && recipient.key != newest.key);
    recipients.insert(0, newest);
    Ok(Recipients {
        epoch: list.epoch + 1,
        recipients,
    })
}
