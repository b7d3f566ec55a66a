//! The keys that sign: signers sign changes, owner keys sign the keyring.

use entail_store::{Authority, Batch, KeyId, Role, StoreSigner, check_label};
use serde_json::{Value, json};

use super::owners::several_match;
use super::renewal::Renewal;
use super::renewing::Renewing;
use crate::documents::scope::document_key;
use crate::error::Error;
use entail_decision::name::ScopePath;

impl Renewing {
    /// [`StoreKeys::rotate_signer`](super::StoreKeys::rotate_signer) and
    /// [`StoreKeys::rotate_owner`](super::StoreKeys::rotate_owner).
    pub(crate) async fn rotate_signing_key(&self, role: Role) -> Result<Renewal, Error> {
        self.store().keys().check_can_rotate()?;
        // Two rotations at once would create two keys and lose one.
        let _lock = self.store().keys().lock()?;
        let resumed = self.is_signing_rotation_begun(role).await?;
        let change = match role {
            Role::Owner => "rotate-owner",
            Role::Signer => "rotate-signer",
        };
        let record = json!({"change": change});
        self.documents
            .rotate_key(&self.principal, role, &record)
            .await?;
        Ok(Renewal {
            resumed,
            ..Renewal::default()
        })
    }

    /// [`StoreKeys::add_signer`](super::StoreKeys::add_signer).
    pub(crate) async fn add_signer(&self, signer: StoreSigner) -> Result<(), Error> {
        let record = json!({
            "change": "add-signer",
            "signer": signer.id().to_string(),
            "label": signer.key.label,
            "scopes": signer.scopes,
        });
        for scope in signer.scopes.iter().flatten() {
            let path: ScopePath = scope.parse()?;
            let (_, found) = self.store().read_one(&document_key(&path)).await?;
            found.ok_or(Error::UnknownScope(path))?;
        }
        self.change_authority(&record, |authority| with_signer(authority, signer.clone()))
            .await
    }

    /// [`StoreKeys::remove_signer`](super::StoreKeys::remove_signer).
    pub(crate) async fn remove_signer(&self, which: &str) -> Result<(), Error> {
        let own = self.store().keys().id_of(Role::Signer);
        let record = json!({"change": "remove-signer", "signer": which});
        self.change_authority(&record, |authority| without_signer(authority, which, own))
            .await
    }

    /// Puts a keyring with another authority into force.
    pub(super) async fn change_authority(
        &self,
        record: &Value,
        edit: impl Fn(&Authority) -> Result<Authority, Error>,
    ) -> Result<(), Error> {
        self.documents
            .until_not_contended(|| async {
                let snapshot = self.store().read(&[]).await?;
                let mut draft = snapshot.keyring.next();
                draft.authority = edit(snapshot.keyring.authority())?;
                let batch = Batch {
                    keyring: Some(draft.into()),
                    ..Batch::default()
                };
                self.commit(snapshot.revision, batch, record).await
            })
            .await
    }

    /// Whether a rotation of the key was begun earlier.
    pub(super) async fn is_signing_rotation_begun(&self, role: Role) -> Result<bool, Error> {
        Ok(self.store().reload_keys().await?.has_next_key(role))
    }
}

/// The authority with one more signer.
pub(super) fn with_signer(authority: &Authority, signer: StoreSigner) -> Result<Authority, Error> {
    check_label(&signer.key.label)?;
    let id = signer.id();
    if authority.signers.iter().any(|known| known.id() == id) {
        return Err(Error::SignerExists(id.to_string()));
    }
    let mut next = authority.clone();
    next.signers.push(signer);
    Ok(next)
}

/// The authority without the signer of that fingerprint or label, which must not be `own`.
pub(super) fn without_signer(
    authority: &Authority,
    which: &str,
    own: Option<KeyId>,
) -> Result<Authority, Error> {
    let is_meant =
        |known: &StoreSigner| known.key.label == which || known.id().to_string() == which;
    let (meant, kept): (Vec<StoreSigner>, Vec<StoreSigner>) =
        authority.signers.iter().cloned().partition(is_meant);
    match meant.as_slice() {
        [] => Err(Error::UnknownSigner(which.to_owned())),
        [only] if Some(only.id()) == own => Err(Error::OwnSigner),
        [_] => Ok(Authority {
            signers: kept,
            ..authority.clone()
        }),
        several => Err(several_match(several.iter().map(StoreSigner::id))),
    }
}
