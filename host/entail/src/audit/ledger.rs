//! The ledger of the log: a small file beside it, `decisions.ledger`, that records which
//! full files were archived and which losses were accepted. Verification reports any other
//! missing file or record as a breach.
//!
//! Each line is one event, authenticated by the key of the log together with the event
//! before it. So nobody without the key can add an event, change one, or remove one from
//! the middle. An event removed from the end no longer excuses anything: the files it
//! covered show as missing again.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use entail_store::Digest;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::files::{LogPaths, open_if_exists, with_path};
use super::heads::LogKey;

/// The largest ledger that is read; an event has some hundred bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Separates these authentication codes from those of checkpoints.
const DOMAIN: &[u8] = b"entail: event of the decision log\n";

/// A deliberate change of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The principal: in the ledger its id, elsewhere its text, or `unknown:` and the id if its
    /// name was erased.
    pub principal: String,
    /// The event.
    #[serde(flatten)]
    pub kind: LogEventKind,
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEventKind {
    /// Full files were archived.
    Archived {
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
        /// The digest of the last line in them.
        last: Option<Digest>,
        /// The directory they were moved to.
        directory: PathBuf,
    },
    /// All breaches before a position were accepted, and are no longer reported.
    LossAccepted {
        /// The number of the current file.
        file: u64,
        /// Bytes of that file before the position.
        bytes: u64,
        /// The reason that the principal gave.
        reason: String,
        /// The first of the accepted breaches.
        found: Vec<String>,
        /// How many breaches were accepted.
        breaches: u64,
    },
}

/// The events of a log.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) events: Vec<LogEvent>,
    /// The authentication code of the last event.
    last_code: Option<Digest>,
    /// The length of the authentic events in bytes.
    bytes: u64,
    /// Whether the whole file is authentic.
    pub(super) is_authentic: bool,
}

impl Ledger {
    pub(super) fn path(paths: &LogPaths) -> PathBuf {
        paths.log.with_extension("ledger")
    }

    /// Reads the events up to the first that is not authentic. Without a key none is.
    pub(super) fn read(paths: &LogPaths, key: Option<&LogKey>) -> std::io::Result<Self> {
        let path = Self::path(paths);
        let failed = |error| with_path(&path, error);
        let mut ledger = Ledger {
            is_authentic: true,
            ..Ledger::default()
        };
        let Some(file) = open_if_exists(&path).map_err(failed)? else {
            return Ok(ledger);
        };
        let mut text = String::new();
        ledger.is_authentic = match file.take(MAX_BYTES).read_to_string(&mut text) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => false,
            Err(error) => return Err(failed(error)),
        };
        for line in text.split_inclusive('\n') {
            let event = key.and_then(|key| ledger.parse(key, line));
            let Some((event, code)) = event else {
                ledger.is_authentic = false;
                break;
            };
            ledger.bytes += line.len() as u64;
            ledger.last_code = Some(code);
            ledger.events.push(event);
        }
        Ok(ledger)
    }

    fn parse(&self, key: &LogKey, line: &str) -> Option<(LogEvent, Digest)> {
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

    /// Appends an event after the authentic ones.
    pub(super) fn add(
        &mut self,
        paths: &LogPaths,
        key: &LogKey,
        event: LogEvent,
    ) -> std::io::Result<()> {
        let path = Self::path(paths);
        let failed = |error| with_path(&path, error);
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
        // Remove what is not authentic.
        file.set_len(self.bytes).map_err(failed)?;
        (&file).write_all(line.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.bytes += line.len() as u64;
        self.last_code = Some(code);
        self.events.push(event);
        Ok(())
    }

    /// Whether a full file may be missing because it was archived or its loss accepted.
    pub(super) fn excuses(&self, number: u64) -> bool {
        self.events.iter().any(|event| match event.kind {
            LogEventKind::Archived { from, to, .. } => (from..=to).contains(&number),
            LogEventKind::LossAccepted { file, .. } => number < file,
        })
    }

    /// Whether breaches at this position were accepted.
    pub(super) fn is_accepted(&self, number: u64, offset: u64) -> bool {
        self.events.iter().any(|event| match event.kind {
            LogEventKind::Archived { .. } => false,
            LogEventKind::LossAccepted { file, bytes, .. } => (number, offset) < (file, bytes),
        })
    }

    /// The highest number of an archived file; 0 if there is none.
    pub(super) fn newest_archived(&self) -> u64 {
        let numbers = self.events.iter().map(|event| match event.kind {
            LogEventKind::Archived { to, .. } => to,
            LogEventKind::LossAccepted { .. } => 0,
        });
        numbers.max().unwrap_or(0)
    }
}
