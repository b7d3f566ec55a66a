//! An embedder may use one instance for any number of calls: the built-in policy must not
//! leak memory.

#![allow(clippy::unwrap_used, missing_docs)] // allowed in tests

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

wasmtime::component::bindgen!({ path: "../../wit/policy.wit", world: "policy" });

use exports::entail::policy::resolver::{
    Credential, Inheritance, Outcome, Request, Scope, Sharing,
};

/// A leak of the allocator's smallest block, 16 bytes per call, would exhaust the policy's
/// 4 MiB before this many calls.
const CALLS: usize = 300_000;

#[test]
fn one_instance_decides_any_number_of_calls() {
    let engine = Engine::default();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest/default/default-policy.wasm"
    );
    let component = Component::from_binary(&engine, &std::fs::read(file).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    let policy = Policy::instantiate(&mut store, &component, &Linker::new(&engine)).unwrap();
    let request = Request {
        provider: "openai".to_owned(),
        model: Some("gpt-5".to_owned()),
        credential: None,
        principal: "test".to_owned(),
        now_ms: 1,
        settings: "{}".to_owned(),
        attributes: vec![],
    };
    let scope = |path: &str, id: &str| Scope {
        path: path.to_owned(),
        inheritance: Inheritance::Inherit,
        default_model: None,
        credentials: vec![Credential {
            id: id.to_owned(),
            name: "default".to_owned(),
            enabled: id == "organization",
            readable: true,
            expires_at_ms: None,
            models: Some(vec!["gpt-*".to_owned()]),
            sharing: Sharing::Paths(vec!["acme/**".to_owned()]),
            mandatory: id == "organization",
            priority: 0,
            attributes: vec![],
        }],
        attributes: vec![],
    };
    let chain = [scope("acme/evals", "own"), scope("acme", "organization")];
    for _ in 0..CALLS {
        let decision = policy
            .entail_policy_resolver()
            .call_decide(&mut store, &request, &chain)
            .unwrap()
            .unwrap();
        assert!(
            matches!(decision.outcome, Outcome::Granted(grant) if grant.credential == "organization")
        );
    }
}
