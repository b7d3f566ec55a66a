//! Sealed secrets are ordinary age files: any age program opens them with the identity, even
//! without Entail.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::Sandbox;

/// The path at which `.ci/test` installs another implementation.
fn installed(what: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/interop")
        .join(what);
    assert!(
        path.exists(),
        "{} is missing; .ci/test installs it",
        path.display()
    );
    path
}

/// A home with one secret, and the sealed secret in a file.
fn sealed() -> (Sandbox, String, PathBuf) {
    let (sandbox, key) = Sandbox::with_acme();
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let blob: Vec<u8> = database
        .query_row("SELECT bytes FROM blobs", [], |row| row.get(0))
        .unwrap();
    let file = sandbox.path("blob.age");
    std::fs::write(&file, blob).unwrap();
    (sandbox, key, file)
}

/// Runs a program that opens the file, and checks its output.
fn opens(mut command: Command, key: &str) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; .ci/test installs it"));
    let frame = String::from_utf8(output.stdout).unwrap();
    assert!(
        frame.starts_with("entail-secret/1\n"),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(frame.contains(key));
    assert_eq!(frame.len(), 4096);
}

#[test]
fn a_sealed_secret_opens_with_the_age_program() {
    let (sandbox, key, file) = sealed();
    let mut age = Command::new("age");
    age.arg("--decrypt").arg("--identity");
    age.arg(sandbox.home().join("keys/identity.txt")).arg(file);
    opens(age, &key);
}

#[test]
fn a_sealed_secret_opens_in_python() {
    const SCRIPT: &str = "
import sys, pyrage
lines = [line.strip() for line in open(sys.argv[1]) if not line.startswith('#')]
identity = pyrage.x25519.Identity.from_str(lines[0])
sys.stdout.buffer.write(pyrage.decrypt(open(sys.argv[2], 'rb').read(), [identity]))
";
    let (sandbox, key, file) = sealed();
    let mut python = Command::new(installed("python/bin/python"));
    python.arg("-c").arg(SCRIPT);
    python
        .arg(sandbox.home().join("keys/identity.txt"))
        .arg(file);
    opens(python, &key);
}

#[test]
fn a_sealed_secret_opens_in_node() {
    const SCRIPT: &str = "
import { readFileSync } from 'node:fs';
import { Decrypter } from 'age-encryption';
const lines = readFileSync(process.argv[2], 'utf8').split('\\n');
const decrypter = new Decrypter();
decrypter.addIdentity(lines.find((line) => line.startsWith('AGE-SECRET-KEY-')));
process.stdout.write(await decrypter.decrypt(readFileSync(process.argv[3])));
";
    let (sandbox, key, file) = sealed();
    // A module finds its packages beside itself.
    let script =
        installed("node_modules").with_file_name(format!("open-{}.mjs", std::process::id()));
    std::fs::write(&script, SCRIPT).unwrap();
    let mut node = Command::new("node");
    node.arg(&script);
    node.arg(sandbox.home().join("keys/identity.txt")).arg(file);
    opens(node, &key);
    std::fs::remove_file(script).unwrap();
}
