//! The committed schema of the JSON output is the one that the types generate.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::path::Path;

#[test]
fn the_committed_schema_is_generated_from_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/api/schema.json");
    let generated = format!("{:#}\n", entail_api::schema());
    if std::fs::read_to_string(&file).unwrap_or_default() == generated {
        return;
    }
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(file, generated).unwrap();
        return;
    }
    panic!("host/api/schema.json is out of date; UPDATE_SAMPLES=1 with this test updates it");
}
