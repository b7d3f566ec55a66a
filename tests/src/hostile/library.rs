//! The collection against the library, with a neighbour that keeps asking.
//!
//! One process serves two organizations. One binds each component in turn, and its
//! project asks; the other has a project that asks all the time, and must neither fail
//! nor wait. Each answer must be the one that is expected, each request to a policy
//! must have left one record, and the memory of the process must be what it was.

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
use super::{Ask, Case, Cause, ORGANIZATION, PROVIDER, REQUESTING, VIOLATIONS, engine};

const ME: Principal = Principal::LocalOwner;

/// The project of the neighbour.
const NEIGHBOUR: &str = "good/app";

/// Between two requests of the neighbour.
const PAUSE: Duration = Duration::from_millis(1);

/// Requests that the looping policy of [`Host::flood`] gets at the same time.
const FLOOD: usize = 200;

/// The provider that everything here is evil for.
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
    _folder: TempDir,
    /// What the requests to policies must have left in the log, in order.
    records: Vec<(PolicyDigest, Kind)>,
}

/// What a record says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Granted,
    Refused,
    Failed,
}

impl Host {
    /// Makes one. Components are compiled in `sandbox`.
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
            _folder: directory,
            records: Vec::new(),
        };
        host.fill().await;
        host
    }

    /// The scopes and credentials that [`Ask::facts`] has. One that cannot be read is
    /// not made.
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
    /// An error that is no answer to what a policy did.
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
            let (kind, came) = match self.entail.resolve(&ME, &request(case.ask)).await {
                Ok(_) => (Kind::Granted, Cause::Grants),
                Err(error @ Error::Refused { .. }) => (Kind::Refused, cause(&error)?),
                Err(error) => (Kind::Failed, cause(&error)?),
            };
            self.records.push((installed.component, kind));
            last = came;
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

    /// Asks a policy that never ends for more than there is room for, all at once.
    ///
    /// # Errors
    ///
    /// Any answer but that it ran too long, or that there is no room.
    pub async fn flood(&mut self, looping: &Case) -> Result<(), String> {
        let once = self.run(looping).await?;
        if !looping.expected.includes(once) {
            return Err(format!("{once:?}"));
        }
        let digest = self.records.last().unwrap().0;
        let requests: Vec<_> = (0..FLOOD)
            .map(|_| {
                let entail = Arc::clone(&self.entail);
                tokio::spawn(async move { entail.resolve(&ME, &request(Ask::Model)).await })
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

    /// Goes back to the built-in policy, which must answer as if nothing had been.
    ///
    /// # Errors
    ///
    /// What is left of the evil ones.
    pub async fn recover(&mut self) -> Result<(), String> {
        self.activate(ActivatePolicy::default())
            .await
            .map_err(|error| error.to_string())?;
        let lease = self.entail.resolve(&ME, &request(Ask::Model)).await;
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

    /// Holds the decision log against the requests that were made.
    ///
    /// # Errors
    ///
    /// The first that is not there as it should be.
    pub fn check_records(&self) -> Result<usize, String> {
        let mut expected = self.records.iter();
        let mut seen = 0;
        for file in log_files(&self.home.decision_log()).unwrap() {
            for line in BufReader::new(std::fs::File::open(file.path).unwrap()).lines() {
                let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
                if record["scope"] != REQUESTING {
                    continue;
                }
                let kind = match (&record["result"], &record["decision"]) {
                    (result, _) if result == "failed" => Kind::Failed,
                    (_, decision) if decision.get("granted").is_some() => Kind::Granted,
                    _ => Kind::Refused,
                };
                let found = (record["policy"].as_str().unwrap().to_owned(), kind);
                let wanted = expected
                    .next()
                    .map(|(digest, kind)| (digest.to_string(), *kind));
                if wanted.as_ref() != Some(&found) {
                    return Err(format!("record {seen} is {found:?}, not {wanted:?}"));
                }
                seen += 1;
            }
        }
        match expected.next() {
            None => Ok(seen),
            Some(missing) => Err(format!("there is no record {seen}, {missing:?}")),
        }
    }

    /// Has the neighbour ask until it is told to stop.
    pub fn neighbour(&self) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let (entail, stopped) = (Arc::clone(&self.entail), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let request = Request::new(NEIGHBOUR.parse().unwrap(), "openai".parse().unwrap());
            let mut times = Times::default();
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                let lease = entail.resolve(&ME, &request).await;
                times.took(started.elapsed());
                lease.map_err(|error| error.to_string())?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(times)
        });
        Neighbour { stop, task }
    }
}

/// A project of another organization, asking.
#[derive(Debug)]
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<Times, String>>,
}

impl Neighbour {
    /// How long its requests took.
    ///
    /// # Errors
    ///
    /// Why one of them failed.
    pub async fn stop(self) -> Result<Times, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn request(ask: Ask) -> Request {
    let mut request = Request::new(REQUESTING.parse().unwrap(), PROVIDER.parse().unwrap());
    request.model = ask.model().map(|model| model.parse().unwrap());
    request.credential = ask.credential().map(|name| name.parse().unwrap());
    request
}

/// What an error says of a policy.
fn cause(error: &Error) -> Result<Cause, String> {
    Ok(match error {
        Error::Rejected(rejected) => Cause::from(rejected),
        Error::BadSettings(bad) => Cause::from(bad),
        Error::PolicyFailed(failure) => Cause::Fails(failure.into()),
        Error::Refused { .. } => Cause::Refuses,
        Error::GuardViolated(violation) => {
            let text = violation.to_string();
            let how = VIOLATIONS.into_iter().find(|how| text.ends_with(how));
            Cause::Widens(how.ok_or(text)?)
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
