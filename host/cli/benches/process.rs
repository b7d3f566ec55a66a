//! Measures the program as a process, with a warm code cache, and for comparison a process
//! that does nothing and `age --decrypt` of a small file, if age is installed.
//! `cargo bench -p entail-cli`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // allowed in benchmarks

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 200;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let entail = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entail"));
        command.args(arguments).env("ENTAIL_HOME", &home);
        command
    };
    let key = directory.path().join("key");
    std::fs::write(&key, "canary-of-the-benchmark-0123456789").unwrap();
    for arguments in [
        &["init", "acme"][..],
        &["project", "add", "acme/evals"],
        &["inherit", "acme/evals", "openai"],
        &[
            "credential",
            "set",
            "acme",
            "openai",
            "--from-file",
            key.to_str().unwrap(),
        ],
    ] {
        assert!(
            entail(arguments)
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    }
    report("/bin/true", || Command::new("/bin/true"));
    if let Some(file) = age_file(directory.path(), &home) {
        let identity = home.join("keys/identity.txt");
        report("age --decrypt", || {
            let mut command = Command::new("age");
            command
                .arg("--decrypt")
                .arg("--identity")
                .arg(&identity)
                .arg(&file);
            command
        });
    }
    report("entail --version", || entail(&["--version"]));
    report("entail resolve", || {
        entail(&["resolve", "acme/evals", "openai"])
    });
    report("entail run -- /bin/true", || {
        entail(&["run", "acme/evals", "--", "/bin/true"])
    });
}

fn report(what: &str, mut command: impl FnMut() -> Command) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let mut command = command();
            command.stdout(Stdio::null());
            let started = Instant::now();
            assert!(command.status().unwrap().success());
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{what:<26} p50 {:>7.2?}  p95 {:>7.2?}",
        times[RUNS / 2],
        times[RUNS / 20 * 19]
    );
}

fn age_file(directory: &Path, home: &Path) -> Option<std::path::PathBuf> {
    let recipient = std::fs::read_to_string(home.join("keys/recipients.txt")).unwrap();
    let file = directory.join("file.age");
    let made = Command::new("age")
        .args(["--encrypt", "--recipient", recipient.trim(), "--output"])
        .arg(&file)
        .arg(directory.join("key"))
        .status();
    made.is_ok_and(|status| status.success()).then_some(file)
}
