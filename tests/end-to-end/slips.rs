//! Typing errors and unusual environments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::sandbox::Sandbox;

#[test]
fn a_misspelled_name_gets_a_suggestion_and_is_never_created() {
    let (sandbox, _) = Sandbox::with_acme();
    for command in [
        &["resolve", "acme/evasl", "openai"][..],
        &[
            "credential",
            "set",
            "acme/eval",
            "openai",
            "--from-env",
            "K",
        ],
        &["credential", "remove", "acme/evalss", "openai"],
        &["inherit", "evals", "openai"],
        &["run", "acme/evasl", "--", "true"],
        &["status", "acme/evasl"],
        &["project", "remove", "acme/evasl"],
        &["project", "add", "acme/evasl/nightly"],
    ] {
        let ran = sandbox
            .entail(command)
            .fails(18)
            .prints("did you mean acme/evals?");
        for unwanted in ["project add", "entail init", "--off", "remove "] {
            assert!(
                !ran.stderr.contains(unwanted),
                "{command:?}: {}",
                ran.stderr
            );
        }
    }
    let json = sandbox
        .entail(&["resolve", "acne", "openai", "--json"])
        .fails(18);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("did you mean acme?"), "{message}");
    assert_eq!(
        error["error"]["remedies"],
        serde_json::json!(["entail project list"])
    );
    // A name that is not similar to an existing name gets no suggestion.
    let ran = sandbox.entail(&["resolve", "globex", "openai"]).fails(18);
    assert!(!ran.stderr.contains("entail init"), "{}", ran.stderr);
    sandbox
        .entail(&["resolve", "acme", "opanai"])
        .fails(18)
        .prints("did you mean openai?");
    let show = ["credential", "show", "acme", "openai", "--name", "defualt"];
    let ran = sandbox
        .entail(&show)
        .fails(18)
        .prints("did you mean default?");
    assert!(!ran.stderr.contains("credential set"), "{}", ran.stderr);
}

#[test]
fn inherit_reports_that_it_has_no_effect_yet() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["project", "add", "acme/agents/nightly"])
        .ok();
    sandbox
        .entail(&["inherit", "acme/agents/nightly", "openai"])
        .ok()
        .prints("it has no effect yet")
        .prints("acme/agents has no credential for openai and does not inherit from acme")
        .prints("entail inherit acme/agents openai");
    let ran = sandbox.entail(&["inherit", "acme/agents", "openai"]).ok();
    assert!(!ran.stdout.contains("no effect"), "{}", ran.stdout);
    sandbox
        .entail(&["inherit", "acme/agents", "xai"])
        .ok()
        .prints("acme has no credential for xai yet")
        .prints("entail credential set acme xai");
    let json = sandbox
        .entail(&["inherit", "acme/agents", "xai", "--json"])
        .ok()
        .json();
    assert!(json["no_effect_yet"].is_string());
    let share = ["credential", "set", "acme", "openai", "--share", "none"];
    sandbox.entail(&share).ok();
    sandbox
        .entail(&["inherit", "acme/evals", "openai"])
        .ok()
        .prints("it has no effect yet");
}

#[test]
fn the_error_for_a_missing_source_names_it() {
    let (sandbox, _) = Sandbox::with_acme();
    let set =
        |source: &[&str]| sandbox.entail(&[&["credential", "set", "acme", "xai"], source].concat());
    set(&["--from-env", "THE_VERY_LONG_NAME_OF_A_VARIABLE_KEY"])
        .fails(19)
        .prints("THE_VERY_LONG_NAME_OF_A_VARIABLE_KEY is not set");
    set(&[
        "--from-file",
        "no-such-directory/the-very-long-name-of-a-file.key",
    ])
    .fails(1)
    .prints("the-very-long-name-of-a-file.key");
    let here = sandbox.path("a-file-without-any-extension");
    set(&["--from-file", here.to_str().unwrap()])
        .fails(1)
        .prints("a-file-without-any-extension");
    // A source that may itself be a key is not repeated.
    for key in [
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARYKEY",
        "ya29.a0AfB_byCanaryCanaryCanaryCanary",
    ] {
        sandbox.watch_for(key);
        assert_ne!(set(&["--from-file", key]).code, Some(0));
        let env = format!("{key}X");
        assert_ne!(set(&["--from-env", &env]).code, Some(0));
    }
}

#[test]
fn a_tilde_that_no_shell_expanded_is_refused() {
    let (sandbox, _) = Sandbox::with_acme();
    let message = "it did not do so here";
    let from = ["credential", "set", "acme", "xai", "--from-file"];
    for file in ["~/key.json", "api_key=~/key.json", "~someone/key"] {
        sandbox
            .entail(&[&from[..], &[file]].concat())
            .fails(19)
            .prints(message);
    }
    for command in [
        &["--home", "~/entail", "status"][..],
        &["--passphrase-file", "~/pass", "status"],
        &["backup", "~/copy.db"],
        &["restore", "~/copy.db", "--accept-rollback"],
        &["policy", "check", "~/policy.wasm"],
        &[
            "policy",
            "activate",
            "acme",
            "built-in",
            "--settings",
            "~/s.json",
        ],
    ] {
        sandbox.entail(command).fails(2).prints(message);
    }
    let mut command = sandbox.command(&["status"]);
    command.env("ENTAIL_HOME", "~/entail");
    sandbox.run(command, "").fails(19).prints(message);
    // A file whose name starts with a tilde is read.
    let key = sandbox.canary();
    sandbox.file("there/~key", &key);
    let mut command = sandbox.command(&[&from[..], &["~key"]].concat());
    command.current_dir(sandbox.path("there"));
    sandbox.run(command, "").ok();
}

#[test]
fn invalid_utf8_is_an_error_and_is_not_repeated() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.watch_for("canary-not-utf8");
    let bad = OsStr::from_bytes(b"canary-not-utf8-\xff-0123456789");
    for arguments in [
        &["resolve"][..],
        &["resolve", "acme"],
        &["credential", "set", "acme", "xai", "--from-file"],
        &["credential", "set", "acme", "xai", "--from-env"],
        &["credential", "set", "acme", "xai", "--param"],
        &["resolve", "acme", "openai", "--model"],
        &["--passphrase-file"],
        &["policy", "check"],
        &[],
    ] {
        let mut command = sandbox.command(arguments);
        command.arg(bad);
        let ran = sandbox.run(command, "");
        assert!(
            matches!(ran.code, Some(code) if code != 0 && code != 101),
            "{arguments:?}"
        );
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    let mut command =
        sandbox.command(&["credential", "set", "acme", "xai", "--from-env", "MY_KEY"]);
    command.env("MY_KEY", bad);
    sandbox
        .run(command, "")
        .fails(19)
        .prints("MY_KEY is not UTF-8");
    let mut command = sandbox.command(&["credential", "set", "acme", "xai", "--from-env"]);
    command.env("XAI_API_KEY", bad);
    sandbox.run(command, "").fails(19).prints("not UTF-8");
    let input = [b"canary-not-utf8-\xff".as_slice(), b"0123456789"].concat();
    let output = Sandbox::output(
        sandbox.command(&["credential", "set", "acme", "xai"]),
        input,
    );
    assert_eq!(output.status.code(), Some(19));
    for home in [&b"home-\xff"[..], b"\xff"] {
        let home = sandbox.path("").join(OsStr::from_bytes(home));
        for arguments in [&["init", "acme"][..], &["status"]] {
            let mut command = sandbox.command(arguments);
            command.env("ENTAIL_HOME", &home);
            let ran = sandbox.run(command, "");
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            assert_eq!(ran.code, Some(19), "{arguments:?}");
        }
    }
}

#[test]
fn a_date_is_the_start_of_that_day() {
    let (sandbox, _) = Sandbox::with_acme();
    let expires = |when: &str| {
        let set = ["credential", "set", "acme", "openai", "--expires", when];
        sandbox.entail(&set)
    };
    expires("2040-01-31").ok();
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(credential["expires_at_ms"], 2_211_580_800_000_u64);
    expires("2020-01-31").fails(19).prints("in the past");
    for bad in ["2040-01", "2040-13-01", "31.01.2040", "2040-01-31T12"] {
        expires(bad).fails(19).prints("2027-01-31");
    }
    sandbox
        .entail(&[
            "audit",
            "show",
            "--since",
            "2026-01-01",
            "--until",
            "2040-01-01",
        ])
        .ok();
    let help = sandbox.entail(&["credential", "set", "--help"]).ok().stdout;
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(
        words
            .join(" ")
            .contains("2027-01-31 (the start of that day")
    );
}

#[test]
fn an_unknown_outcome_is_an_error_that_lists_the_valid_ones() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    for command in [
        &["audit", "tail", "--outcome", "grantd"][..],
        &["audit", "show", "--outcome", "not-opted"],
    ] {
        sandbox
            .entail(command)
            .fails(19)
            .prints("granted, opened, not-opened, unknown, refused, failed")
            .prints("not-opted-in");
    }
    for outcome in ["granted", "refused", "failed", "expired", "not-opted-in"] {
        sandbox
            .entail(&["audit", "show", "--outcome", outcome])
            .ok();
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let (sandbox, key) = Sandbox::with_acme();
    let mut command = sandbox.command(&["resolve", "acme", "openai"]);
    for name in [
        "ENTAIL_PASSPHRASE_FILE",
        "ENTAIL_IDENTITY_FD",
        "CREDENTIALS_DIRECTORY",
        "XDG_RUNTIME_DIR",
        "NO_COLOR",
    ] {
        command.env(name, "");
    }
    sandbox.run(command, "").ok();
    // The home is then at its default path.
    for (name, value, home) in [
        ("XDG_DATA_HOME", sandbox.path("data"), "data/entail"),
        ("HOME", sandbox.path("user"), "user/.local/share/entail"),
    ] {
        let mut command = sandbox.command(&["init", "acme"]);
        command.env("ENTAIL_HOME", "").env(name, value);
        if name == "HOME" {
            command.env("XDG_DATA_HOME", "");
        }
        sandbox.run(command, "").ok();
        assert!(sandbox.path(home).is_dir(), "{name}");
    }
    let mut command = sandbox.command(&[
        "credential",
        "set",
        "acme",
        "xai",
        "--from-env",
        "EMPTY_KEY",
    ]);
    command.env("EMPTY_KEY", "");
    sandbox
        .run(command, "")
        .fails(19)
        .prints("EMPTY_KEY is not set");
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn plain_http_in_a_private_network_requires_a_flag_that_is_recorded_and_shown() {
    let (sandbox, _) = Sandbox::with_acme();
    let url = "base_url=http://litellm:4000";
    let set = ["credential", "set", "acme", "litellm", "--param", url];
    sandbox
        .entail_with(&set, &sandbox.canary())
        .fails(19)
        .prints("--allow-unsafe-http");
    let key = sandbox.canary();
    sandbox
        .entail_with(&[&set[..], &["--allow-unsafe-http"]].concat(), &key)
        .ok()
        .prints("over plain HTTP");
    let show = ["credential", "show", "acme", "litellm"];
    sandbox.entail(&show).ok().prints("unsafe HTTP");
    let json = sandbox.entail(&[&show[..], &["--json"]].concat()).ok();
    assert_eq!(json.json()["unsafe_http"], true);
    sandbox
        .entail(&["credential", "list", "acme"])
        .ok()
        .prints("unsafe HTTP");
    // The flag applies to this credential and its leases, and is dropped with the URL.
    let lease = sandbox
        .lease(&["resolve", "acme", "litellm", "--json"])
        .ok();
    assert_eq!(lease.json()["base_url"], "http://litellm:4000");
    sandbox
        .entail_with(
            &["credential", "rotate", "acme", "litellm"],
            &sandbox.canary(),
        )
        .ok();
    let safe = ["--stdin", "--param", "base_url=https://litellm.example"];
    sandbox
        .entail_with(&[&set[..4], &safe].concat(), &sandbox.canary())
        .ok();
    let json = sandbox.entail(&[&show[..], &["--json"]].concat()).ok();
    assert!(json.json().get("unsafe_http").is_none());
    sandbox
        .entail_with(&[&set[..], &["--stdin"]].concat(), &sandbox.canary())
        .fails(19);
    sandbox
        .entail(&["credential", "rollback", "acme", "litellm"])
        .ok();
    sandbox.entail(&show).ok().prints("unsafe HTTP");
    // A public host is refused even with the flag.
    let public = [
        "--param",
        "base_url=http://litellm.example",
        "--allow-unsafe-http",
    ];
    let public = [&set[..4], &["--name", "other"], &public].concat();
    sandbox.entail_with(&public, &sandbox.canary()).fails(19);
}

#[test]
fn no_error_repeats_a_secret_that_was_given_as_a_path() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    for secret in [
        format!("sk-ant-api03-{key}"),
        format!("AGE-SECRET-KEY-1{}", key.to_uppercase()),
    ] {
        sandbox.watch_for(&secret);
        let below = format!("{secret}/x");
        for arguments in [
            &["restore", &secret, "--accept-rollback"][..],
            &["restore", "backup", "--recovery", &secret],
            &["--home", &secret, "status"],
            &[
                "--passphrase-file",
                &secret,
                "--home",
                "x",
                "init",
                "b",
                "--passphrase",
            ],
            &["backup", &below],
            &["import", &secret, "--yes"],
            &["credential", "set", "acme", "xai", "--from-file", &secret],
            &["key", "add-signer", &secret],
            &["key", "receipt", &secret],
            &["key", "add-recipient", "--recovery", &below],
            &["key", "add-recipient", "--recovery", &below, "--dry-run"],
            &["policy", "install", &secret],
            &["policy", "check", &secret],
            &["policy", "build", &secret],
            &["policy", "test", &secret],
            &["policy", "test", &secret, "--vectors", &secret],
            &["policy", "decide", &secret],
            &["policy", "export", "built-in", "--output", &below],
            &[
                "policy",
                "activate",
                "acme",
                "built-in",
                "--settings",
                &secret,
            ],
            &["policy", "rollback", &secret],
        ] {
            for more in [&[][..], &["--json"]] {
                let ran = sandbox.entail(&[arguments, more].concat());
                assert_ne!(ran.code, Some(0), "{arguments:?}");
                assert!(!ran.stderr.is_empty() || !ran.stdout.is_empty());
                assert!(
                    !ran.stderr.contains(&secret),
                    "{arguments:?}: {}",
                    ran.stderr
                );
            }
        }
    }
}

#[test]
fn a_missing_file_has_one_exit_code() {
    let (sandbox, _) = Sandbox::with_acme();
    for arguments in [
        &["restore", "missing.x", "--accept-rollback"][..],
        &[
            "restore",
            "missing.x",
            "--recovery",
            "missing.y",
            "--home",
            "x",
        ],
        &["backup", "missing.x/copy"],
        &["key", "add-signer", "missing.x"],
        &["key", "receipt", "missing.x"],
        &["key", "add-recipient", "--recovery", "missing.x/key"],
        &[
            "key",
            "add-recipient",
            "--recovery",
            "missing.x/key",
            "--dry-run",
        ],
        &[
            "credential",
            "set",
            "acme",
            "xai",
            "--from-file",
            "missing.x",
        ],
        &["policy", "install", "missing.x"],
        &["policy", "check", "missing.x"],
        &["policy", "test", "missing.x"],
        &["policy", "decide", "missing.x"],
        &[
            "policy",
            "export",
            "built-in",
            "--output",
            "missing.x/policy",
        ],
        &[
            "policy",
            "activate",
            "acme",
            "built-in",
            "--settings",
            "missing.x",
        ],
    ] {
        sandbox.entail(arguments).fails(1).prints("missing.");
    }
}

#[test]
fn an_error_about_keys_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    let (sandbox, _) = Sandbox::with_acme();
    let keys = sandbox.home().join("keys");
    let add = [
        "key",
        "add-recipient",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    ];
    sandbox.entail(&add).ok();
    sandbox
        .entail(&add)
        .fails(19)
        .prints("already on the list")
        .prints("try: entail key list");
    let directory = std::fs::File::open(&keys).unwrap();
    directory.lock().unwrap();
    sandbox
        .entail(&["key", "rotate", "identity"])
        .fails(16)
        .prints("try again when it has ended");
    drop(directory);
    // For root, no mode makes a directory read-only.
    if rustix::process::geteuid().is_root() {
        return;
    }
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o500)).unwrap();
    sandbox
        .entail(&["key", "rotate", "identity"])
        .fails(16)
        .prints("make the directory writable");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).unwrap();
}
