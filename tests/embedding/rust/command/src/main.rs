//! A `wasi:cli` component that imports the resolver.

#[path = "../../facts.rs"]
mod facts;

wit_bindgen::generate!({
    inline: "package entail:command; world command { import entail:policy/resolver@0.2.0; }",
    path: "../../../../wit/policy.wit",
    generate_all,
});

use entail::policy::resolver;
use serde_json::json;

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lines() {
        let decided = match facts::read(&line?) {
            Ok((request, chain)) => facts::write(resolver::decide(&request, &chain)),
            Err(error) => json!({"malformed": error.to_string()}),
        };
        println!("{decided}");
    }
    Ok(())
}
