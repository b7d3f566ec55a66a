//! Passes many secrets through every command, at the most verbose log level: none may leak.
//! With a thousand of them:
//!
//! ```sh
//! ENTAIL_CANARIES=1000 cargo t --test end-to-end canaries
//! ```

use crate::sandbox::{Sandbox, encodings, read_all};

/// The number of credentials per scope.
const NAMES: usize = 10;

fn count() -> usize {
    std::env::var("ENTAIL_CANARIES").map_or(40, |count| count.parse().unwrap())
}

/// The common prefix of every canary of this process.
fn marker() -> String {
    format!("canary-{}-", std::process::id())
}

/// The encodings of the marker. Parts that depend on the following text are cut off.
fn forms() -> Vec<Vec<u8>> {
    encodings(&marker())
        .into_iter()
        .filter(|(form, _)| *form != "its first half")
        .map(|(_, needle)| needle)
        .collect()
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn none_of_many_secrets_leaks() {
    // One search for the common prefix is faster than the sandbox's search for each canary.
    let sandbox = Sandbox::unwatched();
    let forms = forms();
    let clean = |what: &str, output: &std::process::Output| {
        for text in [&output.stdout, &output.stderr] {
            for form in &forms {
                assert!(!contains(text, form), "a canary is in the output of {what}");
            }
        }
    };
    let run = |arguments: &[&str], input: &str| {
        let output = Sandbox::output(sandbox.command(arguments), input);
        clean(&arguments.join(" "), &output);
        output
    };
    let ok = |arguments: &[&str], input: &str| {
        let output = run(arguments, input);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    ok(&["init", "acme"], "");
    let scopes = count().div_ceil(2 * NAMES);
    let mut keys = Vec::new();
    for number in 0..scopes {
        let scope = format!("acme/p{number}");
        ok(&["project", "add", &scope], "");
        for name in 0..NAMES {
            let name = format!("n{name}");
            let set = ["credential", "set", &scope, "openai", "--name", &name];
            ok(&set, &sandbox.canary());
            let key = sandbox.canary();
            let rotate = ["credential", "rotate", &scope, "openai", "--name", &name];
            // Each way to pass a secret.
            let file = sandbox.path("secret");
            match name.as_str() {
                "n1" => {
                    std::fs::write(&file, &key).unwrap();
                    ok(
                        &[&rotate[..], &["--from-file", file.to_str().unwrap()]].concat(),
                        "",
                    );
                    std::fs::remove_file(&file).unwrap();
                }
                "n2" => {
                    let mut command =
                        sandbox.command(&[&rotate[..], &["--from-env", "A_KEY"]].concat());
                    command.env("A_KEY", &key);
                    clean("rotate", &Sandbox::output(command, ""));
                }
                _ => ok(&rotate, &key),
            }
            keys.push((scope.clone(), name, key));
        }
        // Secrets in wrong places.
        let stray = sandbox.canary();
        for arguments in [
            &["credential", "set", &scope, "openai", "--param", &stray][..],
            &[
                "credential",
                "set",
                &scope,
                "openai",
                "--param",
                &format!("api_key={stray}"),
            ],
            &["credential", "set", &scope, "openai", &stray],
            &["credential", "set", &scope, "openai", "--from-env", &stray],
            &["credential", "set", &scope, &stray],
            &["project", "add", &stray],
            &["key", "add-recipient", &stray],
            &["key", "remove-recipient", &stray],
            &["audit", "show", "--since", &stray],
            &["credential", "rotate", &scope, "openai", "--grace", &stray],
        ] {
            assert!(!run(arguments, "").status.success(), "{arguments:?}");
        }
    }
    let copy = sandbox.path("home/copy.entail");
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["credential", "list", "acme/p0", "--json"],
        &[
            "credential",
            "show",
            "acme/p0",
            "openai",
            "--name",
            "n0",
            "--json",
        ],
        &["resolve", "acme/p0", "openai", "--json"],
        &["explain", "acme/p0", "openai", "--json"],
        &[
            "credential",
            "rollback",
            "acme/p0",
            "openai",
            "--name",
            "n0",
        ],
        &["key", "rotate", "identity"],
        &["key", "rotate", "signer"],
        &["key", "list", "--json"],
        &["verify", "--json"],
        &["doctor", "--json"],
        &["audit", "show", "--json"],
        &["audit", "verify"],
        &["backup", copy.to_str().unwrap()],
    ] {
        ok(arguments, "");
    }
    // A command gets the requested key and no other.
    let (scope, _, _) = &keys[0];
    let printed = Sandbox::output(
        sandbox.command(&["run", scope, "--provider", "openai", "--", "env"]),
        "",
    );
    let environment = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(environment.matches(&marker()).count(), 1, "{environment}");
    // No secret is on the disk in plain text.
    let mut places = Vec::new();
    read_all(&sandbox.home(), &mut places);
    for (place, bytes) in &places {
        for form in &forms {
            assert!(!contains(bytes, form), "a canary is in {place}");
        }
    }
}
