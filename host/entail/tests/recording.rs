//! What is recorded of a request, and that nothing is revealed without it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::path::PathBuf;
use std::sync::Arc;

use entail::{
    Change, Clock, CredentialRef, Entail, Error, Filter, Home, Options, Principal, RecordedOpening,
    Request, RuleChanges, Secret, SecretEdit, SetCredential, SystemClock, Uptime, records,
    verify_log,
};

const ME: Principal = Principal::LocalOwner;
const CANARY: &str = "canary-of-the-recording-0123456789";

/// A clock that breaks the decision log once a decision is in it.
#[derive(Debug)]
struct Saboteur(PathBuf);

impl Clock for Saboteur {
    fn now_ms(&self) -> u64 {
        if std::fs::read_to_string(&self.0).is_ok_and(|log| log.contains("\"decision\"")) {
            std::fs::remove_file(&self.0).unwrap();
        }
        SystemClock.now_ms()
    }

    fn uptime(&self) -> Option<Uptime> {
        SystemClock.uptime()
    }
}

async fn with_acme(options: Options) -> (tempfile::TempDir, Home, Entail) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, options).unwrap();
    let scope = "acme".parse().unwrap();
    let change = Change::AddScope { scope };
    entail.change(&ME, &change).await.unwrap();
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: CredentialRef {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        mode: None,
        fields: vec![("api_key".to_owned(), Secret::from(CANARY))],
        rules: RuleChanges::default(),
        secret: SecretEdit::default(),
        grace_ms: 0,
    }));
    entail.change(&ME, &change).await.unwrap();
    (directory, home, entail)
}

fn request() -> Request {
    Request::new("acme".parse().unwrap(), "openai".parse().unwrap())
}

/// The purpose of each decision, and what became of its secret.
fn recorded(home: &Home) -> Vec<(String, Option<RecordedOpening>)> {
    records(home, &Principal::LocalOwner, &Filter::default())
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.purpose().to_owned(), record.opening().cloned()))
        .collect()
}

#[tokio::test]
async fn opened_secrets_are_recorded_as_opened_also_from_the_cache_and_by_probes() {
    let (_directory, home, entail) = with_acme(Options::default()).await;
    entail.resolve(&ME, &request()).await.unwrap();
    entail.resolve(&ME, &request()).await.unwrap();
    entail.probe(&ME, &request()).await.unwrap();
    let unknown = Request::new("acme".parse().unwrap(), "anthropic".parse().unwrap());
    entail.resolve(&ME, &unknown).await.unwrap_err();
    let recorded = recorded(&home);
    let purposes: Vec<&str> = recorded
        .iter()
        .map(|(purpose, _)| purpose.as_str())
        .collect();
    assert_eq!(purposes, ["lease", "lease", "status", "lease"]);
    for (_, opening) in &recorded[..3] {
        assert!(matches!(opening, Some(RecordedOpening::Opened { .. })));
    }
    assert_eq!(recorded[3].1, None, "a refusal opens nothing");
    let report = verify_log(&home, &Principal::LocalOwner, &[]).unwrap();
    assert_eq!(report.breaches, []);
    assert_eq!((report.decisions, report.openings), (4, 3));
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_recorded_with_the_code_of_the_error() {
    let (_directory, home, entail) = with_acme(Options::default()).await;
    drop(entail);
    std::fs::remove_file(home.keys_directory().join("identity.txt")).unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let error = entail.resolve(&ME, &request()).await.unwrap_err();
    assert_eq!(error.code(), "no-identity");
    let recorded = recorded(&home);
    let Some(RecordedOpening::Failed { code, .. }) = &recorded[0].1 else {
        panic!("{recorded:?}");
    };
    assert_eq!(code, "no-identity");
}

#[tokio::test]
async fn a_secret_is_not_revealed_if_its_opening_cannot_be_recorded() {
    let (_directory, home, entail) = with_acme(Options::default()).await;
    drop(entail);
    let options = Options {
        clock: Arc::new(Saboteur(home.decision_log())),
        ..Options::default()
    };
    let entail = Entail::open(&home, options).unwrap();
    let error = entail.resolve(&ME, &request()).await.unwrap_err();
    assert!(matches!(error, Error::NotRecorded { .. }), "{error}");
    assert!(
        !home.decision_log().exists(),
        "the decision was recorded before"
    );
}
