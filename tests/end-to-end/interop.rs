//! Sealed secrets are ordinary age files: any age program opens them with the identity, even
//! without Entail, in two steps.

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

/// A home with one secret, and the files to open it: the key of the epoch, and the secret.
struct Sealed {
    sandbox: Sandbox,
    key: String,
    epoch: PathBuf,
    secret: PathBuf,
}

impl Sealed {
    fn new() -> Self {
        let (sandbox, key) = Sandbox::with_acme();
        let database = rusqlite::Connection::open(sandbox.database()).unwrap();
        let mut statement = database
            .prepare("SELECT bytes FROM blobs ORDER BY length(bytes)")
            .unwrap();
        let blobs = statement.query_map([], |row| row.get(0)).unwrap();
        let blobs: Vec<Vec<u8>> = blobs.map(Result::unwrap).collect();
        assert_eq!(blobs.len(), 2);
        let files = ["epoch.age", "secret.age"].map(|name| sandbox.path(name));
        for (file, blob) in files.iter().zip(blobs) {
            std::fs::write(file, blob).unwrap();
        }
        let [epoch, secret] = files;
        Sealed {
            sandbox,
            key,
            epoch,
            secret,
        }
    }

    /// Opens both files with a program that takes an identity file and an encrypted file, and
    /// prints what it decrypts.
    fn opens_with(&self, program: impl Fn() -> Command) {
        let identity = self.sandbox.home().join("keys/identity.txt");
        let opened = |identity: &Path, file: &Path| {
            let mut command = program();
            let output = command.arg(identity).arg(file).output();
            let output =
                output.unwrap_or_else(|error| panic!("{command:?}: {error}; .ci/test installs it"));
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {errors}");
            output.stdout
        };
        let epoch_key = self.sandbox.path("epoch.txt");
        std::fs::write(&epoch_key, opened(&identity, &self.epoch)).unwrap();
        let frame = String::from_utf8(opened(&epoch_key, &self.secret)).unwrap();
        assert!(frame.starts_with("entail-secret/1\n"), "{frame}");
        assert!(frame.contains(&self.key));
        assert_eq!(frame.len(), 4096);
    }
}

#[test]
fn a_sealed_secret_opens_with_the_age_program() {
    Sealed::new().opens_with(|| {
        let mut age = Command::new("age");
        age.arg("--decrypt").arg("--identity");
        age
    });
}

#[test]
fn a_sealed_secret_opens_in_python() {
    const SCRIPT: &str = "
import sys, pyrage
lines = [line.strip() for line in open(sys.argv[1]) if not line.startswith('#')]
identity = pyrage.x25519.Identity.from_str(lines[0])
sys.stdout.buffer.write(pyrage.decrypt(open(sys.argv[2], 'rb').read(), [identity]))
";
    Sealed::new().opens_with(|| {
        let mut python = Command::new(installed("python/bin/python"));
        python.arg("-c").arg(SCRIPT);
        python
    });
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
    // A module finds its packages beside itself.
    let script =
        installed("node_modules").with_file_name(format!("open-{}.mjs", std::process::id()));
    std::fs::write(&script, SCRIPT).unwrap();
    Sealed::new().opens_with(|| {
        let mut node = Command::new("node");
        node.arg(&script);
        node
    });
    std::fs::remove_file(script).unwrap();
}
