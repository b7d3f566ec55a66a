//! Runs the collection through the library, next to a neighbour that sends requests.
//!
//! One process serves two organizations. One activates each component in turn and sends
//! requests; a project of the other sends requests all the time, which must neither fail nor
//! be delayed. Each result must be the expected one, each request to a policy must leave one
//! record, and the memory of the process must not grow.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use entail::policy::{Inheritance, PolicyDigest, Sandbox, Sharing};
use entail::{
    ActivatePolicy, Change, CredentialRef, Edit, Entail, Error, Home, InstallPolicy, Options,
    Principal, Request, RuleChanges, Secret, SecretEdit, SetCredential, log_files,
};
use serde_json::Value;
use tempfile::TempDir;

use super::measure::Times;
use super::{Case, Cause, ORGANIZATION, PROVIDER, Query, REQUESTING, VIOLATIONS, engine};

const ME: Principal = Principal::LocalOwner;

/// The project of the neighbour.
const NEIGHBOUR: &str = "good/app";

/// The pause between two requests of the neighbour.
const PAUSE: Duration = Duration::from_millis(1);

/// The number of concurrent requests to the looping policy of [`Host::flood`].
const FLOOD: usize = 200;

/// The provider for which the hostile policies misbehave.
const PROVIDERS: &str = r#"
[[provider]]
id = "evil"
name = "Evil"
kind = "model"
docs = "https://evil.example/docs"
base-url = "https://evil.example/v1"
hosts = ["evil.example"]

[[provider.field]]
name = "api_key"
label = "API key"
secret = true
environment = ["EVIL_API_KEY"]

[[provider.mode]]
name = "api-key"
label = "API key"
required = ["api_key"]
authentication = { headers = { Authorization = "Bearer {api_key}" } }
"#;

/// A host with the two organizations.
#[allow(missing_debug_implementations)] // holds keys
pub struct Host {
    entail: Arc<Entail>,
    home: Home,
    /// Holds the home for as long as it is used.
    _directory: TempDir,
    /// The expected records of the requests to policies, in order.
    records: Vec<(PolicyDigest, Kind)>,
}

/// The result of a request in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Granted,
    Refused,
    Failed,
}

impl Host {
    /// Creates a host that compiles components in `sandbox`.
    pub async fn new(sandbox: Sandbox) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        std::fs::write(home.providers_file(), PROVIDERS).unwrap();
        let settings = Options {
            engine: engine::settings(sandbox),
            ..Options::default()
        };
        let entail = Arc::new(Entail::open(&home, settings).unwrap());
        let host = Host {
            entail,
            home,
            _directory: directory,
            records: Vec::new(),
        };
        host.fill().await;
        host
    }

    /// Creates the scopes and credentials of [`Query::facts`], except the credential that
    /// cannot be read.
    async fn fill(&self) {
        for scope in ["evil", "evil/lab", REQUESTING, "good", NEIGHBOUR] {
            let scope = scope.parse().unwrap();
            self.change(Change::AddScope { scope }).await;
        }
        for (scope, name, rules) in [
            (REQUESTING, "default", RuleChanges::default()),
            (REQUESTING, "second", RuleChanges::default()),
            (REQUESTING, "disabled", RuleChanges::default()),
            (
                REQUESTING,
                "expired",
                RuleChanges {
                    expires_at_ms: Edit::Set(1_000),
                    ..RuleChanges::default()
                },
            ),
            (
                REQUESTING,
                "other-model",
                RuleChanges {
                    models: Edit::Set(vec!["claude-*".to_owned()]),
                    ..RuleChanges::default()
                },
            ),
            ("evil/lab", "shared", RuleChanges::default()),
            ("evil/lab", "unshared", shared(Sharing::None)),
            (
                "evil/lab",
                "elsewhere",
                shared(Sharing::Paths(vec!["evil/other/**".to_owned()])),
            ),
            ("evil", "beyond", RuleChanges::default()),
        ] {
            self.set(scope, PROVIDER, name, rules).await;
        }
        let credential = reference(REQUESTING, PROVIDER, "disabled");
        let enabled = false;
        let change = Change::SetEnabled {
            credential,
            enabled,
        };
        self.change(change).await;
        for (scope, model) in [("evil/lab", "lab-model"), ("evil", "beyond-model")] {
            let change = Change::SetModel {
                scope: scope.parse().unwrap(),
                provider: PROVIDER.parse().unwrap(),
                model: Some(model.parse().unwrap()),
            };
            self.change(change).await;
        }
        self.set("good", "openai", "default", RuleChanges::default())
            .await;
        for (scope, provider) in [(REQUESTING, PROVIDER), (NEIGHBOUR, "openai")] {
            let change = Change::SetInheritance {
                scope: scope.parse().unwrap(),
                provider: Some(provider.parse().unwrap()),
                inheritance: Inheritance::Inherit,
            };
            self.change(change).await;
        }
    }

    async fn set(&self, scope: &str, provider: &str, name: &str, rules: RuleChanges) {
        let set = SetCredential {
            credential: reference(scope, provider, name),
            mode: None,
            fields: vec![(
                "api_key".to_owned(),
                Secret::from(format!("canary-of-{name}")),
            )],
            rules,
            secret: SecretEdit::Given,
            grace_ms: 0,
        };
        self.change(Change::SetCredential(Box::new(set))).await;
    }

    async fn change(&self, change: Change) {
        self.entail.change(&ME, &change).await.unwrap();
    }

    /// The result of a case: installed, activated, called.
    ///
    /// # Errors
    ///
    /// An error that is not a reaction to the policy.
    pub async fn run(&mut self, case: &Case) -> Result<Cause, String> {
        let limits = engine::limits(case);
        let install = InstallPolicy {
            limits: Some(limits),
            source: case.name.clone(),
            over: None,
        };
        let installed = match self
            .entail
            .policies()
            .install(&ME, &case.bytes, install)
            .await
        {
            Ok(installed) => installed,
            Err(error) => return cause(&error),
        };
        let activate = ActivatePolicy {
            component: Some(installed.component),
            settings: case.settings.clone().unwrap_or_default(),
            limits: None,
            isolation: case.isolation,
        };
        if let Err(error) = self.activate(activate).await {
            return cause(&error);
        }
        let mut last = Cause::Refuses;
        for _ in 0..case.calls {
            let (kind, result) = match self.entail.resolve(&ME, &request(case.query)).await {
                Ok(_) => (Kind::Granted, Cause::Grants),
                Err(error @ Error::Refused { .. }) => (Kind::Refused, cause(&error)?),
                Err(error) => (Kind::Failed, cause(&error)?),
            };
            self.records.push((installed.component, kind));
            last = result;
            if kind == Kind::Failed {
                break;
            }
        }
        Ok(last)
    }

    /// Activates a policy for the organization of the hostile policies.
    async fn activate(&self, activate: ActivatePolicy) -> Result<(), Error> {
        let organization = ORGANIZATION.parse().unwrap();
        let bound = self
            .entail
            .policies()
            .activate(&ME, &organization, activate)
            .await;
        bound.map(drop)
    }

    /// Sends more concurrent requests to a policy that never returns than can run.
    ///
    /// # Errors
    ///
    /// Any result except a deadline or a refusal for lack of capacity.
    pub async fn flood(&mut self, looping: &Case) -> Result<(), String> {
        let once = self.run(looping).await?;
        if !looping.expected.includes(once) {
            return Err(format!("{once:?}"));
        }
        let digest = self.records.last().unwrap().0;
        let requests: Vec<_> = (0..FLOOD)
            .map(|_| {
                let entail = Arc::clone(&self.entail);
                tokio::spawn(async move { entail.resolve(&ME, &request(Query::Model)).await })
            })
            .collect();
        for request in requests {
            match request.await.unwrap() {
                Err(Error::PolicyFailed(_)) => self.records.push((digest, Kind::Failed)),
                Err(other) => return Err(other.to_string()),
                Ok(_) => return Err("it was granted something".to_owned()),
            }
        }
        Ok(())
    }

    /// Activates the built-in policy again, which must decide as before.
    ///
    /// # Errors
    ///
    /// An effect that remains of the hostile policies.
    pub async fn recover(&mut self) -> Result<(), String> {
        self.activate(ActivatePolicy::default())
            .await
            .map_err(|error| error.to_string())?;
        let lease = self.entail.resolve(&ME, &request(Query::Model)).await;
        let lease = lease.map_err(|error| error.to_string())?;
        self.records.push((
            self.entail.policies().built_in().unwrap().digest(),
            Kind::Granted,
        ));
        match lease.name().as_str() {
            "default" => Ok(()),
            other => Err(format!("{other} was granted")),
        }
    }

    /// Compares the decision log with the requests. Returns the number of records.
    ///
    /// # Errors
    ///
    /// The first missing or wrong record.
    pub fn check_records(&self) -> Result<usize, String> {
        let mut expected = self.records.iter();
        let mut count = 0;
        for file in log_files(&self.home.decision_log()).unwrap() {
            for line in BufReader::new(std::fs::File::open(file.path).unwrap()).lines() {
                let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
                if record["kind"] != "decision" || record["scope"] != REQUESTING {
                    continue;
                }
                let kind = match (&record["result"], &record["decision"]) {
                    (result, _) if result == "failed" => Kind::Failed,
                    (_, decision) if decision.get("granted").is_some() => Kind::Granted,
                    _ => Kind::Refused,
                };
                let actual = (record["policy"].as_str().unwrap().to_owned(), kind);
                let expected_record = expected
                    .next()
                    .map(|(digest, kind)| (digest.to_string(), *kind));
                if expected_record.as_ref() != Some(&actual) {
                    return Err(format!(
                        "record {count} is {actual:?}, not {expected_record:?}"
                    ));
                }
                count += 1;
            }
        }
        match expected.next() {
            None => Ok(count),
            Some(missing) => Err(format!("there is no record {count}, {missing:?}")),
        }
    }

    /// Starts the neighbour, which sends requests until it is stopped.
    pub fn neighbour(&self) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let (entail, stopped) = (Arc::clone(&self.entail), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let request = Request::new(NEIGHBOUR.parse().unwrap(), "openai".parse().unwrap());
            let mut times = Times::default();
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                let lease = entail.resolve(&ME, &request).await;
                times.record(started.elapsed());
                lease.map_err(|error| error.to_string())?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(times)
        });
        Neighbour { stop, task }
    }
}

/// A project of another organization that sends requests.
#[derive(Debug)]
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<Times, String>>,
}

impl Neighbour {
    /// Stops it. Returns the durations of its requests.
    ///
    /// # Errors
    ///
    /// The error of a request that failed.
    pub async fn stop(self) -> Result<Times, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn request(query: Query) -> Request {
    let mut request = Request::new(REQUESTING.parse().unwrap(), PROVIDER.parse().unwrap());
    request.model = query.model().map(|model| model.parse().unwrap());
    request.credential = query.credential().map(|name| name.parse().unwrap());
    request
}

/// The cause of an error.
fn cause(error: &Error) -> Result<Cause, String> {
    Ok(match error {
        Error::Rejected(rejected) => Cause::from(rejected),
        Error::BadSettings(bad) => Cause::from(bad),
        Error::PolicyFailed(failure) => Cause::Fails(failure.into()),
        Error::Refused { .. } => Cause::Refuses,
        Error::GuardViolated(violation) => {
            let text = violation.to_string();
            let violation = VIOLATIONS.into_iter().find(|known| text.ends_with(known));
            Cause::Widens(violation.ok_or(text)?)
        }
        other => return Err(other.to_string()),
    })
}

fn shared(sharing: Sharing) -> RuleChanges {
    RuleChanges {
        sharing: Some(sharing),
        ..RuleChanges::default()
    }
}

fn reference(scope: &str, provider: &str, name: &str) -> CredentialRef {
    CredentialRef {
        scope: scope.parse().unwrap(),
        provider: provider.parse().unwrap(),
        name: name.parse().unwrap(),
    }
}
