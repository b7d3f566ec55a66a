//! The long look at a store: all that [`entail_store::Store::check`] looks at, and
//! whether every secret opens and is sealed to the present recipients.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use entail_store::{
    Digest, Document, DocumentBlobs, DocumentKey, Fault, Keys, Progress, Revision, RowCounts,
    SealError, Tampering, Visitor, recipients_key,
};

use crate::authorize::authorize_whole;
use crate::clock::CLOCK_MARGIN_MS;
use crate::documents::scope::{Credential, SCOPE_KIND, Scope, Version};
use crate::entail::Entail;
use crate::error::Error;
use crate::keys::rotation::Leftover;
use crate::policies::{COMPONENT_KIND, InstalledPolicy, POLICY_KIND, PolicyBinding};
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// What the long look found.
#[derive(Debug, Default)]
pub struct Verification {
    /// The revision that was looked at.
    pub revision: Revision,
    /// What there was to look at.
    pub counts: RowCounts,
    /// Scopes that are as they should be.
    pub scopes: usize,
    /// Secrets that open.
    pub opened: usize,
    /// Secrets that were not opened, for lack of an identity.
    pub unopened: usize,
    /// Secrets that are for other identities than the one here, in words.
    pub foreign: Vec<String>,
    /// What is wrong.
    pub faults: Vec<Tampering>,
    /// Secrets that are sealed to an earlier list of recipients.
    pub under_old_recipients: Vec<Leftover>,
    /// Documents that have the signature of an earlier signer.
    pub under_old_signer: Vec<DocumentKey>,
    /// Retired versions that should have been destroyed, in words.
    pub overdue: Vec<String>,
}

/// Is told how far it has come.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

struct Look<'a> {
    keys: Arc<Keys>,
    epoch: u32,
    now_ms: u64,
    found: Verification,
    on_progress: OnProgress<'a>,
}

impl Entail {
    /// Walks the journal from its first entry on, holds every document and blob
    /// against it, and opens every secret and lets it go, as of one moment; others may
    /// change the store meanwhile.
    ///
    /// # Errors
    ///
    /// When the store cannot be read. What is wrong within is in
    /// [`Verification::faults`].
    pub async fn verify(
        &self,
        principal: &Principal,
        on_progress: OnProgress<'_>,
    ) -> Result<Verification, Error> {
        authorize_whole(principal, Action::Administer)?;
        let mut look = Look {
            keys: self.store.keys(),
            epoch: 0,
            now_ms: self.now_ms(),
            found: Verification::default(),
            on_progress,
        };
        // Its kind comes before the scopes', so the epoch is known when they are
        // looked at.
        let report = self.store.check(&mut look, &blobs_of).await?;
        let mut found = look.found;
        found.revision = report.revision;
        found.counts = report.counts;
        found.faults.extend(report.faults);
        found.under_old_signer = report.under_old_signer;
        Ok(found)
    }

    /// Verifies every now and then, on a thread of its own, until what is returned is
    /// dropped. `report` gets what each look found.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the system gives no thread.
    pub fn verify_in_background(
        self: &Arc<Self>,
        principal: Principal,
        every: Duration,
        report: impl Fn(&Result<Verification, Error>) + Send + 'static,
    ) -> Result<BackgroundCheck, Error> {
        let entail = Arc::clone(self);
        let (stop, stopped) = channel::<()>();
        let verifier = std::thread::Builder::new().name("entail-verify".to_owned());
        let thread = verifier.spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
                report(&Err(Error::Home("there is no runtime".to_owned())));
                return;
            };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let mut unheard = |_| {};
                let look = entail.verify(&principal, &mut unheard);
                report(&runtime.block_on(look));
            }
        });
        let thread = thread.map_err(|error| {
            Error::Unavailable(format!("a thread to verify from did not start: {error}"))
        })?;
        Ok(BackgroundCheck {
            stop: Some(stop),
            thread: Mutex::new(Some(thread)),
        })
    }
}

/// A check that goes on in the background until this is dropped.
#[derive(Debug)]
pub struct BackgroundCheck {
    stop: Option<Sender<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for BackgroundCheck {
    fn drop(&mut self) {
        self.stop = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // It ends with the look that it is at.
            let _ = thread.join();
        }
    }
}

/// The blobs that a document names.
fn blobs_of(document: &Document) -> Vec<Digest> {
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

impl Visitor for Look<'_> {
    fn progress(&mut self, progress: Progress) {
        (self.on_progress)(progress);
    }

    fn document(&mut self, document: &Document, moment: &DocumentBlobs<'_>) -> Vec<Tampering> {
        let unfit = |how: &str| vec![Tampering::new(Fault::Forged, document.key(), how)];
        if *document.key() == recipients_key() {
            let Ok(list) = document.body::<entail_store::Recipients>() else {
                return unfit("has a form that this version does not know");
            };
            self.epoch = list.epoch;
            return Vec::new();
        }
        match document.key().kind.as_str() {
            SCOPE_KIND => {}
            COMPONENT_KIND => return installed(document),
            POLICY_KIND if document.body::<PolicyBinding>().is_err() => {
                return unfit("has a form that this version does not know");
            }
            _ => return Vec::new(),
        }
        let Ok(path) = document.key().name.parse::<ScopePath>() else {
            return unfit("has no scope's name");
        };
        let Ok(scope) = document.body::<Scope>() else {
            return unfit("has a form that this version does not know");
        };
        self.found.scopes += 1;
        let mut faults = Vec::new();
        for credential in scope.all_credentials() {
            for version in credential.versions() {
                self.secret(&path, credential, version, moment, &mut faults);
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

/// Holds an installed component against its document. A blob that is missing, or
/// holds other bytes, is named as such.
fn installed(document: &Document) -> Vec<Tampering> {
    let unfit = |how: &str| vec![Tampering::new(Fault::Forged, document.key(), how)];
    match document.body::<InstalledPolicy>() {
        Err(_) => unfit("has a form that this version does not know"),
        Ok(installed) if installed.component.to_string() != document.key().name => {
            unfit("names another component than its own")
        }
        Ok(_) => Vec::new(),
    }
}

impl Look<'_> {
    /// Opens one secret and lets it go.
    fn secret(
        &mut self,
        path: &ScopePath,
        credential: &Credential,
        version: &Version,
        moment: &DocumentBlobs<'_>,
        faults: &mut Vec<Tampering>,
    ) {
        if version.epoch != self.epoch {
            self.found.under_old_recipients.push(Leftover {
                scope: path.clone(),
                credential: format!(
                    "{} {} version {}",
                    credential.provider, credential.name, version.number
                ),
                reason: None,
            });
        }
        // A blob that is missing or is another is named as such.
        let Some(sealed) = moment
            .blob(&version.blob)
            .filter(|sealed| Digest::of(sealed) == version.blob)
        else {
            let what = named(path, credential, version);
            let how = "has no secret that could be opened";
            faults.push(Tampering::new(Fault::Unreadable, what, how));
            return;
        };
        match self
            .keys
            .unseal(sealed, &credential.binding_of(version, path))
        {
            Ok(Ok(_)) => self.found.opened += 1,
            Ok(Err(SealError::NotForThisIdentity)) => {
                let named = named(path, credential, version);
                self.found.foreign.push(named);
            }
            Ok(Err(error)) => {
                let what = named(path, credential, version);
                faults.push(Tampering::new(Fault::Unreadable, what, error));
            }
            Err(_) => self.found.unopened += 1,
        }
    }
}

/// Whether what is kept until then should have been destroyed, doubts about the time
/// included.
fn is_overdue(until_ms: u64, now_ms: u64) -> bool {
    until_ms.saturating_add(CLOCK_MARGIN_MS) <= now_ms
}

/// A version of a credential, in words.
fn named(path: &ScopePath, credential: &Credential, version: &Version) -> String {
    format!(
        "{path} {} {} version {}",
        credential.provider, credential.name, version.number
    )
}
