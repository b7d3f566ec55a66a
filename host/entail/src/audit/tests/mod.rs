//! Tests of the decision log: its writers, its readers, and attacks on it.

mod crash;
mod full_files;
mod heads;
mod openings;
mod principals;
mod processes;
mod reading;
mod syncs;
mod tampering;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use entail_policy::{Decision, Facts, Grant, RequestFacts};
use entail_store::{Digest, RandomId};

use super::files::{LogPaths, numbered_path};
use super::verify::verify_at;
use super::{
    DecisionLog, Entry, Granted, LogReport, Opening, OpeningResult, Outcome, Purpose, Record,
    RecordedFacts, Written,
};
use crate::Principal;
use crate::clock::fake::FakeClock;
use crate::error::Error;
use crate::home::Home;

const ME: Principal = Principal::LocalOwner;

/// The id of the principal of the records that these tests write.
const ID: &str = "0123456789abcdef0123456789abcdef";

/// A home with a decision log and a fake clock.
struct TestHome {
    home: Home,
    clock: Arc<FakeClock>,
    directory: tempfile::TempDir,
}

impl TestHome {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let home = runtime.block_on(Home::create(&path, None)).unwrap();
        TestHome {
            home,
            clock: FakeClock::new(),
            directory,
        }
    }

    /// A home whose log files are full after some forty records.
    fn with_small_files() -> Self {
        TestHome::with_settings("max-bytes = 16384")
    }

    /// A home with these settings of the log.
    fn with_settings(settings: &str) -> Self {
        let home = TestHome::new();
        let file = home.home.settings_file();
        std::fs::write(&file, format!("[decision-log]\n{settings}\n")).unwrap();
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn open(&self) -> Arc<DecisionLog> {
        Arc::new(DecisionLog::open(&self.home, self.clock.clone()).unwrap())
    }

    /// Opens the log, records decisions, and closes it.
    fn run(&self, decisions: usize) {
        let log = self.open();
        for _ in 0..decisions {
            decide(&log, "acme").unwrap();
        }
    }

    fn log(&self) -> PathBuf {
        self.home.decision_log()
    }

    fn numbered(&self, number: u64) -> PathBuf {
        numbered_path(&self.log(), number)
    }

    fn head(&self) -> PathBuf {
        LogPaths::of(&self.home).heads
    }

    fn key(&self) -> PathBuf {
        LogPaths::of(&self.home).key
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    fn put(&self, lines: &[String]) {
        std::fs::write(self.log(), lines.concat()).unwrap();
    }

    fn verify(&self) -> LogReport {
        verify_at(&self.home, &*self.clock, &[]).unwrap()
    }

    #[track_caller]
    fn assert_intact(&self, records: u64) -> LogReport {
        let report = self.verify();
        assert_eq!(report.breaches, [], "{report:?}");
        assert_eq!((report.records, report.has_head), (records, true));
        report
    }

    #[track_caller]
    fn assert_breached(&self, what: &str) -> String {
        let report = self.verify();
        assert!(!report.breaches.is_empty(), "{what}: {report:?}");
        let reasons = report.breaches.iter().map(|breach| &breach.reason);
        reasons.cloned().collect::<Vec<_>>().join("; ")
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Records a decision of a policy that failed.
fn decide(log: &Arc<DecisionLog>, scope: &str) -> Result<Written, Error> {
    let failure = "it is only a test".to_owned();
    write_decision(log, scope, Outcome::Failed { failure }, None)
}

/// Records a grant.
fn grant(log: &Arc<DecisionLog>, scope: &str) -> Result<Written, Error> {
    let decision = Decision {
        outcome: entail_policy::Outcome::Granted(Grant {
            credential: "1".to_owned(),
            model: None,
            alternates: Vec::new(),
        }),
        trail: Vec::new(),
        attributes: BTreeMap::new(),
    };
    let granted = Granted {
        holder: "acme",
        credential: "default",
        version: 1,
    };
    let outcome = Outcome::Decided {
        decision: &decision,
    };
    write_decision(log, scope, outcome, Some(granted))
}

/// Records what became of a granted secret.
fn open(
    log: &Arc<DecisionLog>,
    decision: &Written,
    result: OpeningResult,
) -> Result<Written, Error> {
    block_on(log.write(&Entry::Opening(Opening {
        of: decision.sequence,
        at_ms: 1_800_000_000_001,
        result,
    })))
}

fn write_decision(
    log: &Arc<DecisionLog>,
    scope: &str,
    outcome: Outcome<'_>,
    granted: Option<Granted<'_>>,
) -> Result<Written, Error> {
    write_decision_of(log, ID.parse().unwrap(), scope, outcome, granted)
}

fn write_decision_of(
    log: &Arc<DecisionLog>,
    principal: RandomId,
    scope: &str,
    outcome: Outcome<'_>,
    granted: Option<Granted<'_>>,
) -> Result<Written, Error> {
    let at_ms = 1_800_000_000_000;
    let facts = Facts {
        request: RequestFacts {
            provider: "openai".to_owned(),
            model: None,
            credential: None,
            principal: "local:owner".to_owned(),
            now_ms: at_ms,
            attributes: BTreeMap::new(),
        },
        chain: Vec::new(),
    };
    block_on(log.write(&Entry::Decision(&Record {
        at_ms,
        purpose: Purpose::Lease,
        principal,
        scope,
        provider: "openai",
        revision: 7,
        policy: entail_policy::PolicyDigest::of(b"policy"),
        bound_at: None,
        outcome,
        granted,
        facts: RecordedFacts::new(&facts, principal),
    })))
}

/// The lines with their newlines.
fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// Makes the chains valid again, as an attacker could.
fn rechain(lines: &mut [String]) {
    let mut writers = std::collections::HashMap::new();
    let mut last: Option<Digest> = None;
    for line in lines {
        let mut json: serde_json::Value = serde_json::from_str(line).unwrap();
        let writer = json["writer"].as_str().unwrap().to_owned();
        let (sequence, previous) = match writers.get(&writer) {
            Some((sequence, digest)) => (*sequence, Some(*digest)),
            None => (0, last),
        };
        json["sequence"] = (sequence + 1).into();
        json["previous"] =
            previous.map_or(serde_json::Value::Null, |d: Digest| d.to_string().into());
        *line = format!("{json}\n");
        let digest = Digest::of(line.trim_end().as_bytes());
        writers.insert(writer, (sequence + 1, digest));
        last = Some(digest);
    }
}

/// The scopes of records.
fn scopes(read: impl Iterator<Item = Result<super::RecordedDecision, Error>>) -> Vec<String> {
    read.map(|record| record.unwrap().scope().to_owned())
        .collect()
}
