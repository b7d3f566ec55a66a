//! A look at everything: whether each document verifies and is the one that the
//! journal tells of, and whether each secret opens.

use std::collections::{BTreeMap, BTreeSet};

use entail_store::{Digest, DocumentKey, Revision};

use crate::entail::Entail;
use crate::error::Error;
use crate::facts::Chain;
use crate::name::ScopePath;
use crate::principal::{Action, Principal, authorize};
use crate::scope;

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
    pub changes: Revision,
    /// What is wrong, by what it is wrong with.
    pub faults: Vec<(String, Error)>,
}

/// What the journal says that there is.
#[derive(Default)]
struct Told {
    revision: Revision,
    documents: BTreeMap<DocumentKey, Digest>,
    /// Documents that were changed since the inspection began.
    changed: BTreeSet<DocumentKey>,
}

impl Entail {
    /// Walks the journal, reads and verifies every scope and holds it against
    /// what the journal says, opens every secret and lets it go. Others may
    /// change the store meanwhile.
    ///
    /// # Errors
    ///
    /// When the store cannot be walked at all; what is wrong within is in
    /// [`Inspection::faults`].
    pub async fn inspect(&self, principal: &Principal) -> Result<Inspection, Error> {
        let mut inspection = Inspection::default();
        let mut told = Told::default();
        let whole = match self.walk_journal(&mut told).await {
            Ok(()) => true,
            Err(error) => {
                inspection.faults.push(("the journal".to_owned(), error));
                false
            }
        };
        inspection.changes = told.revision;
        told.changed.clear();

        let mut found = BTreeMap::new();
        for path in self.scopes(principal, None).await? {
            authorize(principal, Action::View, &path)?;
            match self.inspect_scope(&path, &mut inspection).await {
                Ok(digest) => {
                    inspection.scopes += 1;
                    found.insert(scope::document_key(&path), digest);
                }
                // Removed since it was listed; the journal will tell.
                Err(Error::UnknownScope(_)) => {}
                Err(error) => inspection.faults.push((path.to_string(), error)),
            }
        }
        if whole {
            // What was changed meanwhile is for the next inspection.
            self.walk_journal(&mut told).await?;
            compare(&told, &found, &mut inspection);
        }
        Ok(inspection)
    }

    /// Verifies a scope and all above it, and opens its secrets; returns the
    /// digest of its document.
    async fn inspect_scope(
        &self,
        path: &ScopePath,
        inspection: &mut Inspection,
    ) -> Result<Digest, Error> {
        let chain = Chain::read(&self.store, path).await?;
        let (_, scope) = chain
            .scopes
            .first()
            .ok_or_else(|| Error::UnknownScope(path.clone()))?;
        for credential in &scope.credentials {
            match self.unseal(path, credential).await {
                Ok(_) => inspection.credentials += 1,
                // Renewed or removed since it was read.
                Err(Error::Tampered(_)) if self.store.revision().await? != chain.revision => {}
                Err(error) => {
                    let what = format!("{path} {} {}", credential.provider, credential.name);
                    inspection.faults.push((what, error));
                }
            }
        }
        chain
            .digest
            .ok_or_else(|| Error::UnknownScope(path.clone()))
    }

    /// Reads the journal on from where `told` ends.
    async fn walk_journal(&self, told: &mut Told) -> Result<(), Error> {
        loop {
            // One entry over again, so that the first new one is held against it.
            let entries = self.journal(told.revision.saturating_sub(1), PAGE).await?;
            let before = told.revision;
            for entry in entries.into_iter().filter(|entry| entry.revision > before) {
                told.revision = entry.revision;
                for effect in entry.effects {
                    told.changed.insert(effect.key.clone());
                    match effect.after {
                        Some(digest) => told.documents.insert(effect.key, digest),
                        None => told.documents.remove(&effect.key),
                    };
                }
            }
            if told.revision == before {
                return Ok(());
            }
        }
    }
}

/// Holds the documents that were found against those that the journal tells of.
fn compare(told: &Told, found: &BTreeMap<DocumentKey, Digest>, inspection: &mut Inspection) {
    let mut fault = |key: &DocumentKey, how: &str| {
        let error = Error::Tampered(format!("{key} {how}"));
        inspection.faults.push((key.name.clone(), error));
    };
    for (key, digest) in found.iter().filter(|(key, _)| !told.changed.contains(*key)) {
        match told.documents.get(key) {
            Some(known) if known == digest => {}
            Some(_) => fault(key, "is not the newest that the journal tells of"),
            None => fault(key, "is not in the journal"),
        }
    }
    let known: BTreeSet<String> = inspection
        .faults
        .iter()
        .map(|(what, _)| what.clone())
        .collect();
    for key in told.documents.keys() {
        let missing = !found.contains_key(key) && !told.changed.contains(key);
        // One that does not verify is a fault already.
        if missing && !known.contains(&key.name) {
            let error = Error::Tampered(format!("{key} is missing"));
            inspection.faults.push((key.name.clone(), error));
        }
    }
}
