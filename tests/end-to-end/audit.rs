//! The decision log: it is chained and rotated, can be written to two sinks, and no secret is
//! revealed without a record.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{RunOutput, Sandbox};

const RESOLVE: [&str; 3] = ["resolve", "acme/evals", "openai"];

fn settings(sandbox: &Sandbox, text: &str) {
    let file = sandbox.home().join("settings.toml");
    std::fs::write(&file, format!("[decision-log]\n{text}\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn log(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.home().join("decisions.jsonl")
}

#[test]
fn decisions_are_shown_by_scope_provider_outcome_and_time() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    sandbox.entail(&["resolve", "acme", "anthropic"]).fails(10);
    let count = |arguments: &[&str]| {
        let arguments = [&["audit", "show", "--json"], arguments].concat();
        sandbox.entail(&arguments).ok().stdout.lines().count()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--scope", "acme"]), 3);
    assert_eq!(count(&["--scope", "acme/evals"]), 1);
    assert_eq!(count(&["--provider", "anthropic"]), 1);
    assert_eq!(count(&["--outcome", "granted"]), 1);
    assert_eq!(count(&["--outcome", "opened"]), 1);
    assert_eq!(count(&["--outcome", "not-opened"]), 0);
    assert_eq!(count(&["--outcome", "unknown"]), 0);
    assert_eq!(count(&["--outcome", "refused"]), 2);
    assert_eq!(count(&["--outcome", "not-opted-in"]), 1);
    assert_eq!(count(&["--principal", "local:owner"]), 3);
    assert_eq!(count(&["--principal", "somebody"]), 0);
    let all = sandbox.entail(&["audit", "show", "--json"]).ok();
    let by_owner = "\"principal\":\"local:owner\"";
    assert_eq!(all.stdout.matches(by_owner).count(), 6, "{}", all.stdout);
    assert_eq!(count(&["--since", "1h"]), 3);
    assert_eq!(count(&["--until", "1h"]), 0);
    sandbox
        .entail(&["audit", "tail", "-n", "1"])
        .ok()
        .prints("no-credential");
    sandbox
        .entail(&["audit", "verify"])
        .ok()
        .prints("3 decisions and 1 opening by 3 writers");
    sandbox
        .entail(&["audit", "show", "--since", "yesterday"])
        .fails(19);
}

#[test]
fn a_changed_removed_or_moved_record_is_detected() {
    for (what, edit) in [
        (
            "changed",
            (|lines| lines[2] = lines[2].replace("acme/evals", "acme/other"))
                as fn(&mut Vec<String>),
        ),
        ("an opening changed", |lines| {
            lines[1] = lines[1].replace("opened", "failed");
        }),
        ("taken out", |lines| drop(lines.remove(2))),
        ("an opening taken out", |lines| drop(lines.remove(1))),
        ("moved", |lines| lines.swap(0, 2)),
        ("doubled", |lines| lines.insert(1, lines[0].clone())),
        ("no record", |lines| {
            lines.insert(1, "{\"what\":1}".to_owned());
        }),
    ] {
        let (sandbox, _) = Sandbox::with_acme();
        for _ in 0..4 {
            sandbox.entail(&RESOLVE).ok();
        }
        sandbox.entail(&["audit", "verify"]).ok();
        let text = std::fs::read_to_string(log(&sandbox)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        edit(&mut lines);
        std::fs::write(log(&sandbox), lines.join("\n") + "\n").unwrap();
        let verify = sandbox.entail(&["audit", "verify"]);
        assert_eq!(verify.code, Some(15), "{what}: {}", verify.stdout);
        sandbox.entail(&["doctor"]).fails(15);
    }
}

#[test]
fn a_full_log_is_rotated_and_the_chain_continues() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    for _ in 0..60 {
        sandbox.entail(&RESOLVE).ok();
    }
    assert!(sandbox.home().join("decisions.000002.jsonl").exists());
    sandbox
        .entail(&["audit", "verify"])
        .ok()
        .prints("60 decisions and 60 openings");
    std::fs::remove_file(sandbox.home().join("decisions.000002.jsonl")).unwrap();
    sandbox.entail(&["audit", "verify"]).fails(15);
}

#[test]
fn a_log_that_was_begun_again_is_found_by_the_ends_in_the_journal() {
    let (sandbox, _) = Sandbox::with_acme();
    let decide = || sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    decide();
    sandbox.entail(&["project", "add", "acme/one"]).ok();
    decide();
    let verified = sandbox.entail(&["audit", "verify", "--json"]).ok().json();
    assert!(verified["in_journal"].as_u64().unwrap() > 0, "{verified}");
    for file in ["decisions.jsonl", "decisions.head"] {
        std::fs::remove_file(sandbox.home().join(file)).unwrap();
    }
    decide();
    decide();
    sandbox
        .entail(&["audit", "verify"])
        .fails(15)
        .prints("a head that was stored elsewhere");
    sandbox.entail(&["doctor"]).fails(15);
}

#[test]
fn concurrent_writers_share_one_log() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    let runs: Vec<_> = (0..40)
        .map(|_| {
            sandbox
                .command(&["status"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    sandbox.entail(&["audit", "verify"]).ok();
    // They agreed on the id of the principal.
    let names = std::fs::read_to_string(sandbox.home().join("principals.jsonl"));
    assert_eq!(names.unwrap().lines().count(), 1);
}

/// Checks that nothing is revealed, and that the command does not hang.
fn refused(sandbox: &Sandbox, what: &str) {
    let started = Instant::now();
    let ran = sandbox.entail(&["resolve", "acme/evals", "openai", "--reveal"]);
    assert_eq!(ran.code, Some(17), "{what}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.is_empty(), "{what}");
    assert!(started.elapsed() < Duration::from_secs(30), "{what}");
}

#[test]
fn without_a_record_nothing_is_revealed() {
    let (sandbox, _) = Sandbox::with_acme();
    // A directory replaces the log.
    std::fs::remove_file(log(&sandbox)).unwrap();
    std::fs::create_dir(log(&sandbox)).unwrap();
    refused(&sandbox, "a directory");
    std::fs::remove_dir(log(&sandbox)).unwrap();
    // A full disk.
    std::os::unix::fs::symlink("/dev/full", log(&sandbox)).unwrap();
    refused(&sandbox, "a full disk");
    std::fs::remove_file(log(&sandbox)).unwrap();
    // A full pipe that is not read.
    let status = Command::new("mkfifo").arg(log(&sandbox)).status();
    assert!(status.unwrap().success());
    std::fs::set_permissions(log(&sandbox), std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut pipe = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(log(&sandbox))
        .unwrap();
    while pipe.write(&[0; 4096]).is_ok() {}
    refused(&sandbox, "a blocked pipe");
    drop(pipe);
    std::fs::remove_file(log(&sandbox)).unwrap();
    sandbox.entail(&RESOLVE).ok();
}

#[test]
fn the_secondary_sink_gets_the_same_records_and_one_sink_can_be_enough() {
    let (sandbox, _) = Sandbox::with_acme();
    let second = sandbox.path("second.jsonl");
    settings(
        &sandbox,
        &format!("secondary = {:?}", second.display().to_string()),
    );
    sandbox.entail(&RESOLVE).ok();
    assert_eq!(
        std::fs::read(&second).unwrap(),
        std::fs::read(log(&sandbox)).unwrap()
    );
    settings(&sandbox, "secondary = \"stdout\"");
    let ran = sandbox.entail(&RESOLVE).ok().prints("\"principal\":\"");
    assert!(!ran.stdout.contains("local:owner"), "{}", ran.stdout);

    settings(&sandbox, "secondary = \"/dev/full\"");
    refused(&sandbox, "the second place is full");
    settings(&sandbox, "secondary = \"/dev/full\"\nrequire = \"any\"");
    sandbox.entail(&RESOLVE).ok();
    std::fs::remove_file(log(&sandbox)).unwrap();
    std::os::unix::fs::symlink("/dev/full", log(&sandbox)).unwrap();
    refused(&sandbox, "both places are full");
    settings(
        &sandbox,
        &format!(
            "secondary = {:?}\nrequire = \"any\"",
            second.display().to_string()
        ),
    );
    sandbox.entail(&RESOLVE).ok();
    // The sandbox would search the whole file for canaries.
    std::fs::remove_file(log(&sandbox)).unwrap();
    settings(&sandbox, "secondaryo = \"syslog\"");
    sandbox.entail(&RESOLVE).fails(19).prints("secondaryo");
}

#[test]
fn an_unread_pipe_does_not_count_as_a_sink() {
    let (sandbox, _) = Sandbox::with_acme();
    std::fs::remove_file(log(&sandbox)).unwrap();
    let status = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(log(&sandbox))
        .status();
    assert!(status.unwrap().success());
    refused(&sandbox, "no reader");
    let second = sandbox.path("second");
    let status = Command::new("mkfifo").arg(&second).status();
    assert!(status.unwrap().success());
    settings(
        &sandbox,
        &format!(
            "secondary = {:?}\nrequire = \"any\"",
            second.display().to_string()
        ),
    );
    refused(&sandbox, "no reader of either");
    std::fs::remove_file(log(&sandbox)).unwrap();
    settings(&sandbox, "secondary = \"/dev/full\"");
    sandbox.entail(&RESOLVE).fails(17).prints("/dev/full");
}

#[test]
fn archived_files_are_distinguished_from_missing_files() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    for _ in 0..60 {
        sandbox.entail(&RESOLVE).ok();
    }
    let verify = || sandbox.entail(&["audit", "verify"]);
    let elsewhere = sandbox.path("archive");
    let elsewhere = elsewhere.to_str().unwrap();
    let archive = ["audit", "archive", "--to", elsewhere, "--before", "2"];
    sandbox
        .entail(&archive)
        .ok()
        .prints("file 1 was archived to")
        .prints("by local:owner");
    assert!(!sandbox.home().join("decisions.000001.jsonl").exists());
    assert!(Path::new(elsewhere).join("decisions.000001.jsonl").exists());
    verify()
        .ok()
        .prints("begins with file 2")
        .prints("file 1 was archived to");
    sandbox
        .entail(&archive)
        .ok()
        .prints("there is nothing to archive");
    std::fs::remove_file(sandbox.home().join("decisions.000002.jsonl")).unwrap();
    verify()
        .fails(15)
        .prints("file 2 is missing, and it was not archived")
        .prints("entail audit accept-loss --reason TEXT");
    let accept = [
        "audit",
        "accept-loss",
        "--reason",
        "moved by the old script",
    ];
    sandbox
        .entail(&accept)
        .ok()
        .prints("moved by the old script");
    verify().ok().prints("moved by the old script");
    sandbox
        .entail(&accept)
        .fails(19)
        .prints("nothing is wrong with the decision log");
    // After that, changes are detected as before.
    sandbox.entail(&RESOLVE).ok();
    sandbox.entail(&RESOLVE).ok();
    verify().ok();
    let text = std::fs::read_to_string(log(&sandbox)).unwrap();
    let less: Vec<&str> = text.lines().collect();
    std::fs::write(log(&sandbox), less[..less.len() - 1].join("\n") + "\n").unwrap();
    verify().fails(15);
}

#[test]
fn status_checks_do_not_hide_grants() {
    let (sandbox, _) = Sandbox::with_acme();
    let records = || {
        let text = std::fs::read_to_string(log(&sandbox)).unwrap_or_default();
        text.matches("\"kind\":\"decision\"").count()
    };
    sandbox.entail(&["status"]).ok();
    // Eleven providers and three scopes, but only one provider has a credential.
    assert_eq!(records(), 3);
    sandbox.entail(&RESOLVE).ok();
    for _ in 0..10 {
        sandbox.entail(&["status"]).ok();
    }
    let tail = sandbox.entail(&["audit", "tail", "-n", "5"]).ok();
    let tail = tail.prints("33 checks").prints("--all").prints("lease");
    assert!(!tail.stdout.contains("status  "), "{}", tail.stdout);
    sandbox
        .entail(&["audit", "tail", "--all", "-n", "5"])
        .ok()
        .prints("status");
    // A request for a named provider is always recorded.
    sandbox
        .entail(&["resolve", "acme/evals", "litellm"])
        .fails(10);
    sandbox
        .entail(&["audit", "tail", "-n", "1"])
        .ok()
        .prints("refused: no-credential");
}

#[test]
fn machine_readable_output_is_not_mixed_with_records() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "secondary = \"stdout\"");
    for arguments in [
        &["export-env", "acme/evals"][..],
        &["status", "--json"],
        &[
            "resolve",
            "acme/evals",
            "openai",
            "--reveal",
            "--format",
            "env",
        ],
    ] {
        sandbox
            .entail(arguments)
            .fails(19)
            .prints("standard output");
    }
}

#[test]
fn verify_and_doctor_detect_a_truncated_log() {
    for lines_left in [0, 3] {
        let (sandbox, _) = Sandbox::with_acme();
        for _ in 0..4 {
            sandbox.entail(&RESOLVE).ok();
        }
        sandbox.entail(&["audit", "verify"]).ok();
        let text = std::fs::read_to_string(log(&sandbox)).unwrap();
        let rest: String = text.split_inclusive('\n').take(lines_left).collect();
        std::fs::write(log(&sandbox), rest).unwrap();
        sandbox
            .entail(&["audit", "verify"])
            .fails(15)
            .prints(&format!("{} records are missing", 8 - lines_left));
        sandbox.entail(&["doctor"]).fails(15);
        // It stays detected.
        sandbox.entail(&RESOLVE).ok();
        sandbox.entail(&["audit", "verify"]).fails(15);
    }
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    std::fs::remove_file(log(&sandbox)).unwrap();
    sandbox
        .entail(&["audit", "verify"])
        .fails(15)
        .prints("it is missing; 2 records");
    std::fs::remove_file(sandbox.home().join("decisions.head")).unwrap();
    let report = sandbox.entail(&["audit", "verify", "--json"]).fails(15);
    let first: serde_json::Value = serde_json::Deserializer::from_str(&report.stdout)
        .into_iter()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(first["has_head"], false);
    assert_eq!(first["breaches"].as_array().unwrap().len(), 1);
}

/// Runs the program with limited memory. Its output is too long to search for canaries.
fn within(sandbox: &Sandbox, mebibytes: u32, arguments: &[&str]) -> RunOutput {
    let mut command = Command::new("sh");
    let limit = mebibytes * 1024;
    command
        .args(["-c", &format!("ulimit -v {limit} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_entail"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ENTAIL_HOME", sandbox.home());
    let output = Sandbox::output(command, "");
    RunOutput {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

#[test]
fn a_log_of_any_size_is_shown_and_checked_in_bounded_memory() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    // A decision, and what became of its secret.
    let line = std::fs::read_to_string(log(&sandbox)).unwrap();
    let show = |limit, arguments: &[&str], expected: usize| {
        let arguments = [&["audit"], arguments, &["--json"]].concat();
        let ran = within(&sandbox, limit, &arguments).ok();
        assert_eq!(ran.stdout.lines().count(), expected, "{arguments:?}");
    };
    // Many records: about 40 MB, and more as a table than the memory limit.
    let count = 40_000_000 / line.len();
    let mut file = std::fs::File::options()
        .append(true)
        .open(log(&sandbox))
        .unwrap();
    for _ in 0..count {
        file.write_all(line.as_bytes()).unwrap();
    }
    show(100, &["tail", "-n", "5"], 5);
    show(100, &["tail", "-n", "7", "--outcome", "granted"], 7);
    show(100, &["tail", "-n", "9", "--scope", "acme/other"], 0);
    show(100, &["show"], count + 1);
    let table = within(&sandbox, 100, &["audit", "show"]).ok();
    assert_eq!(table.stdout.lines().count(), count + 2);
    // Each repeated record is a breach.
    let report = within(&sandbox, 100, &["audit", "verify"]).fails(15);
    assert!(report.stdout.lines().count() < 1_100);
    // A line without an end, and one that ends after a gigabyte of zeros.
    let end = file.metadata().unwrap().len();
    file.set_len(end + (1 << 30)).unwrap();
    show(160, &["tail", "-n", "5"], 5);
    show(160, &["show"], count + 1);
    within(&sandbox, 160, &["audit", "verify"]).fails(15);
    file.write_all(format!("\n{line}").as_bytes()).unwrap();
    show(160, &["tail", "-n", "2"], 2);
    show(160, &["show"], count + 2);
    within(&sandbox, 160, &["audit", "verify"]).fails(15);
    // The sandbox would search the whole file for canaries.
    file.set_len(0).unwrap();
}

#[test]
fn a_pipe_that_replaces_a_full_log_does_not_block() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    let policy = sandbox.path("policy.wasm");
    std::fs::write(&policy, entail::DEFAULT_POLICY).unwrap();
    let pipe = sandbox.home().join("decisions.000001.jsonl");
    let status = Command::new("mkfifo").arg(&pipe).status();
    assert!(status.unwrap().success());
    for arguments in [
        &["audit", "tail", "-n", "9"][..],
        &["audit", "show"],
        &["audit", "verify"],
        &["policy", "replay", policy.to_str().unwrap()],
    ] {
        let started = Instant::now();
        let ran = sandbox.entail(arguments);
        assert_ne!(ran.code, Some(0), "{arguments:?}");
        ran.prints("not a regular file");
        assert!(started.elapsed() < Duration::from_secs(10), "{arguments:?}");
    }
    std::fs::remove_file(pipe).unwrap();
}

#[test]
fn tail_follows_across_full_files() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    sandbox.entail(&RESOLVE).ok();
    let mut tail = sandbox
        .command(&["audit", "tail", "-n", "1", "-f", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut previous = lines.next().unwrap().unwrap();
    for _ in 0..30 {
        sandbox.entail(&RESOLVE).ok();
        let next = lines.next().unwrap().unwrap();
        assert_ne!(next, previous);
        previous = next;
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(sandbox.home().join("decisions.000001.jsonl").exists());
}

#[test]
fn a_secondary_sink_inside_the_home_is_refused_before_writing() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    let home = sandbox.home();
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(home.join("entail.db"), &link).unwrap();
    let hard = sandbox.path("hard");
    std::fs::hard_link(home.join("keys/signer.pem"), &hard).unwrap();
    let before = std::fs::read(home.join("keys/signer.pem")).unwrap();
    for place in [
        home.join("entail.db"),
        home.join("keys/identity.txt"),
        home.join("keys/log.key"),
        home.join("anchor.json"),
        home.join("decisions.head"),
        home.join("cache/log"),
        home.join("another"),
        home.join("../home/another"),
        link,
        hard,
    ] {
        for enough in ["all", "any"] {
            let place = place.display().to_string();
            settings(
                &sandbox,
                &format!("secondary = {place:?}\nrequire = {enough:?}"),
            );
            sandbox
                .entail(&RESOLVE)
                .fails(19)
                .prints("must be outside of it");
        }
    }
    let file = home.join("settings.toml");
    std::fs::remove_file(file).unwrap();
    assert_eq!(std::fs::read(home.join("keys/signer.pem")).unwrap(), before);
    assert!(!home.join("another").exists());
    // The standard output is checked, too.
    settings(&sandbox, "secondary = \"stdout\"");
    let output = std::fs::File::options()
        .append(true)
        .open(home.join("anchor.json"))
        .unwrap();
    let status = sandbox.command(&RESOLVE).stdout(output).status().unwrap();
    assert_eq!(status.code(), Some(19));
    std::fs::remove_file(home.join("settings.toml")).unwrap();
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_stopped_process_that_locks_the_log_does_not_block_others_for_long() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    let head = std::fs::File::open(sandbox.home().join("decisions.head")).unwrap();
    head.lock().unwrap();
    refused(&sandbox, "the log is held");
    head.unlock().unwrap();
    sandbox.entail(&RESOLVE).ok();
    // A changed head is not trusted.
    let head = std::fs::File::options()
        .read(true)
        .write(true)
        .open(sandbox.home().join("decisions.head"))
        .unwrap();
    let mut byte = [0];
    head.read_exact_at(&mut byte, 256 + 50).unwrap();
    head.write_all_at(&[!byte[0]], 256 + 50).unwrap();
    sandbox.entail(&["audit", "verify"]).fails(15);
    sandbox.entail(&RESOLVE).ok();
    sandbox.entail(&["audit", "verify"]).fails(15);
}
