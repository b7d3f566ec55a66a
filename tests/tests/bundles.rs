//! The resolver core answers as the library does, byte for byte, and decides as the built-in
//! policy's component.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::path::PathBuf;

use ed25519_dalek::{Signer as _, SigningKey};
use entail_bundle::{
    BUILT_IN_POLICY, BundleFile, MAX_INTEGER, Signature, answer, digest_of, fingerprint,
    signed_bytes,
};
use entail_policy::{Facts, Outcome};
use entail_tests::{generate, native};
use serde_json::{Value, json};
use wasmtime::{Engine, Instance, Memory, Module, Store, TypedFunc};

/// How many random trees are resolved.
const TREES: u64 = 10_000;

/// The resolver core, which `.ci/test` builds.
fn core() -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    let file = target.join("wasm32-unknown-unknown/resolver/entail_resolver.wasm");
    std::fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; guest/resolver/README.md builds it",
            file.display()
        )
    })
}

/// A host with an engine alone.
struct Host {
    store: Store<()>,
    memory: Memory,
    allocate: TypedFunc<u32, u32>,
    free: TypedFunc<(u32, u32), ()>,
    resolve: TypedFunc<(u32, u32, u32, u32), u64>,
}

impl Host {
    fn new(engine: &Engine, module: &Module) -> Self {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let abi = instance.get_typed_func::<(), u32>(&mut store, "entail_abi");
        assert_eq!(abi.unwrap().call(&mut store, ()).unwrap(), 1);
        Host {
            memory: instance.get_memory(&mut store, "memory").unwrap(),
            allocate: instance
                .get_typed_func(&mut store, "entail_allocate")
                .unwrap(),
            free: instance.get_typed_func(&mut store, "entail_free").unwrap(),
            resolve: instance
                .get_typed_func(&mut store, "entail_resolve")
                .unwrap(),
            store,
        }
    }

    fn give(&mut self, text: &[u8]) -> (u32, u32) {
        let length = u32::try_from(text.len()).unwrap();
        let address = self.allocate.call(&mut self.store, length).unwrap();
        self.memory
            .write(&mut self.store, address as usize, text)
            .unwrap();
        (address, length)
    }

    fn answer(&mut self, bundle: &[u8], request: &[u8]) -> String {
        let (bundle, request) = (self.give(bundle), self.give(request));
        let parameters = (bundle.0, bundle.1, request.0, request.1);
        let found = self.resolve.call(&mut self.store, parameters).unwrap();
        let (address, length) = ((found >> 32) as u32, (found & 0xffff_ffff) as u32);
        let mut text = vec![0; length as usize];
        self.memory
            .read(&self.store, address as usize, &mut text)
            .unwrap();
        for text in [bundle, request, (address, length)] {
            self.free.call(&mut self.store, text).unwrap();
        }
        String::from_utf8(text).unwrap()
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A bundle of the chain of facts, with a secret for each of its credentials.
fn bundle(facts: &Facts) -> String {
    let store = "00".repeat(16);
    let provider = json!({
        "id": facts.request.provider, "name": "P", "kind": "model", "docs": "", "hosts": [],
        "field": [], "mode": [{
            "name": "api-key", "label": "", "required": [], "authentication": {"headers": {}},
        }],
    });
    let chain = serde_json::to_value(&facts.chain).unwrap();
    let mut secrets = serde_json::Map::new();
    for scope in &facts.chain {
        for credential in &scope.credentials {
            let frame = json!({
                "store": store, "scope": scope.path, "credential": credential.id, "version": 1,
                "provider": facts.request.provider, "mode": "api-key", "hosts": [],
                "destination": digest_of(b"{}").replace("sha256:", ""), "epoch": 0, "fields": [],
            });
            let secret = json!({
                "blob": digest_of(b"age"), "frame": frame, "parameters": {}, "destination": [],
            });
            secrets.insert(credential.id.clone(), secret);
        }
    }
    let blobs = if secrets.is_empty() {
        Vec::new()
    } else {
        vec![b"age".to_vec()]
    };
    let manifest = json!({
        "type": "bundle", "version": 1, "store": store, "lineage": store,
        "organization": facts.chain.last().unwrap().path, "revision": 1, "checkpoint": "",
        "issued_at_ms": facts.request.now_ms, "expires_at_ms": facts.request.now_ms + 1,
        "policy": {"digest": BUILT_IN_POLICY, "contract": "0.2.0"}, "recipients": ["age1"],
        "scopes": [facts.chain[0].path], "providers": [{"provider": provider, "scopes": chain}],
        "secrets": secrets,
    });
    let payload = manifest.to_string().into_bytes();
    let signature = key().sign(&signed_bytes(&payload)).to_bytes();
    let signature = Signature::new(key().verifying_key().as_bytes(), &signature);
    serde_json::to_string(&BundleFile::new(&payload, vec![signature], &blobs)).unwrap()
}

fn request(facts: &Facts) -> String {
    let mut request = json!({
        "scope": facts.chain[0].path, "provider": facts.request.provider,
        "principal": facts.request.principal, "now_ms": facts.request.now_ms,
        "recipients": ["age1"],
        "expected": {"signers": [fingerprint(key().verifying_key().as_bytes())]},
    });
    if let Some(model) = &facts.request.model {
        request["model"] = json!(model);
    }
    if let Some(credential) = &facts.request.credential {
        request["credential"] = json!(credential);
    }
    request.to_string()
}

#[test]
fn the_core_answers_as_the_library_and_decides_as_the_policy() {
    let engine = Engine::default();
    let module = Module::new(&engine, core()).unwrap();
    assert_eq!(module.imports().len(), 0);
    let mut granted = 0;
    for seed in 0..TREES {
        let mut facts = generate::random(seed);
        for credential in facts
            .chain
            .iter_mut()
            .flat_map(|scope| &mut scope.credentials)
        {
            let expires_at_ms = &mut credential.expires_at_ms;
            *expires_at_ms = expires_at_ms.map(|end| end.min(MAX_INTEGER));
        }
        let (bundle, request) = (bundle(&facts), request(&facts));
        let answered = answer(&bundle, &request);
        let mut host = Host::new(&engine, &module);
        assert_eq!(host.answer(bundle.as_bytes(), request.as_bytes()), answered);
        // A warm instance as well.
        assert_eq!(host.answer(bundle.as_bytes(), request.as_bytes()), answered);
        let found: Value = serde_json::from_str(&answered).unwrap();
        let model = facts.request.model.as_ref();
        let is_valid = model.is_none_or(|model| model.parse::<entail::ModelId>().is_ok());
        match native::decide(&facts) {
            _ if !is_valid => assert_eq!(found["error"]["code"], "invalid-request"),
            Ok(expected) => {
                granted += u64::from(matches!(expected.outcome, Outcome::Granted(_)));
                let expected = serde_json::to_value(expected).unwrap();
                assert_eq!(
                    found["resolved"]["decision"], expected,
                    "tree {seed}: {answered}"
                );
            }
            Err(_) => assert_eq!(found["error"]["code"], "policy-failed", "tree {seed}"),
        }
    }
    assert!(granted > TREES / 10, "{granted}");
}

#[test]
fn the_core_refuses_what_the_library_refuses() {
    let engine = Engine::default();
    let module = Module::new(&engine, core()).unwrap();
    let facts = generate::random(1);
    let (bundle, request) = (bundle(&facts), request(&facts));
    let mut host = Host::new(&engine, &module);
    for place in (0..bundle.len()).step_by(13) {
        let mut changed = bundle.clone().into_bytes();
        changed[place] ^= 1;
        let expected = entail_bundle::answer_bytes(&changed, request.as_bytes());
        assert_eq!(host.answer(&changed, request.as_bytes()), expected);
    }
    for text in ["", "{", "null", "[]", "\u{feff}{}", "{\"a\":1,\"a\":2}"] {
        let expected = answer(text, text);
        assert_eq!(host.answer(text.as_bytes(), text.as_bytes()), expected);
    }
}
