//! When retired secrets are destroyed, and by which clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::sync::{Arc, Mutex};

use entail::{
    Applied, CLOCK_MARGIN_MS, Change, Clock, CredentialRef, Entail, Home, Options, Principal,
    Request, RuleChanges, Scope, Secret, SecretEdit, SetCredential, Uptime,
};

const ME: Principal = Principal::LocalOwner;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const YEAR: u64 = 365 * DAY;
const WEEK: u64 = 7 * DAY;

/// A machine whose clock can be wrong.
#[derive(Debug)]
struct TestMachine(Mutex<State>);

#[derive(Clone, Debug)]
struct State {
    now_ms: u64,
    boot: u32,
    uptime_ms: u64,
}

impl TestMachine {
    /// Advances the time and the clock.
    fn pass(&self, ms: u64) {
        let mut state = self.0.lock().unwrap();
        state.now_ms += ms;
        state.uptime_ms += ms;
    }

    /// Turns the machine off for a while.
    fn reboot_after(&self, ms: u64) {
        let mut state = self.0.lock().unwrap();
        state.now_ms += ms;
        state.boot += 1;
        state.uptime_ms = MINUTE;
    }

    /// Sets the clock.
    fn set(&self, now_ms: u64) {
        self.0.lock().unwrap().now_ms = now_ms;
    }
}

impl Clock for TestMachine {
    fn now_ms(&self) -> u64 {
        self.0.lock().unwrap().now_ms
    }

    fn uptime(&self) -> Option<Uptime> {
        let state = self.0.lock().unwrap();
        Some(Uptime {
            boot: state.boot.to_string(),
            ms: state.uptime_ms,
        })
    }
}

/// An organization with a rotated key for OpenAI, and a week to roll back.
struct TestHome {
    machine: Arc<TestMachine>,
    entail: Entail,
    home: Home,
    _directory: tempfile::TempDir,
}

impl TestHome {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        // After the change that created the home, which has the time of this machine.
        let state = State {
            now_ms: entail::now_ms() + MINUTE,
            boot: 1,
            uptime_ms: 3 * DAY,
        };
        let machine = Arc::new(TestMachine(Mutex::new(state)));
        let options = Options {
            clock: machine.clone(),
            ..Options::default()
        };
        let test = TestHome {
            entail: Entail::open(&home, options).unwrap(),
            machine,
            home,
            _directory: directory,
        };
        let scope = "acme".parse().unwrap();
        test.change(Change::AddScope { scope }).await;
        test.rotate(SecretEdit::Given, 0).await;
        test.rotate(SecretEdit::Rotate, WEEK).await;
        assert_eq!(test.blobs(), 2);
        test
    }

    async fn change(&self, change: Change) -> Applied {
        self.entail.change(&ME, &change).await.unwrap()
    }

    async fn rotate(&self, secret: SecretEdit, grace_ms: u64) -> Applied {
        let set = SetCredential {
            credential: credential(),
            mode: None,
            fields: vec![("api_key".to_owned(), Secret::from("canary-of-retirement"))],
            rules: RuleChanges::default(),
            secret,
            grace_ms,
        };
        self.change(Change::SetCredential(Box::new(set))).await
    }

    /// A change that involves no secret.
    async fn change_something(&self) {
        let model = format!("model-{}", self.machine.now_ms()).parse().unwrap();
        self.change(Change::SetModel {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            model: Some(model),
        })
        .await;
    }

    async fn destroy_due(&self) -> usize {
        self.entail.maintenance().destroy_due(&ME).await.unwrap()
    }

    async fn scope(&self) -> Arc<Scope> {
        let scope = "acme".parse().unwrap();
        self.entail.scope(&ME, &scope).await.unwrap()
    }

    /// The number of sealed secrets in the database.
    fn blobs(&self) -> u32 {
        let database = rusqlite::Connection::open(self.home.database_file()).unwrap();
        let count = "SELECT count(*) FROM blobs";
        let all: u32 = database.query_row(count, [], |row| row.get(0)).unwrap();
        // The key of the epoch.
        all - 1
    }

    /// Checks that the old secret can be reactivated.
    async fn check_rollback(&self) {
        assert_eq!(self.blobs(), 2);
        let credential = credential();
        let back = Change::RollBackCredential {
            credential,
            grace_ms: WEEK,
        };
        assert_eq!(self.change(back).await.version, Some(1));
    }
}

fn credential() -> CredentialRef {
    CredentialRef {
        scope: "acme".parse().unwrap(),
        provider: "openai".parse().unwrap(),
        name: "default".parse().unwrap(),
    }
}

#[tokio::test]
async fn without_a_reboot_a_secret_is_destroyed_at_the_first_check_after_its_grace_period() {
    let test = TestHome::new().await;
    test.machine.pass(WEEK - MINUTE);
    assert_eq!(test.destroy_due().await, 0);
    test.machine.pass(2 * MINUTE);
    assert_eq!((test.destroy_due().await, test.blobs()), (1, 1));
    assert_eq!(test.destroy_due().await, 0);
    // Any change of the scope destroys it too.
    let test = TestHome::new().await;
    test.machine.pass(WEEK + MINUTE);
    test.change_something().await;
    assert_eq!(test.blobs(), 1);
}

#[tokio::test]
async fn a_clock_far_ahead_for_one_command_destroys_nothing() {
    for ahead in [8 * DAY, YEAR, 100 * YEAR] {
        for is_rebooted in [false, true] {
            let test = TestHome::new().await;
            if is_rebooted {
                test.machine.reboot_after(MINUTE);
            }
            let right = test.machine.now_ms();
            test.machine.set(right + ahead);
            assert_eq!(test.destroy_due().await, 0);
            test.change_something().await;
            assert_eq!(test.destroy_due().await, 0);
            assert_eq!(test.blobs(), 2, "{ahead} {is_rebooted}");
            // Nor later, with a right clock or another wrong one.
            test.machine.set(right + MINUTE);
            assert_eq!(test.destroy_due().await, 0);
            test.machine.set(right + ahead + 2 * DAY);
            assert_eq!(test.destroy_due().await, 0);
            test.machine.set(right + 2 * MINUTE);
            test.check_rollback().await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_runs_faster_than_the_uptime_confirms_nothing() {
    let test = TestHome::new().await;
    test.machine.reboot_after(MINUTE);
    let right = test.machine.now_ms();
    // The clock shows days for minutes.
    for day in 8..20 {
        test.machine.pass(MINUTE);
        test.machine.set(right + day * DAY);
        assert_eq!(test.destroy_due().await, 0, "{day}");
    }
    assert_eq!(test.blobs(), 2);
}

#[tokio::test]
async fn after_months_off_two_checks_a_day_apart_destroy() {
    // The machine keeps running after the first check, or reboots.
    for is_rebooted in [false, true] {
        let test = TestHome::new().await;
        test.machine.reboot_after(90 * DAY);
        assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
        test.machine.pass(MINUTE);
        assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
        match is_rebooted {
            false => test.machine.pass(CLOCK_MARGIN_MS - 2 * MINUTE),
            true => test.machine.reboot_after(CLOCK_MARGIN_MS - 2 * MINUTE),
        }
        assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
        test.machine.pass(MINUTE);
        assert_eq!(test.destroy_due().await, 1);
        assert_eq!(test.blobs(), 1);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_secrets_longer_and_breaks_nothing_else() {
    let test = TestHome::new().await;
    let right = test.machine.now_ms();
    test.machine.pass(WEEK + MINUTE);
    test.machine.set(right - YEAR);
    assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
    test.change_something().await;
    let request = Request::new("acme".parse().unwrap(), "openai".parse().unwrap());
    test.entail.resolve(&ME, &request).await.unwrap();
    test.machine.set(right + WEEK + MINUTE);
    assert_eq!((test.destroy_due().await, test.blobs()), (1, 1));
}

#[tokio::test]
async fn with_a_clock_far_behind_the_grace_period_counts_from_the_newest_change() {
    let test = TestHome::new().await;
    let newest = test.machine.now_ms();
    test.machine.set(newest - YEAR);
    let applied = test.rotate(SecretEdit::Rotate, WEEK).await;
    assert_eq!(applied.retired_until_ms, Some(newest + WEEK));
    let has_note = applied.notes.iter().any(|note| note.contains("far behind"));
    assert!(has_note, "{:?}", applied.notes);
    let retired = &test.scope().await.credentials[0].retired[0];
    assert_eq!(retired.until_ms, newest + WEEK);
    // A clock within the margin is trusted.
    let test = TestHome::new().await;
    let now = test.machine.now_ms() - CLOCK_MARGIN_MS / 2;
    test.machine.set(now);
    let applied = test.rotate(SecretEdit::Rotate, WEEK).await;
    assert_eq!(applied.retired_until_ms, Some(now + WEEK));
    assert!(!applied.notes.iter().any(|note| note.contains("far behind")));
}

#[tokio::test]
async fn a_change_dated_far_in_the_future_delays_and_breaks_nothing() {
    let test = TestHome::new().await;
    let right = test.machine.now_ms();
    test.machine.set(right + 10 * YEAR);
    test.change_something().await;
    test.machine.set(right);
    test.machine.pass(WEEK + MINUTE);
    // Which of the two clocks is wrong cannot be known yet.
    assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
    // The check is a separate change, dated by the current clock.
    assert_eq!((test.destroy_due().await, test.blobs()), (1, 1));
}

#[tokio::test]
async fn a_removed_credential_is_destroyed_only_when_more_than_one_clock_confirms_it() {
    let test = TestHome::new().await;
    let change = Change::RemoveCredential {
        credential: credential(),
        grace_ms: DAY,
    };
    let applied = test.change(change).await;
    // Its earlier version has a week.
    let until = test.machine.now_ms() + WEEK;
    assert_eq!(applied.retired_until_ms, Some(until));
    assert!(test.scope().await.credentials.is_empty());
    // A clock that is ahead destroys nothing.
    test.machine.set(until + YEAR);
    assert_eq!((test.destroy_due().await, test.blobs()), (0, 2));
    test.machine.set(until - WEEK);
    let credential = credential();
    test.change(Change::RestoreCredential { credential }).await;
    let scope = test.scope().await;
    assert_eq!((scope.credentials.len(), scope.removed.len()), (1, 0));
    assert_eq!(scope.credentials[0].retired.len(), 1);

    let credential = self::credential();
    test.change(Change::RemoveCredential {
        credential,
        grace_ms: WEEK,
    })
    .await;
    test.machine.pass(WEEK + MINUTE);
    assert_eq!((test.destroy_due().await, test.blobs()), (1, 0));
    assert!(test.scope().await.removed.is_empty());
}

#[tokio::test]
async fn a_user_can_destroy_a_secret_at_any_time() {
    for now in [0, 100 * YEAR] {
        let test = TestHome::new().await;
        test.machine.set(now);
        let credential = credential();
        test.change(Change::RemoveCredential {
            credential,
            grace_ms: 0,
        })
        .await;
        assert_eq!(test.blobs(), 0);
    }
}

#[tokio::test]
async fn maintenance_destroys_what_is_due_and_verifies_once_a_day() {
    let test = TestHome::new().await;
    let done = test.entail.maintenance().run(&ME).await;
    assert!(done.is_ok(), "{done:?}");
    assert_eq!(*done.destroyed.as_ref().unwrap(), 0);
    assert_eq!(done.store.unwrap().unwrap().opened, 2);
    assert!(done.log.unwrap().unwrap().breaches.is_empty());
    test.machine.pass(WEEK + MINUTE);
    let done = test.entail.maintenance().run(&ME).await;
    assert_eq!((done.destroyed.unwrap(), test.blobs()), (1, 1));
    assert!(
        done.store.is_none() && done.log.is_none(),
        "less than a day ago"
    );
    // The first call of another process finds what is wrong.
    let database = rusqlite::Connection::open(test.home.database_file()).unwrap();
    database.execute("DELETE FROM blobs", ()).unwrap();
    let later = Entail::open(&test.home, Options::default()).unwrap();
    let done = later.maintenance().run(&ME).await;
    assert!(!done.is_ok());
    assert!(!done.store.unwrap().unwrap().faults.is_empty());
}
