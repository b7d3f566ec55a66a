//! The decision log: chained, rotated, in two places, and no secret without it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

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
    assert_eq!(count(&["--outcome", "refused"]), 2);
    assert_eq!(count(&["--outcome", "not-opted-in"]), 1);
    assert_eq!(count(&["--principal", "local:owner"]), 3);
    assert_eq!(count(&["--principal", "somebody"]), 0);
    assert_eq!(count(&["--since", "1h"]), 3);
    assert_eq!(count(&["--until", "1h"]), 0);
    sandbox
        .entail(&["audit", "tail", "-n", "1"])
        .ok()
        .says("no-credential");
    sandbox.entail(&["audit", "verify"]).ok().says("3 records");
    sandbox
        .entail(&["audit", "show", "--since", "yesterday"])
        .fails(19);
}

#[test]
fn a_record_that_was_changed_taken_out_or_moved_shows() {
    for (what, edit) in [
        (
            "changed",
            (|lines| lines[1] = lines[1].replace("acme/evals", "acme/other"))
                as fn(&mut Vec<String>),
        ),
        ("taken out", |lines| drop(lines.remove(1))),
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
fn a_full_log_is_put_aside_and_the_chain_goes_on() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    for _ in 0..60 {
        sandbox.entail(&RESOLVE).ok();
    }
    assert!(sandbox.home().join("decisions.000002.jsonl").exists());
    sandbox.entail(&["audit", "verify"]).ok().says("60 records");
    std::fs::remove_file(sandbox.home().join("decisions.000002.jsonl")).unwrap();
    sandbox.entail(&["audit", "verify"]).fails(15);
}

#[test]
fn many_writers_at_once_make_one_log() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    let runs: Vec<_> = (0..40)
        .map(|_| {
            sandbox
                .command(&["status"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    sandbox.entail(&["audit", "verify"]).ok();
}

/// Nothing is revealed, and it is said so in time.
fn refused(sandbox: &Sandbox, what: &str) {
    let started = Instant::now();
    let ran = sandbox.entail(&["resolve", "acme/evals", "openai", "--reveal"]);
    assert_eq!(ran.code, Some(17), "{what}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.is_empty(), "{what}");
    assert!(started.elapsed() < Duration::from_secs(2), "{what}");
}

#[test]
fn without_a_record_nothing_is_revealed() {
    let (sandbox, _) = Sandbox::with_acme();
    // A folder in its place.
    std::fs::remove_file(log(&sandbox)).unwrap();
    std::fs::create_dir(log(&sandbox)).unwrap();
    refused(&sandbox, "a folder");
    std::fs::remove_dir(log(&sandbox)).unwrap();
    // A full disk.
    std::os::unix::fs::symlink("/dev/full", log(&sandbox)).unwrap();
    refused(&sandbox, "a full disk");
    std::fs::remove_file(log(&sandbox)).unwrap();
    // A pipe that nobody reads, and one that is read too slowly.
    let made = std::process::Command::new("mkfifo")
        .arg(log(&sandbox))
        .status();
    assert!(made.unwrap().success());
    std::fs::set_permissions(log(&sandbox), std::fs::Permissions::from_mode(0o600)).unwrap();
    let reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(log(&sandbox))
        .unwrap();
    let stuffed = std::process::Command::new("sh")
        .args(["-c", "timeout 0.3 cat /dev/zero > \"$0\""])
        .arg(log(&sandbox))
        .status();
    assert!(!stuffed.unwrap().success());
    refused(&sandbox, "a blocked pipe");
    drop(reader);
    std::fs::remove_file(log(&sandbox)).unwrap();
    sandbox.entail(&RESOLVE).ok();
}

#[test]
fn a_second_place_gets_the_same_records_and_one_is_enough_if_the_settings_say_so() {
    let (sandbox, _) = Sandbox::with_acme();
    let second = sandbox.path("second.jsonl");
    settings(
        &sandbox,
        &format!("also-to = {:?}", second.display().to_string()),
    );
    sandbox.entail(&RESOLVE).ok();
    assert_eq!(
        std::fs::read(&second).unwrap(),
        std::fs::read(log(&sandbox)).unwrap()
    );
    settings(&sandbox, "also-to = \"stdout\"");
    sandbox
        .entail(&RESOLVE)
        .ok()
        .says("\"principal\":\"local:owner\"");

    settings(&sandbox, "also-to = \"/dev/full\"");
    refused(&sandbox, "the second place is full");
    settings(&sandbox, "also-to = \"/dev/full\"\nenough = \"any\"");
    sandbox.entail(&RESOLVE).ok();
    std::fs::remove_file(log(&sandbox)).unwrap();
    std::os::unix::fs::symlink("/dev/full", log(&sandbox)).unwrap();
    refused(&sandbox, "both places are full");
    settings(
        &sandbox,
        &format!(
            "also-to = {:?}\nenough = \"any\"",
            second.display().to_string()
        ),
    );
    sandbox.entail(&RESOLVE).ok();
    // The search for canaries would read it to its end.
    std::fs::remove_file(log(&sandbox)).unwrap();
    settings(&sandbox, "also-too = \"syslog\"");
    sandbox.entail(&RESOLVE).fails(19).says("also-too");
}

#[test]
fn a_pipe_that_nobody_reads_is_no_record() {
    let (sandbox, _) = Sandbox::with_acme();
    std::fs::remove_file(log(&sandbox)).unwrap();
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(log(&sandbox))
        .status();
    assert!(made.unwrap().success());
    refused(&sandbox, "no reader");
    let second = sandbox.path("second");
    let made = std::process::Command::new("mkfifo").arg(&second).status();
    assert!(made.unwrap().success());
    settings(
        &sandbox,
        &format!(
            "also-to = {:?}\nenough = \"any\"",
            second.display().to_string()
        ),
    );
    refused(&sandbox, "no reader of either");
    std::fs::remove_file(log(&sandbox)).unwrap();
    settings(&sandbox, "also-to = \"/dev/full\"");
    sandbox.entail(&RESOLVE).fails(17).says("/dev/full");
}

#[test]
fn older_files_may_be_put_away_and_the_rest_is_still_looked_at() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "max-bytes = 16384");
    for _ in 0..60 {
        sandbox.entail(&RESOLVE).ok();
    }
    std::fs::remove_file(sandbox.home().join("decisions.000001.jsonl")).unwrap();
    sandbox
        .entail(&["audit", "verify"])
        .ok()
        .says("begins with file 2");
    let text = std::fs::read_to_string(log(&sandbox)).unwrap();
    let less: Vec<&str> = text.lines().skip(1).collect();
    std::fs::write(log(&sandbox), less.join("\n") + "\n").unwrap();
    sandbox.entail(&["audit", "verify"]).fails(15);
}

#[test]
fn what_a_program_reads_is_not_mixed_with_records() {
    let (sandbox, _) = Sandbox::with_acme();
    settings(&sandbox, "also-to = \"stdout\"");
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
        sandbox.entail(arguments).fails(19).says("standard output");
    }
}
