//! Bundles, and requests on them: a manifest that is signed, and the file around it.
//!
//! Checked: whatever they contain, the answer is a decision or an error with a code, always the
//! same; a grant comes with a secret that leads to a host of its frame.

#![no_main]

use ed25519_dalek::{Signer as _, SigningKey};
use entail::bundle::{BundleFile, Signature, answer_bytes, fingerprint, signed_bytes};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const NOW_MS: u64 = 1_767_225_600_000;

fuzz_target!(|data: &[u8]| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = key.verifying_key().to_bytes();
    let request = json!({
        "scope": "acme/evals", "provider": "openai", "now_ms": NOW_MS,
        "expected": {"signers": [fingerprint(&public)]},
    })
    .to_string();
    let signature = key.sign(&signed_bytes(data)).to_bytes();
    let file = BundleFile::new(
        data,
        vec![Signature::new(&public, &signature)],
        &[b"age".to_vec()],
    );
    let bundle = serde_json::to_vec(&file).expect("a file is plain data");
    for (bundle, request) in [
        (&*bundle, request.as_bytes()),
        (data, request.as_bytes()),
        (&*bundle, data),
    ] {
        let answer = answer_bytes(bundle, request);
        assert_eq!(answer_bytes(bundle, request), answer);
        check(&serde_json::from_str(&answer).expect("an answer is JSON"));
    }
});

fn check(answer: &Value) {
    if answer["error"].is_object() {
        assert!(answer["error"]["code"].is_string());
        return;
    }
    let lease = &answer["resolved"]["lease"];
    if let Some(url) = lease["base_url"].as_str() {
        let hosts = lease["hosts"].as_array().expect("hosts are a list");
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        assert!(hosts.iter().any(|allowed| allowed == host), "{url}");
    }
}
