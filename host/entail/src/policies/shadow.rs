//! A policy that is asked beside the one in service, and whose answers are only
//! written down.
//!
//! It never delays an answer, nor changes one: it is asked after the answer is known,
//! on a thread that gives way to all others and works a tenth of the time. When there
//! is more than that to do, requests are left out. What it says goes to a file of its
//! own, beside the decision log, which is no record of anything that happened: it may
//! have gaps, and is not chained.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use entail_policy::{Decision, Facts, Policy, PolicyDigest};
use entail_store::Store;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::serving::Policies;
use crate::audit::{LineKind, Lines, open_if_there};
use crate::compare::decision::{Difference, EffectiveDecision};
use crate::documents::policy::Bound;
use crate::error::Error;
use crate::home::Home;
use crate::sleep::sleep;

/// The most that a file of answers holds; then a new one is begun and the one before
/// the last is let go.
const MAX_BYTES: u64 = 64 << 20;

/// Between two looks whether all shadows have been asked.
const PAUSE: Duration = Duration::from_millis(2);

/// A shadow of an organization's policy.
pub(crate) struct Shadow {
    pub(crate) bound: Bound,
    begun: AtomicBool,
    /// None if it cannot be made ready.
    policy: OnceLock<Option<Policy>>,
}

/// What a shadow is asked, and who decided what.
pub(crate) struct Question {
    pub(crate) facts: Arc<Facts>,
    pub(crate) policy: PolicyDigest,
    pub(crate) answer: EffectiveDecision,
}

/// What a shadow said to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowAnswer {
    /// When the request was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The scope that asked.
    pub scope: String,
    /// For which provider.
    pub provider: String,
    /// The policy that decided.
    pub policy: PolicyDigest,
    /// What came of it.
    pub answer: EffectiveDecision,
    /// The shadow.
    pub shadow: PolicyDigest,
    /// What it would have come to.
    pub shadow_answer: EffectiveDecision,
    /// How the two differ.
    pub difference: Difference,
}

/// Where answers of shadows are written.
#[derive(Debug)]
pub(crate) struct ShadowLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
    /// Questions that were asked and not answered yet.
    open: AtomicUsize,
}

impl Shadow {
    pub(crate) fn new(bound: Bound) -> Self {
        Shadow {
            bound,
            begun: AtomicBool::new(false),
            policy: OnceLock::new(),
        }
    }

    /// Asks the shadow some time, if it is ready; else makes it ready for the next.
    pub(crate) fn ask(
        self: &Arc<Self>,
        policies: &Arc<Policies>,
        store: &Arc<Store>,
        log: &Arc<ShadowLog>,
        question: Question,
    ) {
        match self.policy.get() {
            Some(Some(shadow)) => ask(shadow, log, question),
            Some(None) => {}
            None if self.begun.swap(true, Ordering::Relaxed) => {}
            None => {
                log.open.fetch_add(1, Ordering::Relaxed);
                let (shadow, policies) = (Arc::clone(self), Arc::clone(policies));
                let (store, log) = (Arc::clone(store), Arc::clone(log));
                tokio::spawn(async move {
                    let ready = policies.load(&store, &shadow.bound).await.ok();
                    let ready = shadow.policy.get_or_init(|| ready);
                    if let Some(ready) = ready {
                        ask(ready, &log, question);
                    }
                    log.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

fn ask(shadow: &Policy, log: &Arc<ShadowLog>, question: Question) {
    log.open.fetch_add(1, Ordering::Relaxed);
    let digest = shadow.digest();
    let answered = Arc::clone(log);
    let facts = Arc::clone(&question.facts);
    let taken = shadow.decide_in_background(facts, move |decision| {
        answered.write(question, digest, decision);
        answered.open.fetch_sub(1, Ordering::Relaxed);
    });
    if !taken {
        log.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ShadowLog {
    pub(crate) fn at(path: PathBuf) -> Self {
        ShadowLog {
            path,
            file: Mutex::new(None),
            open: AtomicUsize::new(0),
        }
    }

    /// Waits until every shadow that was asked has answered, but not for longer than
    /// `within`.
    pub(crate) async fn settle(&self, within: Duration) {
        let end = Instant::now() + within;
        while self.open.load(Ordering::Relaxed) > 0 && Instant::now() < end {
            sleep(PAUSE).await;
        }
    }

    fn write(
        &self,
        question: Question,
        shadow: PolicyDigest,
        decision: Result<Decision, entail_policy::CallError>,
    ) {
        let Question {
            facts,
            policy,
            answer,
        } = question;
        let shadow_answer = EffectiveDecision::of_unguarded(&facts, decision);
        let said = ShadowAnswer {
            at_ms: facts.request.now_ms,
            scope: facts
                .chain
                .first()
                .map(|scope| scope.path.clone())
                .unwrap_or_default(),
            provider: facts.request.provider.clone(),
            policy,
            difference: Difference::between(&answer, &shadow_answer),
            answer,
            shadow,
            shadow_answer,
        };
        // Whatever goes wrong here must not reach anybody; a gap is all that is left.
        let _ = self.append(&said);
    }

    fn append(&self, said: &ShadowAnswer) -> std::io::Result<()> {
        let mut line = Vec::new();
        entail_text::json::to_writer(&mut line, said)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let full = match &*file {
            Some(file) => file.metadata()?.len() > MAX_BYTES,
            None => false,
        };
        if full {
            std::fs::rename(&self.path, earlier(&self.path))?;
            *file = None;
        }
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        file.write_all(&line)
    }
}

fn earlier(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

/// Opens a file of answers for appending; a pipe would make the thread wait.
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

/// What shadows said, oldest first, up to the newest, read as it is asked for. Lines that
/// were cut off are passed over.
///
/// # Errors
///
/// [`Error::Unavailable`] when a file is there and cannot be read; each answer may fail
/// with it, too.
pub fn shadow_answers(home: &Home) -> Result<ShadowAnswers, Error> {
    let newest = home.shadow_log();
    Ok(ShadowAnswers {
        files: vec![newest.clone(), earlier(&newest)],
        reading: None,
        line: Vec::new(),
    })
}

/// What shadows said, one answer after the other.
pub struct ShadowAnswers {
    /// Those that are yet to be read, the next one last.
    files: Vec<PathBuf>,
    reading: Option<(PathBuf, Lines<File>)>,
    line: Vec<u8>,
}

impl ShadowAnswers {
    fn read(&mut self) -> Result<Option<ShadowAnswer>, Error> {
        let failed = |path: &Path, error: std::io::Error| {
            let path = path.display();
            Error::Unavailable(format!("{path}: {error}"))
        };
        loop {
            let Some((path, lines)) = &mut self.reading else {
                let Some(path) = self.files.pop() else {
                    return Ok(None);
                };
                let opened = open_if_there(&path).map_err(|error| failed(&path, error))?;
                self.reading = opened.map(|file| (path, Lines::new(file, 0)));
                continue;
            };
            let kind = lines.next(&mut self.line);
            match kind.map_err(|error| failed(path, error))? {
                LineKind::Rest => self.reading = None,
                LineKind::TooLong => {}
                LineKind::Whole => {
                    if let Ok(answer) = serde_json::from_slice(&self.line) {
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }
}

impl Iterator for ShadowAnswers {
    type Item = Result<ShadowAnswer, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl std::fmt::Debug for ShadowAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowAnswers").finish_non_exhaustive()
    }
}
