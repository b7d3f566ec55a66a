//! The log of the decisions of shadow policies.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entail_policy::{Decision, Facts, PolicyDigest};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::audit::{LineKind, Lines, open_if_exists};
use crate::blocking::run_on_thread;
use crate::compare::decision::{Difference, EffectiveDecision};
use crate::error::Error;
use crate::home::Home;

/// The size at which a new file is begun. The file before the last one is then deleted.
const MAX_BYTES: u64 = 64 << 20;

/// A request for a shadow to decide, and what the active policy decided.
pub(crate) struct ShadowRequest {
    pub(crate) facts: Arc<Facts>,
    pub(crate) policy: PolicyDigest,
    pub(crate) decision: EffectiveDecision,
}

/// The decision of a shadow policy, beside that of the active policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowDecision {
    /// The time of the request, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The requesting scope.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// The active policy.
    pub policy: PolicyDigest,
    /// What the active policy decided.
    pub decision: EffectiveDecision,
    /// The shadow policy.
    pub shadow: PolicyDigest,
    /// What the shadow policy would have decided.
    pub shadow_decision: EffectiveDecision,
    /// How the two decisions differ.
    pub difference: Difference,
}

/// Writes the decisions of shadow policies.
#[derive(Debug)]
pub(crate) struct ShadowLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
    /// How many requests shadows have not decided yet.
    open_requests: Mutex<usize>,
    is_idle: Condvar,
}

impl ShadowLog {
    pub(crate) fn at(path: PathBuf) -> Self {
        ShadowLog {
            path,
            file: Mutex::new(None),
            open_requests: Mutex::new(0),
            is_idle: Condvar::new(),
        }
    }

    /// Notes that a request was submitted.
    pub(super) fn begin(&self) {
        *self.open_requests() += 1;
    }

    /// Notes that a request was decided or skipped.
    pub(super) fn end(&self) {
        let mut open = self.open_requests();
        *open = open.saturating_sub(1);
        if *open == 0 {
            self.is_idle.notify_all();
        }
    }

    fn open_requests(&self) -> MutexGuard<'_, usize> {
        self.open_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on a separate thread until shadows have decided all requests, for at most
    /// `within`.
    pub(crate) async fn settle(self: &Arc<Self>, within: Duration) {
        if *self.open_requests() == 0 {
            return;
        }
        let log = Arc::clone(self);
        let waiting = run_on_thread("entail-settle", move || {
            let open = log.open_requests();
            drop(
                log.is_idle
                    .wait_timeout_while(open, within, |open| *open > 0),
            );
        });
        // Without a thread there is nothing to wait on.
        let _ = waiting.await;
    }

    pub(super) fn write(
        &self,
        request: ShadowRequest,
        shadow: PolicyDigest,
        decision: Result<Decision, entail_policy::CallError>,
    ) {
        let facts = request.facts;
        let shadow_decision = EffectiveDecision::of_unguarded(&facts, decision);
        let entry = ShadowDecision {
            at_ms: facts.request.now_ms,
            scope: facts
                .chain
                .first()
                .map(|scope| scope.path.clone())
                .unwrap_or_default(),
            provider: facts.request.provider.clone(),
            policy: request.policy,
            difference: Difference::between(&request.decision, &shadow_decision),
            decision: request.decision,
            shadow,
            shadow_decision,
        };
        // A failure here must not affect any request; it leaves a gap in the log.
        let _ = self.append(&entry);
    }

    fn append(&self, entry: &ShadowDecision) -> std::io::Result<()> {
        let mut line = Vec::new();
        entail_text::json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = match &*file {
            Some(file) => file.metadata()?.len() > MAX_BYTES,
            None => false,
        };
        if is_full {
            std::fs::rename(&self.path, previous_file(&self.path))?;
            *file = None;
        }
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        file.write_all(&line)
    }
}

fn previous_file(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

/// Opens the log for appending. It must be a regular file: a pipe could block the thread.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::ErrorKind::InvalidInput.into())
}

/// The logged decisions of shadow policies, oldest first, read on demand. Incomplete lines
/// are skipped. Each may fail with [`Error::Unavailable`] if a file exists and cannot be read.
pub fn shadow_decisions(home: &Home) -> ShadowDecisions {
    let newest = home.shadow_log();
    ShadowDecisions {
        files: vec![newest.clone(), previous_file(&newest)],
        reading: None,
        line: Vec::new(),
    }
}

/// Iterates over the logged decisions of shadow policies.
pub struct ShadowDecisions {
    /// The files that are not read yet, the next one last.
    files: Vec<PathBuf>,
    reading: Option<(PathBuf, Lines<File>)>,
    line: Vec<u8>,
}

impl ShadowDecisions {
    fn read(&mut self) -> Result<Option<ShadowDecision>, Error> {
        let failed = |path: &Path, error: std::io::Error| {
            let path = path.display();
            Error::Unavailable(format!("{path}: {error}"))
        };
        loop {
            let Some((path, lines)) = &mut self.reading else {
                let Some(path) = self.files.pop() else {
                    return Ok(None);
                };
                let opened = open_if_exists(&path).map_err(|error| failed(&path, error))?;
                self.reading = opened.map(|file| (path, Lines::new(file, 0)));
                continue;
            };
            let kind = lines.next(&mut self.line);
            match kind.map_err(|error| failed(path, error))? {
                LineKind::Incomplete => self.reading = None,
                LineKind::TooLong => {}
                LineKind::Complete => {
                    if let Ok(decision) = serde_json::from_slice(&self.line) {
                        return Ok(Some(decision));
                    }
                }
            }
        }
    }
}

impl Iterator for ShadowDecisions {
    type Item = Result<ShadowDecision, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl std::fmt::Debug for ShadowDecisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowDecisions").finish_non_exhaustive()
    }
}
