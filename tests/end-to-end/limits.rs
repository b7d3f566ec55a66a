//! Resource limits: memory for foreign components and settings, and limits that the system
//! imposes on the program.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::{RunOutput, Sandbox};

#[allow(dead_code)]
#[path = "../src/hostile/sketch.rs"]
mod sketch;

use sketch::Sketch;

const BALANCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/balance/balance.wasm"
);

/// The maximum memory of the program itself while a child handles foreign input.
const OWN_KIB: u64 = 64 << 10;

/// The maximum memory of a child that validates settings.
const CHECK_KIB: u64 = 256 << 10;

/// The default maximum memory of a child that compiles.
const COMPILE_KIB: u64 = 1 << 20;

/// The peak memory of a run and of each of its children.
struct Peak {
    own_kib: u64,
    children_kib: Vec<u64>,
}

impl Sandbox {
    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs the program through a wrapper command.
    fn wrapped_by(&self, wrapper: &[&str], arguments: &[&str]) -> RunOutput {
        let inner = self.command(arguments);
        let mut command = self.command(&[]);
        let mut words = wrapper.iter().map(std::ffi::OsString::from);
        let mut outer = Command::new(words.next().unwrap());
        outer.args(words).arg(inner.get_program()).args(arguments);
        outer.env_clear();
        for (name, value) in command.env("LC_ALL", "C").get_envs() {
            outer.env(name, value.unwrap());
        }
        self.run(outer, "")
    }

    /// Runs the program with this much address space.
    fn within_kib(&self, kib: u64, arguments: &[&str]) -> RunOutput {
        let script = format!("ulimit -v {kib}; exec \"$@\"");
        self.wrapped_by(&["/bin/sh", "-c", &script, "sh"], arguments)
    }

    /// Runs the program and measures its memory.
    fn measured(&self, arguments: &[&str]) -> (RunOutput, Peak) {
        let mut command = self.command(arguments);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id();
        let watch = std::thread::spawn(move || {
            let mut own_kib = 0;
            let mut children = std::collections::BTreeMap::<String, u64>::new();
            while let Some(now) = peak_kib(&id.to_string()) {
                own_kib = own_kib.max(now);
                for child in children_of(id) {
                    let now = peak_kib(&child).unwrap_or_default();
                    let peak = children.entry(child).or_default();
                    *peak = (*peak).max(now);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Peak {
                own_kib,
                children_kib: children.into_values().collect(),
            }
        });
        let output = child.wait_with_output().unwrap();
        let peak = watch.join().unwrap();
        let ran = RunOutput {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        };
        println!(
            "{arguments:?}: {} MiB, children {:?} MiB",
            peak.own_kib >> 10,
            peak.children_kib
                .iter()
                .map(|kib| kib >> 10)
                .collect::<Vec<_>>()
        );
        (ran, peak)
    }
}

/// The children of all threads of a process.
fn children_of(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The peak memory of a process so far; `None` if it has ended.
fn peak_kib(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs the usual commands, up to a lease by a foreign policy.
#[track_caller]
fn everything_works(run: &dyn Fn(&[&str]) -> RunOutput) {
    run(&["resolve", "acme/evals", "openai"]).ok();
    run(&["status", "acme/evals"]).ok();
    run(&["credential", "list", "acme"]).ok();
    run(&["policy", "check", BALANCE]).ok();
    run(&["policy", "install", BALANCE]).ok();
    run(&["policy", "activate", "acme", "balance"]).ok();
    run(&["resolve", "acme/evals", "openai"]).ok();
    run(&["policy", "rollback", "acme"]).ok();
    run(&["verify"]).ok();
}

#[test]
fn everything_works_with_a_gigabyte_of_address_space() {
    let (sandbox, _) = Sandbox::with_acme();
    everything_works(&|arguments| sandbox.within_kib(1_000_000, arguments));
    // Code that was compiled for a small address space is not used in a large one, and vice
    // versa.
    everything_works(&|arguments| sandbox.entail(arguments));
    everything_works(&|arguments| sandbox.within_kib(2_000_000, arguments));
}

#[test]
fn a_thread_that_does_not_start_fails_nothing_that_another_can_do() {
    let (sandbox, _) = Sandbox::with_acme();
    let run = |failures: &str, arguments: &[&str]| {
        let inject = format!("inject=clone3:error=EAGAIN:when={failures}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        sandbox.wrapped_by(&strace, arguments)
    };
    let resolve = ["resolve", "acme/evals", "openai"];
    for first in 2..8 {
        let failures = format!("{first}+");
        run(&failures, &resolve).ok();
        run(&failures, &["project", "add", &format!("acme/{first}")]).ok();
    }
    // Without a clock no policy could be stopped.
    run("1+", &resolve).fails(12).prints("the clock's thread");
    sandbox.entail(&["audit", "verify"]).ok();
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn too_little_address_space_to_compile_is_reported() {
    let (sandbox, _) = Sandbox::with_acme();
    let run = |arguments: &[&str]| sandbox.within_kib(200_000, arguments);
    run(&["credential", "list", "acme"]).ok();
    run(&["project", "list"]).ok();
    run(&["resolve", "acme/evals", "openai"]).ok();
    let bomb = sandbox.write("bomb.wasm", tower(22, 2));
    run(&["policy", "check", &bomb])
        .fails(12)
        .prints("the 204800000 bytes of address space that a process is given here")
        .prints("ulimit -v");
}

/// A component of `levels` levels, each of which contains `times` of the level below.
fn tower(levels: usize, times: usize) -> Vec<u8> {
    let leaf =
        r#"(component (core module $m (func (export "f"))) (core instance (instantiate $m)))"#;
    let text = (0..levels).fold(leaf.to_owned(), |below, _| {
        let below = below.replacen("(component", "(component $below", 1);
        let instances = "(instance (instantiate $below))".repeat(times);
        format!("(component {below} {instances})")
    });
    wat::parse_str(text).unwrap()
}

#[test]
fn given_limits_are_enforced() {
    let (sandbox, _) = Sandbox::with_acme();
    // Each has a few kilobytes and would take gigabytes.
    for (levels, times) in [(60, 2), (30, 3), (12, 9), (8, 20)] {
        let bytes = tower(levels, times);
        assert!(bytes.len() < 4_000, "{} bytes", bytes.len());
        let file = sandbox.write("tower.wasm", bytes);
        for command in [
            vec!["policy", "check", &file],
            vec!["policy", "install", &file],
            vec!["policy", "install", &file, "--dry-run"],
        ] {
            let (ran, peak) = sandbox.measured(&command);
            ran.fails(12)
                .prints("more than 1073741824 bytes of memory")
                .prints("--find-limits");
            assert_eq!(peak.children_kib.len(), 1, "it was tried again");
            assert!(
                peak.children_kib[0] <= COMPILE_KIB,
                "{:?}",
                peak.children_kib
            );
            assert!(peak.own_kib <= OWN_KIB, "{} KiB", peak.own_kib);
        }
    }
    // A component that is far larger than it seems is killed, too.
    let file = sandbox.write("tower.wasm", tower(20, 2));
    let (ran, peak) = sandbox.measured(&["policy", "check", &file]);
    ran.fails(12)
        .prints("the compiled code of the component has more than");
    assert!(peak.own_kib <= OWN_KIB, "{} KiB", peak.own_kib);
}

#[test]
fn higher_limits_are_tried_only_on_request_and_up_to_the_documented_maximum() {
    let sandbox = Sandbox::new();
    sandbox
        .entail(&["policy", "check", "--help"])
        .ok()
        .prints("2 GiB");
    let file = sandbox.write("tower.wasm", tower(60, 2));
    let (ran, peak) = sandbox.measured(&["policy", "check", &file, "--find-limits"]);
    ran.fails(12)
        .prints("more than 1073741824 bytes of memory")
        .prints("with the highest limits tried, compiling the component takes more than 2147483648 bytes");
    assert_eq!(peak.children_kib.len(), 2);
    assert!(peak.children_kib.iter().all(|kib| *kib <= 2 * COMPILE_KIB));
    assert!(peak.own_kib <= OWN_KIB, "{} KiB", peak.own_kib);
}

/// A policy with a schema of nearly 64 KiB that takes gigabytes to parse.
fn with_costly_schema() -> Vec<u8> {
    let all = |count: usize, keyword: &dyn Fn(usize) -> Value| -> Vec<Value> {
        (0..count).map(keyword).collect()
    };
    let schema = json!({
        "additionalProperties": {
            "allOf": all(2_200, &|n| json!({"pattern": format!("[^a]{{990}}{n}")})),
        },
    });
    let schema = schema.to_string();
    assert!(schema.len() <= 64 << 10, "{}", schema.len());
    Sketch::default().schema_text(schema).pages(16).component()
}

#[test]
fn a_schema_is_parsed_only_in_a_child_with_bounded_memory() {
    let (sandbox, _) = Sandbox::with_acme();
    let file = sandbox.write("costly.wasm", with_costly_schema());
    let bounded = |arguments: &[&str]| {
        let (ran, peak) = sandbox.measured(arguments);
        assert!(peak.own_kib <= OWN_KIB, "{} KiB", peak.own_kib);
        (ran, peak)
    };
    // Installing it, or opening a store that contains it, does not parse it.
    let (ran, peak) = bounded(&["policy", "install", &file]);
    ran.ok();
    assert_eq!(peak.children_kib.len(), 1, "only to compile it");
    for arguments in [
        vec!["policy", "activate", "acme", "sketch"],
        vec!["policy", "activate", "acme", "sketch", "--dry-run"],
        vec!["policy", "shadow", "acme", "sketch"],
        vec!["policy", "check", &file],
        vec!["policy", "diff", &file],
    ] {
        let started = Instant::now();
        let (ran, peak) = bounded(&arguments);
        ran.fails(12)
            .prints("it takes more than 268435456 bytes of memory");
        let child = peak.children_kib.last().unwrap();
        assert!(*child <= CHECK_KIB, "{child} KiB");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
    let (ran, peak) = bounded(&["resolve", "acme/evals", "openai"]);
    ran.ok();
    assert!(peak.children_kib.is_empty(), "{:?}", peak.children_kib);
}

#[test]
fn settings_are_checked_with_a_component() {
    let sandbox = Sandbox::new();
    let schema = json!({"properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let policy = Sketch::default().schema_text(schema.to_string());
    let file = sandbox.write("policy.wasm", policy.component());
    let set = |settings: Value| sandbox.write("settings.json", settings.to_string());
    // Required settings are not a flaw of the policy.
    sandbox.entail(&["policy", "check", &file]).ok();
    let good = set(json!({"n": 7}));
    sandbox
        .entail(&["policy", "check", &file, "--settings", &good])
        .ok();
    let bad = set(json!({"n": "seven"}));
    sandbox
        .entail(&["policy", "check", &file, "--settings", &bad])
        .fails(12)
        .prints("/n: ")
        .prints("integer");
    let none = Sketch::default().schema_text(r#"{"type": 7}"#).component();
    let file = sandbox.write("none.wasm", none);
    sandbox
        .entail(&["policy", "check", &file])
        .fails(12)
        .prints("it is not a JSON Schema");
}

/// Whether a wrapper command works here. Prints the reason if not.
fn is_available(wrapper: &[&str]) -> bool {
    let mut words = wrapper.iter();
    let program = words.next().unwrap();
    let tried = Command::new(program).args(words).arg("/bin/true").output();
    let reason = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped: {wrapper:?} does not work here: {}", reason.trim());
    false
}

#[test]
fn without_proc_the_built_in_policy_decides_and_others_report_what_is_missing() {
    let without_proc = [
        "unshare",
        "-m",
        "/bin/sh",
        "-c",
        "umount -l /proc && exec \"$@\"",
        "sh",
    ];
    if !is_available(&without_proc) {
        return;
    }
    let (sandbox, _) = Sandbox::with_acme();
    let run = |arguments: &[&str]| sandbox.wrapped_by(&without_proc, arguments);
    run(&["resolve", "acme/evals", "openai"]).ok();
    run(&["status", "acme/evals"]).ok();
    run(&["credential", "list", "acme"]).ok();
    for arguments in [["policy", "check", BALANCE], ["policy", "install", BALANCE]] {
        run(&arguments).fails(12).prints("mount /proc");
    }
    // Code that is already compiled needs no other process.
    sandbox.entail(&["policy", "install", BALANCE]).ok();
    sandbox
        .entail(&["policy", "activate", "acme", "balance"])
        .ok();
    run(&["resolve", "acme/evals", "openai"]).ok();
}

/// A directory of another user, with the program in it.
fn for_nobody() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("entail");
    std::fs::copy(env!("CARGO_BIN_EXE_entail"), &program).unwrap();
    std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    (directory, program)
}

#[test]
fn a_failure_to_start_a_thread_is_an_error_and_not_a_panic() {
    let as_nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let alone = [&as_nobody[..], &["prlimit", "--nproc=1:1"]].concat();
    if !is_available(&alone) {
        return;
    }
    let (directory, program) = for_nobody();
    let run = |wrapper: &[&str], arguments: &[&str], input: &str| {
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(&program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTAIL_HOME", directory.path().join("home"))
            .env("TMPDIR", directory.path());
        let output = Sandbox::output(command, input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        println!("{arguments:?}: {:?} {stderr}", output.status.code());
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert!(output.status.code().is_some(), "{arguments:?}: {stderr}");
        RunOutput {
            stdout,
            stderr,
            code: output.status.code(),
        }
    };
    run(&as_nobody, &["init", "acme"], "").ok();
    run(
        &as_nobody,
        &["credential", "set", "acme", "openai"],
        "secret-of-nobody",
    )
    .ok();
    run(&as_nobody, &["policy", "install", BALANCE], "").ok();
    run(&as_nobody, &["resolve", "acme", "openai"], "").ok();
    // Reading needs no thread.
    run(&alone, &["credential", "list", "acme"], "").ok();
    for (arguments, input) in [
        (vec!["resolve", "acme", "openai"], ""),
        (
            vec!["credential", "set", "acme", "openai"],
            "another-secret",
        ),
        (vec!["policy", "check", BALANCE], ""),
        (vec!["policy", "activate", "acme", "balance"], ""),
        (vec!["run", "acme", "--", "/bin/true"], ""),
        (vec!["verify"], ""),
        (vec!["project", "add", "acme/evals"], ""),
    ] {
        run(&alone, &arguments, input);
    }
    // For the policy, or for the record of the decision.
    let resolved = run(&alone, &["resolve", "acme", "openai"], "").prints("thread");
    assert!(matches!(resolved.code, Some(12 | 14)));
}
