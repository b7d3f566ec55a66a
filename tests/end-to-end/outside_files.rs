//! Files from outside that are not ordinary: endless, huge, or pipes without a writer.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::sandbox::{RunOutput, Sandbox};

/// The kinds of files that replace an ordinary file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HostileFile {
    /// A named pipe without a writer.
    Pipe,
    /// A link to an endless device.
    Endless,
    /// A sparse file of 40 GiB.
    Sparse,
}

const ALL: [HostileFile; 3] = [HostileFile::Pipe, HostileFile::Endless, HostileFile::Sparse];

impl HostileFile {
    /// Replaces `file` with a file of this kind.
    fn replace(self, file: &Path) {
        let _ = std::fs::remove_file(file);
        match self {
            HostileFile::Pipe => {
                let status = Command::new("mkfifo")
                    .args(["-m", "600"])
                    .arg(file)
                    .status();
                assert!(status.unwrap().success());
            }
            HostileFile::Endless => symlink("/dev/zero", file).unwrap(),
            HostileFile::Sparse => {
                let mut options = File::options();
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let file = options.write(true).create_new(true).open(file).unwrap();
                file.set_len(40 << 30).unwrap();
            }
        }
    }

    /// The error where only a regular file is read.
    fn refused_as(self) -> &'static str {
        match self {
            HostileFile::Pipe => "it is a named pipe, not a regular file",
            HostileFile::Endless => "it is a device, not a regular file",
            HostileFile::Sparse => "larger than",
        }
    }
}

/// Longer than any of these commands takes, and shorter than the timeout for a pipe.
const SOON: Duration = Duration::from_secs(20);

/// Fails the test unless the run takes less than [`SOON`].
#[track_caller]
fn soon(run: impl FnOnce() -> RunOutput) -> RunOutput {
    let started = Instant::now();
    let ran = run();
    let elapsed = started.elapsed();
    assert!(elapsed < SOON, "{elapsed:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn files_in_a_home_are_read_within_a_limit_or_refused_at_once() {
    for file in [
        "settings.toml",
        "providers.toml",
        "anchor.json",
        "keys/identity.txt",
        "keys/signer.pem",
        "keys/owner.pem",
        "keys/keyring.jsonl",
        "entail.db",
    ] {
        let (sandbox, _) = Sandbox::with_acme();
        let path = sandbox.home().join(file);
        let original = std::fs::read(&path).ok();
        for hostile in ALL {
            // SQLite reads only the first page to recognize that it is not a database.
            if (file, hostile) == ("entail.db", HostileFile::Sparse) {
                continue;
            }
            hostile.replace(&path);
            let ran = soon(|| sandbox.entail(&["resolve", "acme/evals", "openai"]));
            assert_ne!(ran.code, Some(0), "{file}, {hostile:?}");
            assert!(
                ran.stderr.contains(file),
                "{file}, {hostile:?}: {}",
                ran.stderr
            );
            let is_reported = match (hostile, file) {
                (HostileFile::Sparse, "anchor.json") => {
                    ran.stderr.contains("is not a valid anchor")
                }
                (HostileFile::Sparse, "keys/keyring.jsonl") => {
                    ran.stderr.contains("larger than 327680 bytes")
                }
                (HostileFile::Sparse, "settings.toml" | "providers.toml") => {
                    ran.stderr.contains("is not UTF-8 text of at most")
                }
                (HostileFile::Sparse, _) => ran.stderr.contains("is not a key file"),
                (HostileFile::Pipe | HostileFile::Endless, _) => {
                    ran.stderr.contains(hostile.refused_as())
                }
            };
            assert!(is_reported, "{file}, {hostile:?}: {}", ran.stderr);
        }
        std::fs::remove_file(&path).unwrap();
        if let Some(original) = original {
            std::fs::write(&path, original).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).unwrap();
        }
        sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    }
}

#[test]
fn a_file_of_names_that_is_not_ordinary_stops_records_and_no_reader() {
    let (sandbox, _) = Sandbox::with_acme();
    let resolve = || sandbox.entail(&["resolve", "acme/evals", "openai"]);
    resolve().ok();
    let names = sandbox.home().join("principals.jsonl");
    let original = std::fs::read(&names).unwrap();
    for hostile in ALL {
        hostile.replace(&names);
        soon(resolve).fails(17).prints("principals.jsonl");
        soon(|| sandbox.entail(&["audit", "show", "--json"]))
            .ok()
            .prints("\"principal\":\"unknown:");
        soon(|| sandbox.entail(&["audit", "verify"])).ok();
        soon(|| sandbox.entail(&["principal", "list"]))
            .fails(14)
            .prints("principals.jsonl");
    }
    std::fs::remove_file(&names).unwrap();
    std::fs::write(&names, original).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&names, private).unwrap();
    resolve().ok();
}

/// Writes the built-in policy into a new directory. Returns the directory and the file.
fn policy(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let directory = sandbox.path("policy");
    std::fs::create_dir(&directory).unwrap();
    let component = directory.join("policy.wasm");
    let built_in = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest/default/default-policy.wasm"
    );
    std::fs::copy(built_in, &component).unwrap();
    (directory, component)
}

#[test]
fn files_in_a_directory_are_read_within_a_limit_or_refused_at_once() {
    let sandbox = Sandbox::new();
    let (directory, component) = policy(&sandbox);
    let vectors = directory.join("vectors");
    std::fs::create_dir(&vectors).unwrap();
    std::fs::write(vectors.join("a.json"), "[]").unwrap();
    let path = directory.to_str().unwrap();
    for hostile in ALL {
        for (file, command) in [
            (vectors.join("b.json"), "test"),
            (directory.join("limits.json"), "check"),
            (component.clone(), "check"),
        ] {
            let original = std::fs::read(&file).ok();
            hostile.replace(&file);
            let name = file.to_str().unwrap();
            soon(|| sandbox.entail(&["policy", command, path]))
                .fails(19)
                .prints(name)
                .prints(match hostile {
                    HostileFile::Sparse if file.starts_with(&vectors) => {
                        "at most 8388608 bytes together"
                    }
                    hostile => hostile.refused_as(),
                });
            std::fs::remove_file(&file).unwrap();
            if let Some(original) = original {
                std::fs::write(&file, original).unwrap();
            }
        }
    }
    sandbox.entail(&["policy", "check", path]).ok();
}

#[test]
fn files_in_a_project_or_layout_are_read_within_a_limit_or_refused_at_once() {
    let sandbox = Sandbox::new();
    let project = sandbox.path("project");
    let layout = sandbox.path("layout");
    for directory in [&project, &layout] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(layout.join("oci-layout"), "{}").unwrap();
    for hostile in ALL {
        hostile.replace(&layout.join("oci-layout"));
        soon(|| sandbox.entail(&["policy", "check", layout.to_str().unwrap()]))
            .fails(19)
            .prints(hostile.refused_as());
        std::fs::remove_file(layout.join("oci-layout")).unwrap();
        std::fs::write(
            layout.join("oci-layout"),
            r#"{"imageLayoutVersion": "1.0.0"}"#,
        )
        .unwrap();
        hostile.replace(&layout.join("index.json"));
        soon(|| sandbox.entail(&["policy", "check", layout.to_str().unwrap()]))
            .fails(19)
            .prints(hostile.refused_as());
    }
    // A path that is not a regular file is not a package.
    HostileFile::Sparse.replace(&project.join("package.json"));
    soon(|| sandbox.entail(&["policy", "build", project.to_str().unwrap()]))
        .fails(1)
        .prints("larger than");
    for hostile in [HostileFile::Pipe, HostileFile::Endless] {
        hostile.replace(&project.join("package.json"));
        soon(|| sandbox.entail(&["policy", "build", project.to_str().unwrap()]))
            .fails(1)
            .prints("is not a policy project");
    }
}

#[test]
fn the_size_of_a_vector_is_limited() {
    let sandbox = Sandbox::new();
    let (directory, _) = policy(&sandbox);
    std::fs::create_dir(directory.join("vectors")).unwrap();
    let vector = |bytes: usize| {
        let padding = " ".repeat(bytes);
        let text = format!(
            r#"[{{"name": "large", "settings": {{}}, {padding}
                "facts": {{"request": {{"provider": "openai", "now_ms": 1}}, "chain": []}},
                "error": "invalid-facts"}}]"#
        );
        std::fs::write(directory.join("vectors/a.json"), text).unwrap();
        sandbox.entail(&["policy", "test", directory.to_str().unwrap()])
    };
    vector((1 << 20) - 1000).ok().prints("1 passed");
    vector(1 << 20)
        .fails(19)
        .prints("\"large\": it is larger than 1048576 bytes");
}

#[test]
fn the_number_of_directory_entries_read_is_limited() {
    let sandbox = Sandbox::new();
    let (directory, _) = policy(&sandbox);
    for number in 0..10_001 {
        File::create(directory.join(number.to_string())).unwrap();
    }
    sandbox
        .entail(&["policy", "check", directory.to_str().unwrap()])
        .fails(19)
        .prints("has more than 10000 entries");
}

/// Commands that read a file named by the user. `FILE` stands for its path.
const NAMING: [&[&str]; 9] = [
    &["credential", "set", "acme", "xai", "--from-file", "FILE"],
    &[
        "policy",
        "activate",
        "acme",
        "built-in",
        "--settings",
        "FILE",
    ],
    &["policy", "activate", "acme", "built-in", "--limits", "FILE"],
    &["policy", "check", "FILE"],
    &["policy", "build", "--module", "FILE"],
    &["policy", "decide", "FILE"],
    &["policy", "decide", "--policy", "FILE"],
    &["restore", "--accept-rollback", "--recovery", "FILE"],
    &["init", "other", "--passphrase", "--passphrase-file", "FILE"],
];

fn naming<'a>(arguments: &[&'a str], file: &'a str) -> Vec<&'a str> {
    let mut named = arguments.to_vec();
    for argument in &mut named {
        if *argument == "FILE" {
            *argument = file;
        }
    }
    named
}

#[test]
fn files_named_by_the_user_are_read_within_a_limit() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = sandbox.path("other");
    for hostile in [HostileFile::Endless, HostileFile::Sparse] {
        let file = sandbox.path("hostile.file");
        hostile.replace(&file);
        for arguments in NAMING {
            let ran = soon(|| {
                let arguments = naming(arguments, file.to_str().unwrap());
                let mut command = sandbox.command(&arguments);
                if arguments.contains(&"init") {
                    command.env("ENTAIL_HOME", &other);
                }
                sandbox.run(command, "")
            });
            assert!(
                ["larger than", "too large", "too long"]
                    .iter()
                    .any(|expected| ran.stderr.contains(expected)),
                "{hostile:?}, {arguments:?}: {}",
                ran.stderr
            );
            assert_ne!(ran.code, Some(0), "{hostile:?}, {arguments:?}");
        }
    }
}

/// The one test that waits for as long as the program does.
#[test]
fn waiting_for_a_named_pipe_without_a_writer_times_out() {
    let (sandbox, _) = Sandbox::with_acme();
    let pipe = sandbox.path("a.pipe");
    HostileFile::Pipe.replace(&pipe);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for arguments in NAMING {
            let (sandbox, pipe) = (&sandbox, pipe.to_str().unwrap());
            scope.spawn(move || {
                let mut command = sandbox.command(&naming(arguments, pipe));
                if arguments.contains(&"init") {
                    command.env("ENTAIL_HOME", sandbox.path("other"));
                }
                let ran = sandbox.run(command, "").prints("within 60 seconds");
                assert_ne!(ran.code, Some(0), "{arguments:?}");
            });
        }
    });
    let elapsed = started.elapsed().as_secs();
    assert!((59..120).contains(&elapsed), "{elapsed} s");
}

#[test]
fn a_file_named_by_the_user_may_be_a_pipe_from_a_command() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let (directory, component) = policy(&sandbox);
    std::fs::create_dir(directory.join("vectors")).unwrap();
    std::fs::write(directory.join("vectors/a.json"), "[]").unwrap();
    let program = env!("CARGO_BIN_EXE_entail");
    for (script, expected) in [
        (
            "policy activate acme built-in --settings <(echo {}) --limits <(sleep 1; echo {})",
            "acme",
        ),
        (
            "credential set acme xai --from-file <(printf %s \"$KEY\")",
            "xai",
        ),
        ("policy check <(cat \"$COMPONENT\")", "admitted"),
        (
            "policy test \"$COMPONENT\" --settings <(echo {})",
            "0 passed",
        ),
        (
            "policy decide <(for n in 1 2; do sleep 1; echo '{\"request\": {\"provider\": \"openai\", \"now_ms\": 1}, \"chain\": [{\"path\": \"acme\"}]}'; done)",
            "no-credential",
        ),
        (
            "credential set acme mistral --from-file /dev/stdin < <(printf %s \"$KEY\")",
            "mistral",
        ),
        (
            "--home \"$OTHER\" init acme --passphrase --passphrase-file <(echo 'a long passphrase')",
            "acme",
        ),
    ] {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("\"$0\" {script}"), program])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTAIL_HOME", sandbox.home())
            .env("OTHER", sandbox.path("other"))
            .env("KEY", &key)
            .env("COMPONENT", &component);
        sandbox.run(command, "").ok().prints(expected);
    }
}

#[test]
fn an_endless_line_of_facts_is_refused() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_entail");
    for input in ["< /dev/zero", "/dev/zero"] {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("\"$0\" policy decide {input}"), program]);
        soon(|| sandbox.run(command, ""))
            .fails(19)
            .prints("line 1: it is larger than 4194304 bytes");
    }
}

#[test]
fn a_backup_that_cannot_be_a_database_is_not_read() {
    let (sandbox, key) = Sandbox::with_acme();
    let file = sandbox.path("hostile.file");
    let restore = ["restore", "--accept-rollback", file.to_str().unwrap()];
    for (hostile, code, expected) in [
        (HostileFile::Endless, 1, "not a regular file"),
        (HostileFile::Pipe, 1, "not a regular file"),
        (
            HostileFile::Sparse,
            1,
            "it is larger than 17179869184 bytes",
        ),
    ] {
        hostile.replace(&file);
        soon(|| sandbox.entail(&restore))
            .fails(code)
            .prints(expected);
        std::fs::remove_file(&file).unwrap();
    }
    // Only the beginning is read to recognize that it is not a database.
    let sparse = File::create(&file).unwrap();
    sparse.set_len(10 << 30).unwrap();
    soon(|| sandbox.entail(&restore))
        .fails(1)
        .prints("it is not a database");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(sandbox.revealed_key(), key);
}
