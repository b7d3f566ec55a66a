//! Creates recovery keys, whole or as shares.
//!
//! The files exist before anything is sealed to the key, and have their names only afterwards. So
//! a file under its name opens what it promises, and a process that is stopped in between loses
//! nothing: the next one continues with the key in the pending files.

use std::path::{Path, PathBuf};

use super::error::MAX_SHARES;
use super::find::{PUBLIC_KEY, find_share};
use super::given::RecoveryKey;
use super::receipt::Receipt;
use super::share::{self, Split};
use crate::files;
use crate::files::path_check::check_private;
use crate::keys::error::KeyError;
use crate::keys::identity::{self, Identity};
use crate::recipients::Recipient;
use crate::secret::Secret;

/// The suffix of a file with a key to which nothing may be sealed yet.
const PENDING_SUFFIX: &str = ".pending";

/// The files of a new recovery key: the key, or each share of it.
#[derive(Clone, Debug)]
pub struct RecoveryFiles {
    split: Option<Split>,
    base: PathBuf,
    files: Vec<PathBuf>,
}

/// A recovery key in pending files.
#[derive(Clone, Debug)]
pub struct PendingRecovery {
    /// Its recipient.
    pub recipient: Recipient,
    /// Whether an interrupted process generated it.
    pub resumed: bool,
}

impl RecoveryFiles {
    /// The key is written to `file`; the shares of a split one to `FILE.1`, `FILE.2`, …
    pub fn new(file: &Path, split: Option<Split>) -> Self {
        RecoveryFiles {
            split,
            base: file.to_owned(),
            files: match split {
                Some(split) => (1..=split.shares())
                    .map(|number| numbered(file, number))
                    .collect(),
                None => vec![file.to_owned()],
            },
        }
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Fails if a file exists, other than those of an interrupted process, or cannot be created.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`].
    pub fn check(&self) -> Result<(), KeyError> {
        let is_begun = self.is_begun();
        for file in &self.files {
            let directory = match file.parent() {
                Some(directory) if directory != Path::new("") => directory,
                _ => Path::new("."),
            };
            let error = match (file.symlink_metadata(), directory.metadata()) {
                (Ok(_), _) if !is_begun => rustix::io::Errno::EXIST.into(),
                (_, Ok(directory)) if directory.is_dir() => continue,
                (_, Ok(_)) => rustix::io::Errno::NOTDIR.into(),
                (_, Err(error)) => error,
            };
            return Err(failed(file, error));
        }
        Ok(())
    }

    /// Whether an interrupted process left a whole key in pending files.
    fn is_begun(&self) -> bool {
        let mut files = self.files.iter();
        files.clone().any(|file| pending(file).exists())
            && files.all(|file| pending(file).exists() || file.exists())
    }

    /// Fails if there are pending files of another key: of other options, of another store, or that
    /// somebody else wrote.
    fn check_pending(&self, receipt: &Receipt) -> Result<(), KeyError> {
        let whole = std::iter::once(self.base.clone());
        let shares = (1..=MAX_SHARES).map(|number| numbered(&self.base, number));
        for file in whole.chain(shares).map(|file| pending(&file)) {
            if file.symlink_metadata().is_err() {
                continue;
            }
            check_private(&file)?;
            let text = read(&file)?;
            let found = Receipt::find(&text);
            let is_of_this_store = found.is_some_and(|found| found.store == receipt.store);
            let is_of_these_options = match (find_share(&file, &text)?, self.split) {
                (None, None) => true,
                (Some(share), Some(split)) => {
                    let numbered = describe(share.number, split);
                    share.threshold == split.threshold()
                        && text
                            .expose_text()
                            .is_some_and(|text| text.contains(&numbered))
                }
                _ => false,
            };
            if !(is_of_this_store && is_of_these_options) {
                return Err(malformed(&file));
            }
        }
        Ok(())
    }

    /// Generates the key and writes it to pending files, with the receipt of the store; or takes
    /// the one that an interrupted process left there.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`]; [`KeyError::Malformed`] or [`KeyError::Share`] if the pending files do
    /// not contain one key.
    pub fn prepare(
        &self,
        receipt: &Receipt,
        label: &str,
        now_ms: u64,
    ) -> Result<PendingRecovery, KeyError> {
        self.check()?;
        self.check_pending(receipt)?;
        let recipient = |identity: &Identity| Recipient {
            key: identity.recipient(),
            label: label.to_owned(),
            added_at_ms: now_ms,
        };
        if self.is_begun() {
            return Ok(PendingRecovery {
                recipient: recipient(&self.read()?),
                resumed: true,
            });
        }
        self.discard();
        let identity = Identity::generate();
        let texts = self.texts(&identity, receipt)?;
        for (file, text) in self.files.iter().zip(&texts) {
            let file = pending(file);
            let written = files::write_new(&file, text.expose());
            written.map_err(|error| {
                self.discard();
                failed(&file, error)
            })?;
        }
        Ok(PendingRecovery {
            recipient: recipient(&identity),
            resumed: false,
        })
    }

    /// Gives the pending files their names.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`].
    pub fn finish(&self) -> Result<(), KeyError> {
        for file in &self.files {
            let pending = pending(file);
            if pending.exists() {
                let named = files::rename_no_replace(&pending, file).and_then(|()| {
                    let absolute = std::path::absolute(file)?;
                    files::sync_directory(absolute.parent().unwrap_or(Path::new("/")))
                });
                named.map_err(|error| failed(file, error))?;
            }
        }
        Ok(())
    }

    /// Removes the pending files, if nothing is sealed to the key.
    pub fn discard(&self) {
        for file in &self.files {
            // What cannot be removed opens nothing.
            let _ = std::fs::remove_file(pending(file));
        }
    }

    /// Reads the key of an interrupted process.
    fn read(&self) -> Result<Identity, KeyError> {
        let mut texts = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let pending = pending(file);
            let file = if pending.exists() {
                pending
            } else {
                file.clone()
            };
            let text = read(&file)?;
            texts.push((file, text));
        }
        let key = RecoveryKey::from_texts(&texts)?;
        let identities = identity::parse(&key.identity);
        let only = identities.and_then(|identities| identities.into_iter().next());
        only.ok_or_else(|| malformed(self.files.first().map_or(Path::new(""), PathBuf::as_path)))
    }

    /// The text of each file.
    fn texts(&self, identity: &Identity, receipt: &Receipt) -> Result<Vec<Secret>, KeyError> {
        let lines = receipt.to_lines();
        let Some(split) = self.split else {
            let text = identity::to_text([identity]);
            return Ok(vec![Secret::joined(&[lines.as_bytes(), text.expose()])]);
        };
        let shares = share::split(identity, split).map_err(|error| KeyError::File {
            file: self.files.first().cloned().unwrap_or_default(),
            error,
        })?;
        let text = |share: &share::Share| {
            let comments = format!(
                "{lines}{}# threshold: {}\n{PUBLIC_KEY}{}\n",
                describe(share.number, split),
                split.threshold(),
                identity.recipient()
            );
            Secret::joined(&[comments.as_bytes(), share.to_text().expose(), b"\n"])
        };
        Ok(shares.iter().map(text).collect())
    }
}

/// The line that numbers a share.
fn describe(number: u8, split: Split) -> String {
    format!("# share: {number} of {}\n", split.shares())
}

fn read(file: &Path) -> Result<Secret, KeyError> {
    Secret::read_regular_file(file, identity::MAX_BYTES)
        .map_err(|error| failed(file, error))?
        .ok_or_else(|| malformed(file))
}

/// The file of a share.
fn numbered(file: &Path, number: u8) -> PathBuf {
    with_suffix(file, &format!(".{number}"))
}

/// The file that becomes `file` when something is sealed to its key.
fn pending(file: &Path) -> PathBuf {
    with_suffix(file, PENDING_SUFFIX)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn malformed(file: &Path) -> KeyError {
    KeyError::Malformed {
        file: file.to_owned(),
        expected: "what an interrupted run with the same options for this store wrote; repeat that \
                   run, or move the file away if no recipient is listed for it",
    }
}

fn failed(file: &Path, error: std::io::Error) -> KeyError {
    let file = file.to_owned();
    KeyError::File { file, error }
}
