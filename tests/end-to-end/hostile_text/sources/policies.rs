//! Policies: their decisions, descriptions, schemas, settings, limits, imports and exports.

use std::fmt::Write as _;

use entail::policy::PolicyDigest;
use serde_json::json;

use super::{BUILT_IN, policy_inputs};
use crate::components::{Answer, Details, Finding, Scripted};
use crate::hostile_text::{Source, World, check_source, failing, row, template};

sources! {
    a_policy_that_refuses: "the refusal of a policy", refusing, [
        row(0, "audit show").exact().hidden(),
        row(0, "audit tail").hidden(),
        row(0, "audit tail --outcome closed-for-now").hidden(),
        row(10, "resolve acme openai"),
        row(10, "resolve acme openai --reveal --format shell"),
        row(0, "explain acme openai").exact(),
        row(0, "status").hidden(),
        row(10, "run acme --provider openai -- true"),
        row(10, "run acme -- true"),
        row(10, "export-env acme --provider openai"),
        row(10, "export-env acme"),
        row(0, "policy decide --policy {component} {facts}").exact(),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").exact(),
        row(0, "policy check {component}").hidden(),
        row(0, "policy list").hidden(),
        row(0, "policy show acme").hidden(),
        row(0, "policy show {digest}").hidden(),
        row(20, "policy diff {built-in}").hidden(),
        row(20, "policy replay {built-in}").hidden(),
        row(20, "policy activate acme built-in --dry-run").hidden(),
        row(20, "policy rollback acme --dry-run").hidden(),
        row(0, "policy shadow acme {digest} --dry-run").hidden(),
        row(0, "credential disable acme openai --dry-run").hidden(),
        row(0, "inherit acme/agents openai --dry-run").hidden(),
        row(0, "doctor").hidden(),
        row(0, "audit verify").hidden(),
    ];

    a_shadow_that_refuses: "the refusal of a shadow", shadowing, [
        row(0, "policy shadow acme").hidden(),
        row(0, "resolve acme openai").hidden(),
        row(0, "status").hidden(),
        row(0, "policy show acme").hidden(),
    ];

    a_policy_that_grants: "the grant of a policy", granting, [
        row(0, "audit show").exact().hidden(),
        row(0, "resolve acme openai").hidden(),
        row(0, "explain acme openai").exact(),
        row(0, "run acme --provider openai -- true").hidden(),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").exact(),
    ];

    a_grant_for_another_model: "the model of a grant", |world| {
        let text = world.text.clone();
        activate_policy(world, &grant(&template().credential, &[], Some(&text)));
    }, [
        row(0, "audit tail --outcome failed"),
        row(0, "audit tail"),
        row(0, "audit show"),
        row(13, "resolve acme openai"),
        row(13, "explain acme openai"),
        row(13, "status"),
        row(13, "run acme --provider openai -- true"),
        row(13, "run acme -- true"),
        row(13, "export-env acme"),
        row(13, "doctor"),
        row(20, "policy diff {built-in}"),
        row(20, "policy replay {built-in}"),
        row(20, "policy activate acme built-in --dry-run"),
        row(0, "policy decide --policy {component} {facts}").exact(),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").exact(),
    ];

    a_grant_of_an_unknown_credential: "the credential of a grant", |world| {
        let text = world.text.clone();
        activate_policy(world, &grant(&text, &[], None));
    }, [
        row(0, "audit tail"),
        row(13, "resolve acme openai"),
        row(13, "explain acme openai"),
        row(13, "status"),
        row(13, "run acme -- true"),
        row(13, "export-env acme --provider openai"),
        row(13, "doctor"),
        row(20, "policy diff {built-in}"),
        row(20, "policy replay {built-in}"),
        row(20, "policy rollback acme --dry-run"),
        row(0, "policy decide --policy {component} {facts}").exact(),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").exact(),
    ];

    an_alternate_that_is_unknown: "the alternate of a grant", |world| {
        let text = world.text.clone();
        activate_policy(world, &grant(&template().credential, &[&text], None));
    }, [
        row(0, "audit tail"),
        row(13, "resolve acme openai"),
        row(13, "explain acme openai"),
        row(13, "status").hidden(),
        row(20, "policy diff {built-in}"),
        row(0, "policy decide --policy {component} {facts}").exact(),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").exact(),
    ];

    a_refusal_with_an_invalid_code: "the code of a refusal", |world| {
        let text = world.text.clone();
        activate_policy(world, &Scripted::refusing(&text, ""));
    }, [
        row(0, "audit tail"),
        row(12, "resolve acme openai"),
        row(12, "explain acme openai"),
        row(12, "status"),
        row(12, "run acme -- true"),
        row(12, "export-env acme"),
        row(12, "doctor"),
        row(20, "policy diff {built-in}"),
        row(20, "policy replay {built-in}"),
        row(12, "policy decide --policy {component} {facts}"),
        row(1, "policy test {component} --vectors {vectors} --junit {report}"),
        row(12, "policy check {component}"),
    ];

    a_finding_with_an_invalid_code: "the code of a finding", |world| {
        let mut policy = grant(&template().credential, &[], None);
        let text = world.text.clone();
        details_of(&mut policy).trail.push(Finding {
            credential: template().credential.clone(),
            code: text,
            attributes: Vec::new(),
        });
        activate_policy(world, &policy);
    }, [
        row(12, "resolve acme openai"),
        row(12, "explain acme openai"),
        row(12, "status"),
        row(12, "policy decide --policy {component} {facts}"),
        row(12, "policy check {component}"),
    ];

    a_policy_that_reports_invalid_facts: "the problem of a policy with facts", |world| {
        let text = world.text.clone();
        activate_policy(world, &Scripted::answering(Answer::InvalidFacts(text)));
    }, [
        row(0, "audit tail"),
        row(0, "audit show"),
        row(12, "resolve acme openai"),
        row(12, "explain acme openai"),
        row(12, "status"),
        row(12, "run acme -- true"),
        row(12, "export-env acme"),
        row(12, "doctor"),
        row(20, "policy diff {built-in}"),
        row(20, "policy replay {built-in}"),
        row(12, "policy decide --policy {component} {facts}"),
        row(1, "policy test {component} --vectors {vectors} --junit {report}").hidden(),
        row(0, "policy check {component}").hidden(),
    ];

    a_policy_that_cannot_decide: "why a policy cannot decide", |world| {
        let text = world.text.clone();
        activate_policy(world, &Scripted::answering(Answer::Other(text)));
    }, [
        row(0, "audit tail"),
        row(12, "resolve acme openai"),
        row(12, "explain acme openai"),
        row(12, "status"),
        row(12, "run acme --provider openai -- true"),
        row(12, "doctor"),
        row(20, "policy diff {built-in}"),
        row(12, "policy decide --policy {component} {facts}"),
    ];

    a_policy_with_a_name: "the name of a policy", |world| {
        let name = world.text.clone();
        write_policy(world, &Scripted { name, ..Scripted::refusing("closed", "") });
    }, [
        row(12, "policy check {component}").hidden().alone(),
        row(12, "policy install {component}").hidden().alone(),
        row(12, "policy install {component} --dry-run").hidden().alone(),
        row(12, "policy diff {component}").hidden().alone(),
        row(12, "policy decide --policy {component} {facts}").hidden().alone(),
        row(12, "policy test {component} --vectors {vectors}").hidden().alone(),
    ];

    a_policy_with_a_version: "the version of a policy", |world| {
        let version = world.text.clone();
        write_policy(world, &Scripted { version, ..Scripted::refusing("closed", "") });
    }, [
        row(12, "policy check {component}").hidden().alone(),
        row(12, "policy install {component}").hidden().alone(),
    ];

    a_policy_with_a_summary: "the summary of a policy", |world| {
        let summary = world.text.clone();
        write_policy(world, &Scripted { summary, ..Scripted::refusing("closed", "") });
    }, [
        row(12, "policy check {component}").hidden().alone(),
        row(12, "policy install {component}").hidden().alone(),
    ];

    a_policy_with_a_schema: "the schema of a policy", |world| {
        world.truncate(4_000);
        let text = world.text.clone();
        let schema = json!({
            "type": "object", "title": text, "additionalProperties": false,
            "properties": {text: {"type": "integer"}},
        });
        let schema = schema.to_string();
        install_policy(world, &Scripted { schema, ..Scripted::refusing("closed", "") });
        let exported = world.sandbox.path("exported.wasm");
        world.set("exported", exported);
        world.file("settings", "settings.json", json!({"other": 1}).to_string());
    }, [
        row(0, "policy show {digest}").exact(),
        row(0, "policy show {digest} --wit").hidden(),
        row(0, "policy export {digest} --output {exported}").hidden(),
        row(0, "policy list").exact().hidden(),
        row(0, "policy check {component}").exact().hidden(),
        row(0, "policy install {component} --dry-run").exact().hidden(),
        row(19, "policy activate acme {digest} --settings {settings}"),
        row(19, "policy activate acme {digest} --settings {settings} --dry-run"),
        row(19, "policy shadow acme {digest} --settings {settings}"),
        row(19, "policy diff {component} --settings {settings}"),
        row(19, "policy replay {component} --settings {settings}"),
        row(1, "policy test {component} --settings {settings} --vectors {vectors} --junit {report}"),
    ];

    a_policy_with_an_invalid_schema: "an invalid schema", |world| {
        let schema = world.text.clone();
        write_policy(world, &Scripted { schema, ..Scripted::refusing("closed", "") });
    }, [
        row(12, "policy check {component}").hidden(),
        row(12, "policy install {component}").hidden(),
    ];

    a_policy_with_problems: "the problems of a policy with settings", |world| {
        let problem = (world.text.clone(), world.text.clone());
        let policy = Scripted {
            problems: vec![problem.clone(), problem],
            ..Scripted::refusing("closed", "")
        };
        install_policy(world, &policy);
    }, [
        row(19, "policy activate acme {digest}"),
        row(19, "policy activate acme {digest} --dry-run"),
        row(19, "policy shadow acme {digest}"),
        row(19, "policy shadow acme {digest} --dry-run"),
        row(19, "policy diff {component}"),
        row(19, "policy replay {component}"),
        row(1, "policy test {component} --vectors {vectors} --junit {report}"),
    ];

    settings_of_a_policy: "the members of settings", |world| {
        let text = world.text.clone();
        world.file("settings", "settings.json", json!({text: 1}).to_string());
        world.file("list", "list.json", json!([world.text.as_str()]).to_string());
        world.file("string", "string.json", json!(world.text).to_string());
        world.file("text-file", "text.json", world.text.clone());
        policy_inputs(world);
    }, [
        row(19, "policy activate acme built-in --settings {settings}"),
        row(19, "policy activate acme built-in --settings {settings} --dry-run"),
        row(19, "policy shadow acme built-in --settings {settings}"),
        row(19, "policy diff {built-in} --settings {settings}"),
        row(19, "policy replay {built-in} --settings {settings}"),
        row(1, "policy test {built-in} --settings {settings} --vectors {vectors} --junit {report}"),
        row(19, "policy diff {built-in} --settings {list}").hidden(),
        row(19, "policy diff {built-in} --settings {string}"),
        row(19, "policy diff {built-in} --settings {text-file}").hidden(),
        // The same files as limits.
        row(19, "policy check {built-in} --limits {settings}"),
        row(19, "policy check {built-in} --limits {string}"),
        row(19, "policy install {built-in} --limits {settings}"),
        row(19, "policy test {built-in} --limits {settings} --vectors {vectors}"),
        row(19, "policy activate acme built-in --limits {settings}"),
        row(19, "policy diff {built-in} --limits {settings}"),
    ];

    limits_beside_a_policy: "the members of limits.json", |world| {
        let text = world.text.clone();
        let component = std::fs::read(BUILT_IN).unwrap();
        world.file("", "policy/policy.wasm", component);
        world.file("", "policy/limits.json", json!({text: 1}).to_string());
        let directory = world.sandbox.path("policy");
        world.set("directory", directory);
    }, [
        row(19, "policy check {directory}"),
        row(19, "policy install {directory}"),
        row(19, "policy diff {directory}"),
        row(19, "policy replay {directory}"),
        row(19, "policy test {directory}"),
    ];

    imports_of_a_component: "the name of an import", |world| {
        let name = world.text.clone();
        let component = named_component("import", &name);
        world.file("component", "component.wasm", component);
        policy_inputs(world);
    }, [
        row(12, "policy check {component}"),
        row(12, "policy check {component} --over built-in"),
        row(12, "policy install {component}"),
        failing("policy install {component} --over built-in"),
        row(12, "policy diff {component}"),
        row(12, "policy decide --policy {component} {facts}"),
        row(12, "policy test {component} --vectors {vectors}"),
    ];

    exports_of_a_component: "the name of an export", |world| {
        let name = world.text.clone();
        let component = named_component("export", &name);
        world.file("component", "component.wasm", component);
        policy_inputs(world);
    }, [
        row(12, "policy check {component}"),
        row(12, "policy install {component}"),
        row(12, "policy replay {component}"),
    ];

    addresses_that_a_component_imports: "the address of an import", |world| {
        let name: String = world.text.chars().filter(|c| !matches!(c, '<' | '>')).collect();
        let component = named_component("import", &format!("url=<{name}>"));
        world.file("component", "component.wasm", component);
        policy_inputs(world);
    }, [
        row(12, "policy check {component}"),
        row(12, "policy install {component}"),
        row(12, "policy diff {component}"),
    ];
}

/// Writes a policy to a file.
fn write_policy(world: &mut World, policy: &Scripted) {
    let component = policy.component();
    let digest = PolicyDigest::of(&component).to_string();
    world.file("component", "component.wasm", component);
    world.set("digest", digest);
    policy_inputs(world);
}

/// Installs a policy.
fn install_policy(world: &mut World, policy: &Scripted) {
    write_policy(world, policy);
    let component = world.sandbox.path("component.wasm");
    let install = ["policy", "install", component.to_str().unwrap()];
    world.sandbox.entail(&install).ok();
}

/// Activates a policy for `acme`. Its trial call succeeds.
fn activate_policy(world: &mut World, policy: &Scripted) {
    let mut policy = policy.clone();
    policy.is_well_behaved_on_trial = true;
    install_policy(world, &policy);
    let digest = world.values["digest"].to_str().unwrap().to_owned();
    let activate = ["policy", "activate", "acme", &digest];
    world.sandbox.entail(&activate).ok();
    // A record for replays.
    let resolve = ["resolve", "acme", "openai"];
    world.sandbox.entail(&resolve);
}

fn grant(credential: &str, alternates: &[&str], model: Option<&str>) -> Scripted {
    Scripted::answering(Answer::Granted {
        credential: credential.to_owned(),
        alternates: alternates.iter().map(|id| (*id).to_owned()).collect(),
        model: model.map(str::to_owned),
        details: Details::default(),
    })
}

fn details_of(policy: &mut Scripted) -> &mut Details {
    match &mut policy.answer {
        Answer::Granted { details, .. } | Answer::Refused { details, .. } => details,
        Answer::InvalidFacts(_) | Answer::Other(_) => panic!("no decision"),
    }
}

/// Adds a trail and attributes to a decision about the credential of `acme`.
fn with_details(world: &World, mut policy: Scripted) -> Scripted {
    let text = || world.text.clone();
    let pair = || vec![(text(), text())];
    let finding = |credential: &str| Finding {
        credential: credential.to_owned(),
        code: "chosen".to_owned(),
        attributes: pair(),
    };
    *details_of(&mut policy) = Details {
        trail: vec![finding(&template().credential), finding(&text())],
        attributes: pair(),
    };
    policy
}

fn refusing(world: &mut World) {
    let policy = Scripted::refusing("closed-for-now", &world.text);
    let policy = with_details(world, policy);
    activate_policy(world, &policy);
}

fn granting(world: &mut World) {
    let policy = with_details(world, grant(&template().credential, &[], None));
    activate_policy(world, &policy);
}

fn shadowing(world: &mut World) {
    let policy = Scripted::refusing("closed-for-now", &world.text);
    let policy = with_details(world, policy);
    install_policy(world, &policy);
    let digest = world.values["digest"].to_str().unwrap().to_owned();
    world
        .sandbox
        .entail(&["policy", "shadow", "acme", &digest])
        .ok();
    // A request for the shadow to decide.
    world.sandbox.entail(&["resolve", "acme", "openai"]).ok();
}

/// A component that imports or exports something of that name.
fn named_component(way: &str, name: &str) -> Vec<u8> {
    let text = name.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    });
    let what = match way {
        "import" => format!(r#"(component (import "{text}" (instance)))"#),
        _ => format!(r#"(component (instance $i) (export "{text}" (instance $i)))"#),
    };
    wat::parse_str(what).unwrap()
}
