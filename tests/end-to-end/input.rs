//! How secrets are passed to the program, and what is refused.

use crate::sandbox::Sandbox;

fn service_account(key: &str) -> String {
    format!(
        r#"{{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com",
  "private_key": "-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n",
  "token_uri": "https://oauth2.googleapis.com/token"}}"#
    )
}

#[test]
fn a_secret_is_read_from_standard_input_a_file_or_a_variable() {
    let (sandbox, _) = Sandbox::with_acme();
    let revealed = |provider: &str| {
        let lease = sandbox
            .lease(&["resolve", "acme", provider, "--reveal", "--json"])
            .ok();
        lease.json()["secrets"]["api_key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (by_file, by_variable, by_convention) =
        (sandbox.canary(), sandbox.canary(), sandbox.canary());
    let file = sandbox.path("key.txt");
    std::fs::write(&file, format!("{by_file}\n")).unwrap();
    sandbox
        .entail(&[
            "credential",
            "set",
            "acme",
            "xai",
            "--from-file",
            file.to_str().unwrap(),
        ])
        .ok();
    assert_eq!(revealed("xai"), by_file);

    let mut command = sandbox.command(&[
        "credential",
        "set",
        "acme",
        "mistral",
        "--from-env",
        "MY_KEY",
    ]);
    command.env("MY_KEY", &by_variable);
    sandbox.run(command, "").ok();
    assert_eq!(revealed("mistral"), by_variable);

    let mut command = sandbox.command(&["credential", "set", "acme", "deepseek", "--from-env"]);
    command.env("DEEPSEEK_API_KEY", &by_convention);
    sandbox.run(command, "").ok();
    assert_eq!(revealed("deepseek"), by_convention);
}

#[test]
fn a_secret_given_as_an_argument_is_refused_and_not_repeated() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let parameter = format!("api_key={key}");
    sandbox
        .run(
            sandbox.command(&["credential", "set", "acme", "xai", "--param", &parameter]),
            "",
        )
        .fails(19);
    sandbox
        .run(
            sandbox.command(&["credential", "set", "acme", "xai", "--param", &key]),
            "",
        )
        .fails(19);
}

#[test]
fn an_invalid_key_is_refused_without_being_shown() {
    let (sandbox, _) = Sandbox::with_acme();
    for bad in [
        "two words",
        "line\nbreak",
        "\u{1b}[31m",
        "schl\u{fc}ssel",
        "••••cdef",
        "************",
        "",
        " \n",
    ] {
        let canary = sandbox.canary();
        let text = match bad {
            "" | " \n" | "••••cdef" | "************" => bad.to_owned(),
            bad => format!("{canary}{bad}{canary}"),
        };
        sandbox
            .entail_with(&["credential", "set", "acme", "xai"], &text)
            .fails(19)
            .prints("api_key:");
    }
    sandbox
        .entail(&["credential", "show", "acme", "xai"])
        .fails(18);
    let canary = sandbox.canary();
    sandbox
        .entail_with(
            &["credential", "set", "acme", "xai"],
            &format!("  {canary}\n"),
        )
        .ok()
        .prints("white space around the value was removed");
}

#[test]
fn unknown_names_are_reported_with_the_known_names() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "opnai"], &key)
        .fails(18)
        .prints("openai, anthropic");
    sandbox
        .entail_with(
            &[
                "credential",
                "set",
                "acme",
                "openai",
                "--param",
                "bas_url=https://x.example",
            ],
            &key,
        )
        .fails(19)
        .prints("bas_url")
        .prints("base_url");
    sandbox
        .entail_with(&["credential", "set", "acme/nope", "openai"], &key)
        .fails(18)
        .prints("acme/nope");
    sandbox
        .entail_with(&["credential", "set", "Acme", "openai"], &key)
        .fails(2)
        .prints("a-z");
    sandbox
        .entail_with(
            &["credential", "rotate", "acme", "openai", "--name", "x"],
            &key,
        )
        .fails(18);
    sandbox
        .entail(&["project", "add", "other/evals"])
        .fails(18)
        .prints("entail init other");
    sandbox
        .entail(&["init", "acme"])
        .fails(19)
        .prints("already");
}

#[test]
fn a_secret_is_sealed_again_for_another_path_of_its_host() {
    let (sandbox, _) = Sandbox::with_acme();
    let url = |url: &str| {
        let parameter = format!("base_url={url}");
        let set = ["credential", "set", "acme", "openai", "--keep-secret"];
        sandbox.entail(&[&set[..], &["--param", &parameter]].concat())
    };
    let resolve = || sandbox.entail(&["resolve", "acme", "openai", "--json"]);
    url("https://api.openai.com/tenants/one").ok();
    assert_eq!(
        resolve().ok().json()["base_url"],
        "https://api.openai.com/tenants/one"
    );
    sandbox.entail(&["verify"]).ok();
    // A machine that cannot open the secret cannot lead it elsewhere.
    let identity = sandbox.home().join("keys/identity.txt");
    let elsewhere = sandbox.path("identity.txt");
    std::fs::rename(&identity, &elsewhere).unwrap();
    url("https://api.openai.com/tenants/two")
        .fails(19)
        .prints("is sealed with base_url")
        .prints("enter it again");
    std::fs::rename(&elsewhere, &identity).unwrap();
    assert_eq!(
        resolve().ok().json()["base_url"],
        "https://api.openai.com/tenants/one"
    );
}

#[test]
fn a_changed_base_url_does_not_send_the_key_to_another_host() {
    let (sandbox, _) = Sandbox::with_acme();
    let url = |url: &str| {
        let parameter = format!("base_url={url}");
        sandbox.entail(&[
            "credential",
            "set",
            "acme",
            "openai",
            "--keep-secret",
            "--param",
            &parameter,
        ])
    };
    url("https://eu.api.openai.com/v1").ok();
    url("https://evil.example/v1")
        .fails(19)
        .prints("enter it again");
    url("http://api.openai.com/v1").fails(19).prints("https");
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(
        credential["version"]["parameters"]["base_url"],
        "https://eu.api.openai.com/v1"
    );
    let key = sandbox.canary();
    let parameter = "base_url=https://proxy.example/v1";
    sandbox
        .entail_with(
            &[
                "credential",
                "set",
                "acme",
                "openai",
                "--param",
                parameter,
                "--stdin",
            ],
            &key,
        )
        .ok();
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(
        credential["version"]["hosts"],
        serde_json::json!(["proxy.example"])
    );
}

#[test]
fn a_kept_secret_is_kept_with_any_other_options() {
    let (sandbox, key) = Sandbox::with_acme();
    let other = sandbox.canary();
    let mut command = sandbox.command(&[
        "credential",
        "set",
        "acme",
        "openai",
        "--keep-secret",
        "--from-env",
    ]);
    command.env("OPENAI_API_KEY", &other);
    sandbox.run(command, "").fails(19).prints("to be kept");
    let region = ["--param", "region=us-east-1", "--mode", "api-key"];
    sandbox
        .entail_with(
            &[&["credential", "set", "acme", "bedrock"], &region[..]].concat(),
            &other,
        )
        .ok();
    let role = [
        "--param",
        "role_arn=arn:aws:iam::1:role/x",
        "--mode",
        "role",
        "--keep-secret",
    ];
    sandbox
        .entail(&[&["credential", "set", "acme", "bedrock"], &role[..]].concat())
        .fails(19);
    let lease = sandbox
        .lease(&["resolve", "acme", "openai", "--reveal", "--json"])
        .ok()
        .json();
    assert_eq!(lease["secrets"]["api_key"], *key);
    assert_eq!(lease["version"], 1);
}

#[test]
fn a_rotated_secret_keeps_its_parameters_and_asks_for_missing_ones() {
    let (sandbox, _) = Sandbox::with_acme();
    let account = service_account("canaryofaparameter0123456789ABCDEF");
    sandbox.watch_for("canaryofaparameter0123456789ABCDEF");
    let set = [
        "credential",
        "set",
        "acme",
        "vertex-ai",
        "--param",
        "location=europe-west4",
        "--param",
        "project=p9",
    ];
    sandbox.entail_with(&set, &account).ok();
    sandbox
        .entail_with(&["credential", "rotate", "acme", "vertex-ai"], &account)
        .ok()
        .prints("stays p9");
    let lease = sandbox
        .lease(&["resolve", "acme", "vertex-ai", "--json"])
        .ok()
        .json();
    assert_eq!(
        lease["parameters"],
        serde_json::json!({"location": "europe-west4", "project": "p9"})
    );

    let file = sandbox.path("secret");
    std::fs::write(&file, sandbox.canary()).unwrap();
    let from_file = format!("secret_access_key={}", file.display());
    let keys = ["--param", "region=eu-central-1", "--from-file", &from_file];
    let pair = [&keys[..], &["--param", "access_key_id=AKIA1"]].concat();
    sandbox
        .entail(&[&["credential", "set", "acme", "bedrock"], &pair[..]].concat())
        .ok();
    sandbox
        .entail(&[
            "credential",
            "rotate",
            "acme",
            "bedrock",
            "--from-file",
            &from_file,
        ])
        .fails(19)
        .prints("access_key_id");
}

#[test]
fn an_empty_public_field_is_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let set = |parameter: &str| {
        sandbox.entail(&[
            "credential",
            "set",
            "acme",
            "openai",
            "--keep-secret",
            "--param",
            parameter,
        ])
    };
    set("organization=org-1").ok();
    set("organization=").ok();
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(credential["version"]["parameters"], serde_json::json!({}));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let parameter = format!("{key}=x");
    for wrong in [
        &["credential", "set", "acme", "xai", "--from-env", &key][..],
        &["credential", "set", "acme", "xai", "--from-file", &key],
        &["credential", "set", "acme", "xai", "--param", &parameter],
        &["credential", "set", "acme", "xai", "--mode", &key],
        &["credential", "set", "acme", "xai", "--expires", &key],
        &["credential", "set", "acme", "xai", "--name", &key],
        &["credential", "set", "acme", "xai", &key],
        &["credential", "set", &key, "xai"],
        &["credential", "set", "acme", &key],
        &["resolve", "acme", "openai", "--model", &format!("{key} ")],
        &["inherit", "acme/evals", &key],
        &[&key],
    ] {
        let ran = sandbox.entail(wrong);
        assert_ne!(ran.code, Some(0), "{wrong:?}");
    }
}

#[test]
fn patterns_that_match_nothing_or_take_forever_are_refused() {
    let (sandbox, _) = Sandbox::with_acme();
    let share = |pattern: &str| {
        sandbox.entail(&[
            "credential",
            "set",
            "acme",
            "openai",
            "--keep-secret",
            "--share",
            pattern,
        ])
    };
    share("acme/**/prod").ok();
    share(&format!("acme/{}zzz", "**/".repeat(64))).fails(19);
    share("acme/a**").fails(19);
    share("acme/***").fails(19);
    share("evals/*").fails(19).prints("acme/*");
}

#[test]
fn homes_may_have_any_name_and_be_created_concurrently() {
    let sandbox = Sandbox::new();
    let children: Vec<_> = (0..6)
        .map(|n| {
            let organization = format!("org{n}");
            let mut command = sandbox.command(&["--home", "relative", "init", &organization]);
            command.current_dir(sandbox.path(""));
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let relative = sandbox.path("relative");
    let list = sandbox
        .entail(&["--home", relative.to_str().unwrap(), "project", "list"])
        .ok();
    assert_eq!(list.stdout.lines().count(), 6);
}

#[test]
fn bedrock_has_three_modes_and_reports_missing_fields() {
    let (sandbox, _) = Sandbox::with_acme();
    let set = ["credential", "set", "acme", "bedrock"];
    let (secret, token) = (sandbox.canary(), sandbox.canary());
    let mut command = sandbox.command(&[&set[..], &["--from-env"]].concat());
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", &secret)
        .env("AWS_SESSION_TOKEN", &token);
    sandbox
        .run(command, "")
        .fails(19)
        .prints("region")
        .prints("--param region=VALUE");

    let mut command =
        sandbox.command(&[&set[..], &["--from-env", "--param", "region=eu-central-1"]].concat());
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", &secret)
        .env("AWS_SESSION_TOKEN", &token);
    sandbox.run(command, "").ok();
    let lease = sandbox
        .lease(&["resolve", "acme", "bedrock", "--reveal", "--json"])
        .ok()
        .json();
    assert_eq!(lease["mode"], "access-key");
    assert_eq!(lease["secrets"]["session_token"], *token);
    assert_eq!(
        lease["base_url"],
        "https://bedrock-runtime.eu-central-1.amazonaws.com"
    );

    let key = sandbox.canary();
    let named = [
        "--name",
        "key",
        "--mode",
        "api-key",
        "--param",
        "region=us-east-1",
        "--expires",
        "12h",
    ];
    sandbox.entail_with(&[&set[..], &named].concat(), &key).ok();
    let role = [
        "--name",
        "role",
        "--param",
        "role_arn=arn:aws:iam::1:role/x",
        "--param",
        "region=us-east-1",
        "--mode",
        "role",
    ];
    sandbox.entail(&[&set[..], &role].concat()).ok();
    let lease = sandbox
        .lease(&["resolve", "acme", "bedrock", "--name", "role", "--json"])
        .ok()
        .json();
    assert_eq!(lease["secrets"], serde_json::json!({}));
    let moved = [
        "--name",
        "role",
        "--keep-secret",
        "--param",
        "region=eu-west-1",
    ];
    sandbox.entail(&[&set[..], &moved].concat()).ok();
}

#[test]
fn a_service_account_is_accepted_in_every_pasted_form() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = "canaryofaprivatekey0123456789ABCDEF";
    sandbox.watch_for(key);
    let json = service_account(key);
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &json);
    let set = ["credential", "set", "acme", "vertex-ai", "--stdin"];
    for pasted in [&json, &base64] {
        sandbox.entail_with(&set, pasted).ok();
        let lease = sandbox
            .lease(&["resolve", "acme", "vertex-ai", "--reveal", "--json"])
            .ok()
            .json();
        assert_eq!(lease["secrets"]["service_account_json"], *json);
        assert_eq!(lease["parameters"]["project"], "p1");
        assert_eq!(lease["base_url"], "https://aiplatform.googleapis.com");
    }
    sandbox
        .entail_with(&set, &json.replace("client_email", "email"))
        .fails(19)
        .prints("client_email is missing");
}

#[test]
fn a_passphrase_is_needed_only_by_commands_that_open_secrets() {
    let sandbox = Sandbox::new();
    let passphrase = sandbox.canary();
    let file = sandbox.path("passphrase");
    std::fs::write(&file, format!("{passphrase}\n")).unwrap();
    let file = file.to_str().unwrap();
    sandbox
        .entail(&["init", "acme", "--passphrase", "--passphrase-file", file])
        .ok();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai"], &key)
        .ok();
    sandbox
        .entail(&["explain", "acme", "openai"])
        .ok()
        .prints("granted");
    sandbox
        .entail_without_terminal(&["resolve", "acme", "openai"])
        .fails(19)
        .prints("no terminal");
    let lease = sandbox
        .lease(&[
            "resolve",
            "acme",
            "openai",
            "--reveal",
            "--json",
            "--passphrase-file",
            file,
        ])
        .ok();
    assert_eq!(lease.json()["secrets"]["api_key"], *key);
    let wrong = sandbox.path("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    sandbox
        .entail(&[
            "resolve",
            "acme",
            "openai",
            "--passphrase-file",
            wrong.to_str().unwrap(),
        ])
        .fails(16);
}

/// A provider file with one provider.
const INTERNAL: &str = r#"
    [[provider]]
    id = "internal"
    name = "Internal gateway"
    kind = "gateway"
    docs = "https://llm.example/docs"
    base-url = "https://llm.example/v1"
    hosts = ["llm.example"]
    [[provider.field]]
    name = "api_key"
    label = "API key"
    secret = true
    environment = ["INTERNAL_LLM_KEY"]
    [[provider.mode]]
    name = "api-key"
    label = "API key"
    required = ["api_key"]
    authentication = { headers = { Authorization = "Bearer {api_key}" } }
"#;

#[test]
fn a_custom_home_may_have_custom_providers() {
    let (sandbox, _) = Sandbox::with_acme();
    let providers = sandbox.home().join("providers.toml");
    std::fs::write(&providers, INTERNAL).unwrap();
    sandbox
        .entail(&["providers"])
        .ok()
        .prints("INTERNAL_LLM_KEY");
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "internal"], &key)
        .ok();
    let lease = sandbox
        .lease(&[
            "run",
            "acme",
            "--",
            "sh",
            "-c",
            "printf %s \"$INTERNAL_LLM_KEY\"",
        ])
        .ok();
    assert_eq!(lease.stdout, key);
    std::fs::write(&providers, "[[provider]]\nid = \"openai\"").unwrap();
    sandbox
        .entail(&["status"])
        .fails(19)
        .prints("provider file");
}

#[test]
fn a_secret_stays_with_its_hosts_when_the_provider_file_changes() {
    let (sandbox, _) = Sandbox::with_acme();
    let providers = sandbox.home().join("providers.toml");
    std::fs::write(&providers, INTERNAL).unwrap();
    let set = ["credential", "set", "acme", "internal", "--stdin"];
    sandbox.entail_with(&set, &sandbox.canary()).ok();
    let resolve = ["resolve", "acme", "internal"];
    sandbox
        .entail(&resolve)
        .ok()
        .prints("https://llm.example/v1");

    let elsewhere = INTERNAL.replace("llm.example", "elsewhere.example");
    std::fs::write(&providers, &elsewhere).unwrap();
    let run = ["run", "acme", "--provider", "internal", "--", "true"];
    let export = ["export-env", "acme", "--provider", "internal"];
    for command in [&resolve[..], &run, &export] {
        let ran = sandbox.entail(command).fails(16);
        let ran = ran.prints("elsewhere.example").prints("llm.example only");
        assert!(!ran.stdout.contains("elsewhere.example"), "{}", ran.stdout);
    }
    sandbox.entail(&["status"]).fails(16).prints("cannot open");
    // Rules can change; the hosts change only with the secret.
    let rules = ["credential", "set", "acme", "internal", "--priority", "1"];
    let keep = [&rules[..], &["--keep-secret"]].concat();
    sandbox.entail(&keep).fails(19).prints("elsewhere.example");
    sandbox.entail(&resolve).fails(16);
    sandbox.entail_with(&set, &sandbox.canary()).ok();
    sandbox
        .entail(&resolve)
        .ok()
        .prints("https://elsewhere.example/v1");

    // A file cannot set a base URL outside of its hosts.
    let contradicted = INTERNAL.replace("https://llm.example/v1", "https://elsewhere.example/v1");
    std::fs::write(&providers, contradicted).unwrap();
    sandbox
        .entail(&resolve)
        .fails(19)
        .prints("not one of the provider's hosts");
}
