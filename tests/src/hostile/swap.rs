//! Policies that are activated alternately under load.
//!
//! One grants: the built-in rules as a component with another digest. The other refuses
//! with a special code. So each decision shows which policy made it, and the decision log
//! must agree.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use entail::policy::{Compiler, EngineConfig, Facts, Inheritance, PolicyDigest, Sandbox};
use entail::{
    ActivatePolicy, Change, CredentialRef, Entail, Error, Home, InstallPolicy, Options, Principal,
    Request, RuleChanges, Secret, SecretEdit, SetCredential, log_files,
};
use serde_json::Value;
use tempfile::TempDir;

use super::BUILT_IN;
use super::compilation::{number, section};
use super::measure::Times;
use super::sketch::{ANSWER, SCRATCH, Sketch, point, store_byte};

const ME: Principal = Principal::LocalOwner;
const ORGANIZATION: &str = "acme";
const REQUESTING: &str = "acme/app";

/// The code of the refusing policy.
const CODE: &str = "closed-today";

/// A home with an organization and both policies installed.
#[allow(missing_debug_implementations)] // holds keys
pub struct Swap {
    entail: Arc<Entail>,
    home: Home,
    /// Keeps the home's directory until this is dropped.
    _directory: TempDir,
    grants: PolicyDigest,
    refuses: PolicyDigest,
}

/// The results of requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Their durations.
    pub times: Times,
    /// The number of granted requests.
    pub granted: usize,
    /// The number of refused requests.
    pub refused: usize,
    /// Descriptions of all other results.
    pub failed: Vec<String>,
}

impl Tally {
    fn merge(&mut self, others: Tally) {
        self.times.merge(others.times);
        self.granted += others.granted;
        self.refused += others.refused;
        self.failed.extend(others.failed);
    }
}

impl Swap {
    /// Creates a home in which the granting policy is active.
    pub async fn new(sandbox: Sandbox) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let settings = Options {
            engine: EngineConfig {
                compiler: Compiler::Sandboxed(sandbox),
                ..EngineConfig::default()
            },
            ..Options::default()
        };
        let entail = Arc::new(Entail::open(&home, settings).unwrap());
        for change in [
            Change::AddScope {
                scope: ORGANIZATION.parse().unwrap(),
            },
            Change::AddScope {
                scope: REQUESTING.parse().unwrap(),
            },
            Change::SetCredential(Box::new(SetCredential {
                credential: CredentialRef {
                    scope: ORGANIZATION.parse().unwrap(),
                    provider: "openai".parse().unwrap(),
                    name: "default".parse().unwrap(),
                },
                mode: None,
                fields: vec![("api_key".to_owned(), Secret::from("canary-of-the-swap"))],
                rules: RuleChanges::default(),
                secret: SecretEdit::Given,
                grace_ms: 0,
            })),
            Change::SetInheritance {
                scope: REQUESTING.parse().unwrap(),
                provider: Some("openai".parse().unwrap()),
                inheritance: Inheritance::Inherit,
            },
        ] {
            entail.change(&ME, &change).await.unwrap();
        }
        let grants = install(&entail, &built_in_by_another_digest()).await;
        let refuses = install(&entail, &refusing()).await;
        let swap = Swap {
            entail,
            home,
            _directory: directory,
            grants,
            refuses,
        };
        swap.activate(true).await;
        swap
    }

    /// Activates the granting or the refusing policy.
    pub async fn activate(&self, grants: bool) {
        let component = match grants {
            true => self.grants,
            false => self.refuses,
        };
        let activate = ActivatePolicy {
            component: Some(component),
            ..ActivatePolicy::default()
        };
        let organization = ORGANIZATION.parse().unwrap();
        self.entail
            .policies()
            .activate(&ME, &organization, activate)
            .await
            .unwrap();
    }

    /// Sends requests for this time, with one concurrent request per processor.
    pub async fn send_requests(&self, time: Duration) -> Tally {
        self.send_requests_while(tokio::time::sleep(time)).await
    }

    /// Sends requests while both policies are activated alternately, `per_second` times a
    /// second. Also returns the number of swaps.
    pub async fn send_requests_and_swap(&self, time: Duration, per_second: u32) -> (Tally, u32) {
        let mut swaps = 0;
        let started = Instant::now();
        let swapping = async {
            while started.elapsed() < time {
                let next = started + Duration::from_secs(1) * swaps / per_second;
                tokio::time::sleep_until(next.into()).await;
                self.activate(swaps % 2 == 1).await;
                swaps += 1;
            }
        };
        let tally = self.send_requests_while(swapping).await;
        (tally, swaps)
    }

    async fn send_requests_while(&self, other: impl Future<Output = ()>) -> Tally {
        let stop = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let tasks: Vec<_> = (0..processors)
            .map(|_| {
                let (entail, stop) = (Arc::clone(&self.entail), Arc::clone(&stop));
                let grants = self.grants.to_string();
                tokio::spawn(async move { send_requests_until(&entail, &stop, &grants).await })
            })
            .collect();
        other.await;
        stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for task in tasks {
            tally.merge(task.await.unwrap());
        }
        tally
    }

    /// Compares each record of the decision log with the decision of the policy that it
    /// names. Returns the numbers of granted and refused requests.
    ///
    /// # Errors
    ///
    /// The first record that the named policy does not explain.
    pub fn check_records(&self) -> Result<(usize, usize), String> {
        let mut counts: HashMap<bool, usize> = HashMap::new();
        for file in log_files(&self.home.decision_log()).unwrap() {
            for line in BufReader::new(std::fs::File::open(file.path).unwrap()).lines() {
                let line = line.unwrap();
                let record: Value = serde_json::from_str(&line).unwrap();
                if record["kind"] != "decision" {
                    continue;
                }
                let digest = record["policy"].as_str().unwrap_or_default();
                let granted = record["decision"].get("granted").is_some();
                let refused = record["decision"]["refused"]["code"] == CODE;
                let explained = (granted && digest == self.grants.to_string())
                    || (refused && digest == self.refuses.to_string());
                if !explained || granted == refused {
                    return Err(line);
                }
                *counts.entry(granted).or_default() += 1;
            }
        }
        let count = |granted| counts.get(&granted).copied().unwrap_or_default();
        Ok((count(true), count(false)))
    }

    /// The facts of the request.
    pub async fn facts(&self) -> Arc<Facts> {
        let explained = self.entail.explain(&ME, &request()).await.unwrap();
        explained.facts
    }

    /// Calls the active policy `calls` times, with one concurrent call per processor.
    pub async fn decide(&self, calls: usize) {
        let organization = ORGANIZATION.parse().unwrap();
        let policies = self.entail.policies();
        let policy = policies.load_active(&ME, &organization).await.unwrap();
        let facts = self.facts().await;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let tasks: Vec<_> = (0..processors)
            .map(|_| {
                let (policy, facts) = (policy.clone(), Arc::clone(&facts));
                tokio::spawn(async move {
                    for _ in 0..calls.div_ceil(processors) {
                        policy.decide_async(Arc::clone(&facts)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

fn request() -> Request {
    Request::new(REQUESTING.parse().unwrap(), "openai".parse().unwrap())
}

async fn send_requests_until(entail: &Entail, stop: &AtomicBool, grants: &str) -> Tally {
    let request = request();
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let answer = entail.resolve(&ME, &request).await;
        tally.times.record(started.elapsed());
        match answer {
            Ok(lease) if lease.policy() == grants => tally.granted += 1,
            Ok(lease) => tally.failed.push(format!("granted by {}", lease.policy())),
            Err(Error::Refused { refusal, .. }) if refusal.code == CODE => tally.refused += 1,
            Err(error) => tally.failed.push(error.to_string()),
        }
    }
    tally
}

async fn install(entail: &Entail, component: &[u8]) -> PolicyDigest {
    let install = InstallPolicy {
        source: "swap".to_owned(),
        ..InstallPolicy::default()
    };
    let installed = entail.policies().install(&ME, component, install).await;
    installed.unwrap().component
}

/// The built-in policy with an additional custom section, which changes its digest.
fn built_in_by_another_digest() -> Vec<u8> {
    let name = b"of-another-digest";
    let body = [number(name.len()).as_slice(), name].concat();
    [BUILT_IN, &section(0, &body)].concat()
}

fn refusing() -> Vec<u8> {
    let len = u32::try_from(CODE.len()).unwrap();
    let refuse = store_byte(ANSWER + 4, 1)
        + &point(ANSWER + 8, SCRATCH, len)
        + &point(ANSWER + 16, SCRATCH, len);
    Sketch::evil(refuse)
        .when("(i32.const 1)")
        .data(CODE.as_bytes())
        .component()
}
