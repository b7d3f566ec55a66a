//! Creations of homes and restores that are interrupted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{backup, private_directory, recovery};
use crate::sandbox::{RunOutput, Sandbox};

#[test]
fn leftovers_of_a_stopped_process_are_reported_and_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    std::fs::create_dir(sandbox.home().join("staging")).unwrap();
    std::fs::write(sandbox.home().join("keys/identity.txt.new"), "half").unwrap();
    sandbox.entail(&["doctor"]).fails(1).prints("rm -r");
    sandbox
        .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
        .ok();
    sandbox.entail(&["doctor"]).ok();
}

/// Runs a command and kills it when it makes the system call `call` for the `number`-th time.
fn killed_at(
    sandbox: &Sandbox,
    home: &Path,
    (call, number): (&str, usize),
    arguments: &[&str],
) -> RunOutput {
    let inner = sandbox.command(arguments);
    let mut command = std::process::Command::new("strace");
    command.env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .env("ENTAIL_HOME", home)
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={number}"))
        .arg(inner.get_program())
        .args(inner.get_args());
    sandbox.run(command, "")
}

#[test]
fn creating_a_home_that_was_interrupted_at_any_step_is_done_again_by_the_same_command() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let restore = [
        "restore",
        copy.to_str().unwrap(),
        "--recovery",
        recovery.to_str().unwrap(),
    ];
    for (arguments, call) in [
        (&restore[..], "rename"),
        (&restore, "unlinkat"),
        (&["init", "acme"], "rename"),
    ] {
        let mut were_interrupted = 0;
        for number in 1.. {
            let home = sandbox.path(&format!("{}-{call}-{number}", arguments[0]));
            let run = |arguments: &[&str]| {
                let mut command = sandbox.command(arguments);
                command.env("ENTAIL_HOME", &home);
                sandbox.run(command, "")
            };
            // Files of the user stay.
            private_directory(&home);
            let settings = home.join("settings.toml");
            std::fs::write(&settings, "").unwrap();
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&settings, mode).unwrap();
            let is_killed = killed_at(&sandbox, &home, (call, number), arguments)
                .code
                .is_none();
            if home.join("keys.staged").exists() {
                were_interrupted += 1;
                run(&["status"]).fails(14).prints("interrupted");
            }
            // The last step may be the one after which there is nothing left to do.
            if !home.join("keys/keyring.jsonl").exists() {
                run(arguments).ok();
            }
            run(&["doctor"]).ok();
            if arguments == restore {
                let mut command =
                    sandbox.command(&["resolve", "acme/evals", "openai", "--reveal", "--json"]);
                command.env("ENTAIL_HOME", &home);
                let lease = sandbox.lease_of(command).ok().json();
                assert_eq!(lease["secrets"]["api_key"], key.as_str(), "{call} {number}");
            }
            assert!(settings.exists());
            if !is_killed {
                break;
            }
        }
        assert!(were_interrupted > 0, "{call}");
    }
}
