//! Runs a policy component alone: no home, no store, no secret.
//!
//! ```sh
//! cargo run -p entail --example policy_component -- guest/default/default-policy.wasm
//! ```
//!
//! A host that keeps its own credentials needs only `entail-policy` and
//! `entail-decision`: facts in, a decision out, and the guard to check it.

use entail_decision::{Facts, Outcome, guard};
use entail_policy::{Compiler, Engine, EngineConfig};

const FACTS: &str = r#"{
    "request": {"provider": "openai", "principal": "local:owner", "now_ms": 1767225600000},
    "chain": [
        {"path": "acme/evals", "inheritance": "inherit"},
        {"path": "acme", "credentials": [{"id": "acme:default", "name": "default"}]}
    ]
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("give a component")?;
    let facts: Facts = serde_json::from_str(FACTS)?;

    // This example trusts its component. A host that does not compiles it in a child
    // process with limits: `Compiler::Sandboxed`.
    let engine = Engine::new(EngineConfig {
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    let policy = engine.admit(&std::fs::read(file)?)?;

    // Each call runs in a fresh instance. The guard rejects a grant that the facts do not
    // allow, regardless of the policy.
    let decision = guard::enforce(&facts, policy.decide(&facts)?)?;
    match &decision.outcome {
        Outcome::Granted(grant) => println!("granted: {}", grant.credential),
        Outcome::Refused(refusal) => println!("refused: {}", refusal.code),
    }
    println!("{}", serde_json::to_string_pretty(&decision)?);
    Ok(())
}
