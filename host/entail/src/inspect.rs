//! A look at everything: whether each document verifies, each secret opens, and
//! the journal holds together.

use crate::entail::Entail;
use crate::error::Error;
use crate::facts::Chain;
use crate::name::ScopePath;
use crate::principal::{Action, Principal, authorize};

/// Journal entries read at a time.
const PAGE: usize = 1_000;

/// What an inspection found.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Scopes whose documents verify.
    pub scopes: usize,
    /// Credentials whose secrets open.
    pub credentials: usize,
    /// Changes in the journal, each of which follows the one before.
    pub changes: u64,
    /// What is wrong, by what it is wrong with.
    pub faults: Vec<(String, Error)>,
}

impl Entail {
    /// Reads and verifies every scope, opens every secret and lets it go, and
    /// walks the journal.
    ///
    /// # Errors
    ///
    /// When the store cannot be walked at all; what is wrong within is in
    /// [`Inspection::faults`].
    pub async fn inspect(&self, principal: &Principal) -> Result<Inspection, Error> {
        let mut inspection = Inspection::default();
        for path in self.scopes(principal, None).await? {
            authorize(principal, Action::View, &path)?;
            match self.inspect_scope(&path, &mut inspection).await {
                Ok(()) => inspection.scopes += 1,
                Err(error) => inspection.faults.push((path.to_string(), error)),
            }
        }
        self.inspect_journal(&mut inspection).await;
        Ok(inspection)
    }

    async fn inspect_scope(
        &self,
        path: &ScopePath,
        inspection: &mut Inspection,
    ) -> Result<(), Error> {
        // With all above it, each of which must be there.
        let chain = Chain::read(&self.store, path).await?;
        let Some((_, scope)) = chain.scopes.first() else {
            return Ok(());
        };
        for credential in &scope.credentials {
            match self.unseal(path, credential).await {
                Ok(_) => inspection.credentials += 1,
                Err(error) => {
                    let what = format!("{path} {} {}", credential.provider, credential.name);
                    inspection.faults.push((what, error));
                }
            }
        }
        Ok(())
    }

    async fn inspect_journal(&self, inspection: &mut Inspection) {
        let mut last = None;
        loop {
            // One entry over again, so that the first new one is held against it.
            let after = last.map_or(0, |last: u64| last - 1);
            match self.journal(after, PAGE).await {
                Ok(entries) => {
                    let newest = entries.last().map(|entry| entry.revision);
                    if newest == last || newest.is_none() {
                        inspection.changes = last.unwrap_or(0);
                        return;
                    }
                    last = newest;
                }
                Err(error) => {
                    inspection.faults.push(("the journal".to_owned(), error));
                    return;
                }
            }
        }
    }
}
