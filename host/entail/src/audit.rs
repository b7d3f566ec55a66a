//! The decision log: one JSON line per decision, written before anything is
//! revealed. No record, no secret.
//!
//! The facts are in it, since they hold no secret: what was decided can be
//! decided again. A line is handed to the system in one write, so several
//! processes can share the file; it is on its way to the disk, not waited for.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use entail_policy::{Decision, Digest, Facts};
use entail_store::Revision;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Room for an ordinary record.
const LINE_BYTES: usize = 1024;

/// What a decision was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A credential is handed out.
    Lease,
    /// It was opened to see whether it could be, and let go.
    Status,
}

/// What a line of the log says.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) at_ms: u64,
    pub(crate) purpose: Purpose,
    pub(crate) principal: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) provider: &'a str,
    /// The revision of the store that the facts are of.
    pub(crate) revision: Revision,
    #[serde(serialize_with = "as_text")]
    pub(crate) policy: Digest,
    #[serde(flatten)]
    pub(crate) outcome: Outcome<'a>,
    /// Which secret a grant is for, which the facts do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) granted: Option<Granted<'a>>,
    pub(crate) facts: &'a Facts,
}

/// The granted credential, in words that outlive it.
#[derive(Debug, Serialize)]
pub(crate) struct Granted<'a> {
    pub(crate) holder: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) version: u32,
}

/// What came of the request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub(crate) enum Outcome<'a> {
    /// The policy decided, and the guard let it pass.
    Decided { decision: &'a Decision },
    /// The policy failed, or the guard stopped it.
    Failed { failure: String },
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// The decision log of a home.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    path: PathBuf,
    file: File,
    /// The length at which the last whole line ended, as far as this process
    /// knows. A guess that is wrong only costs a look.
    whole: AtomicU64,
}

impl DecisionLog {
    /// Opens the log for appending, making it (mode 0600) if need be.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| Error::NotRecorded {
                file: path.to_owned(),
                error,
            })?;
        let failed = |error| Error::NotRecorded {
            file: path.to_owned(),
            error,
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() && metadata.mode() & 0o077 != 0 {
            let shown = path.display();
            return Err(failed(std::io::Error::other(format!(
                "others can use it; run: chmod 600 {shown}"
            ))));
        }
        Ok(DecisionLog {
            path: path.to_owned(),
            file,
            whole: AtomicU64::new(0),
        })
    }

    /// Writes a record; when this returns, the system has it.
    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let failed = |error| Error::NotRecorded {
            file: self.path.clone(),
            error,
        };
        let mut line = Vec::with_capacity(LINE_BYTES);
        let length = self.file.metadata().map_err(failed)?.len();
        if self.ends_within_a_line(length).map_err(failed)? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let written = (&self.file).write(&line).map_err(failed)?;
        if written == line.len() {
            let whole = length.saturating_add(u64::try_from(written).unwrap_or(0));
            self.whole.store(whole, Ordering::Relaxed);
            return Ok(());
        }
        Err(failed(std::io::Error::new(
            std::io::ErrorKind::WriteZero,
            "only a part of the line could be written",
        )))
    }

    /// Whether the file, which has `length` bytes, ends with a line that did not
    /// fit and was left unfinished: the next one must not be a part of it.
    fn ends_within_a_line(&self, length: u64) -> std::io::Result<bool> {
        // What is no regular file has no length, and nothing to read back.
        if length == 0 || length == self.whole.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, length - 1)?;
        Ok(last != [b'\n'])
    }
}
