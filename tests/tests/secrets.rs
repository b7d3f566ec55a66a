//! Types that hold a secret never show it: not in debug output, in errors or in panics.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use entail::{
    Change, CredentialRef, Entail, Home, Options, Principal, Request, RuleChanges, Secret,
    SecretEdit, SetCredential,
};
use entail_tests::torture::block_on;

/// The prefix of every secret in this test.
const MARKER: &str = "canary-of-a-panic";

#[test]
fn debug_output_errors_and_panics_show_no_secret() {
    let count = std::env::var("ENTAIL_CANARIES").map_or(40, |count| count.parse().unwrap());
    let output = Arc::new(Mutex::new(String::new()));
    let directory = tempfile::tempdir().unwrap();
    let home = block_on(Home::create(&directory.path().join("home"), None)).unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let me = Principal::LocalOwner;
    let acme = || "acme".parse().unwrap();
    block_on(entail.change(&me, &Change::AddScope { scope: acme() })).unwrap();
    let listener = Arc::clone(&output);
    std::panic::set_hook(Box::new(move |panic| {
        let text = format!("{panic}\n{}\n", std::backtrace::Backtrace::force_capture());
        listener.lock().unwrap().push_str(&text);
    }));
    for number in 0..count {
        let secret = format!("{MARKER}-{number:04}-0123456789");
        let set = |provider: &str| {
            Change::SetCredential(Box::new(SetCredential {
                credential: CredentialRef {
                    scope: acme(),
                    provider: provider.parse().unwrap(),
                    name: "default".parse().unwrap(),
                },
                mode: None,
                fields: vec![("api_key".to_owned(), Secret::from(secret.as_str()))],
                rules: RuleChanges::default(),
                secret: SecretEdit::Given,
                grace_ms: 60_000,
            }))
        };
        let applied = block_on(entail.change(&me, &set("openai")));
        // Bedrock requires a region as well.
        let refused = block_on(entail.change(&me, &set("bedrock")));
        let request = Request::new(acme(), "openai".parse().unwrap());
        let lease = block_on(entail.resolve(&me, &request)).unwrap();
        assert_eq!(
            lease.secret("api_key").unwrap().expose_text(),
            Some(secret.as_str())
        );
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let keys = entail.keys().local(&me).unwrap();
            panic!("{lease:?} {entail:?} {keys:?} {applied:?} {refused:?} {home:?}");
        }));
        let payload = panicked.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        output.lock().unwrap().push_str(text);
    }
    let _ = std::panic::take_hook();
    let output = output.lock().unwrap();
    assert!(output.contains("Lease") && output.contains("acme"));
    assert!(!output.contains(MARKER), "a secret was printed");
}
