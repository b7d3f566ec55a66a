//! Active policies through the library: which policy decides, also after changes by other
//! processes, rollbacks, and exchanged bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entail::policy::{Compiler, Inheritance, Isolation, PolicyDigest, Values};
use entail::{
    ActivatePolicy, Change, ComparedRequest, CredentialRef, Difference, Entail, Error, ErrorKind,
    Filter, Home, InstallPolicy, Options, Principal, RecordedDecision, Request, RuleChanges,
    ScopePath, Secret, SecretEdit, SetCredential, records, shadow_decisions,
};
use entail_tests::hostile::sketch::Sketch;
use serde_json::json;

const ME: Principal = Principal::LocalOwner;

/// Options that compile in this process, since the tests generate the components.
fn options() -> Options {
    let mut options = Options::default();
    options.engine.compiler = Compiler::UnsafeInThisProcess;
    options
}

/// A home with the organization `acme`, which has a key for OpenAI.
struct Fixture {
    home: Home,
    entail: Entail,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, options()).unwrap();
        for scope in ["acme", "acme/evals", "other"] {
            let scope = scope.parse().unwrap();
            let change = Change::AddScope { scope };
            entail.change(&ME, &change).await.unwrap();
        }
        for scope in ["acme", "other"] {
            let set = SetCredential {
                credential: CredentialRef {
                    scope: scope.parse().unwrap(),
                    provider: "openai".parse().unwrap(),
                    name: "default".parse().unwrap(),
                },
                mode: None,
                fields: vec![("api_key".to_owned(), Secret::from("canary-of-policies"))],
                rules: RuleChanges::default(),
                secret: SecretEdit::Given,
                grace_ms: 0,
            };
            let change = Change::SetCredential(Box::new(set));
            entail.change(&ME, &change).await.unwrap();
        }
        Fixture {
            home,
            entail,
            _directory: directory,
        }
    }

    fn records(&self) -> Vec<RecordedDecision> {
        let records = records(&self.home, &ME, &Filter::default()).unwrap();
        records.map(Result::unwrap).collect()
    }

    async fn install(&self, component: &[u8]) -> PolicyDigest {
        let installed = self
            .entail
            .policies()
            .install(&ME, component, InstallPolicy::default())
            .await;
        installed.unwrap().component
    }

    async fn activate(&self, component: PolicyDigest) {
        let activate = ActivatePolicy {
            component: Some(component),
            ..ActivatePolicy::default()
        };
        self.entail
            .policies()
            .activate(&ME, &acme(), activate)
            .await
            .unwrap();
    }

    async fn roll_back(&self) {
        let policies = self.entail.policies();
        policies.roll_back(&ME, &acme()).await.unwrap();
    }
}

fn acme() -> ScopePath {
    "acme".parse().unwrap()
}

/// A policy that refuses everything.
fn refusing_component() -> Vec<u8> {
    // A `refused` with the code `no-credential` and no message.
    let refuse = "(i32.store8 (i32.const 1028) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 1307)) (i32.store (i32.const 1036) (i32.const 13))
        (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))";
    Sketch::evil(refuse).when("(i32.const 1)").component()
}

/// A policy that grants the credential `default`.
fn granting_component() -> Vec<u8> {
    Sketch::default().component()
}

async fn outcome(entail: &Entail, scope: &str) -> Result<PolicyDigest, Error> {
    let request = Request::new(scope.parse().unwrap(), "openai".parse().unwrap());
    let lease = entail.resolve(&ME, &request).await?;
    Ok(lease.policy().parse().unwrap())
}

async fn refused(entail: &Entail, scope: &str) -> bool {
    matches!(outcome(entail, scope).await, Err(Error::Refused { .. }))
}

#[tokio::test]
async fn an_active_policy_decides_for_its_organization_and_is_named_in_the_log() {
    let fixture = Fixture::new().await;
    let (granting, refusing) = (
        fixture.install(&granting_component()).await,
        fixture.install(&refusing_component()).await,
    );
    // Nothing changes before it is activated.
    let built_in = fixture.entail.policies().built_in().unwrap().digest();
    assert_eq!(outcome(&fixture.entail, "acme").await.unwrap(), built_in);
    fixture.activate(granting).await;
    assert_eq!(outcome(&fixture.entail, "acme").await.unwrap(), granting);
    fixture.activate(refusing).await;
    assert!(refused(&fixture.entail, "acme").await);
    // Other organizations are not affected.
    assert_eq!(outcome(&fixture.entail, "other").await.unwrap(), built_in);
    let policies: Vec<(String, bool)> = fixture
        .records()
        .into_iter()
        .map(|record| record.to_value())
        .map(|json| {
            let policy = json["policy"].as_str().unwrap().to_owned();
            (policy, json.get("bound_at").is_some())
        })
        .collect();
    assert_eq!(
        policies,
        [
            (built_in.to_string(), false),
            (granting.to_string(), true),
            (refusing.to_string(), true),
            (built_in.to_string(), false)
        ]
    );
}

#[tokio::test]
async fn rollback_alternates_between_the_two_last_policies() {
    let fixture = Fixture::new().await;
    let nothing = fixture.entail.policies().roll_back(&ME, &acme()).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Invalid);
    let refusing = fixture.install(&refusing_component()).await;
    fixture.activate(refusing).await;
    for _ in 0..2 {
        assert!(refused(&fixture.entail, "acme").await);
        fixture.roll_back().await;
        assert!(!refused(&fixture.entail, "acme").await);
        fixture.roll_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_uses_the_new_policy_and_no_request_fails_meanwhile() {
    let fixture = Fixture::new().await;
    // Like another process, it shares only the home.
    let other = Entail::open(&fixture.home, options()).unwrap();
    let (granting, refusing) = (
        fixture.install(&granting_component()).await,
        fixture.install(&refusing_component()).await,
    );
    fixture.activate(granting).await;
    assert_eq!(outcome(&other, "acme").await.unwrap(), granting);
    fixture.activate(refusing).await;
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match outcome(&other, "acme").await {
            Ok(policy) => assert_eq!(policy, granting),
            Err(Error::Refused { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(Instant::now() < end, "it does not use the new policy");
    }
}

#[tokio::test]
async fn exchanged_bytes_in_the_database_are_not_run() {
    let fixture = Fixture::new().await;
    let refusing = fixture.install(&refusing_component()).await;
    let granting = fixture.install(&granting_component()).await;
    fixture.activate(refusing).await;
    let database = rusqlite::Connection::open(fixture.home.database_file()).unwrap();
    let changed = database
        .execute(
            "UPDATE blobs SET bytes = (SELECT bytes FROM blobs WHERE digest = ?2) WHERE digest = ?1",
            (refusing.as_bytes().as_slice(), granting.as_bytes().as_slice()),
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let later = Entail::open(&fixture.home, options()).unwrap();
    let error = outcome(&later, "acme").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    // The failure is in the log, with the digest of the active policy.
    let last = fixture.records().pop().unwrap();
    assert_eq!(last.to_value()["policy"], refusing.to_string());
    assert_eq!(last.outcome(), "failed");
    let verified = later.maintenance().verify(&ME, &mut |_| {}).await.unwrap();
    assert!(!verified.faults.is_empty());
}

#[tokio::test]
async fn an_active_policy_cannot_be_removed_and_a_removed_one_cannot_be_rolled_back_to() {
    let fixture = Fixture::new().await;
    let (granting, refusing) = (
        fixture.install(&granting_component()).await,
        fixture.install(&refusing_component()).await,
    );
    fixture.activate(granting).await;
    let in_use = fixture
        .entail
        .policies()
        .remove(&ME, granting)
        .await
        .unwrap_err();
    assert!(in_use.to_string().contains("acme"), "{in_use}");
    fixture.activate(refusing).await;
    fixture
        .entail
        .policies()
        .remove(&ME, granting)
        .await
        .unwrap();
    let binding = fixture
        .entail
        .policies()
        .active(&ME, &acme())
        .await
        .unwrap();
    assert_eq!(binding.previous.len(), 1);
    assert_eq!(binding.previous[0].component, None);
    let again = fixture
        .entail
        .policies()
        .remove(&ME, granting)
        .await
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    let verified = fixture
        .entail
        .maintenance()
        .verify(&ME, &mut |_| {})
        .await
        .unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

#[tokio::test]
async fn rejected_settings_change_nothing() {
    let fixture = Fixture::new().await;
    let schema =
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}"#;
    let picky = Sketch::default().schema_text(schema).component();
    let component = Some(fixture.install(&picky).await);
    let set = |settings: Values| ActivatePolicy {
        component,
        settings,
        ..ActivatePolicy::default()
    };
    let values = |json| serde_json::from_value(json).unwrap();
    let bad = set(values(json!({"n": "many"})));
    let error = fixture.entail.policies().activate(&ME, &acme(), bad).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/n"), "{error}");
    let built_in = fixture.entail.policies().built_in().unwrap().digest();
    assert_eq!(outcome(&fixture.entail, "acme").await.unwrap(), built_in);
    let good = set(values(json!({"n": 7})));
    let bound = fixture.entail.policies().activate(&ME, &acme(), good).await;
    assert_eq!(bound.unwrap().current.settings, values(json!({"n": 7})));
    let project: ScopePath = "acme/evals".parse().unwrap();
    let error = fixture
        .entail
        .policies()
        .activate(&ME, &project, ActivatePolicy::default())
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_shadow_decides_nothing_and_is_only_logged() {
    let fixture = Fixture::new().await;
    let refusing = fixture.install(&refusing_component()).await;
    let shadow = ActivatePolicy {
        component: Some(refusing),
        isolation: Isolation::PerCall,
        ..ActivatePolicy::default()
    };
    fixture
        .entail
        .policies()
        .shadow(&ME, &acme(), Some(shadow))
        .await
        .unwrap();
    for _ in 0..3 {
        assert!(!refused(&fixture.entail, "acme").await);
        fixture
            .entail
            .policies()
            .settle_shadows(Duration::from_secs(10))
            .await;
    }
    let decisions = || {
        let answers = shadow_decisions(&fixture.home, &ME).unwrap();
        answers.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(decisions().len(), 3, "{:?}", decisions());
    for decision in decisions() {
        assert_eq!(decision.shadow, refusing);
        assert_eq!(
            decision.policy,
            fixture.entail.policies().built_in().unwrap().digest()
        );
        assert_eq!(decision.difference, Difference::Narrowed);
    }
    // The decision log does not contain the decisions of the shadow.
    assert_eq!(fixture.records().len(), 3);
    fixture
        .entail
        .policies()
        .shadow(&ME, &acme(), None)
        .await
        .unwrap();
    assert!(!refused(&fixture.entail, "acme").await);
    fixture
        .entail
        .policies()
        .settle_shadows(Duration::from_secs(10))
        .await;
    assert_eq!(decisions().len(), 3);
}

#[tokio::test]
async fn policies_stay_active_after_a_rotation_of_the_signer() {
    let fixture = Fixture::new().await;
    let granting = fixture.install(&granting_component()).await;
    fixture.activate(granting).await;
    fixture.entail.keys().rotate_signer(&ME).await.unwrap();
    assert_eq!(outcome(&fixture.entail, "acme").await.unwrap(), granting);
    let later = Entail::open(&fixture.home, options()).unwrap();
    assert_eq!(outcome(&later, "acme").await.unwrap(), granting);
    assert_eq!(later.scopes(&ME, None).await.unwrap().len(), 3);
    let verified = later.maintenance().verify(&ME, &mut |_| {}).await.unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}

/// A policy that always grants the credential with one name.
fn always_grants(name: &str) -> Vec<u8> {
    let len = name.len();
    let grant = format!(
        "(call $name (i32.const 1032)
            (call $find (local.get $p) (i32.const 3072) (i32.const {len})))"
    );
    Sketch::evil(grant)
        .when("(i32.const 1)")
        .data(name.as_bytes())
        .component()
}

fn set(scope: &str, name: &str, rules: RuleChanges) -> Change {
    Change::SetCredential(Box::new(SetCredential {
        credential: CredentialRef {
            scope: scope.parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: name.parse().unwrap(),
        },
        mode: None,
        fields: vec![("api_key".to_owned(), Secret::from("canary-of-policies"))],
        rules,
        secret: SecretEdit::Given,
        grace_ms: 0,
    }))
}

fn inherit(inheritance: Inheritance) -> Change {
    Change::SetInheritance {
        scope: "acme/evals".parse().unwrap(),
        provider: Some("openai".parse().unwrap()),
        inheritance,
    }
}

/// The holder of the credential that acme/evals gets, or the reason why the guard refused.
async fn payer(fixture: &Fixture) -> Result<String, String> {
    let request = Request::new("acme/evals".parse().unwrap(), "openai".parse().unwrap());
    match fixture.entail.resolve(&ME, &request).await {
        Ok(lease) => Ok(lease.holder().to_string()),
        Err(Error::GuardViolated(violation)) => Err(violation.to_string()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_new_policy_never_charges_another_payer() {
    let fixture = Fixture::new().await;
    let parents = fixture.install(&always_grants("default")).await;
    let own = fixture.install(&always_grants("own")).await;
    let change = async |change: Change| {
        fixture.entail.change(&ME, &change).await.unwrap();
    };
    let violation_ends_with = async |end: &str| {
        let violation = payer(&fixture).await.unwrap_err();
        assert!(violation.ends_with(end), "{violation}");
    };
    let has_its_own = "is above a scope that has its own credentials and does not fall back";
    fixture.activate(parents).await;
    violation_ends_with("is beyond a scope that has not opted in").await;
    change(inherit(Inheritance::Inherit)).await;
    assert_eq!(payer(&fixture).await.unwrap(), "acme");
    change(set("acme/evals", "own", RuleChanges::default())).await;
    violation_ends_with(has_its_own).await;
    let credential = CredentialRef {
        scope: "acme/evals".parse().unwrap(),
        provider: "openai".parse().unwrap(),
        name: "own".parse().unwrap(),
    };
    let enable = |enabled| Change::SetEnabled {
        credential: credential.clone(),
        enabled,
    };
    change(enable(false)).await;
    violation_ends_with(has_its_own).await;
    // By falling back, the project permits that the parent pays.
    change(inherit(Inheritance::FallBack)).await;
    assert_eq!(payer(&fixture).await.unwrap(), "acme");

    fixture.activate(own).await;
    violation_ends_with("is disabled").await;
    change(enable(true)).await;
    assert_eq!(payer(&fixture).await.unwrap(), "acme/evals");
    let mandatory = RuleChanges {
        mandatory: Some(true),
        ..RuleChanges::default()
    };
    change(set("acme", "default", mandatory)).await;
    violation_ends_with("is overridden by a mandatory credential").await;
    change(inherit(Inheritance::Isolated)).await;
    violation_ends_with("a mandatory credential is beyond a scope that has not opted in").await;
}

/// A policy that grants the credential `default`, but refuses under a condition.
fn refuses_when(condition: &str) -> Vec<u8> {
    let refuse = "(i32.store8 (i32.const 1028) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 1307)) (i32.store (i32.const 1036) (i32.const 13))
        (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))";
    Sketch::evil(refuse).when(condition).component()
}

#[tokio::test]
async fn policy_diff_compares_recorded_requests_and_later_times() {
    let fixture = Fixture::new().await;
    let opt_in = inherit(Inheritance::Inherit);
    fixture.entail.change(&ME, &opt_in).await.unwrap();
    let mut request = Request::new(acme(), "openai".parse().unwrap());
    request.model = Some("gpt-5".parse().unwrap());
    let session = ("session".parse().unwrap(), "7".parse().unwrap());
    request.attributes = [session].into();
    fixture.entail.resolve(&ME, &request).await.unwrap();
    let diff = async |condition: &str| {
        let engine = fixture.entail.policies().engine();
        let policy = engine.admit(&refuses_when(condition)).unwrap();
        let changes = fixture
            .entail
            .policies()
            .diff(&ME, &policy, Some(&acme()), &BTreeMap::new())
            .await;
        changes.unwrap()
    };
    // Offsets in the request of the contract: the case of the model, the length of the
    // attributes, the time.
    let names_a_model = "(i32.load8_u offset=8 (local.get $p))";
    let has_attributes = "(i32.load offset=60 (local.get $p))";
    let tomorrow = entail::now_ms() + 20 * 60 * 60 * 1_000;
    let is_tomorrow =
        format!("(i64.gt_u (i64.load offset=40 (local.get $p)) (i64.const {tomorrow}))");
    for condition in [names_a_model, has_attributes, &is_tomorrow] {
        let changes = diff(condition).await;
        assert!(changes.counts.narrowed > 0, "{condition}: {changes:?}");
        let narrowed = changes.changes.iter().find(|change| {
            let ComparedRequest::Only {
                model,
                attributes,
                later_ms,
                ..
            } = &change.request
            else {
                panic!("{condition}: any request: {changes:?}");
            };
            match condition {
                _ if condition == names_a_model => *model == request.model && later_ms.is_none(),
                _ if condition == has_attributes => *attributes == request.attributes,
                _ => *later_ms == Some(24 * 60 * 60 * 1_000),
            }
        });
        assert!(narrowed.is_some(), "{condition}: {changes:?}");
        assert_eq!(changes.coverage.records, 1);
        assert_eq!(changes.coverage.recorded_requests, 1);
    }
    // If nothing depends on the request, the result is one change for all requests.
    let changes = diff("(i32.const 0)").await;
    assert_eq!(
        (changes.counts.changed(), changes.changes.len()),
        (0, 0),
        "{changes:?}"
    );
    let changes = diff("(i32.const 1)").await;
    assert_eq!(changes.changes.len(), 2);
    let mut all = changes.changes.iter();
    assert!(all.all(|change| change.request == ComparedRequest::Any));
}

#[tokio::test]
async fn the_default_configuration_compiles_no_foreign_component() {
    let fixture = Fixture::new().await;
    let granting = fixture.install(&granting_component()).await;
    fixture.activate(granting).await;
    // It compiles neither stored nor given components, and loads none from the cache.
    let careful = Entail::open(&fixture.home, Options::default()).unwrap();
    let error = outcome(&careful, "acme").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PolicyFailed, "{error}");
    let message = error.to_string();
    assert!(
        message.contains("compiles no foreign components"),
        "{message}"
    );
    assert!(message.contains("Compiler"), "{message}");
    let error = careful
        .policies()
        .install(&ME, &refusing_component(), InstallPolicy::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error}");
    // An organization with the built-in policy is served.
    assert!(outcome(&careful, "other").await.is_ok());
}

#[tokio::test]
async fn activating_a_shadow_ends_the_shadow() {
    let fixture = Fixture::new().await;
    let (granting, refusing) = (
        fixture.install(&granting_component()).await,
        fixture.install(&refusing_component()).await,
    );
    let of = |component| ActivatePolicy {
        component: Some(component),
        ..ActivatePolicy::default()
    };
    let shadow = async |component| {
        let bound = fixture
            .entail
            .policies()
            .shadow(&ME, &acme(), Some(of(component)))
            .await;
        assert_eq!(bound.unwrap().shadow.unwrap().component, Some(component));
    };
    shadow(refusing).await;
    let bound = fixture
        .entail
        .policies()
        .activate(&ME, &acme(), of(refusing))
        .await;
    assert_eq!(bound.unwrap().shadow, None);
    // Activating another policy keeps the shadow; a rollback to the shadow ends it.
    fixture.activate(granting).await;
    shadow(refusing).await;
    let bound = fixture
        .entail
        .policies()
        .activate(&ME, &acme(), of(granting))
        .await;
    assert!(bound.unwrap().shadow.is_some());
    let bound = fixture
        .entail
        .policies()
        .roll_back(&ME, &acme())
        .await
        .unwrap();
    assert_eq!(
        (bound.current.component, bound.shadow),
        (Some(refusing), None)
    );
}
