//! Keys that are not in the home: programs, file descriptors and systemd have them.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::Sandbox;

/// Moves a key out of the home, and returns its new place.
fn moved(sandbox: &Sandbox, name: &str) -> PathBuf {
    let away = sandbox.path("away");
    std::fs::create_dir_all(&away).unwrap();
    let to = away.join(name);
    std::fs::rename(sandbox.home().join("keys").join(name), &to).unwrap();
    to
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A program that signs with OpenSSL, which reads what it signs only from a file.
fn signing_program(sandbox: &Sandbox, name: &str, key: &Path) -> PathBuf {
    let program = sandbox.path(name);
    let script = format!(
        "#!/bin/sh\nset -e\nfile=$(mktemp)\ntrap 'rm \"$file\"' EXIT\ncat >\"$file\"\n\
         openssl pkeyutl -sign -rawin -inkey {} -in \"$file\"\n",
        key.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    program
}

/// A home in which programs have all keys.
fn with_programs() -> (Sandbox, String) {
    let (sandbox, key) = Sandbox::with_acme();
    let keys = sandbox.home().join("keys");
    let identity = moved(&sandbox, "identity.txt");
    let text = std::fs::read_to_string(&identity).unwrap();
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "));
    std::fs::write(keys.join("identity.pub"), recipient.unwrap()).unwrap();
    let mut settings = format!(
        "[key-programs]\nidentity = [\"/usr/bin/age\", \"--decrypt\", \"--identity\", {:?}]\n",
        identity.display().to_string()
    );
    for name in ["signer", "owner"] {
        let private = moved(&sandbox, &format!("{name}.pem"));
        let public = openssl(&["pkey", "-in", private.to_str().unwrap(), "-pubout"]);
        std::fs::write(keys.join(format!("{name}.pub")), public).unwrap();
        let program = signing_program(&sandbox, &format!("{name}.sh"), &private);
        let program = program.display().to_string();
        writeln!(settings, "{name} = [{program:?}]").unwrap();
    }
    let file = sandbox.home().join("settings.toml");
    std::fs::write(&file, settings).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    (sandbox, key)
}

#[test]
fn programs_can_have_all_keys_of_a_home() {
    let (sandbox, key) = with_programs();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["project", "add", "acme/more"]).ok();
    let new = sandbox.canary();
    let rotate = ["credential", "rotate", "acme", "openai", "--stdin"];
    sandbox.entail_with(&rotate, &new).ok();
    assert_eq!(sandbox.revealed_key(), new);
    // The owner's program signs the keyring, and the identity's opens the key of the epoch.
    let recovery = sandbox.path("recovery.txt").display().to_string();
    let add = ["key", "add-recipient", "--recovery", &recovery];
    sandbox.entail(&add).ok();
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    for arguments in [&["verify"][..], &["doctor"], &["key", "list"]] {
        sandbox.entail(arguments).ok();
    }
    for (what, said) in [
        ("signer", "cannot be rotated here"),
        ("owner", "cannot be rotated here"),
        ("identity", "rotate it where it comes from"),
    ] {
        sandbox
            .entail(&["key", "rotate", what])
            .fails(16)
            .prints(said);
    }
}

#[test]
fn a_program_that_fails_grants_and_changes_nothing() {
    let (sandbox, _) = with_programs();
    let before = sandbox.entail(&["verify", "--json"]).ok().json();
    let replace = |name: &str, script: &str| {
        let program = sandbox.path(name);
        std::fs::write(program, format!("#!/bin/sh\n{script}\n")).unwrap();
    };
    replace("signer.sh", "exit 1");
    sandbox
        .entail(&["project", "add", "acme/more"])
        .fails(16)
        .prints("it failed");
    replace("signer.sh", "head -c 64 /dev/zero");
    sandbox
        .entail(&["project", "add", "acme/more"])
        .fails(16)
        .prints("another key");
    let after = sandbox.entail(&["verify", "--json"]).ok().json();
    assert_eq!(after["revision"], before["revision"]);
    std::fs::remove_file(sandbox.path("away/identity.txt")).unwrap();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(16)
        .prints("it failed");
    std::fs::remove_file(sandbox.home().join("keys/signer.pub")).unwrap();
    sandbox
        .entail(&["status"])
        .fails(14)
        .prints("signer.pub is missing");
}

#[test]
fn the_signer_comes_from_a_file_descriptor_or_from_systemd() {
    let (sandbox, _) = Sandbox::with_acme();
    let signer = moved(&sandbox, "signer.pem");
    sandbox
        .entail(&["project", "add", "acme/one"])
        .fails(16)
        .prints("no signer");
    let mut command = sandbox.command(&["project", "add", "acme/one"]);
    command.env("ENTAIL_SIGNER_FD", "9");
    sandbox.run(command, "").fails(19).prints("--signer-fd 9");
    let credentials = sandbox.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(&signer, credentials.join("entail-signer")).unwrap();
    let mut command = sandbox.command(&["project", "add", "acme/one"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    sandbox.run(command, "").ok();
    let script = format!(
        "exec \"$0\" \"$@\" 3<{}",
        credentials.join("entail-signer").display()
    );
    let environment = sandbox.command(&[]);
    let environment = environment
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .envs(environment)
        .args(["-c", &script, env!("CARGO_BIN_EXE_entail")])
        .args(["project", "add", "acme/two", "--signer-fd", "3"]);
    sandbox.run(shell, "").ok();
    sandbox.entail(&["project", "list"]).ok().prints("acme/two");
}
