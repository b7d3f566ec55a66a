//! Copies of a store, and the way back from one.
//!
//! A copy is one file, a database like the one it is of: sealed secrets, signed
//! documents, the journal. What else a home has is not in it: the keys (the recovery
//! key is kept elsewhere; signers are made anew), settings, providers of one's own.
//!
//! A copy is believed if its newest entry is signed by a key that is trusted, or by one
//! that got the power to write from it. Going back is a deliberate act, and the
//! journal says so.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use entail_store::{
    Author, Backend, BackendError, Batch, DocumentKey, IdentitySource, InputError, InputFile,
    JournalPosition, KeyId, Keys, Recipient, Revision, Secret, SignerChain, Sqlite, Store,
    Verifier, recipients_key,
};
use serde_json::json;

use crate::authorize::authorize_whole;
use crate::clock::now_ms;
use crate::documents::encode;
use crate::entail::{Entail, Options};
use crate::error::Error;
use crate::home::Home;
use crate::keys::rotation::{OnStep, Renewal};
use crate::principal::{Action, Principal};

/// The label of the recipient that a restored home has.
const RESTORED: &str = "restored";

/// The bytes of a copy, in the workshop, until its rows were taken over.
const RECEIVED: &str = "received.db";

/// The most bytes of a copy that are read. A store takes some kilobytes for each secret
/// and for each change, so that is a million of them, and more.
const MAX_COPY_BYTES: u64 = 16 << 30;

/// How a database begins.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The most bytes of a key's file.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// What going back came to.
#[derive(Debug)]
pub struct Restored {
    /// The revision that the copy was at.
    pub copy: Revision,
    /// The revision that had been seen before; 0 on a clean machine.
    pub seen: Revision,
    /// The revision now.
    pub revision: Revision,
    /// What was sealed again, and what could not be.
    pub renewal: Renewal,
}

impl Entail {
    /// Writes a copy of the store, as it is at one moment, to `file`, which must not
    /// be there, while others may change it. Returns the revision of the copy.
    ///
    /// The file gets its name once it is on disk, and all that is in it was read back and
    /// verified as a restore would.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`]; [`Error::Unavailable`]; [`Error::Invalid`] when the file is
    /// there, or its name is none.
    pub async fn backup(&self, principal: &Principal, file: &Path) -> Result<Revision, Error> {
        authorize_whole(principal, Action::Administer)?;
        let invalid = |how| Err(Error::Invalid(format!("{} {how}", file.display())));
        if file.file_name().is_none() {
            return invalid("is not the name of a file");
        }
        if file.symlink_metadata().is_ok() {
            return invalid("is there already");
        }
        // A copy of what cannot be believed is worth nothing: it is verified as well.
        Ok(self.store.copy_to(file).await?)
    }
}

fn open(file: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(file).map_err(failed)
}

fn failed(error: BackendError) -> Error {
    entail_store::Error::from(error).into()
}

/// Whom to believe of a copy.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Any of these keys, by name.
    pub verifiers: Vec<KeyId>,
}

impl Trust {
    fn check(&self, succession: &SignerChain, copy: &Path) -> Result<(), Error> {
        let believed = self
            .verifiers
            .iter()
            .any(|trusted| succession.descends_from(trusted));
        if believed {
            return Ok(());
        }
        let trusted: BTreeSet<String> = self.verifiers.iter().map(ToString::to_string).collect();
        let trusted = if trusted.is_empty() {
            "no key is trusted".to_owned()
        } else {
            let keys: Vec<String> = trusted.into_iter().collect();
            format!("trusted is {}", keys.join(", "))
        };
        let signer = succession.keys().last().map(ToString::to_string);
        let named = signer.as_deref().unwrap_or("nobody");
        Err(Error::Untrusted {
            message: format!("{} is signed by {named}, and {trusted}", copy.display()),
            signer,
        })
    }
}

/// Makes a home on a clean machine out of a copy, with the recovery key. It gets an
/// identity and a signer of its own; every secret is sealed to the new identity as
/// well.
///
/// # Errors
///
/// [`Error::Untrusted`], [`Error::Tampered`]; [`Error::Sealed`] when the recovery key
/// opens nothing. Nothing is left behind.
pub async fn restore_to_clean_machine(
    folder: &Path,
    copy: &Path,
    recovery: IdentitySource,
    trust: &Trust,
    passphrase: Option<&Secret>,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    let home = Home::to_be(folder)?;
    let _lock = home.lock()?;
    home.check_free()?;
    let made = home.workshop()?;
    let rebuilt = rebuild(&made, copy, recovery, trust, passphrase, on_step).await;
    let moved = rebuilt.and_then(|restored| {
        home.move_in(&made)?;
        Ok(restored)
    });
    moved.inspect_err(|_| {
        let _ = std::fs::remove_dir_all(made.folder());
    })
}

async fn rebuild(
    made: &Home,
    copy: &Path,
    recovery: IdentitySource,
    trust: &Trust,
    passphrase: Option<&Secret>,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    let principal = Principal::LocalOwner;
    let succession = take_copy(made, copy).await?;
    trust.check(&succession, copy)?;
    let own = Keys::create(&made.keys_folder(), passphrase)?;
    let newcomer = own.own_recipients(RESTORED, now_ms())?;
    let adoption = Adoption {
        made,
        former: succession.verifiers(),
        mark: succession.position(),
        seen: JournalPosition::default(),
        newcomer,
    };
    let restored = adoption.adopt(own).await?;

    // From here on it is a home like any other, only that it is opened with the
    // recovery key.
    let keys = made.keys(recovery)?;
    let entail = Entail::with_keys(made, keys, Options::default())?;
    let renewal = entail.reseal(&principal, on_step).await?;
    entail.resign(&principal, &mut |_| {}).await?;
    entail.store.end_old_signer()?;
    if let Some(error) = renewal
        .left
        .iter()
        .filter(|_| renewal.renewed == 0)
        .find_map(|left| left.reason.as_ref())
    {
        return Err(Error::Untrusted {
            message: format!("the recovery key opens nothing in the copy: {error}"),
            signer: None,
        });
    }
    let revision = entail.store.revision().await?;
    Ok(Restored {
        revision,
        renewal,
        ..restored
    })
}

/// Puts a copy in the place of what a home has, or, without one, takes what is there
/// for the truth although the anchor says otherwise. Where this node's own identity
/// opens nothing in the copy, `recovery` must: everything is sealed again.
///
/// Other processes that use the home meanwhile may be told that it was tampered with.
///
/// # Errors
///
/// [`Error::Untrusted`], [`Error::Tampered`]; [`Error::Keys`] without a signer;
/// [`Error::Invalid`] when nothing here opens the copy. Then everything is as it was.
pub async fn restore_in_place(
    home: &Home,
    copy: Option<&Path>,
    recovery: Option<IdentitySource>,
    extra: &Trust,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    let keys = home.keys(IdentitySource::Directory)?;
    keys.check_can_write()?;
    let _held = keys.lock()?;
    let made = home.workshop()?;
    let result = put_back(home, &made, copy, recovery, extra, &keys, on_step).await;
    let _ = std::fs::remove_dir_all(made.folder());
    result
}

/// What going back would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestorePlan {
    /// The revision that the copy is at.
    pub copy: Revision,
    /// The revision that was seen.
    pub seen: Revision,
    /// Secrets that would be sealed again.
    pub to_renew: usize,
}

/// What [`restore_in_place`] would come to: the copy is made a store of this node
/// beside the one that is there, checked whole, and taken away again. No secret is
/// opened: what could not be sealed again would show only then.
///
/// # Errors
///
/// As [`restore_in_place`].
pub async fn dry_run_restore_in_place(
    home: &Home,
    copy: Option<&Path>,
    recovery: Option<IdentitySource>,
    extra: &Trust,
) -> Result<RestorePlan, Error> {
    let keys = home.keys(IdentitySource::Directory)?;
    keys.check_can_write()?;
    let _held = keys.lock()?;
    let made = home.workshop()?;
    let plan = async {
        let adopted = adopt_copy(home, &made, copy, recovery.as_ref(), extra, &keys).await?;
        let renewing = home.keys(recovery.unwrap_or(IdentitySource::Directory))?;
        Ok(RestorePlan {
            copy: adopted.restored.copy,
            seen: adopted.restored.seen,
            to_renew: match renewing.can_unseal() {
                true => to_renew_in(&made).await?,
                false => 0,
            },
        })
    };
    let plan = plan.await;
    std::fs::remove_dir_all(made.folder())
        .map_err(|error| Error::Home(format!("{}: {error}", made.folder().display())))?;
    plan
}

/// How many secrets of a store are not sealed to its present recipients.
async fn to_renew_in(made: &Home) -> Result<usize, Error> {
    let keys = made.keys(IdentitySource::Directory)?;
    let entail = Entail::with_keys(made, keys, Options::default())?;
    let epoch = entail.store.recipients().await?.epoch;
    entail.not_sealed_to(&Principal::LocalOwner, epoch).await
}

/// A copy that is a store of this node now, in the workshop.
struct Adopted {
    restored: Restored,
    /// The database that it is to replace, if that can be read.
    present: Option<Sqlite>,
}

/// Makes a copy a store of this node, in the workshop `made`; the home is only read.
async fn adopt_copy(
    home: &Home,
    made: &Home,
    copy: Option<&Path>,
    recovery: Option<&IdentitySource>,
    extra: &Trust,
    keys: &Keys,
) -> Result<Adopted, Error> {
    let present = Sqlite::open(&home.database_file());
    let own_copy = made.folder().join("present.db");
    let copy = match (copy, &present) {
        // Whoever has it for itself would not see that another takes its place.
        (_, Err(error @ BackendError::Busy)) => return Err(Error::Unavailable(error.to_string())),
        (Some(copy), _) => copy,
        (None, Ok(present)) => {
            present.copy_to(&own_copy).await.map_err(failed)?;
            &own_copy
        }
        // What it would take for the truth has another meaning.
        (None, Err(BackendError::Tampered(fault))) => return Err(fault.clone().into()),
        (None, Err(_)) => {
            return Err(Error::Unavailable(format!(
                "{} cannot be read; say which copy to restore",
                home.database_file().display()
            )));
        }
    };
    let mut trust = extra.clone();
    let own = keys.verifiers().iter().map(|key| key.id().clone());
    trust.verifiers.extend(own);
    let succession = take_copy(made, copy).await?;
    let is_past = match &present {
        Ok(present) => is_own_past(present, keys, &succession).await,
        Err(_) => false,
    };
    if !is_past {
        trust.check(&succession, copy)?;
    }
    // Before anything is replaced: a text that is no key.
    let recovery = recovery.map(|source| home.keys(source.clone()));
    let recovery = recovery.transpose()?;
    // What cannot be read is no reason not to go back.
    let seen = home.anchor().read().unwrap_or_default();
    let newcomer = strangers(made, keys, recovery.as_ref()).await?;
    copy_public_keys(home, made)?;
    let adoption = Adoption {
        made,
        former: succession.verifiers(),
        mark: succession.position(),
        seen,
        newcomer,
    };
    let restored = adoption
        .adopt(made.keys(IdentitySource::Directory)?)
        .await?;
    let present = present.ok();
    Ok(Adopted { restored, present })
}

async fn put_back(
    home: &Home,
    made: &Home,
    copy: Option<&Path>,
    recovery: Option<IdentitySource>,
    extra: &Trust,
    keys: &Keys,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    let Adopted { restored, present } =
        adopt_copy(home, made, copy, recovery.as_ref(), extra, keys).await?;
    let new_mark = made.anchor().read().map_err(Error::Anchor)?;

    let replaced = match present {
        Some(present) => present.replace_by(&made.database_file()).await,
        None => Err(BackendError::Empty),
    };
    match replaced {
        Ok(()) => {}
        Err(error @ BackendError::Busy) => return Err(failed(error)),
        Err(_) => move_database(made, home)?,
    }
    home.anchor().set(new_mark).map_err(Error::Anchor)?;
    let verifiers = made.keys(IdentitySource::Directory)?.verifiers().to_vec();
    let keys = home.keys(recovery.unwrap_or(IdentitySource::Directory))?;
    let entail = Entail::with_keys(home, keys, Options::default())?;
    entail.store.trust(&verifiers)?;
    let principal = Principal::LocalOwner;
    entail.resign(&principal, &mut |_| {}).await?;
    entail.store.end_old_signer()?;
    let renewal = match entail.can_unseal() {
        true => entail.reseal(&principal, on_step).await?,
        false => Renewal::default(),
    };
    let revision = entail.store.revision().await?;
    Ok(Restored {
        revision,
        renewal,
        ..restored
    })
}

/// Whether the newest entry of a copy is one of the journal that is there, which ends
/// under a key of this node: then the copy is an earlier state of it, whoever signed
/// that. An earlier key that signs something else is not believed.
async fn is_own_past(present: &Sqlite, keys: &Keys, copy: &SignerChain) -> bool {
    let Ok(lineage) = SignerChain::of(present).await else {
        return false;
    };
    let own = |verifier: &Verifier| lineage.descends_from(verifier.id());
    keys.verifiers().iter().any(own) && lineage.has(copy.position())
}

/// The recipients of this node's own identity that are not on the copy's list. Nothing
/// in the copy opens for them, so they need somebody who opens it.
async fn strangers(
    made: &Home,
    keys: &Keys,
    recovery: Option<&Keys>,
) -> Result<Vec<Recipient>, Error> {
    if !keys.can_unseal() {
        return Ok(Vec::new());
    }
    let list = listed_in(made).await?;
    let unknown: Vec<Recipient> = keys
        .own_recipients(RESTORED, now_ms())?
        .into_iter()
        .filter(|own| !list.has(&own.id()))
        .collect();
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let Some(recovery) = recovery else {
        return Err(Error::RecoveryKeyRequired);
    };
    if !recovery.identity_ids().any(|id| list.has(id)) {
        return Err(Error::Invalid(format!(
            "the recovery key opens nothing in the copy, which is sealed to {}",
            list.ids().join(", ")
        )));
    }
    Ok(unknown)
}

/// Who the secrets of a copy are sealed to. It is looked at before it is believed, so
/// nothing may depend on it but an error.
async fn listed_in(made: &Home) -> Result<entail_store::Recipients, Error> {
    let taken = open(&made.database_file())?;
    let rows = taken
        .read(&[recipients_key()], 0, None)
        .await
        .map_err(failed)?;
    let payload = rows
        .documents
        .into_iter()
        .next()
        .and_then(|found| found.row)
        .map(|row| row.payload)
        .unwrap_or_default();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
    let body = payload.get("body").cloned().unwrap_or_default();
    serde_json::from_value(body).map_err(|_| {
        let fault = entail_store::Fault::Forged;
        entail_store::Tampering::new(fault, "the copy", "does not say who it is sealed to").into()
    })
}

/// Makes a database in the workshop out of the rows of a copy, and reads whose it is.
async fn take_copy(made: &Home, copy: &Path) -> Result<SignerChain, Error> {
    let unread = |error: std::io::Error| Error::Invalid(format!("{}: {error}", copy.display()));
    // As bytes first: it may lie where nothing can be written, or where others write.
    let received = made.folder().join(RECEIVED);
    receive(copy, &received).map_err(|error| unread(error.into()))?;
    let taken = Sqlite::import(&received, &made.database_file()).map_err(|error| match error {
        BackendError::Tampered(fault) => Error::Tampered(fault),
        error => Error::Invalid(format!(
            "{} is not a copy of a store: {error}",
            copy.display()
        )),
    })?;
    std::fs::remove_file(&received).map_err(unread)?;
    Ok(SignerChain::of(&taken).await?)
}

/// Copies the bytes of a copy, if it looks like one and is not too large. What it says of
/// its length, and how it begins, is looked at before anything is copied.
fn receive(copy: &Path, received: &Path) -> Result<(), InputError> {
    let mut opened = InputFile::open_regular(copy)?;
    let too_large = || InputError::TooLarge {
        limit: usize::try_from(MAX_COPY_BYTES).unwrap_or(usize::MAX),
    };
    if opened.metadata()?.len() > MAX_COPY_BYTES {
        return Err(too_large());
    }
    let mut begin = Vec::with_capacity(SQLITE_MAGIC.len());
    let length = u64::try_from(SQLITE_MAGIC.len()).unwrap_or(u64::MAX);
    opened.by_ref().take(length).read_to_end(&mut begin)?;
    if begin != SQLITE_MAGIC {
        let error = "it is not a copy of a store: it is no database";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error).into());
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(received)?;
    file.write_all(&begin)?;
    let rest = MAX_COPY_BYTES - length + 1;
    let copied = std::io::copy(&mut opened.take(rest), &mut file)?;
    match copied < rest {
        true => Ok(()),
        false => Err(too_large()),
    }
}

/// What the workshop needs to sign, and nothing that opens secrets.
fn copy_public_keys(home: &Home, made: &Home) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the keys: {error}"));
    entail_store::private_directory(&made.keys_folder()).map_err(failed)?;
    for entry in std::fs::read_dir(home.keys_folder()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".pem") {
            let key = Secret::read_regular_file(&entry.path(), MAX_KEY_BYTES)
                .map_err(failed)?
                .ok_or_else(|| Error::Home(format!("the keys: {} is too large", name.display())))?;
            let mode = entry.metadata().map_err(failed)?.permissions().mode();
            let file = File::options()
                .write(true)
                .create_new(true)
                .mode(mode & 0o700)
                .open(made.keys_folder().join(name));
            file.and_then(|mut file| file.write_all(key.expose()))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Puts a database file in the place of one that cannot be read. What its log holds
/// must not be taken for the new one's.
fn move_database(made: &Home, home: &Home) -> Result<(), Error> {
    made.check_closed()?;
    let failed = |error: std::io::Error| Error::Home(format!("the database: {error}"));
    for suffix in ["-wal", "-shm"] {
        let mut name = home.database_file().into_os_string();
        name.push(suffix);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    std::fs::rename(made.database_file(), home.database_file()).map_err(failed)
}

/// Makes a copy a store of this node: checked whole, and with an entry that says that
/// it was gone back to.
struct Adoption<'a> {
    /// Where the copy lies.
    made: &'a Home,
    /// Whose signatures the documents have.
    former: Vec<Verifier>,
    /// The newest entry of the copy.
    mark: JournalPosition,
    /// The newest entry that was seen before.
    seen: JournalPosition,
    /// Who is to be added to those that secrets are sealed to.
    newcomer: Vec<Recipient>,
}

impl Adoption<'_> {
    async fn adopt(self, keys: Keys) -> Result<Restored, Error> {
        let signer = keys.signer()?.verifier();
        self.made.anchor().set(self.mark).map_err(Error::Anchor)?;
        // First as the copy's own signer left it.
        let store = self.open(keys)?;
        store.trust(&self.former)?;
        self.check(&store).await?;
        let mut verifiers = vec![signer.clone()];
        verifiers.extend(
            self.former
                .iter()
                .filter(|former| former.id() != signer.id())
                .cloned(),
        );
        store.trust(&verifiers)?;
        let mut batch = Batch {
            trust: Some(signer),
            after: self.seen.revision,
            ..Batch::default()
        };
        if !self.newcomer.is_empty() {
            let mut list = entail_store::Recipients::clone(&*store.recipients().await?);
            list.epoch += 1;
            list.recipients.extend(self.newcomer);
            let body = encode(&list)?;
            let key: DocumentKey = recipients_key();
            batch.put.push((key, body));
        }
        let change = encode(&json!({
            "change": "restore", "copy": self.mark.revision, "seen": self.seen.revision,
        }))?;
        let author = Author {
            principal: &Principal::LocalOwner.to_string(),
            at_ms: now_ms(),
            change: &change,
        };
        let revision = store.commit(self.mark.revision, batch, author).await?;
        Ok(Restored {
            copy: self.mark.revision,
            seen: self.seen.revision,
            revision,
            renewal: Renewal::default(),
        })
    }

    fn open(&self, keys: Keys) -> Result<Store, Error> {
        let database = open(&self.made.database_file())?;
        Ok(Store::open(Arc::new(database), keys, self.made.anchor())?)
    }

    /// Refuses a copy in which anything is not as it should be.
    async fn check(&self, store: &Store) -> Result<(), Error> {
        let report = store.check(&mut Unseen, &|_| Vec::new()).await?;
        match report.faults.into_iter().next() {
            Some(fault) => Err(Error::Tampered(fault)),
            None => Ok(()),
        }
    }
}

/// A look that opens nothing.
struct Unseen;

impl entail_store::Visitor for Unseen {
    fn progress(&mut self, _progress: entail_store::Progress) {}

    fn document(
        &mut self,
        _document: &entail_store::Document,
        _moment: &entail_store::DocumentBlobs<'_>,
    ) -> Vec<entail_store::Tampering> {
        Vec::new()
    }
}
