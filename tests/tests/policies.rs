//! Active policies, through what an embedder can use: who decides, since when, and
//! what becomes of it when somebody changes it, or the bytes.

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

/// The components here are made by the tests themselves.
fn settings() -> Options {
    let mut settings = Options::default();
    settings.engine.compiler = Compiler::UnsafeInThisProcess;
    settings
}

/// A home with the organization `acme`, which has a key for OpenAI.
struct Place {
    home: Home,
    entail: Entail,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, settings()).unwrap();
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
        Place {
            home,
            entail,
            _folder: directory,
        }
    }

    fn records(&self) -> Vec<RecordedDecision> {
        let records = records(&self.home, &Filter::default()).unwrap();
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
}

fn acme() -> ScopePath {
    "acme".parse().unwrap()
}

/// A policy that refuses everything, with a code of its own.
fn refusing_component() -> Vec<u8> {
    // A `refused` with the code `no-credential` and no message.
    let refuse = "(i32.store8 (i32.const 1028) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 1307)) (i32.store (i32.const 1036) (i32.const 13))
        (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))";
    Sketch::evil(refuse).when("(i32.const 1)").component()
}

/// One that grants what there is.
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
async fn a_policy_in_service_decides_for_its_organization_and_is_named_in_the_log() {
    let place = Place::new().await;
    let (yes, no) = (
        place.install(&granting_component()).await,
        place.install(&refusing_component()).await,
    );
    // Nothing changes before it is activated.
    let built_in = place.entail.policies().built_in().unwrap().digest();
    assert_eq!(outcome(&place.entail, "acme").await.unwrap(), built_in);
    place.activate(yes).await;
    assert_eq!(outcome(&place.entail, "acme").await.unwrap(), yes);
    place.activate(no).await;
    assert!(refused(&place.entail, "acme").await);
    // Nobody else is concerned.
    assert_eq!(outcome(&place.entail, "other").await.unwrap(), built_in);
    let named: Vec<(String, bool)> = place
        .records()
        .into_iter()
        .map(|record| record.to_value())
        .map(|json| {
            let policy = json["policy"].as_str().unwrap().to_owned();
            (policy, json.get("bound_at").is_some())
        })
        .collect();
    assert_eq!(
        named,
        [
            (built_in.to_string(), false),
            (yes.to_string(), true),
            (no.to_string(), true),
            (built_in.to_string(), false)
        ]
    );
}

#[tokio::test]
async fn what_was_in_service_before_can_be_gone_back_to_and_forth() {
    let place = Place::new().await;
    let nothing = place.entail.policies().roll_back(&ME, &acme()).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Invalid);
    let no = place.install(&refusing_component()).await;
    place.activate(no).await;
    for _ in 0..2 {
        assert!(refused(&place.entail, "acme").await);
        place
            .entail
            .policies()
            .roll_back(&ME, &acme())
            .await
            .unwrap();
        assert!(!refused(&place.entail, "acme").await);
        place
            .entail
            .policies()
            .roll_back(&ME, &acme())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_follows_and_no_request_fails_meanwhile() {
    let place = Place::new().await;
    // As another process would: all it shares is the home.
    let other = Entail::open(&place.home, settings()).unwrap();
    let (yes, no) = (
        place.install(&granting_component()).await,
        place.install(&refusing_component()).await,
    );
    place.activate(yes).await;
    assert_eq!(outcome(&other, "acme").await.unwrap(), yes);
    place.activate(no).await;
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match outcome(&other, "acme").await {
            Ok(policy) => assert_eq!(policy, yes),
            Err(Error::Refused { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(Instant::now() < end, "it does not follow");
    }
}

#[tokio::test]
async fn bytes_that_were_exchanged_in_the_database_are_not_run() {
    let place = Place::new().await;
    let no = place.install(&refusing_component()).await;
    let yes = place.install(&granting_component()).await;
    place.activate(no).await;
    let database = rusqlite::Connection::open(place.home.database_file()).unwrap();
    let changed = database
        .execute(
            "UPDATE blobs SET bytes = (SELECT bytes FROM blobs WHERE digest = ?2) WHERE digest = ?1",
            (no.as_bytes().as_slice(), yes.as_bytes().as_slice()),
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let later = Entail::open(&place.home, settings()).unwrap();
    let error = outcome(&later, "acme").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    // That, too, is in the log, under the digest that was meant.
    let last = place.records().pop().unwrap();
    assert_eq!(last.to_value()["policy"], no.to_string());
    assert_eq!(last.outcome(), "failed");
    let found = later.maintenance().verify(&ME, &mut |_| {}).await.unwrap();
    assert!(!found.faults.is_empty());
}

#[tokio::test]
async fn a_policy_in_use_is_not_removed_and_one_that_is_removed_is_not_gone_back_to() {
    let place = Place::new().await;
    let (yes, no) = (
        place.install(&granting_component()).await,
        place.install(&refusing_component()).await,
    );
    place.activate(yes).await;
    let in_use = place.entail.policies().remove(&ME, yes).await.unwrap_err();
    assert!(in_use.to_string().contains("acme"), "{in_use}");
    place.activate(no).await;
    place.entail.policies().remove(&ME, yes).await.unwrap();
    let binding = place.entail.policies().active(&ME, &acme()).await.unwrap();
    assert_eq!(binding.previous.len(), 1);
    assert_eq!(binding.previous[0].component, None);
    let again = place.entail.policies().remove(&ME, yes).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    let found = place
        .entail
        .maintenance()
        .verify(&ME, &mut |_| {})
        .await
        .unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}

#[tokio::test]
async fn settings_that_are_not_taken_change_nothing() {
    let place = Place::new().await;
    let schema =
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}"#;
    let picky = Sketch::default().schema_text(schema).component();
    let component = Some(place.install(&picky).await);
    let set = |settings: Values| ActivatePolicy {
        component,
        settings,
        ..ActivatePolicy::default()
    };
    let values = |json| serde_json::from_value(json).unwrap();
    let bad = set(values(json!({"n": "many"})));
    let error = place.entail.policies().activate(&ME, &acme(), bad).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/n"), "{error}");
    let built_in = place.entail.policies().built_in().unwrap().digest();
    assert_eq!(outcome(&place.entail, "acme").await.unwrap(), built_in);
    let good = set(values(json!({"n": 7})));
    let bound = place.entail.policies().activate(&ME, &acme(), good).await;
    assert_eq!(bound.unwrap().current.settings, values(json!({"n": 7})));
    let project: ScopePath = "acme/evals".parse().unwrap();
    let error = place
        .entail
        .policies()
        .activate(&ME, &project, ActivatePolicy::default())
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_shadow_is_only_written_down() {
    let place = Place::new().await;
    let no = place.install(&refusing_component()).await;
    let shadow = ActivatePolicy {
        component: Some(no),
        isolation: Isolation::PerCall,
        ..ActivatePolicy::default()
    };
    place
        .entail
        .policies()
        .shadow(&ME, &acme(), Some(shadow))
        .await
        .unwrap();
    for _ in 0..3 {
        assert!(!refused(&place.entail, "acme").await);
        place
            .entail
            .policies()
            .settle_shadows(Duration::from_secs(10))
            .await;
    }
    let printed = || {
        let answers = shadow_decisions(&place.home).unwrap();
        answers.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(printed().len(), 3, "{:?}", printed());
    for printed in printed() {
        assert_eq!(printed.shadow, no);
        assert_eq!(
            printed.policy,
            place.entail.policies().built_in().unwrap().digest()
        );
        assert_eq!(printed.difference, Difference::Narrowed);
    }
    // Its answers are no decisions.
    assert_eq!(place.records().len(), 3);
    place
        .entail
        .policies()
        .shadow(&ME, &acme(), None)
        .await
        .unwrap();
    assert!(!refused(&place.entail, "acme").await);
    place
        .entail
        .policies()
        .settle_shadows(Duration::from_secs(10))
        .await;
    assert_eq!(printed().len(), 3);
}

#[tokio::test]
async fn policies_outlast_a_new_signer() {
    let place = Place::new().await;
    let yes = place.install(&granting_component()).await;
    place.activate(yes).await;
    place
        .entail
        .keys()
        .rotate_signer(&ME, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(outcome(&place.entail, "acme").await.unwrap(), yes);
    let later = Entail::open(&place.home, settings()).unwrap();
    assert_eq!(outcome(&later, "acme").await.unwrap(), yes);
    assert_eq!(later.scopes(&ME, None).await.unwrap().len(), 3);
    let found = later.maintenance().verify(&ME, &mut |_| {}).await.unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    assert_eq!(found.under_old_signer, Vec::new());
}

/// A policy that grants the credential of one name, whatever is asked.
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

/// Whose credential acme/evals gets, or why the guard stopped the policy.
async fn payer(place: &Place) -> Result<String, String> {
    let request = Request::new("acme/evals".parse().unwrap(), "openai".parse().unwrap());
    match place.entail.resolve(&ME, &request).await {
        Ok(lease) => Ok(lease.holder().to_string()),
        Err(Error::GuardViolated(violation)) => Err(violation.to_string()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_swapped_policy_never_bills_another_payer() {
    let place = Place::new().await;
    let parents = place.install(&always_grants("default")).await;
    let own = place.install(&always_grants("own")).await;
    let change = async |change: Change| {
        place.entail.change(&ME, &change).await.unwrap();
    };
    let stopped_because = async |how: &str| {
        let violation = payer(&place).await.unwrap_err();
        assert!(violation.ends_with(how), "{violation}");
    };
    let has_its_own = "is above a scope that has its own credentials and does not fall back";
    place.activate(parents).await;
    stopped_because("is beyond a scope that has not opted in").await;
    change(inherit(Inheritance::Inherit)).await;
    assert_eq!(payer(&place).await.unwrap(), "acme");
    change(set("acme/evals", "own", RuleChanges::default())).await;
    stopped_because(has_its_own).await;
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
    stopped_because(has_its_own).await;
    // By falling back the project says that the parent may pay.
    change(inherit(Inheritance::FallBack)).await;
    assert_eq!(payer(&place).await.unwrap(), "acme");

    place.activate(own).await;
    stopped_because("is disabled").await;
    change(enable(true)).await;
    assert_eq!(payer(&place).await.unwrap(), "acme/evals");
    let mandatory = RuleChanges {
        mandatory: Some(true),
        ..RuleChanges::default()
    };
    change(set("acme", "default", mandatory)).await;
    stopped_because("is overridden by a mandatory credential").await;
    change(inherit(Inheritance::Isolated)).await;
    stopped_because("a mandatory credential is beyond a scope that has not opted in").await;
}

/// A policy that grants what there is, but refuses under a condition of its own.
fn refuses_when(condition: &str) -> Vec<u8> {
    let refuse = "(i32.store8 (i32.const 1028) (i32.const 1))
        (i32.store (i32.const 1032) (i32.const 1307)) (i32.store (i32.const 1036) (i32.const 13))
        (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))";
    Sketch::evil(refuse).when(condition).component()
}

#[tokio::test]
async fn a_dry_run_asks_what_the_log_holds_and_at_later_times() {
    let place = Place::new().await;
    let opt_in = inherit(Inheritance::Inherit);
    place.entail.change(&ME, &opt_in).await.unwrap();
    let mut asked = Request::new(acme(), "openai".parse().unwrap());
    asked.model = Some("gpt-5".parse().unwrap());
    let session = ("session".parse().unwrap(), "7".parse().unwrap());
    asked.attributes = [session].into();
    place.entail.resolve(&ME, &asked).await.unwrap();
    let diff = async |condition: &str| {
        let engine = place.entail.policies().engine();
        let policy = engine.admit(&refuses_when(condition)).unwrap();
        let changes = place
            .entail
            .policies()
            .diff(&ME, &policy, Some(&acme()), &BTreeMap::new())
            .await;
        changes.unwrap()
    };
    // By the offsets of the contract's request: the model's case, the attributes' length,
    // the time.
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
                panic!("{condition}: whatever was asked: {changes:?}");
            };
            match condition {
                _ if condition == names_a_model => *model == asked.model && later_ms.is_none(),
                _ if condition == has_attributes => *attributes == asked.attributes,
                _ => *later_ms == Some(24 * 60 * 60 * 1_000),
            }
        });
        assert!(narrowed.is_some(), "{condition}: {changes:?}");
        assert_eq!(changes.coverage.records, 1);
        assert_eq!(changes.coverage.recorded_requests, 1);
    }
    // Where nothing depends on any of it, it is one answer.
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
    let place = Place::new().await;
    let yes = place.install(&granting_component()).await;
    place.activate(yes).await;
    // Neither what is in the store, nor what is given to it; not even from the cache.
    let careful = Entail::open(&place.home, Options::default()).unwrap();
    let error = outcome(&careful, "acme").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PolicyFailed, "{error}");
    let printed = error.to_string();
    assert!(
        printed.contains("compiles no foreign components"),
        "{printed}"
    );
    assert!(printed.contains("Compiler"), "{printed}");
    let error = careful
        .policies()
        .install(&ME, &refusing_component(), InstallPolicy::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error}");
    // An organization of the built-in policy is served.
    assert!(outcome(&careful, "other").await.is_ok());
}

#[tokio::test]
async fn a_shadow_that_is_put_in_service_is_a_shadow_no_more() {
    let place = Place::new().await;
    let (yes, no) = (
        place.install(&granting_component()).await,
        place.install(&refusing_component()).await,
    );
    let of = |component| ActivatePolicy {
        component: Some(component),
        ..ActivatePolicy::default()
    };
    let shadow = async |component| {
        let bound = place
            .entail
            .policies()
            .shadow(&ME, &acme(), Some(of(component)))
            .await;
        assert_eq!(bound.unwrap().shadow.unwrap().component, Some(component));
    };
    shadow(no).await;
    let bound = place.entail.policies().activate(&ME, &acme(), of(no)).await;
    assert_eq!(bound.unwrap().shadow, None);
    // Another one stays, until one goes back to it.
    place.activate(yes).await;
    shadow(no).await;
    let bound = place
        .entail
        .policies()
        .activate(&ME, &acme(), of(yes))
        .await;
    assert!(bound.unwrap().shadow.is_some());
    let bound = place
        .entail
        .policies()
        .roll_back(&ME, &acme())
        .await
        .unwrap();
    assert_eq!((bound.current.component, bound.shadow), (Some(no), None));
}
