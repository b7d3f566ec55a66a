//! A machine that is shown an old state of the store resolves nothing, if heartbeats are required.

#![allow(clippy::unwrap_used)] // allowed in tests

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entail::{
    Change, Clock, CredentialRef, Entail, Error, ErrorKind, Hint, Home, Options, Principal,
    Request, RuleChanges, Secret, SecretEdit, SetCredential, Uptime,
};

const ME: Principal = Principal::LocalOwner;
const HOUR_MS: u64 = 60 * 60 * 1000;

#[derive(Debug)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn uptime(&self) -> Option<Uptime> {
        None
    }
}

fn open(home: &Home, clock: &Arc<TestClock>) -> Entail {
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    Entail::open(home, options).unwrap()
}

async fn resolve(entail: &Entail) -> Result<(), Error> {
    let request = Request::new("acme".parse().unwrap(), "openai".parse().unwrap());
    entail.resolve(&ME, &request).await.map(drop)
}

fn is_not_fresh(result: Result<(), Error>) -> bool {
    let Err(error) = result else {
        return false;
    };
    assert_eq!(error.code(), "not-fresh");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.hints(), [Hint::SendHeartbeat]);
    true
}

#[tokio::test]
async fn a_state_that_nobody_confirms_grants_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let clock = Arc::new(TestClock(AtomicU64::new(entail::now_ms())));
    let pass = |ms: u64| clock.0.fetch_add(ms, Ordering::Relaxed);
    let running = open(&home, &clock);
    let scope: entail::ScopePath = "acme".parse().unwrap();
    let add = Change::AddScope {
        scope: scope.clone(),
    };
    running.change(&ME, &add).await.unwrap();
    let set = SetCredential {
        credential: CredentialRef {
            scope,
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        mode: None,
        fields: vec![("api_key".to_owned(), Secret::from("canary-of-freshness"))],
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    };
    let set = Change::SetCredential(Box::new(set));
    running.change(&ME, &set).await.unwrap();
    running
        .keys()
        .require_heartbeats(&ME, Some(HOUR_MS))
        .await
        .unwrap();
    resolve(&running).await.unwrap();
    pass(HOUR_MS);
    // Also a process that has the secret in its cache.
    assert!(is_not_fresh(resolve(&running).await));
    assert!(is_not_fresh(resolve(&open(&home, &clock)).await));
    let until = running.keys().send_heartbeat(&ME).await.unwrap();
    assert_eq!(until, Some(clock.now_ms() + HOUR_MS));
    resolve(&running).await.unwrap();
    resolve(&open(&home, &clock)).await.unwrap();
    pass(HOUR_MS - 1);
    resolve(&running).await.unwrap();
    pass(1);
    assert!(is_not_fresh(resolve(&running).await));
    // A change confirms the state as well.
    running.change(&ME, &set).await.unwrap();
    resolve(&running).await.unwrap();
    pass(10 * HOUR_MS);
    running.keys().require_heartbeats(&ME, None).await.unwrap();
    pass(1000 * HOUR_MS);
    resolve(&running).await.unwrap();
}
