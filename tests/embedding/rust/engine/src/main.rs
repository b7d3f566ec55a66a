//! Decides by a policy component in Entail's engine.

use entail_policy::{CallError, Engine, EngineConfig, Facts};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let component = std::fs::read("default-policy.wasm")?;
    // The built-in policy may be compiled in this process; any other takes a `Sandbox`.
    let policy = Engine::new(EngineConfig::default()).admit_trusted(&component)?;
    for line in std::io::stdin().lines() {
        let decided = match serde_json::from_str::<Facts>(&line?) {
            Ok(facts) => match policy.decide(&facts) {
                Ok(decision) => serde_json::to_value(decision)?,
                Err(CallError::InvalidFacts(text)) => {
                    json!({"error": "invalid-facts", "message": text})
                }
                Err(CallError::Undecided(text)) => json!({"error": "other", "message": text}),
                Err(failure) => json!({"failure": failure.to_string()}),
            },
            Err(error) => json!({"malformed": error.to_string()}),
        };
        println!("{decided}");
    }
    Ok(())
}
