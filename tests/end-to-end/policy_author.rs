//! The steps of a policy author: create, build, check and test a policy, and find out what is
//! wrong with it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use entail::policy::PolicyDigest;
use serde_json::{Value, json};

use crate::components::{CONTRACT, closed, trapping};
use crate::sandbox::{RunOutput, Sandbox};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn default_policy() -> Vec<u8> {
    std::fs::read(workspace().join("guest/default/default-policy.wasm")).unwrap()
}

impl Sandbox {
    fn check(&self, bytes: impl AsRef<[u8]>) -> RunOutput {
        let file = self.file("policy.wasm", bytes);
        self.entail(&["policy", "check", &file])
    }

    /// Runs a command that needs the tools of a language, and thus the environment.
    fn with_tools(&self, arguments: &[&str], directory: &Path) -> RunOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entail"));
        command
            .args(arguments)
            .current_dir(directory)
            .env("ENTAIL_HOME", self.home())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("CARGO_TARGET_DIR", tools("rust"));
        self.run(command, "")
    }
}

/// The directory that keeps the tools and compiled files of a language between runs of the
/// tests.
fn tools(language: &str) -> PathBuf {
    let directory = workspace().join("target/interop/policies").join(language);
    std::fs::create_dir_all(&directory).unwrap();
    directory.canonicalize().unwrap()
}

/// Creates a new project in the directory of its tools, and takes every step of its author.
fn a_new_policy_builds_and_passes(language: &str) {
    let sandbox = Sandbox::new();
    let created = sandbox.path("my-policy");
    sandbox
        .entail(&[
            "policy",
            "new",
            "--lang",
            language,
            created.to_str().unwrap(),
        ])
        .ok()
        .prints("entail policy build");
    let project = tools(language).join("my-policy");
    copy(&created, &project);
    sandbox.with_tools(&["policy", "build"], &project).ok();
    let checked = sandbox
        .with_tools(&["policy", "check", "--json"], &project)
        .ok()
        .json();
    assert_eq!(checked["admitted"], true);
    assert_eq!(checked["name"], "my-policy");
    assert_eq!(checked["contract"], "0.2.0");
    assert_eq!(checked["schema"]["type"], "object");
    let component = std::fs::read(project.join("my-policy.wasm")).unwrap();
    let contains = |text: &[u8]| component.windows(text.len()).any(|bytes| bytes == text);
    assert!(
        contains(b"\x07version0.1.0"),
        "the component contains no version"
    );
    sandbox
        .with_tools(&["policy", "test"], &project)
        .ok()
        .prints(" passed, 0 failed");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_new_policy_in_rust_builds_and_passes() {
    a_new_policy_builds_and_passes("rust");
}

#[test]
fn a_new_policy_in_javascript_builds_and_passes() {
    a_new_policy_builds_and_passes("js");
}

#[test]
fn a_new_policy_in_python_builds_and_passes() {
    a_new_policy_builds_and_passes("python");
}

#[test]
fn a_new_policy_does_not_overwrite_an_existing_path() {
    let sandbox = Sandbox::new();
    let new = |name: &str| {
        let directory = sandbox.path(name);
        sandbox.entail(&[
            "policy",
            "new",
            "--lang",
            "rust",
            directory.to_str().unwrap(),
        ])
    };
    sandbox.file("existing/notes.txt", "mine");
    new("existing").fails(19).prints("not empty");
    new("My-Policy").fails(19).prints("lower-case");
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    new("empty").ok();
    assert!(sandbox.path("empty/Cargo.toml").is_file());
    assert!(sandbox.path("empty/.gitignore").is_file());
    assert_eq!(
        std::fs::read_to_string(sandbox.path("empty/wit/policy.wit")).unwrap(),
        CONTRACT
    );
}

#[test]
fn a_directory_without_a_project_cannot_be_built() {
    let sandbox = Sandbox::new();
    sandbox.file("none/notes.txt", "");
    let directory = sandbox.path("none");
    let directory = directory.to_str().unwrap();
    sandbox
        .entail(&["policy", "build", directory])
        .fails(1)
        .prints("no Cargo.toml");
    sandbox
        .entail(&["policy", "check", directory])
        .fails(19)
        .prints("entail policy build");
}

#[test]
fn check_shows_the_limits_of_a_valid_component() {
    let sandbox = Sandbox::new();
    sandbox
        .check(default_policy())
        .ok()
        .prints("0.2.0")
        .prints("imports    none")
        .prints("can be installed");
}

#[test]
fn files_that_are_not_components_get_distinct_errors() {
    let sandbox = Sandbox::new();
    let module = wat::parse_str("(module)").unwrap();
    sandbox
        .check(module)
        .fails(12)
        .prints("policy build --module");
    sandbox.check("(component)").fails(12).prints("as text");
    sandbox
        .check("no component")
        .fails(12)
        .prints("binary form");
    sandbox.check("").fails(12).prints("empty");
    sandbox
        .entail(&["policy", "check", "nowhere.wasm"])
        .fails(1)
        .prints("nowhere.wasm");
}

#[test]
fn a_forbidden_import_is_named_with_a_remedy() {
    let sandbox = Sandbox::new();
    let importing = |import: &str, producer: &str| {
        let text = format!(
            r#"(component (import "{import}" (instance)) (@custom "producers" "{producer}"))"#
        );
        wat::parse_str(text).unwrap()
    };
    let clock = "wasi:clocks/wall-clock@0.2.6";
    for (producer, remedy) in [
        ("rustc", "wasm32-unknown-unknown"),
        ("componentize-qjs", "--backend-qjs-stub-wasi"),
        ("libcomponentize_py_runtime.so", "--stub-wasi"),
        ("another", "wasi-virt"),
    ] {
        sandbox
            .check(importing(clock, producer))
            .fails(12)
            .prints(clock)
            .prints(remedy);
    }
    sandbox
        .check(importing("acme:directory/people", "rustc"))
        .fails(12)
        .prints("acme:directory/people")
        .prints("arrives in the request");
}

#[test]
fn a_layer_is_composed_with_another_policy() {
    let sandbox = Sandbox::new();
    let layer = trapping("layer", "", "");
    sandbox
        .check(&layer)
        .fails(12)
        .prints("it is a layer")
        .prints("--over");
    // The composed policy has no imports. It is refused because it traps.
    let file = sandbox.file("layer.wasm", layer);
    sandbox
        .entail(&["policy", "check", &file, "--over", "built-in"])
        .fails(12)
        .prints("trapped");
    let file = sandbox.file("policy.wasm", default_policy());
    sandbox
        .entail(&["policy", "check", &file, "--over", "built-in"])
        .fails(12)
        .prints("the layer imports nothing");
}

#[test]
fn an_export_that_is_missing_or_differs_is_named() {
    let sandbox = Sandbox::new();
    let check = |from: &str, to: &str| sandbox.check(trapping("policy", from, to)).fails(12);
    check(
        "export about;\n}\n\n/// A policy that calls",
        "}\n\n/// A policy that calls",
    )
    .prints("entail:policy/about@0.2.0 is not exported");
    check("    settings: string,\n", "")
        .prints("resolver.decide → request.settings: expected string, found nothing")
        .prints("entail policy new");
    check("priority: u32", "priority: u8").prints("credentials[].priority: expected u32, found u8");
    check("package entail:policy@0.2.0", "package entail:policy@0.9.0")
        .prints("entail:policy/resolver@0.9.0 is exported; the supported versions are 0.2.0");
    // The JSON lists several problems at once.
    let file = sandbox.file("two.wasm", trapping("policy", "u64", "s64"));
    let report = sandbox
        .entail(&["policy", "check", &file, "--json"])
        .fails(12)
        .json();
    assert_eq!(report["admitted"], false);
    assert_eq!(report["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn a_policy_that_traps_is_reported() {
    Sandbox::new()
        .check(trapping("policy", "", ""))
        .fails(12)
        .prints("its trial call failed")
        .prints("panic");
}

#[test]
fn a_limit_that_is_too_low_is_reported_with_a_sufficient_value() {
    let sandbox = Sandbox::new();
    let policy = sandbox.file("policy.wasm", default_policy());
    let check_with = |limits: &Value, more: &[&str]| {
        let limits = sandbox.file("limits.json", limits.to_string());
        let check = ["policy", "check", &policy, "--limits", &limits];
        sandbox.entail(&[&check, more].concat())
    };
    let check = |limits: &Value| check_with(limits, &["--find-limits"]);
    check(&json!({"memory_bytes": 65_536}))
        .fails(12)
        .prints("bytes of memory, and 65536 are allowed")
        .prints("{\"memory_bytes\":");
    check(&json!({"component_bytes": 1_000, "memory_bytes": 65_536}))
        .fails(12)
        .prints("\"component_bytes\":")
        .prints("\"memory_bytes\":");
    check(&json!({"instances": 100_000}))
        .fails(12)
        .prints("{\"instances\":1000}");
    check(&json!({"memory": 1}))
        .fails(19)
        .prints("unknown field `memory`");
    check(&json!({"memory_bytes": 8 << 20})).ok();
    // Higher limits are tried only with `--find-limits`.
    for limits in [
        json!({"memory_bytes": 65_536}),
        json!({"component_bytes": 1_000}),
        json!({"compile_memory_bytes": 1 << 20}),
    ] {
        let ran = check_with(&limits, &[]).fails(12).prints("--find-limits");
        assert!(!ran.stderr.contains("_bytes\":"), "{}", ran.stderr);
    }
    check(&json!({"compile_memory_bytes": 1 << 20}))
        .fails(12)
        .prints("{\"compile_memory_bytes\":2147483648}");
}

/// Writes an OCI image layout with one component in it. Returns its directory and the
/// component's file.
fn layout(sandbox: &Sandbox, component: &[u8]) -> (String, PathBuf) {
    let directory = sandbox.path("layout");
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = PolicyDigest::of(bytes).to_string();
        let digits = digest.strip_prefix("sha256:").unwrap();
        sandbox.file(&format!("layout/blobs/sha256/{digits}"), bytes);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let config = blob(
        "application/vnd.wasm.config.v0+json",
        br#"{"architecture": "wasm", "os": "wasip2"}"#,
    );
    let layer = blob("application/wasm", component);
    let digits = layer["digest"].as_str().unwrap().replace("sha256:", "");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
    });
    let mut manifest = blob(kind, manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "1.0.0"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    sandbox.file("layout/index.json", index.to_string());
    sandbox.file("layout/oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
    let file = directory.join("blobs/sha256").join(digits);
    (directory.to_str().unwrap().to_owned(), file)
}

#[test]
fn a_component_is_read_from_an_oci_layout() {
    let sandbox = Sandbox::new();
    let (directory, file) = layout(&sandbox, &default_policy());
    let digest = PolicyDigest::of(&default_policy()).to_string();
    for source in [directory.clone(), format!("{directory}#1.0.0")] {
        let checked = sandbox
            .entail(&["policy", "check", &source, "--json"])
            .ok()
            .json();
        assert_eq!(checked["digest"], digest.as_str());
    }
    sandbox
        .entail(&["policy", "check", &format!("{directory}#2.0.0")])
        .fails(19)
        .prints("#1.0.0");
    // One bit is flipped.
    let mut bytes = default_policy();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    sandbox
        .entail(&["policy", "check", &directory])
        .fails(19)
        .prints("has been changed");
}

/// Vectors for the built-in policy, the second of which fails.
fn vectors() -> Value {
    let facts = json!({
        "request": {"provider": "openai", "now_ms": 1},
        "chain": [{"path": "acme", "credentials": [{"id": "a<b>", "name": "default"}]}],
    });
    json!([
        {
            "name": "the only one is granted",
            "facts": facts,
            "decision": {
                "granted": {"credential": "a<b>"},
                "trail": [{"credential": "a<b>", "code": "chosen"}],
            },
        },
        {
            "name": "nothing is granted & <nobody> knows why",
            "facts": facts,
            "decision": {
                "refused": {"code": "no-credential"},
                "trail": [{"credential": "a<b>", "code": "expired"}],
            },
        },
        {
            "name": "an empty chain",
            "facts": {"request": {"provider": "openai", "now_ms": 1}, "chain": []},
            "error": "invalid-facts",
        },
    ])
}

#[test]
fn the_built_in_policy_passes_its_vectors() {
    let sandbox = Sandbox::new();
    let policy = sandbox.file("policy.wasm", default_policy());
    let vectors = workspace().join("tests/vectors");
    sandbox
        .entail(&[
            "policy",
            "test",
            &policy,
            "--vectors",
            vectors.to_str().unwrap(),
        ])
        .ok()
        .prints("rule-1-reachable.json: ")
        .prints(" passed, 0 failed");
}

#[test]
fn a_failing_vector_shows_the_difference() {
    let sandbox = Sandbox::new();
    sandbox.file("policy/default.wasm", default_policy());
    sandbox.file("policy/vectors/rules.json", vectors().to_string());
    let directory = sandbox.path("policy");
    let report = sandbox.path("report.xml");
    sandbox
        .entail(&[
            "policy",
            "test",
            directory.to_str().unwrap(),
            "--junit",
            report.to_str().unwrap(),
        ])
        .fails(1)
        .prints("rules.json: 2 passed, 1 failed")
        .prints("nothing is granted & <nobody> knows why")
        .prints("- refused no-credential")
        .prints("+ granted a<b>")
        .prints("- trail a<b>: expired")
        .prints("+ trail a<b>: chosen")
        .prints("1 of 3 vectors failed");
    let report = std::fs::read(report).unwrap();
    let report = quick_junit::Report::deserialize(report.as_slice()).unwrap();
    assert_eq!((report.tests, report.failures), (3, 1));
    let case = &report.test_suites[0].test_cases[1];
    assert_eq!(
        case.name.as_str(),
        "nothing is granted & <nobody> knows why"
    );
    let results = sandbox
        .entail(&["policy", "test", directory.to_str().unwrap(), "--json"])
        .fails(1)
        .json();
    assert_eq!(results[0]["passed"], 2);
    assert_eq!(
        results[0]["failed"][0]["expected"]["refused"]["code"],
        "no-credential"
    );
    assert_eq!(
        results[0]["failed"][0]["actual"]["granted"]["credential"],
        "a<b>"
    );
}

#[test]
fn an_invalid_vector_is_not_a_failure_of_the_policy() {
    let sandbox = Sandbox::new();
    sandbox.file("policy/default.wasm", default_policy());
    let directory = sandbox.path("policy");
    let test = || sandbox.entail(&["policy", "test", directory.to_str().unwrap()]);
    test().fails(19).prints("--vectors DIR");
    sandbox.file("policy/vectors/notes.txt", "none");
    test().fails(19).prints("no vectors");
    let mut flawed = vectors();
    flawed[2]["facts"]["request"]["now"] = json!(1);
    sandbox.file("policy/vectors/rules.json", flawed.to_string());
    test()
        .fails(19)
        .prints("rules.json")
        .prints("\"an empty chain\"")
        .prints("unknown field `now`");
    let mut flawed = vectors();
    flawed[2]["facts"]["request"]["attributes"] = json!({"entail:region": "eu"});
    sandbox.file("policy/vectors/rules.json", flawed.to_string());
    test()
        .fails(19)
        .prints("entail:region")
        .prints("reserved for the host");
    let mut flawed = vectors();
    flawed[0]["settings"] = json!({"models": []});
    flawed.as_array_mut().unwrap().truncate(1);
    sandbox.file("policy/vectors/rules.json", flawed.to_string());
    test().fails(1).prints("does not take these settings");
}

/// A JavaScript project whose compiler copies a prebuilt component, and fails if the file
/// `broken` exists.
fn quick_project(sandbox: &Sandbox) -> PathBuf {
    const COMPILER: &str = "#!/bin/sh
        test -e broken && exit 1
        while test \"$1\" != --out; do shift; done
        cp prebuilt \"$2\"
    ";
    sandbox.file("mine/package.json", r#"{"main": "src/main.js"}"#);
    sandbox.file("mine/src/main.js", "one");
    sandbox.file("mine/prebuilt", default_policy());
    let vectors = std::fs::read(workspace().join("tests/vectors/rule-2-effective-model.json"));
    sandbox.file("mine/vectors/rules.json", vectors.unwrap());
    let compiler = sandbox.file("mine/node_modules/.bin/jco", COMPILER);
    std::fs::set_permissions(compiler, Permissions::from_mode(0o755)).unwrap();
    sandbox.path("mine")
}

#[test]
fn a_test_never_passes_on_a_component_built_from_other_sources() {
    let sandbox = Sandbox::new();
    let project = quick_project(&sandbox);
    let project = project.to_str().unwrap();
    let build = || sandbox.entail(&["policy", "build", project]);
    let test = || sandbox.entail(&["policy", "test", project]);
    build().ok();
    test().ok().prints(" passed, 0 failed");
    // The component is older than its sources, whatever the modification times are.
    sandbox.file("mine/src/main.js", "two");
    let remedy = format!("entail policy build {project}");
    test()
        .fails(19)
        .prints(
            "default.wasm was not built from the current sources: src/main.js has changed since",
        )
        .prints(&remedy);
    // It cannot be checked either.
    sandbox
        .entail(&["policy", "check", project])
        .fails(19)
        .prints("src/main.js has changed since");
    // A component left over from a failed build is refused, even with the original sources.
    sandbox.file("mine/broken", "");
    build().fails(1).prints("jco failed");
    std::fs::remove_file(sandbox.path("mine/broken")).unwrap();
    sandbox.file("mine/src/main.js", "one");
    test()
        .fails(19)
        .prints("the last build failed")
        .prints(&remedy);
    build().ok();
    test().ok();
    // Another file has replaced the component.
    let component = sandbox.path("mine/default.wasm");
    std::fs::write(&component, closed()).unwrap();
    test()
        .fails(19)
        .prints("the file is not the component that was built");
    build().ok();
    // A component without a build record is tested if it is named, with a warning.
    std::fs::remove_file(sandbox.path("mine/.entail-build.json")).unwrap();
    let component = component.to_str().unwrap();
    sandbox
        .entail(&["policy", "test", component])
        .ok()
        .prints("it is unknown whether");
    test().fails(19).prints(&format!(
        "to test it anyway: entail policy test {component}"
    ));
    // `build --check` also records that the component matches the sources.
    sandbox
        .entail(&["policy", "build", project, "--check", component])
        .ok();
    test().ok();
}

#[test]
fn a_component_is_compiled_once_for_building_testing_checking_and_installing_it() {
    let sandbox = Sandbox::new();
    let project = quick_project(&sandbox);
    let project = project.to_str().unwrap();
    let compiled = || {
        let checked = sandbox.entail(&["policy", "check", project, "--json"]);
        checked.ok().json()["compiled"].as_bool().unwrap()
    };
    // Without a home, the compiled component is in the cache of the user.
    sandbox.entail(&["policy", "build", project]).ok();
    assert!(!compiled());
    sandbox.entail(&["policy", "test", project]).ok();
    // A home has its own cache.
    sandbox.entail(&["init", "acme"]).ok();
    assert!(compiled());
    assert!(!compiled());
    sandbox.entail(&["policy", "install", project]).ok();
    assert!(!compiled());
}

#[test]
fn a_wasm_bindgen_module_is_reported_with_the_crates_that_need_it() {
    let sandbox = Sandbox::new();
    let module = r#"(module
        (import "__wbindgen_placeholder__" "__wbg_getRandomValues_1c61fac1" (func))
        (import "__wbindgen_placeholder__" "__wbg_getTimezoneOffset_6b57" (func)))"#;
    let module = sandbox.file("mine.wasm", wat::parse_str(module).unwrap());
    sandbox
        .entail(&["policy", "build", "--module", &module])
        .fails(1)
        .prints("it needs wasm-bindgen")
        .prints("getrandom with its feature js")
        .prints("chrono with its feature wasmbind")
        .prints("__wbg_getRandomValues_1c61fac1");
}

/// The files below a directory, sorted, as relative paths with their contents.
fn files_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            let below = files_below(&path).into_iter();
            files.extend(below.map(|(file, bytes)| (name.join(file), bytes)));
        } else {
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn an_exported_policy_is_installed_with_the_same_digest() {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let export = |arguments: &[&str]| sandbox.entail(&[&["policy", "export"], arguments].concat());
    // The built-in policy needs no home.
    let file = path("default.wasm");
    export(&["built-in", "--output", &file])
        .ok()
        .prints("default 0.1.0");
    assert_eq!(std::fs::read(&file).unwrap(), default_policy());
    // Exporting again succeeds; a file with other contents is not overwritten.
    export(&["built-in", "--output", &file]).ok();
    let existing = sandbox.file("existing.wasm", "mine");
    export(&["built-in", "--output", &existing])
        .fails(19)
        .prints("has other contents");
    let digest = PolicyDigest::of(&default_policy()).to_string();
    let (one, two) = (path("one"), path("two"));
    let exported = export(&["built-in", "--oci", &one, "--json"]).ok().json();
    assert_eq!(exported["digest"], digest.as_str());
    export(&["built-in", "--oci", &two]).ok();
    assert_eq!(files_below(Path::new(&one)), files_below(Path::new(&two)));
    // An installed policy is exported in the same way.
    sandbox.entail(&["init", "acme"]).ok();
    let balance = workspace().join("guest/balance/balance.wasm");
    let balance = balance.to_str().unwrap();
    let installed = sandbox
        .entail(&["policy", "install", balance, "--json"])
        .ok();
    let layout = path("balance");
    let exported = export(&["balance", "--oci", &layout, "--json"]).ok().json();
    assert_eq!(exported["digest"], installed.json()["component"]);
    sandbox.entail(&["policy", "remove", "balance"]).ok();
    let manifest = exported["manifest"].as_str().unwrap();
    let again = format!("{layout}@{manifest}");
    let again = sandbox
        .entail(&["policy", "install", &again, "--json"])
        .ok();
    assert_eq!(again.json()["component"], exported["digest"]);
    export(&["nobody"]).fails(19);
}

#[test]
fn the_interface_of_a_policy_is_printed_as_wit() {
    let sandbox = Sandbox::new();
    let show = |which: &str, more: &[&str]| {
        let show = ["policy", "show", which, "--wit"];
        sandbox.entail(&[&show, more].concat())
    };
    show("built-in", &[])
        .ok()
        .prints("export entail:policy/resolver@0.2.0;")
        .prints("expires-at-ms: option<u64>");
    let layer = sandbox.file("layer.wasm", trapping("layer", "", ""));
    let interface = show(&layer, &["--json"]).ok().json();
    assert_eq!(interface["imports"][0], "entail:policy/resolver@0.2.0");
    sandbox.entail(&["init", "acme"]).ok();
    show("acme", &[]).ok().prints("decide: func(");
    let text = sandbox.file("text.wasm", "no component");
    show(&text, &[]).fails(12).prints("cannot be read");
}

#[test]
fn decide_reports_errors_with_the_codes_of_the_vectors() {
    let sandbox = Sandbox::new();
    let facts = r#"{"request":{"provider":"openai","now_ms":1},"chain":[]}"#;
    let ran = sandbox
        .entail_with(&["policy", "decide"], &format!("{facts}\nnone\n"))
        .fails(12);
    let codes: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["error"]["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["invalid-facts", "malformed-facts"]);
}

#[test]
fn install_reports_whether_the_policy_takes_settings() {
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    let balance = workspace().join("guest/balance/balance.wasm");
    sandbox
        .entail(&["policy", "install", balance.to_str().unwrap()])
        .ok()
        .prints("next: entail policy activate ORG")
        .prints("[--settings FILE]");
}

#[test]
fn errors_of_decide_and_remove_name_the_thing_the_rule_and_the_remedy() {
    let (sandbox, _) = Sandbox::with_acme();
    let facts = r#"{"request":{"provider":"openai","now_ms":1},"chain":[{"path":"acme"}]}"#;
    let short = facts.replace(r#"{"path":"acme"}"#, "");
    for (line, code) in [("none", 19), ("{}", 19), (&*short, 12)] {
        sandbox
            .entail_with(&["policy", "decide"], &format!("{facts}\n{line}\n"))
            .fails(code)
            .prints("standard input, line 2: ")
            .prints("try: to see facts");
    }
    let file = sandbox.file("policy.wasm", "no component");
    sandbox
        .entail_with(&["policy", "decide", "--policy", &file], facts)
        .fails(12)
        .prints(&format!("error: {file}: the policy is not admitted"))
        .prints(&format!("try: entail policy check {file}"));

    let balance = workspace().join("guest/balance/balance.wasm");
    let balance = balance.to_str().unwrap();
    sandbox.entail(&["policy", "install", balance]).ok();
    for (start, stop, rule) in [
        (
            &["policy", "activate", "acme", "balance"][..],
            &["policy", "activate", "acme", "built-in"][..],
            "is the active policy of acme",
        ),
        (
            &["policy", "shadow", "acme", "balance"],
            &["policy", "shadow", "acme", "--off"],
            "is the shadow policy of acme",
        ),
    ] {
        sandbox.entail(start).ok();
        let remedy = stop[..3].join(" ");
        sandbox
            .entail(&["policy", "remove", "balance"])
            .fails(19)
            .prints("balance (")
            .prints(rule)
            .prints(&format!("try: entail {remedy}"));
        sandbox.entail(stop).ok();
    }
    sandbox
        .entail(&["policy", "remove", "built-in"])
        .fails(19)
        .prints("part of the program")
        .prints("try: entail policy list");
    sandbox.entail(&["policy", "remove", "balance"]).ok();
}
