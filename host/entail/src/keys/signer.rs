//! Rotating the keys that sign: the signer, which signs changes, and the owner key, which signs
//! the keyring.

use entail_store::{Author, Role};
use serde_json::json;

use super::renewal::Renewal;
use super::renewing::Renewing;
use crate::documents::encode;
use crate::error::Error;

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
        let principal = self.principal.to_string();
        let author = Author {
            principal: &principal,
            at_ms: self.documents.now_ms(),
            change: &encode(&json!({"change": change}))?,
        };
        self.store().rotate_key(role, author).await?;
        Ok(Renewal {
            resumed,
            ..Renewal::default()
        })
    }

    /// Whether a rotation of the key was begun earlier.
    pub(super) async fn is_signing_rotation_begun(&self, role: Role) -> Result<bool, Error> {
        Ok(self.store().reload_keys().await?.has_next_key(role))
    }
}
