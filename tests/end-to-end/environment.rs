//! The environment of a command under `entail run`: the granted credential with its
//! endpoint, and no variable of another credential.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Parses the output of `env -0`.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.split('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The environment of a command under `run acme` with these options and these variables of
/// the caller.
fn environment(
    sandbox: &Sandbox,
    options: &[&str],
    callers: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let arguments = [&["run", "acme"], options, &["--", "env", "-0"]].concat();
    let mut command = sandbox.command(&arguments);
    command.envs(callers.iter().copied());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&String::from_utf8(output.stdout).unwrap())
}

/// A home in which `acme` holds a credential for a provider, with these parameters.
fn with(provider: &str, parameters: &[&str]) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    let key = sandbox.canary();
    let mut set = vec!["credential", "set", "acme", provider];
    for parameter in parameters {
        set.extend(["--param", parameter]);
    }
    sandbox.entail_with(&set, &key).ok();
    (sandbox, key)
}

fn providers(sandbox: &Sandbox) -> Vec<Value> {
    let listed = sandbox.entail(&["providers", "--json"]).ok().json();
    listed["providers"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn variables_that_configure_clients_do_not_reach_the_command() {
    let (sandbox, key) = with("openai", &[]);
    let mut strays = Vec::new();
    for provider in providers(&sandbox) {
        for pattern in texts(&provider["unset-env"]) {
            let name = pattern.replace('*', "FUTURE_NAME");
            strays.push(name.to_lowercase());
            strays.push(name);
        }
    }
    assert!(strays.len() > 60, "{strays:?}");
    let examples = [
        "OPENAI_CUSTOM_HEADERS",
        "PORTKEY_PROXY",
        "AWS_BEDROCK_BASE_URL",
        "MISTRAL_OTLP_TRACES_ENDPOINT",
        "MISTRAL_SDK_TELEMETRY",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_CREDENTIAL_EXPIRATION",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "AWS_REGION_NAME",
        "CLOUD_ML_REGION",
        "ANTHROPIC_IDENTITY_TOKEN",
        "ANTHROPIC_IDENTITY_TOKEN_FILE",
        "AWS_CREDENTIAL_FILE",
        "USE_LITELLM_PROXY",
        "gcloud_project",
        "google_application_credentials",
        "openai_api_key",
    ];
    strays.extend(examples.map(str::to_owned));
    let callers: Vec<(&str, &str)> = strays.iter().map(|name| (&**name, "stray")).collect();
    let variables = environment(&sandbox, &[], &callers);
    let remaining: Vec<_> = variables
        .iter()
        .filter(|(_, value)| *value == "stray")
        .collect();
    assert!(remaining.is_empty(), "{remaining:?}");
    assert_eq!(variables["OPENAI_API_KEY"], key);

    // The script unsets every variable that a shell can name.
    let mut command = sandbox.command(&["export-env", "acme"]);
    command.envs(callers.iter().copied());
    let script = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for name in strays.iter().filter(|name| !name.contains(':')) {
        let line = format!("unset {name}");
        let is_set = format!("export {name}=");
        assert!(
            script
                .lines()
                .any(|printed| printed == line || printed.starts_with(&is_set)),
            "{name}"
        );
    }
}

#[test]
fn variables_listed_in_keep_env_reach_the_command() {
    let (sandbox, _) = with("openai", &[]);
    let mut kept = Vec::new();
    for provider in providers(&sandbox) {
        for exception in provider["keep-env"].as_array().unwrap() {
            assert!(exception["reason"].as_str().unwrap().len() > 10);
            kept.push(exception["name"].as_str().unwrap().replace('*', "X"));
        }
    }
    assert!(kept.contains(&"AWS_CA_BUNDLE".to_owned()), "{kept:?}");
    let callers: Vec<(&str, &str)> = kept.iter().map(|name| (&**name, "kept")).collect();
    let variables = environment(&sandbox, &[], &callers);
    for name in &kept {
        assert_eq!(
            variables.get(name).map(String::as_str),
            Some("kept"),
            "{name}"
        );
    }
}

#[test]
fn clients_do_not_read_credentials_in_the_home_directory() {
    let (sandbox, _) = with("openai", &[]);
    let variables = environment(&sandbox, &[], &[]);
    for (name, value) in [
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("BOTO_CONFIG", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("CLOUDSDK_CONFIG", "/dev/null"),
        ("NO_GCE_CHECK", "true"),
        ("METADATA_SERVER_DETECTION", "none"),
        ("GCE_METADATA_HOST", "127.0.0.1:1"),
        ("ANTHROPIC_CONFIG_DIR", "/nonexistent"),
        ("LITELLM_MODE", "PRODUCTION"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
}

#[test]
fn a_custom_base_url_reaches_every_client_that_reads_one() {
    const PARAMETER: &str = "base_url=https://gateway.example/v1";
    let url = "https://gateway.example/v1";
    for (provider, names) in [
        ("openai", &["OPENAI_BASE_URL"][..]),
        ("anthropic", &["ANTHROPIC_BASE_URL"]),
        ("gemini", &["GOOGLE_GEMINI_BASE_URL"]),
        ("xai", &["XAI_API_BASE"]),
        ("deepseek", &["DEEPSEEK_API_BASE"]),
        (
            "mistral",
            &[
                "MISTRAL_API_BASE",
                "MISTRAL_AZURE_API_BASE",
                "MISTRAL_BASE_URL",
            ],
        ),
        (
            "perplexity",
            &["PERPLEXITY_BASE_URL", "PERPLEXITY_API_BASE"],
        ),
        ("portkey", &["PORTKEY_BASE_URL", "PORTKEY_PROXY"]),
        ("litellm", &["LITELLM_PROXY_API_BASE"]),
    ] {
        let (sandbox, _) = with(provider, &[PARAMETER]);
        let variables = environment(&sandbox, &[], &[]);
        for name in names {
            assert_eq!(variables[*name], url, "{name}");
        }
        let set = variables.values().filter(|value| *value == url).count();
        assert_eq!(set, names.len(), "{provider}: {variables:?}");
        if provider == "gemini" {
            assert_eq!(variables["GEMINI_API_BASE"], format!("{url}/v1beta"));
        }
    }
}

#[test]
fn the_endpoint_of_bedrock_reaches_every_client_in_the_form_that_it_reads() {
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    let key = sandbox.canary();
    let set = [
        "credential",
        "set",
        "acme",
        "bedrock",
        "--mode",
        "api-key",
        "--param",
        "region=eu-central-1",
        "--param",
        "endpoint=https://gateway.example",
    ];
    sandbox.entail_with(&set, &key).ok();
    let variables = environment(&sandbox, &[], &[]);
    for (name, value) in [
        ("AWS_BEARER_TOKEN_BEDROCK", &*key),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        (
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
            "https://gateway.example",
        ),
        ("AWS_ENDPOINT_URL_BEDROCK", "https://gateway.example"),
        ("AWS_BEDROCK_BASE_URL", "https://gateway.example/openai/v1"),
        ("ANTHROPIC_BEDROCK_BASE_URL", "https://gateway.example"),
        ("BEDROCK_MANTLE_API_BASE", "https://gateway.example/v1"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert!(
        !variables.contains_key("AWS_ENDPOINT_URL"),
        "STS would go there"
    );
}

const ACCOUNT: &str = r#"{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----\ncanaryofavertexkey0123456789ABCDEF\n-----END PRIVATE KEY-----\n"}"#;

#[test]
fn googles_clients_get_one_project_and_one_location() {
    let sandbox = Sandbox::new();
    sandbox.watch_for("canaryofavertexkey0123456789ABCDEF");
    sandbox.entail(&["init", "acme"]).ok();
    sandbox
        .entail_with(
            &[
                "credential",
                "set",
                "acme",
                "vertex-ai",
                "--param",
                "location=eu",
            ],
            ACCOUNT,
        )
        .ok();
    let variables = environment(&sandbox, &[], &[("GOOGLE_VERTEX_API_KEY", "stray")]);
    for (name, value) in [
        ("GOOGLE_CLOUD_PROJECT", "p1"),
        ("GOOGLE_CLOUD_LOCATION", "eu"),
        ("ANTHROPIC_VERTEX_PROJECT_ID", "p1"),
        ("CLOUD_ML_REGION", "eu"),
        ("GOOGLE_VERTEX_PROJECT", "p1"),
        ("GOOGLE_VERTEX_LOCATION", "eu"),
        ("VERTEXAI_PROJECT", "p1"),
        ("VERTEXAI_LOCATION", "eu"),
        ("GOOGLE_GENAI_USE_VERTEXAI", "true"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert!(!variables.contains_key("GOOGLE_VERTEX_API_KEY"));
    sandbox
        .lease(&["resolve", "acme", "vertex-ai"])
        .ok()
        .prints("https://aiplatform.eu.rep.googleapis.com");

    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "gemini"], &key)
        .ok();
    let variables = environment(&sandbox, &[], &[]);
    assert_eq!(variables["GEMINI_API_KEY"], key);
    assert_eq!(variables["GOOGLE_GENERATIVE_AI_API_KEY"], key);
    assert!(
        !variables.contains_key("GOOGLE_API_KEY"),
        "the client would warn"
    );
    assert!(!variables.contains_key("GOOGLE_GENAI_USE_VERTEXAI"));
    sandbox
        .entail(&["run", "acme", "--", "true"])
        .ok()
        .prints("GOOGLE_GENAI_USE_VERTEXAI is not set, because gemini is granted too");
}

#[test]
fn a_parameter_that_a_client_does_not_read_is_reported_with_the_client() {
    let base_url = "base_url=https://gateway.example/v1";
    for (provider, parameter, note) in [
        (
            "xai",
            base_url,
            "xai-sdk does not read base_url of xai from a variable; pass it as api_host",
        ),
        (
            "mistral",
            base_url,
            "mistralai does not read base_url of mistral from a variable; pass it as server_url",
        ),
        (
            "deepseek",
            base_url,
            "openai does not read base_url of deepseek from a variable",
        ),
        (
            "portkey",
            "config=pc-guard-1",
            "portkey-ai (Python) does not read config of portkey from a variable",
        ),
        (
            "portkey",
            "virtual_key=vk-1",
            "portkey-ai (Node) does not read virtual_key of portkey from a variable",
        ),
    ] {
        let (sandbox, _) = with(provider, &[parameter]);
        sandbox
            .entail(&["run", "acme", "--", "true"])
            .ok()
            .prints(note);
        sandbox.lease(&["export-env", "acme"]).ok().prints(note);
        let (sandbox, _) = with(provider, &[]);
        let ran = sandbox.entail(&["run", "acme", "--", "true"]).ok();
        assert_eq!(ran.stderr, "", "{provider}");
    }
}

#[test]
fn a_loopback_base_url_bypasses_the_proxy() {
    let (sandbox, _) = with("openai", &["base_url=http://127.0.0.1:4000/v1"]);
    let callers = [
        ("HTTPS_PROXY", "http://proxy.example"),
        ("no_proxy", "intranet.example"),
    ];
    let variables = environment(&sandbox, &[], &callers);
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(variables[name], "intranet.example,127.0.0.1", "{name}");
    }
    let (sandbox, _) = with("openai", &[]);
    let variables = environment(&sandbox, &[], &callers);
    assert_eq!(variables.get("NO_PROXY"), None);
    assert_eq!(variables["no_proxy"], "intranet.example");
}

#[test]
fn kept_variables_of_the_caller_reach_the_command() {
    let (sandbox, _) = with("openai", &[]);
    let callers = [
        ("AWS_PROFILE", "mine"),
        ("AWS_SECRET_ACCESS_KEY", "mine too"),
        ("GOOGLE_CLOUD_PROJECT", "p2"),
    ];
    let variables = environment(&sandbox, &["--keep", "AWS_PROFILE"], &callers);
    assert_eq!(variables["AWS_PROFILE"], "mine");
    assert!(!variables.contains_key("AWS_SECRET_ACCESS_KEY"));
    assert!(
        !variables.contains_key("AWS_CONFIG_FILE"),
        "the profile is in there"
    );

    let variables = environment(&sandbox, &["--keep-provider", "bedrock"], &callers);
    assert_eq!(variables["AWS_SECRET_ACCESS_KEY"], "mine too");
    assert!(!variables.contains_key("AWS_EC2_METADATA_DISABLED"));
    assert!(!variables.contains_key("GOOGLE_CLOUD_PROJECT"));
    assert_eq!(variables["CLOUDSDK_CONFIG"], "/dev/null");

    let options = ["--pristine", "--keep", "GOOGLE_CLOUD_PROJECT"];
    let variables = environment(&sandbox, &options, &callers);
    assert_eq!(variables["GOOGLE_CLOUD_PROJECT"], "p2");
    assert!(!variables.contains_key("PATH"));
}

#[test]
fn kept_variables_of_the_caller_are_recorded() {
    let (sandbox, _) = with("openai", &[]);
    let options = [
        "--keep",
        "AWS_PROFILE",
        "--keep-provider",
        "vertex-ai",
        "--provider",
        "openai",
    ];
    environment(&sandbox, &options, &[("AWS_PROFILE", "mine")]);
    let log = std::fs::read_to_string(sandbox.home().join("decisions.jsonl")).unwrap();
    let mut decisions = log.lines().filter(|line| line.contains("\"facts\""));
    let last: Value = serde_json::from_str(decisions.next_back().unwrap()).unwrap();
    let attributes = serde_json::to_string(&last["facts"]["request"]["attributes"]).unwrap();
    assert!(attributes.contains("entail:kept"), "{attributes}");
    assert!(attributes.contains("AWS_PROFILE,vertex-ai"), "{attributes}");
}

#[test]
fn an_invalid_variable_name_is_not_kept_recorded_or_repeated() {
    let (sandbox, _) = with("openai", &[]);
    let stray = sandbox.canary();
    for kept in [
        stray.clone(),
        format!("OPENAI_API_KEY={stray}"),
        "a".repeat(81),
    ] {
        let ran = sandbox.entail(&["run", "acme", "--keep", &kept, "--", "true"]);
        ran.fails(19).prints("--keep takes the name of a variable");
    }
}

#[test]
fn a_wildcard_no_proxy_of_the_caller_is_unchanged() {
    let (sandbox, _) = with("openai", &["base_url=http://127.0.0.1:4000/v1"]);
    let variables = environment(&sandbox, &[], &[("NO_PROXY", "*")]);
    assert_eq!(variables["NO_PROXY"], "*");
}

#[test]
fn variables_that_no_shell_can_unset_are_named() {
    let (sandbox, _) = with("portkey", &[]);
    let mut command = sandbox.command(&["export-env", "acme"]);
    command.env("https://api.portkey.ai/v1", "https://evil.example");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("no shell can unset the variable"),
        "{stderr}"
    );
}

#[test]
fn keep_is_refused_for_granted_variables() {
    let (sandbox, _) = with("openai", &[]);
    for (option, message) in [
        (
            ["--keep", "OPENAI_API_KEY"],
            "OPENAI_API_KEY is set by a granted credential",
        ),
        (["--keep-provider", "openai"], "openai is granted"),
    ] {
        let arguments = [&["run", "acme"], &option[..], &["--", "true"]].concat();
        sandbox.entail(&arguments).fails(19).prints(message);
    }
    sandbox
        .entail(&["run", "acme", "--keep", "MINE", "--", "true"])
        .ok()
        .prints("--keep MINE: no provider's clients read it");
}

#[test]
fn every_variable_of_a_provider_is_read_by_a_client() {
    let sandbox = Sandbox::new();
    for provider in providers(&sandbox) {
        for field in provider["field"].as_array().unwrap() {
            for variable in field["environment"].as_array().unwrap() {
                let readers = texts(&variable["read-by"]);
                assert!(!readers.is_empty(), "{variable}");
                assert!(
                    readers.iter().all(|reader| reader.contains(": ")),
                    "{variable}"
                );
            }
        }
    }
}

#[test]
fn every_command_that_needs_an_unknown_provider_names_it() {
    let (sandbox, _) = with("openai", &[]);
    let file = sandbox.home().join("providers.toml");
    std::fs::write(&file, INTERNAL).unwrap();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "internal"], &key)
        .ok();
    std::fs::remove_file(&file).unwrap();
    let message = "acme has a credential for internal, which is not a known provider";
    sandbox
        .entail(&["run", "acme", "--", "true"])
        .ok()
        .prints(message);
    sandbox.entail(&["status"]).ok().prints(message);
    sandbox.entail(&["verify"]).ok().prints(message);
    sandbox
        .entail(&["doctor"])
        .fails(18)
        .prints("the provider internal");
}

const INTERNAL: &str = r#"
    [[provider]]
    id = "internal"
    name = "Internal gateway"
    kind = "gateway"
    docs = "https://llm.example/docs"
    base-url = "https://llm.example/v1"
    hosts = ["llm.example"]
    unset-env = ["INTERNAL_*"]
    [[provider.field]]
    name = "api_key"
    label = "API key"
    secret = true
    environment = ["INTERNAL_LLM_KEY", { name = "INTERNAL_KEY", read-by = ["ours: client.py"] }]
    [[provider.mode]]
    name = "api-key"
    label = "API key"
    required = ["api_key"]
    authentication = { headers = { Authorization = "Bearer {api_key}" } }
"#;

#[test]
fn a_remedy_repeats_the_options_of_the_request() {
    let (sandbox, _) = with("openai", &[]);
    sandbox
        .entail(&["credential", "disable", "acme", "openai"])
        .ok();
    sandbox
        .entail(&[
            "run",
            "acme",
            "--provider",
            "openai",
            "--model",
            "gpt-5",
            "--attribute",
            "session=4711",
            "--",
            "true",
        ])
        .fails(10)
        .prints("entail credential enable acme openai");
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "xai"], &key)
        .ok();
    sandbox
        .entail(&["run", "acme", "--attribute", "session=4711", "--", "true"])
        .ok()
        .prints(
            "openai is refused: disabled; see: entail explain acme openai --attribute session=4711",
        );
}

#[test]
fn a_run_that_is_granted_nothing_names_every_refused_provider() {
    let (sandbox, _) = with("openai", &[]);
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "xai"], &key)
        .ok();
    for provider in ["openai", "xai"] {
        sandbox
            .entail(&["credential", "disable", "acme", provider])
            .ok();
    }
    sandbox
        .entail(&["run", "acme", "--", "true"])
        .fails(10)
        .prints("openai is refused: disabled")
        .prints("xai is refused: disabled");
}
