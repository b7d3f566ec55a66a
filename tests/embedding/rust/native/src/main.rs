//! Decides by the rules of the built-in policy, without an engine.

#[path = "../../facts.rs"]
mod facts;

use entail_default_policy::{resolver, rules};
use serde_json::json;

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lines() {
        let decided = match facts::read(&line?) {
            Ok((request, chain)) => facts::write(rules::decide(&request, &chain)),
            Err(error) => json!({"malformed": error.to_string()}),
        };
        println!("{decided}");
    }
    Ok(())
}
