//! What was done to the log on purpose: a small file beside it, `decisions.ledger`, that
//! tells full files that were archived, and losses that were accepted, from files that
//! were taken and records that were cut.
//!
//! Each line is one event, authenticated by the key of the log together with the one
//! before it, so none can be added, changed or taken out of the middle by somebody who
//! cannot read the key. Events that are taken off the end excuse nothing any more: what
//! they told of shows as missing again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use entail_store::Digest;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::files::{self, about};
use super::heads::{Key, Paths};

/// The longest ledger: an event has some hundred bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Separates these authentication codes from those of marks, which begin otherwise.
const DOMAIN: &[u8] = b"entail: what was done to the decision log\n";

/// Something that was done to the log on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who did it.
    pub principal: String,
    /// What it was.
    #[serde(flatten)]
    pub what: LogEventKind,
}

/// What was done to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEventKind {
    /// Full files were moved elsewhere.
    Archived {
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
        /// The digest of the last line in them.
        last: Option<Digest>,
        /// Where they were moved.
        directory: PathBuf,
    },
    /// What was wrong with the log up to a place is known, and no longer told as a breach.
    LossAccepted {
        /// The number of the file that was being written.
        file: u64,
        /// Bytes in it up to the place.
        bytes: u64,
        /// Why, in the words of whoever accepted it.
        reason: String,
        /// What was wrong; the first of it if there is more.
        found: Vec<String>,
        /// How much was wrong in all.
        breaches: u64,
    },
}

/// The events of a log, and whether all that is in the file is as it was written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) events: Vec<LogEvent>,
    /// The authentication code of the last one.
    last_code: Option<Digest>,
    /// Bytes of the file up to there.
    bytes: u64,
    pub(super) is_whole: bool,
}

impl Ledger {
    pub(super) fn path(paths: &Paths) -> PathBuf {
        paths.log.with_extension("ledger")
    }

    /// Reads the events up to the first that is not as it was written. Without a key
    /// nothing is believed.
    pub(super) fn read(paths: &Paths, key: Option<&Key>) -> std::io::Result<Self> {
        let path = Self::path(paths);
        let failed = |error| about(&path, error);
        let mut ledger = Ledger {
            is_whole: true,
            ..Ledger::default()
        };
        let Some(file) = files::open_if_there(&path).map_err(failed)? else {
            return Ok(ledger);
        };
        let mut text = String::new();
        ledger.is_whole = match file.take(MAX_BYTES).read_to_string(&mut text) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => false,
            Err(error) => return Err(failed(error)),
        };
        for line in text.split_inclusive('\n') {
            let event = key.and_then(|key| ledger.parse(key, line));
            let Some((event, code)) = event else {
                ledger.is_whole = false;
                break;
            };
            ledger.bytes += line.len() as u64;
            ledger.last_code = Some(code);
            ledger.events.push(event);
        }
        Ok(ledger)
    }

    fn parse(&self, key: &Key, line: &str) -> Option<(LogEvent, Digest)> {
        let (code, json) = line.strip_suffix('\n')?.split_once(' ')?;
        let code: Digest = code.parse().ok()?;
        if !key.authenticates(&self.parts(json), &code) {
            return None;
        }
        Some((serde_json::from_str(json).ok()?, code))
    }

    fn parts<'a>(&'a self, json: &'a str) -> [&'a [u8]; 3] {
        let before: &[u8] = match &self.last_code {
            Some(code) => code.as_bytes(),
            None => &[0; 32],
        };
        [DOMAIN, before, json.as_bytes()]
    }

    /// Writes one more event, after those that are as they were written.
    pub(super) fn add(&mut self, paths: &Paths, key: &Key, event: LogEvent) -> std::io::Result<()> {
        let path = Self::path(paths);
        let failed = |error| about(&path, error);
        let json = serde_json::to_string(&event)?;
        let code = key.code_of(&self.parts(&json));
        let line = format!("{code} {json}\n");
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        // What was not written by us gives way.
        file.set_len(self.bytes).map_err(failed)?;
        (&file).write_all(line.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.bytes += line.len() as u64;
        self.last_code = Some(code);
        self.events.push(event);
        Ok(())
    }

    /// Whether a full file may be missing: it was archived, or its loss was accepted.
    pub(super) fn excuses(&self, number: u64) -> bool {
        self.events.iter().any(|event| match event.what {
            LogEventKind::Archived { from, to, .. } => (from..=to).contains(&number),
            LogEventKind::LossAccepted { file, .. } => number < file,
        })
    }

    /// Whether what is wrong at a place was accepted.
    pub(super) fn is_accepted(&self, number: u64, offset: u64) -> bool {
        self.events.iter().any(|event| match event.what {
            LogEventKind::Archived { .. } => false,
            LogEventKind::LossAccepted { file, bytes, .. } => (number, offset) < (file, bytes),
        })
    }

    /// The highest number that was archived.
    pub(super) fn newest_archived(&self) -> u64 {
        let numbers = self.events.iter().map(|event| match event.what {
            LogEventKind::Archived { to, .. } => to,
            LogEventKind::LossAccepted { .. } => 0,
        });
        numbers.max().unwrap_or(0)
    }
}
