//! The table: where foreign text comes from, and every command that prints it. Each
//! kind of source has a module.
//!
//! A new command is a row of the sources that it reads. In a row, `{text}` is the text
//! itself, `{fresh}` a path at which nothing exists, and any other name a value that the
//! source has set.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail_text::is_plain;
use serde_json::{Value, json};

use super::{Source, World};

/// Defines the table `SOURCES` of a module, and a test for each source.
macro_rules! sources {
    ($($test:ident: $name:literal, $prepare:expr, [$($row:expr),* $(,)?];)*) => {
        pub const SOURCES: &[Source] = &[$(Source {
            name: $name,
            prepare: $prepare,
            rows: &[$($row),*],
        }),*];

        $(
            #[test]
            fn $test() {
                check_source(SOURCES.iter().find(|source| source.name == $name).unwrap());
            }
        )*
    };
}

mod command_line;
mod database;
mod files;
mod home;
mod logs;
mod policies;
mod providers;

pub const BUILT_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/default/default-policy.wasm"
);

/// Every source of every kind.
pub fn all() -> impl Iterator<Item = &'static Source> {
    let kinds = [
        command_line::SOURCES,
        database::SOURCES,
        files::SOURCES,
        home::SOURCES,
        logs::SOURCES,
        policies::SOURCES,
        providers::SOURCES,
    ];
    kinds.into_iter().flatten()
}

impl World {
    fn set(&mut self, name: &'static str, value: impl Into<std::ffi::OsString>) {
        self.values.insert(name, value.into());
    }

    /// Writes a file, and sets `name` to its path.
    fn file(&mut self, name: &'static str, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.sandbox.file(path, contents);
        self.set(name, path);
    }

    /// Puts the text into an environment variable.
    fn variable(&mut self, name: &'static str) {
        let value = self.text.replace('\0', "");
        self.environment.insert(name, Some(value.into()));
    }

    /// Truncates the text where a longer one would be refused.
    fn truncate(&mut self, most: usize) {
        self.text = self.text.chars().take(most).collect();
    }

    /// Writes a file with mode 600 in the home.
    pub fn in_home(&self, name: &str, text: &str) {
        let file = self.sandbox.home().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes a file of vectors into a new directory.
    fn vectors(&mut self, name: &'static str, vectors: &Value) {
        self.sandbox
            .file(&format!("{name}/vectors.json"), vectors.to_string());
        let directory = self.sandbox.path(name);
        self.set(name, directory);
    }
}

fn facts() -> Value {
    json!({
        "request": {"provider": "openai", "now_ms": 1},
        "chain": [{"path": "acme", "credentials": [{"id": "1", "name": "default"}]}],
    })
}

/// Sets the other inputs of policy commands: facts, vectors and a path for the report.
fn policy_inputs(world: &mut World) {
    world.file("facts", "facts.jsonl", format!("{}\n", facts()));
    if !world.values.contains_key("vectors") {
        let decision = json!({"refused": {"code": "expired"}, "trail": []});
        let vector = json!({"name": "none", "facts": facts(), "decision": decision});
        world.vectors("vectors", &json!([vector]));
    }
    let report = world.sandbox.path("report.xml");
    world.set("report", report);
}

/// A text as a TOML string.
fn toml(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(quoted, "\\{character}").unwrap(),
            c if is_plain(c) => quoted.push(c),
            c => write!(quoted, "\\U{:08X}", u32::from(c)).unwrap(),
        }
    }
    quoted.push('"');
    quoted
}

#[test]
fn the_built_in_policy_exists() {
    assert!(Path::new(BUILT_IN).is_file());
}
