//! Full verification of a store: everything that [`entail_store::Store::check`] verifies,
//! and whether every secret opens and is sealed to the current recipients.

use std::collections::BTreeMap;
use std::sync::Arc;

use entail_store::{
    Digest, Document, DocumentBlobs, EpochKey, Fault, Keyring, Progress, Readers, Revision,
    RowCounts, SealError, Store, Tampering, Visitor,
};

use crate::authorize::authorize_whole;
use crate::blocking::run_with_progress;
use crate::clock::CLOCK_MARGIN_MS;
use crate::documents::policy::{ActivePolicy, COMPONENT_KIND, InstalledPolicy, POLICY_KIND};
use crate::documents::principal::{PRINCIPAL_KIND, is_known_form};
use crate::documents::scope::{self, Credential, SCOPE_KIND, Scope, Version};
use crate::error::Error;
use crate::keys::StaleSecret;
use crate::principal::{Action, Principal};
use crate::recovery::handle::Maintenance;
use entail_decision::name::ScopePath;
use tokio::sync::mpsc::UnboundedSender;

/// The result of a full verification.
#[derive(Debug, Default)]
pub struct Verification {
    /// The revision that was verified.
    pub revision: Revision,
    /// How much was verified.
    pub counts: RowCounts,
    /// How many scopes are valid.
    pub scopes: usize,
    /// How many secrets open.
    pub opened: usize,
    /// How many secrets were not opened, because there is no identity.
    pub unopened: usize,
    /// The secrets that are sealed to other identities only.
    pub foreign: Vec<String>,
    /// What is wrong.
    pub faults: Vec<Tampering>,
    /// The secrets that are sealed to an earlier epoch.
    pub under_old_recipients: Vec<StaleSecret>,
    /// The organizations whose epochs are sealed to other recipients than the present ones.
    pub under_old_readers: Vec<String>,
    /// The retired versions that should have been destroyed.
    pub overdue: Vec<String>,
}

/// Called with the progress.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

struct VerifyVisitor {
    keyring: Arc<Keyring>,
    /// The keys of the epochs of each organization, as far as they open.
    epochs: BTreeMap<(String, u32), Result<Arc<EpochKey>, SealError>>,
    can_unseal: bool,
    now_ms: u64,
    found: Verification,
    progress: UnboundedSender<Progress>,
}

impl Maintenance<'_> {
    /// Verifies the whole journal, and every document and blob against it, and opens every
    /// secret, as of one moment. Others may change the store concurrently.
    ///
    /// Runs on a separate thread, which continues if the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read. Tampering is in [`Verification::faults`].
    pub async fn verify(
        self,
        principal: &Principal,
        on_progress: OnProgress<'_>,
    ) -> Result<Verification, Error> {
        authorize_whole(principal, Action::Administer)?;
        let (store, now_ms) = (
            Arc::clone(&self.entail.documents.store),
            self.entail.documents.now_ms(),
        );
        run_with_progress("entail-verify", on_progress, move |progress| async move {
            // If the store cannot be read, the faults below say why.
            let keyring = store.keyring().await;
            let keyring = keyring.unwrap_or_else(|_| store.known_keyring());
            let (epochs, faults) = open_epochs(&store, &keyring).await?;
            let stale = keyring.authority().readers.iter();
            let stale = stale.filter(|readers| !readers.is_current());
            let stale_readers: Vec<String> =
                stale.map(|readers| readers.organization.clone()).collect();
            let mut visitor = VerifyVisitor {
                keyring,
                epochs,
                can_unseal: store.keys().can_unseal(),
                now_ms,
                found: Verification::default(),
                progress,
            };
            let report = store.check(&mut visitor, &blobs_of).await?;
            let mut found = visitor.found;
            found.revision = report.revision;
            found.counts = report.counts;
            found.under_old_readers = stale_readers;
            found.faults.extend(report.faults);
            found.faults.extend(faults);
            Ok(found)
        })
        .await
    }
}

/// The blobs that a document names.
pub(super) fn blobs_of(document: &Document) -> Vec<Digest> {
    match document.key().kind.as_str() {
        SCOPE_KIND => document
            .body::<Scope>()
            .map(|scope| scope.blobs().collect())
            .unwrap_or_default(),
        COMPONENT_KIND => document
            .body::<InstalledPolicy>()
            .map(|installed| vec![installed.blob()])
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

impl Visitor for VerifyVisitor {
    fn progress(&mut self, progress: Progress) {
        // If the future was dropped, there is no receiver.
        let _ = self.progress.send(progress);
    }

    fn document(&mut self, document: &Document, blobs: &DocumentBlobs<'_>) -> Vec<Tampering> {
        let invalid = |problem: &str| vec![Tampering::new(Fault::Forged, document.key(), problem)];
        match document.key().kind.as_str() {
            SCOPE_KIND => {}
            COMPONENT_KIND => return check_installed(document),
            PRINCIPAL_KIND if !is_known_form(document) => {
                return invalid("has a format that this version does not know");
            }
            POLICY_KIND if document.body::<ActivePolicy>().is_err() => {
                return invalid("has a format that this version does not know");
            }
            _ => return Vec::new(),
        }
        let Ok(path) = document.key().name.parse::<ScopePath>() else {
            return invalid("does not have the name of a scope");
        };
        let Ok(scope) = document.body::<Scope>() else {
            return invalid("has a format that this version does not know");
        };
        self.found.scopes += 1;
        let mut faults = Vec::new();
        for credential in scope.all_credentials() {
            for version in credential.versions() {
                self.check_secret(&path, credential, version, blobs, &mut faults);
            }
            let overdue = credential
                .retired
                .iter()
                .filter(|retired| is_overdue(retired.until_ms, self.now_ms));
            self.found
                .overdue
                .extend(overdue.map(|retired| named(&path, credential, &retired.version)));
        }
        let removed = scope.removed.iter();
        let overdue = removed.filter(|removed| is_overdue(removed.until_ms, self.now_ms));
        self.found.overdue.extend(
            overdue.map(|removed| named(&path, &removed.credential, &removed.credential.version)),
        );
        faults
    }
}

/// Checks the document of an installed component. The store checks its blob.
fn check_installed(document: &Document) -> Vec<Tampering> {
    let invalid = |problem: &str| vec![Tampering::new(Fault::Forged, document.key(), problem)];
    match document.body::<InstalledPolicy>() {
        Err(_) => invalid("has a format that this version does not know"),
        Ok(installed) if installed.component.to_string() != document.key().name => {
            invalid("names another component than its key")
        }
        Ok(_) => Vec::new(),
    }
}

impl VerifyVisitor {
    /// Opens one secret, and drops it.
    fn check_secret(
        &mut self,
        path: &ScopePath,
        credential: &Credential,
        version: &Version,
        blobs: &DocumentBlobs<'_>,
        faults: &mut Vec<Tampering>,
    ) {
        let readers = scope::readers(&self.keyring, path).ok();
        let newest = readers
            .and_then(Readers::newest)
            .map(|newest| newest.number);
        if Some(version.epoch) != newest {
            let stale = StaleSecret::new(path, credential, version, None);
            self.found.under_old_recipients.push(stale);
        }
        // The store reports a missing or changed blob as well.
        let Some(sealed) = blobs
            .blob(&version.blob)
            .filter(|sealed| Digest::of(sealed) == version.blob)
        else {
            let what = named(path, credential, version);
            let problem = "has no secret that could be opened";
            faults.push(Tampering::new(Fault::Unreadable, what, problem));
            return;
        };
        if !self.can_unseal {
            self.found.unopened += 1;
            return;
        }
        let context = credential.seal_context_of(version, path, self.keyring.store());
        let epoch = (path.organization().to_string(), version.epoch);
        let opened = match self.epochs.get(&epoch) {
            None => Err(&SealError::NoEpoch),
            Some(Err(error)) => Err(error),
            Some(Ok(key)) => match key.unseal(sealed, &context) {
                Ok(_) => Ok(()),
                Err(error) => {
                    let what = named(path, credential, version);
                    faults.push(Tampering::new(Fault::Unreadable, what, error));
                    return;
                }
            },
        };
        match opened {
            Ok(()) => self.found.opened += 1,
            Err(SealError::NotForThisIdentity) => {
                self.found.foreign.push(named(path, credential, version));
            }
            Err(error) => {
                let what = named(path, credential, version);
                faults.push(Tampering::new(Fault::Unreadable, what, error));
            }
        }
    }
}

/// Opens the keys of all epochs. Also returns what is wrong with them.
async fn open_epochs(
    store: &Store,
    keyring: &Keyring,
) -> Result<
    (
        BTreeMap<(String, u32), Result<Arc<EpochKey>, SealError>>,
        Vec<Tampering>,
    ),
    Error,
> {
    let mut epochs = BTreeMap::new();
    let mut faults = Vec::new();
    if !store.keys().can_unseal() {
        return Ok((epochs, faults));
    }
    for readers in &keyring.authority().readers {
        for epoch in &readers.epochs {
            let what = format!("epoch {} of {}", epoch.number, readers.organization);
            let opened = match store.epoch_key(epoch).await {
                Ok(opened) => opened,
                // The verification of the blobs reports it as well.
                Err(entail_store::Error::Tampered(_)) => Err(SealError::Damaged),
                Err(error) => return Err(error.into()),
            };
            if let Err(error @ SealError::Damaged) = &opened {
                faults.push(Tampering::new(Fault::Unreadable, what, error));
            }
            epochs.insert((readers.organization.clone(), epoch.number), opened);
        }
    }
    Ok((epochs, faults))
}

/// Whether a version that is kept until then should have been destroyed, allowing for the
/// error of the clock.
fn is_overdue(until_ms: u64, now_ms: u64) -> bool {
    until_ms.saturating_add(CLOCK_MARGIN_MS) <= now_ms
}

/// The name of a version of a credential, for people.
fn named(path: &ScopePath, credential: &Credential, version: &Version) -> String {
    format!(
        "{path} {} {} version {}",
        credential.provider, credential.name, version.number
    )
}
