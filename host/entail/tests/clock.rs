//! Expiry to the millisecond, and wrong clocks: as documented.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entail::{
    Change, Clock, CredentialRef, Edit, Entail, Error, Home, Options, Principal, Request,
    RuleChanges, Secret, SecretEdit, SetCredential, Uptime,
};

const ME: Principal = Principal::LocalOwner;

/// A clock that the test sets.
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

#[tokio::test]
async fn a_credential_is_expired_from_its_exact_millisecond_by_the_clock_of_each_request() {
    const END: u64 = 2_000_000_000_000;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let clock = Arc::new(TestClock(AtomicU64::new(END - 1)));
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let entail = Entail::open(&home, options).unwrap();
    let scope: entail::ScopePath = "acme".parse().unwrap();
    for change in [
        Change::AddScope {
            scope: scope.clone(),
        },
        Change::SetCredential(Box::new(SetCredential {
            credential: CredentialRef {
                scope: scope.clone(),
                provider: "openai".parse().unwrap(),
                name: "default".parse().unwrap(),
            },
            mode: None,
            fields: vec![("api_key".to_owned(), Secret::from("canary-of-the-clock"))],
            rules: RuleChanges {
                expires_at_ms: Edit::Set(END),
                ..RuleChanges::default()
            },
            secret: SecretEdit::default(),
            grace_ms: 0,
        })),
    ] {
        entail.change(&ME, &change).await.unwrap();
    }
    let request = Request::new(scope, "openai".parse().unwrap());
    let outcome = async |now_ms: u64| {
        clock.0.store(now_ms, Ordering::Relaxed);
        match entail.resolve(&ME, &request).await {
            Ok(lease) => {
                assert_eq!(lease.expires_at_ms(), Some(END));
                "granted".to_owned()
            }
            Err(Error::Refused { refusal, .. }) => refusal.code.to_string(),
            Err(other) => panic!("{other}"),
        }
    };
    for (now_ms, expected) in [
        (END - 1, "granted"),
        (END, "expired"),
        (END + 1, "expired"),
        // Far ahead: the largest time.
        (u64::MAX, "expired"),
        // Set back: only the clock at the request decides.
        (END - 1, "granted"),
        (0, "granted"),
        (END, "expired"),
    ] {
        assert_eq!(outcome(now_ms).await, expected, "{now_ms}");
    }
}
