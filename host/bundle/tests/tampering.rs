//! What was changed in a bundle is refused, whatever it is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use entail_bundle::{
    BUILT_IN_POLICY, BundleFile, Signature, answer, answer_bytes, digest_of, fingerprint,
    signed_bytes,
};
use serde_json::{Value, json};

const NOW_MS: u64 = 1_767_225_600_000;

/// Stands for an age file: the resolver does not open it.
const BLOB: &[u8] = b"age-encryption.org/v1 ...";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn signer(key: &SigningKey) -> String {
    fingerprint(key.verifying_key().as_bytes())
}

/// The digest of a destination with this base URL, in JSON.
fn destination(base_url: &str) -> String {
    digest_of(format!(r#"{{"base_url":{base_url}}}"#).as_bytes()).replace("sha256:", "")
}

/// The manifest of a bundle for `acme/evals`, which inherits a key of `acme`.
fn manifest() -> Value {
    let store = "000102030405060708090a0b0c0d0e0f";
    json!({
        "type": "bundle", "version": 1, "store": store, "lineage": store,
        "organization": "acme", "revision": 17, "checkpoint": "00".repeat(32),
        "issued_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 1000,
        "policy": {"digest": BUILT_IN_POLICY, "contract": "0.2.0"},
        "recipients": ["age1one"],
        "scopes": ["acme/evals"],
        "providers": [{
            "provider": {
                "id": "openai", "name": "OpenAI", "kind": "model", "docs": "https://example.com",
                "hosts": ["api.openai.com"],
                "field": [
                    {"name": "api_key", "label": "API key", "secret": true},
                    {"name": "base_url", "label": "Base URL", "format": "url"},
                    {"name": "note", "label": "Note"},
                ],
                "mode": [{
                    "name": "api-key", "label": "API key", "required": ["api_key"],
                    "optional": ["base_url", "note"],
                    "authentication": {"headers": {}},
                }],
            },
            "scopes": [
                {"path": "acme", "credentials": [{"id": "c1", "name": "default"}]},
                {"path": "acme/evals", "inheritance": "inherit"},
            ],
        }],
        "secrets": {"c1": {
            "blob": digest_of(BLOB),
            "frame": {
                "store": store, "scope": "acme", "credential": "c1", "version": 1,
                "provider": "openai", "mode": "api-key", "hosts": ["api.openai.com"],
                "destination": destination("null"), "epoch": 0, "fields": ["api_key"],
            },
            "parameters": {}, "destination": ["base_url"],
            "base_url": "https://api.openai.com/v1",
        }},
    })
}

fn bundle_of(manifest: &Value, key: &SigningKey) -> String {
    signed(manifest.to_string().as_bytes(), key)
}

fn signed(payload: &[u8], key: &SigningKey) -> String {
    let signature = key.sign(&signed_bytes(payload)).to_bytes();
    let signature = Signature::new(key.verifying_key().as_bytes(), &signature);
    let file = BundleFile::new(payload, vec![signature], &[BLOB.to_vec()]);
    serde_json::to_string(&file).unwrap()
}

fn request() -> Value {
    json!({
        "scope": "acme/evals", "provider": "openai", "now_ms": NOW_MS,
        "recipients": ["age1one"], "expected": {"signers": [signer(&key(1))]},
    })
}

/// The code of the error, or `granted`, or the code of the refusal.
fn outcome(bundle: &str, request: &Value) -> String {
    let answer: Value = serde_json::from_str(&answer(bundle, &request.to_string())).unwrap();
    if let Some(code) = answer["error"]["code"].as_str() {
        return code.to_owned();
    }
    let decision = &answer["resolved"]["decision"];
    if let Some(code) = decision["refused"]["code"].as_str() {
        return format!("refused: {code}");
    }
    assert_eq!(answer["resolved"]["lease"]["sealed"], STANDARD.encode(BLOB));
    "granted".to_owned()
}

#[test]
fn every_changed_byte_is_refused() {
    let bundle = bundle_of(&manifest(), &key(1));
    let request = request().to_string();
    assert_eq!(outcome(&bundle, &self::request()), "granted");
    for place in 0..bundle.len() {
        for bit in [1, 2, 8, 32, 128] {
            let mut changed = bundle.clone().into_bytes();
            changed[place] ^= bit;
            let answer = answer_bytes(&changed, request.as_bytes());
            let context = &bundle[place.saturating_sub(10)..place];
            assert!(
                answer.starts_with(r#"{"error":"#),
                "after {context}: {answer}"
            );
        }
    }
    for length in 0..bundle.len() {
        let answer = answer(&bundle[..length], &request);
        assert!(answer.starts_with(r#"{"error":"#), "{length}: {answer}");
    }
}

#[test]
fn white_space_the_order_of_members_and_a_byte_order_mark_may_vary() {
    let bundle = bundle_of(&manifest(), &key(1));
    let value: Value = serde_json::from_str(&bundle).unwrap();
    let spaced = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(outcome(&spaced, &request()), "granted");
    let (media_type, rest) = bundle[1..].split_once(',').unwrap();
    let reordered = format!("{{{},{media_type}}}", &rest[..rest.len() - 1]);
    assert_eq!(outcome(&reordered, &request()), "granted");
    assert_eq!(outcome(&format!("\u{feff}{bundle}"), &request()), "granted");
}

#[test]
fn each_member_of_the_file_and_of_the_manifest_is_required_and_no_other_is_allowed() {
    let bundle: Value = serde_json::from_str(&bundle_of(&manifest(), &key(1))).unwrap();
    for pointer in ["", "/envelope", "/envelope/signatures/0"] {
        let members = bundle.pointer(pointer).unwrap().as_object().unwrap();
        for name in members.keys() {
            let mut without = bundle.clone();
            let members = without.pointer_mut(pointer).unwrap();
            members.as_object_mut().unwrap().remove(name);
            let found = outcome(&without.to_string(), &request());
            assert_eq!(found, "malformed", "without {name}");
        }
        let mut with = bundle.clone();
        with.pointer_mut(pointer).unwrap()["extra"] = json!(1);
        assert_eq!(outcome(&with.to_string(), &request()), "malformed");
        let record = members
            .clone()
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        let mut list = bundle.clone();
        *list.pointer_mut(pointer).unwrap() = Value::Array(record);
        assert_eq!(outcome(&list.to_string(), &request()), "malformed");
    }
    let optional = ["inheritance", "parameters", "base_url"];
    for pointer in [
        "",
        "/policy",
        "/providers/0",
        "/providers/0/provider",
        "/providers/0/scopes/1",
        "/secrets/c1",
        "/secrets/c1/frame",
    ] {
        let manifest = manifest();
        let members = manifest.pointer(pointer).unwrap().as_object().unwrap();
        for name in members
            .keys()
            .filter(|name| !optional.contains(&name.as_str()))
        {
            let mut without = manifest.clone();
            let members = without.pointer_mut(pointer).unwrap();
            members.as_object_mut().unwrap().remove(name);
            let found = outcome(&bundle_of(&without, &key(1)), &request());
            assert_eq!(found, "malformed", "without {name}");
        }
        let mut with = manifest.clone();
        with.pointer_mut(pointer).unwrap()["extra"] = json!(1);
        assert_eq!(outcome(&bundle_of(&with, &key(1)), &request()), "malformed");
    }
    let text = manifest().to_string();
    let doubled = text.replacen("\"revision\":17", "\"revision\":17,\"revision\":18", 1);
    let found = outcome(&signed(doubled.as_bytes(), &key(1)), &request());
    assert_eq!(found, "malformed");
}

/// A change of a manifest.
type Edit = fn(&mut Value);

#[test]
fn what_the_manifest_may_not_say_is_refused() {
    let edits: &[(Edit, &str)] = &[
        (
            |manifest| manifest["type"] = json!("checkpoint"),
            "malformed",
        ),
        (|manifest| manifest["version"] = json!(2), "newer-version"),
        (
            |manifest| manifest["critical"] = json!(["quorum"]),
            "newer-version",
        ),
        (
            |manifest| manifest["revision"] = json!(1_u64 << 53),
            "malformed",
        ),
        (|manifest| manifest["revision"] = json!(17.0), "malformed"),
        (
            |manifest| manifest["organization"] = json!("globex"),
            "malformed",
        ),
        (
            |manifest| manifest["expires_at_ms"] = json!(NOW_MS),
            "expired",
        ),
        (
            |manifest| {
                manifest["issued_at_ms"] = json!(NOW_MS + 300_001);
                manifest["expires_at_ms"] = json!(NOW_MS + 400_000);
            },
            "not-yet-valid",
        ),
        (
            |manifest| {
                let digest = format!("sha256:{}", "00".repeat(32));
                manifest["policy"]["digest"] = json!(digest);
            },
            "other-policy",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["blob"] = json!("sha256:00"),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["frame"]["credential"] = json!("c2"),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["frame"]["scope"] = json!("acme/evals"),
            "malformed",
        ),
        (
            |manifest| manifest["scopes"] = json!(["acme"]),
            "unknown-scope",
        ),
        // Nothing but the frame decides where a secret is sent.
        (
            |manifest| manifest["secrets"]["c1"]["base_url"] = json!("https://example.com/v1"),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["base_url"] = json!("http://api.openai.com/v1"),
            "malformed",
        ),
        (
            |manifest| {
                let url = "https://api.openai.com@example.com/v1";
                manifest["secrets"]["c1"]["base_url"] = json!(url);
            },
            "malformed",
        ),
        (
            |manifest| {
                let url = "https://api.openai.com\\.example.com/v1";
                manifest["secrets"]["c1"]["base_url"] = json!(url);
            },
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["base_url"] = json!("https://api.openai.com"),
            "granted",
        ),
        (
            |manifest| {
                let parameters = json!({"base_url": "https://example.com/v1"});
                manifest["secrets"]["c1"]["parameters"] = parameters;
            },
            "malformed",
        ),
        (
            |manifest| {
                let url = "http://api.openai.com/v1";
                manifest["secrets"]["c1"]["parameters"] = json!({"base_url": url});
                manifest["secrets"]["c1"]["base_url"] = json!(url);
                let sealed_for = destination(&format!("\"{url}\""));
                manifest["secrets"]["c1"]["frame"]["destination"] = json!(sealed_for);
            },
            "granted",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["destination"] = json!([]),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["parameters"] = json!({"note": "x"}),
            "granted",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["parameters"] = json!({"other": "x"}),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["parameters"] = json!({"api_key": "x"}),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["frame"]["mode"] = json!("other"),
            "malformed",
        ),
        (
            |manifest| manifest["secrets"]["c1"]["frame"]["epoch"] = json!(1),
            "malformed",
        ),
        // Nothing twice, and nothing missing.
        (
            |manifest| manifest["scopes"] = json!(["acme/evals", "acme/evals"]),
            "malformed",
        ),
        (|manifest| manifest["scopes"] = json!([]), "malformed"),
        (
            |manifest| manifest["scopes"] = json!(["acme/other"]),
            "malformed",
        ),
        (|manifest| manifest["recipients"] = json!([]), "malformed"),
        (
            |manifest| manifest["recipients"] = json!(["AGE-SECRET-KEY-1"]),
            "malformed",
        ),
        (
            |manifest| {
                let twice = manifest["providers"][0].clone();
                manifest["providers"].as_array_mut().unwrap().push(twice);
            },
            "malformed",
        ),
        (
            |manifest| {
                let scopes = &mut manifest["providers"][0]["scopes"];
                let twice = scopes[0].clone();
                scopes.as_array_mut().unwrap().push(twice);
            },
            "malformed",
        ),
        (
            |manifest| {
                let credentials = &mut manifest["providers"][0]["scopes"][0]["credentials"];
                let other = json!({"id": "c1", "name": "other"});
                credentials.as_array_mut().unwrap().push(other);
            },
            "malformed",
        ),
        (
            |manifest| manifest["expires_at_ms"] = json!(NOW_MS + 367 * 86_400_000),
            "malformed",
        ),
    ];
    for (number, (edit, expected)) in edits.iter().enumerate() {
        let mut manifest = manifest();
        edit(&mut manifest);
        let found = outcome(&bundle_of(&manifest, &key(1)), &request());
        assert_eq!(found, *expected, "edit {number}");
    }
}

#[test]
fn what_is_expected_of_a_bundle_is_checked() {
    let bundle = bundle_of(&manifest(), &key(1));
    let with = |pointer: &str, value: Value| {
        let mut request = request();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        request.pointer_mut(parent).unwrap()[name] = value;
        outcome(&bundle, &request)
    };
    let store = "000102030405060708090a0b0c0d0e0f";
    for (pointer, value, expected) in [
        (
            "/expected/signers",
            json!([signer(&key(2))]),
            "untrusted-signer",
        ),
        ("/expected/signers", json!([]), "untrusted-signer"),
        ("/expected/store", json!(store), "granted"),
        ("/expected/store", json!("ff".repeat(16)), "other-store"),
        (
            "/expected/organization",
            json!("globex"),
            "other-organization",
        ),
        ("/expected/lowest_revision", json!(17), "granted"),
        ("/expected/lowest_revision", json!(18), "outdated"),
        (
            "/expected/lowest_revision",
            json!(1_u64 << 53),
            "invalid-request",
        ),
        ("/now_ms", json!(NOW_MS + 999), "granted"),
        ("/now_ms", json!(NOW_MS + 1000), "expired"),
        ("/now_ms", json!(NOW_MS - 300_001), "not-yet-valid"),
        ("/now_ms", json!(1.5), "invalid-request"),
        ("/now_ms", json!(null), "invalid-request"),
        ("/scope", json!("acme/agents"), "unknown-scope"),
        ("/scope", json!("acme"), "unknown-scope"),
        ("/scope", json!("ACME/evals"), "invalid-request"),
        ("/provider", json!("xai"), "unknown-provider"),
        ("/credential", json!("other"), "refused: no-credential"),
        ("/recipients", json!(["age1two"]), "refused: unreadable"),
        ("/recipients", json!([]), "granted"),
        ("/attributes", json!({"session": "4711"}), "granted"),
        (
            "/attributes",
            json!({"entail:kept": "x"}),
            "invalid-request",
        ),
        ("/extra", json!(1), "invalid-request"),
    ] {
        assert_eq!(with(pointer, value.clone()), expected, "{pointer}: {value}");
    }
    let newer = bundle.replace("version=1", "version=2");
    assert_eq!(outcome(&newer, &request()), "newer-version");
    let large = " ".repeat(300 << 10);
    let answer = answer(&bundle, &format!("{}{large}", request()));
    assert!(answer.contains("too-large"), "{answer}");
}

#[test]
fn an_error_repeats_nothing_that_may_be_a_key() {
    let secret = "sk-proj-abcdEFGH1234567890";
    for pointer in ["", "/policy", "/secrets/c1", "/secrets/c1/frame"] {
        let manifest = manifest();
        let members = manifest.pointer(pointer).unwrap().as_object().unwrap();
        let edits = members.keys().map(|name| (name.clone(), json!(secret)));
        for (name, value) in edits.chain([(secret.to_owned(), json!(1))]) {
            let mut changed = manifest.clone();
            changed.pointer_mut(pointer).unwrap()[&name] = value;
            let bundle = bundle_of(&changed, &key(1));
            let answer = answer(&bundle, &request().to_string());
            let is_repeated = answer.contains(secret) && answer.starts_with(r#"{"error":"#);
            assert!(!is_repeated, "{pointer}/{name}: {answer}");
        }
    }
    let mut request = request();
    request[secret] = json!(1);
    let answer = answer(&bundle_of(&manifest(), &key(1)), &request.to_string());
    assert!(!answer.contains(secret), "{answer}");
}

#[test]
fn every_signature_must_be_valid() {
    let payload = manifest().to_string().into_bytes();
    let sign = |key: &SigningKey, bytes: &[u8]| {
        let signature = key.sign(bytes).to_bytes();
        Signature::new(key.verifying_key().as_bytes(), &signature)
    };
    let genuine = || sign(&key(1), &signed_bytes(&payload));
    let trusted = json!([signer(&key(1)), signer(&key(2))]);
    let outcome_of = |signatures: Vec<Signature>| {
        let file = BundleFile::new(&payload, signatures, &[BLOB.to_vec()]);
        let mut request = request();
        request["expected"]["signers"] = trusted.clone();
        outcome(&serde_json::to_string(&file).unwrap(), &request)
    };
    assert_eq!(outcome_of(vec![genuine()]), "granted");
    assert_eq!(outcome_of(vec![genuine(), genuine()]), "malformed");
    let second = sign(&key(2), &signed_bytes(&payload));
    assert_eq!(outcome_of(vec![genuine(), second]), "granted");
    assert_eq!(outcome_of(Vec::new()), "invalid-signature");
    // Over the payload without its type, by a stranger, and with another key's name.
    assert_eq!(
        outcome_of(vec![sign(&key(1), &payload)]),
        "invalid-signature"
    );
    let stranger = sign(&key(3), &signed_bytes(&payload));
    assert_eq!(
        outcome_of(vec![genuine(), stranger.clone()]),
        "untrusted-signer"
    );
    let renamed = Signature {
        keyid: signer(&key(1)),
        ..stranger
    };
    assert_eq!(outcome_of(vec![renamed]), "invalid-signature");
    assert_eq!(outcome_of(vec![genuine(); 17]), "too-large");
}
