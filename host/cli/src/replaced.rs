//! The secret that a credential had before a change, as a person is told of it.

use entail::{Applied, Credential, CredentialRef, Entail};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;
use crate::times::time;

/// What served before a change.
pub struct Replaced {
    /// Its number.
    pub version: u32,
    /// The ends of its secret fields; empty if they cannot be opened here.
    masked: Vec<(String, String)>,
    /// How many scopes were granted it; none if that is not known.
    used_by: Option<usize>,
}

impl Replaced {
    /// What `credential` has before it is changed; nothing if it is not there, or nothing
    /// will be changed.
    pub async fn before(
        session: &Session,
        entail: &Entail,
        id: &CredentialRef,
        credential: Option<&Credential>,
    ) -> Result<Option<Self>, Failure> {
        let Some(credential) = credential.filter(|_| !session.common.dry_run) else {
            return Ok(None);
        };
        let masked = entail.masked(&session.principal, id).await?;
        // That a policy cannot be asked is no reason not to change a secret.
        let users = entail.users(&session.principal, id).await.ok();
        Ok(Some(Replaced {
            version: credential.version.number,
            masked: masked.unwrap_or_default(),
            used_by: users.map(|users| users.len()),
        }))
    }

    /// What became of it, in words: `version 1 (••••cdef) is kept until …, then destroyed;
    /// 3 scopes use it`.
    pub fn fate(&self, applied: &Applied) -> String {
        let ends: Vec<&str> = self.masked.iter().map(|(_, end)| end.as_str()).collect();
        let ends = match ends.is_empty() {
            true => String::new(),
            false => format!(" ({})", ends.join(", ")),
        };
        let fate = match applied.retired_until_ms {
            None => "is destroyed".to_owned(),
            Some(until) => format!("is kept until {}, then destroyed", time(until)),
        };
        let used_by = match self.used_by {
            None => String::new(),
            Some(0) => "; no scope uses the credential".to_owned(),
            Some(1) => "; 1 scope uses the credential".to_owned(),
            Some(count) => format!("; {count} scopes use the credential"),
        };
        format!("version {}{ends} {fate}{used_by}", self.version)
    }

    pub fn to_json(&self) -> Value {
        let masked: serde_json::Map<String, Value> = self
            .masked
            .iter()
            .map(|(name, end)| (name.clone(), json!(end)))
            .collect();
        json!({"version": self.version, "masked": masked, "used_by": self.used_by})
    }
}
