//! The table: where foreign text comes from, and every command whose output it reaches.
//!
//! A new command is a row of the sources that it reads. In a row, `{text}` is the text
//! itself, `{fresh}` a path at which nothing exists, and any other name a value that the
//! source has set.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail::policy::PolicyDigest;
use entail_text::is_plain;
use serde_json::{Value, json};

use super::corpus::file_name;
use super::{Source, World, check_source, failing, row, template};
use crate::components::{Answer, Details, Finding, Scripted};

pub const BUILT_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/default/default-policy.wasm"
);

macro_rules! sources {
    ($($test:ident: $name:literal, $prepare:expr, [$($row:expr),* $(,)?];)*) => {
        pub const SOURCES: &[Source] = &[$(Source {
            name: $name,
            prepare: $prepare,
            rows: &[$($row),*],
        }),*];

        $(
            #[test]
            fn $test() {
                check_source(SOURCES.iter().find(|source| source.name == $name).unwrap());
            }
        )*
    };
}

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

    a_table_of_the_database: "the name of a table", |world| {
        world.sql(&format!("CREATE TABLE {} (x)", world.quoted()));
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    an_index_of_the_database: "the name of an index", |world| {
        world.sql(&format!("CREATE INDEX {} ON documents (signer)", world.quoted()));
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    a_trigger_of_the_database: "the name of a trigger", |world| {
        world.sql(&format!(
            "CREATE TRIGGER {} AFTER INSERT ON blobs BEGIN SELECT 1; END", world.quoted()
        ));
    }, [
        failing("init beta"),
        failing("project add acme/new"),
        failing("project list"),
        failing("project remove acme/evals"),
        failing("credential set acme openai"),
        failing("credential rotate acme openai"),
        failing("credential rollback acme openai"),
        failing("credential list acme"),
        failing("credential show acme openai"),
        failing("credential disable acme openai"),
        failing("credential enable acme openai"),
        failing("credential remove acme openai"),
        failing("credential restore acme openai"),
        failing("inherit acme/evals"),
        failing("model acme openai gpt-5"),
        failing("resolve acme openai"),
        failing("explain acme openai"),
        failing("run acme -- true"),
        failing("export-env acme"),
        failing("status"),
        failing("policy install {built-in}"),
        failing("policy diff {built-in}"),
        failing("policy list"),
        failing("policy show"),
        failing("policy activate acme built-in"),
        failing("policy rollback acme"),
        failing("policy shadow acme"),
        failing("policy remove closed"),
        failing("key list"),
        failing("key rotate identity"),
        failing("key rotate signer"),
        failing("key add-recipient --recovery {fresh}"),
        failing("key remove-recipient first"),
        failing("key reseal"),
        failing("verify"),
        failing("backup {fresh}"),
        failing("doctor"),
    ];

    a_document_of_the_database: "the name of a document", |world| {
        let name = world.text.clone();
        world.insert("documents", &["scope", &name, "x", "y", "nobody"]);
    }, [
        failing("verify"),
        failing("doctor"),
        failing("status").hidden(),
        failing("project list").hidden(),
    ];

    a_project_of_the_database: "the name of a project below another", |world| {
        let name = format!("acme/evals/{}", world.text);
        world.insert("documents", &["scope", &name, "x", "y", "nobody"]);
    }, [
        failing("verify"),
        failing("project remove acme/evals"),
        failing("project remove acme/evals --dry-run").hidden(),
        failing("project list acme").hidden(),
        failing("status acme/evals").hidden(),
    ];

    a_kind_of_the_database: "the kind of a document", |world| {
        let kind = world.text.clone();
        world.insert("documents", &[&kind, "acme", "x", "y", "nobody"]);
    }, [
        failing("verify"),
        failing("doctor"),
    ];

    a_blob_of_the_database: "the name of a blob", |world| {
        world.insert_bytes("blobs");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    a_node_of_the_database: "the key of a tree node", |world| {
        world.insert_bytes("tree");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    a_signer_of_the_database: "the signer of a document", |world| {
        world.update("UPDATE documents SET signer = ?1 WHERE name = 'acme'");
    }, [
        failing("verify").hidden(),
        failing("resolve acme openai").hidden(),
        failing("status").hidden(),
    ];

    an_entry_of_the_journal: "a journal entry", |world| {
        world.update("UPDATE journal SET payload = CAST(?1 AS BLOB), signer = ?1 WHERE revision = 3");
    }, [
        failing("verify").hidden(),
        failing("doctor").hidden(),
    ];

    a_line_of_the_log: "a line of the decision log", forged_log, [
        row(0, "audit tail"),
        row(0, "audit tail -n 2"),
        row(0, "audit show").exact(),
        row(15, "audit verify"),
        row(0, "audit tail --principal {text}"),
        failing("policy replay {built-in}"),
        failing("doctor").hidden(),
        row(14, "audit archive --to elsewhere").hidden(),
    ];

    a_line_of_the_shadow_log: "a line of a shadow's log", forged_shadow_log, [
        row(0, "policy shadow acme").exact(),
    ];

    an_image_layout: "an image layout", |world| {
        let text = world.text.clone();
        layout(world, "tags", |layout| {
            for manifest in layout["manifests"].as_array_mut().unwrap() {
                manifest["annotations"] = json!({
                    "org.opencontainers.image.ref.name": text,
                    "org.opencontainers.image.title": text,
                });
            }
        });
        layout(world, "types", |layout| {
            layout["manifests"] = json!([layout["manifests"][0]]);
            layout["manifests"][0]["mediaType"] = json!(text);
        });
        layout(world, "digests", |layout| {
            layout["manifests"] = json!([layout["manifests"][0]]);
            layout["manifests"][0]["digest"] = json!(text);
        });
        layout(world, "members", |layout| {
            layout["manifests"] = json!(text);
        });
        layout(world, "version", |_| {});
        let version = json!({"imageLayoutVersion": text}).to_string();
        world.file("", "version/oci-layout", version);
        policy_inputs(world);
    }, [
        row(19, "policy check {tags}"),
        row(19, "policy check {types}"),
        row(19, "policy check {digests}"),
        row(19, "policy check {members}"),
        row(19, "policy check {version}"),
        row(19, "policy install {tags}"),
        row(19, "policy install {types}"),
        row(19, "policy diff {tags}"),
        row(19, "policy replay {digests}"),
        row(19, "policy test {version} --vectors {vectors}"),
        row(19, "policy check {built-in} --over {tags}"),
    ];

    names_of_files: "the names of files", files, [
        row(0, "policy check {component}"),
        row(0, "policy install {component} --dry-run").hidden(),
        row(0, "policy install {component}").hidden(),
        row(0, "policy show {digest}"),
        row(12, "policy check {no-component}"),
        row(12, "policy install {no-component}"),
        row(12, "policy diff {no-component}"),
        row(19, "policy check {directory}"),
        row(19, "policy check {empty}"),
        row(1, "policy check {missing}"),
        row(1, "policy check {built-in} --over {missing}"),
        row(1, "policy check {built-in} --limits {missing}"),
        row(1, "policy diff {built-in} --settings {missing}"),
        row(1, "policy test {component} --vectors {vectors-directory} --junit {report}"),
        row(1, "policy test {component} --vectors {missing}"),
        row(19, "policy test {component} --vectors {empty}"),
        row(1, "policy test {component} --vectors {vectors} --junit {below-a-file}"),
        row(1, "policy decide {missing}"),
        row(1, "policy decide --policy {missing} {facts}"),
        row(19, "policy decide {no-component}"),
        row(19, "policy activate acme {component}").hidden(),
        row(1, "policy build {empty}"),
        row(1, "policy build --module {missing}"),
        row(1, "policy build --module {component}"),
        row(19, "policy new --lang rust {fresh}"),
        row(19, "policy show {empty} --wit").hidden(),
        row(0, "policy export built-in --output {fresh}"),
        row(0, "policy export built-in --oci {fresh}"),
        row(19, "policy export built-in --output {no-component}"),
        row(0, "backup {fresh}"),
        row(19, "backup {no-component}"),
        failing("restore {missing} --accept-rollback"),
        failing("restore {no-component} --accept-rollback"),
        row(1, "restore {backup} --accept-rollback --recovery {missing}"),
        row(1, "restore {missing} --recovery {missing} --home {fresh}"),
        row(1, "credential set acme xai --from-file {missing}"),
        row(16, "key add-recipient --recovery {no-component}"),
        row(16, "key add-recipient --recovery {below-a-file} --dry-run"),
        row(0, "key add-recipient --recovery {fresh}"),
        row(0, "init acme --home {fresh}"),
        row(0, "init acme --home {fresh} --dry-run"),
        row(1, "init acme --passphrase --home {fresh} --passphrase-file {missing}"),
        row(14, "status --home {missing}"),
        row(14, "status --home {no-component}"),
        row(127, "run acme -- {missing}"),
        row(126, "run acme -- {no-component}"),
    ];

    the_directory_of_the_home: "the name of the home", |world| {
        moved_home(world);
        policy_inputs(world);
    }, [
        row(0, "doctor"),
        row(19, "init beta --passphrase"),
        row(19, "init acme").hidden(),
        row(0, "init beta --dry-run").hidden(),
        row(0, "status").hidden(),
        row(0, "run acme -- true").hidden(),
        row(0, "audit verify").hidden(),
        row(19, "audit accept-loss --reason known").hidden(),
        row(0, "verify").hidden(),
        row(0, "policy diff {built-in}").hidden(),
    ];

    a_home_that_others_can_use: "the name of a home that others can use", |world| {
        let home = moved_home(world);
        std::fs::set_permissions(home, Permissions::from_mode(0o755)).unwrap();
        policy_inputs(world);
    }, [
        row(14, "init beta"),
        row(14, "project add acme/new"),
        row(14, "project list"),
        row(14, "project remove acme/evals"),
        row(14, "credential set acme openai"),
        row(14, "credential rotate acme openai"),
        row(14, "credential rollback acme openai"),
        row(14, "credential list acme"),
        row(14, "credential show acme openai"),
        row(14, "credential disable acme openai"),
        row(14, "credential enable acme openai"),
        row(14, "credential remove acme openai"),
        row(14, "credential restore acme openai"),
        row(14, "inherit acme/evals"),
        row(14, "model acme openai gpt-5"),
        row(14, "resolve acme openai"),
        row(14, "explain acme openai"),
        row(14, "run acme -- true"),
        row(14, "export-env acme"),
        row(14, "status"),
        row(14, "providers"),
        row(14, "policy replay {built-in}"),
        row(14, "policy diff {built-in}"),
        row(14, "policy install {built-in}"),
        row(14, "policy list"),
        row(14, "policy show"),
        row(14, "policy activate acme built-in"),
        row(14, "policy rollback acme"),
        row(14, "policy shadow acme"),
        row(14, "policy remove closed"),
        row(14, "key list"),
        row(14, "key rotate identity"),
        row(14, "key rotate signer"),
        row(14, "key add-recipient --recovery {fresh}"),
        row(14, "key remove-recipient first"),
        row(14, "key reseal"),
        row(14, "audit tail"),
        row(14, "audit show"),
        row(14, "audit verify"),
        row(14, "verify"),
        row(14, "backup {fresh}"),
        row(14, "restore --accept-rollback"),
        row(14, "doctor"),
    ];

    a_home_whose_identity_others_can_use: "the name of a key that others can use", |world| {
        let home = moved_home(world);
        let identity = home.join("keys/identity.txt");
        std::fs::set_permissions(identity, Permissions::from_mode(0o644)).unwrap();
    }, [
        row(16, "resolve acme openai"),
        row(16, "status"),
        row(16, "doctor"),
        row(16, "key list"),
        row(16, "verify"),
    ];

    a_home_without_a_database: "the name of a missing database", |world| {
        let home = moved_home(world);
        std::fs::remove_file(home.join("entail.db")).unwrap();
    }, [
        row(14, "resolve acme openai"),
        row(14, "status"),
        row(14, "doctor"),
    ];

    invalid_key_files: "the contents of key files", |world| {
        let home = world.sandbox.home();
        let text = world.text.clone();
        for name in ["identity.txt", "signer.pem", "verifier.pem"] {
            std::fs::write(home.join("keys").join(name), &text).unwrap();
        }
    }, [
        row(16, "resolve acme openai").hidden(),
        row(16, "status").hidden(),
        row(16, "key list").hidden(),
        row(16, "verify").hidden(),
        row(16, "doctor").hidden(),
    ];

    an_invalid_anchor: "the contents of the anchor", |world| {
        let home = world.sandbox.home();
        std::fs::write(home.join("anchor.json"), &world.text).unwrap();
    }, [
        row(15, "status").hidden(),
        row(15, "doctor").hidden(),
    ];

    an_invalid_recovery_key: "the contents of a recovery key", |world| {
        let text = format!("# verifier: {}\n", world.text);
        world.file("recovery", "recovery.txt", text);
        world.file("backup", "backup.db", "none");
    }, [
        row(19, "restore {backup} --recovery {recovery} --home {fresh}").hidden(),
        failing("restore {backup} --recovery {recovery} --accept-rollback").hidden(),
    ];

    the_label_of_a_recipient: "the label of a recipient", |world| {
        // The text is also an argument, which cannot contain NUL.
        world.text = world.text.replace('\0', "");
        let recovery = world.sandbox.path("recovery.txt");
        let recovery = recovery.to_str().unwrap();
        let add = ["key", "add-recipient", "--recovery", recovery, "--label", &world.text];
        let added = world.sandbox.entail(&add).ok();
        assert!(added.stderr.chars().all(|c| is_plain(c) || c == '\n'));
    }, [
        row(0, "key list").exact(),
        row(0, "key remove-recipient {text} --dry-run").hidden(),
        failing("key remove-recipient {text}-"),
        row(0, "verify").hidden(),
        row(0, "doctor").hidden(),
    ];

    a_member_of_the_settings_file: "a member of settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("{} = 1\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "init beta"),
        row(19, "status"),
        row(19, "resolve acme openai"),
        row(19, "explain acme openai"),
        row(19, "run acme -- true"),
        row(19, "export-env acme"),
        row(19, "project list"),
        row(19, "credential list acme"),
        row(19, "policy list"),
        row(19, "key list"),
        row(19, "verify"),
        row(19, "backup {fresh}"),
        row(19, "doctor"),
    ];

    the_secondary_log: "the secondary log in settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("[decision-log]\nsecondary = {}\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status"),
        row(19, "resolve acme openai"),
        row(19, "doctor"),
    ];

    a_secondary_log_that_does_not_exist: "a secondary log that does not exist", |world| {
        let file = format!("/nowhere/{}", file_name(&world.text));
        let text = format!("[decision-log]\nsecondary = {}\n", toml(&file));
        world.in_home("settings.toml", &text);
    }, [
        failing("status"),
        failing("resolve acme openai"),
        failing("doctor"),
    ];

    a_value_of_the_settings_file: "a value in settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("[decision-log]\nrequire = {}\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status"),
        row(19, "resolve acme openai"),
    ];

    an_invalid_settings_file: "an invalid settings.toml", |world| {
        world.truncate(4_000);
        let text = world.text.replace('\0', "");
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status").hidden(),
        row(19, "resolve acme openai").hidden(),
    ];

    the_texts_of_a_provider: "the texts of a provider", |world| {
        world.truncate(4_000);
        let words = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { shown: &words, ..Words::default() }));
        world.input = b"canary-of-nobody-0000".to_vec();
    }, [
        row(0, "providers").exact(),
        row(0, "providers local").exact(),
        row(0, "credential set acme local --stdin --grace 0").hidden(),
        row(0, "credential show acme local").hidden(),
        row(0, "credential rotate acme local").hidden(),
        row(19, "credential set acme local --mode nothing").hidden(),
        row(19, "credential set acme local --param note=").hidden(),
        row(0, "status").hidden(),
        row(0, "resolve acme local").hidden(),
        row(0, "export-env acme --provider local").hidden(),
    ];

    modes_of_a_provider: "the names of a provider's modes and fields", |world| {
        world.truncate(4_000);
        let names = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { names: &names, ..Words::default() }));
    }, [
        row(19, "providers local"),
        row(19, "credential set acme local"),
        row(19, "resolve acme local"),
    ];

    a_duplicate_field_of_a_provider: "a duplicate field of a provider", |world| {
        let name = toml(&world.text);
        let text = provider(&Words::default()) + &field(&name) + &field(&name);
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "status"),
        row(19, "doctor"),
        row(19, "resolve acme openai"),
    ];

    a_variable_of_a_provider: "the variable of a provider", |world| {
        let variables = toml(&world.text);
        let text = provider(&Words { variables: &variables, ..Words::default() });
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "run acme -- true"),
    ];

    the_id_of_a_provider: "the id of a provider", |world| {
        let id = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { id: &id, ..Words::default() }));
    }, [
        row(19, "providers"),
        row(19, "status"),
    ];

    the_base_url_of_a_provider: "the base URL of a provider", |world| {
        let url = toml(&world.text);
        world.in_home("providers.toml", &provider(&Words { url: &url, ..Words::default() }));
    }, [
        row(19, "providers"),
        row(19, "status"),
    ];

    a_member_of_a_provider: "a member of providers.toml", |world| {
        let text = format!("{} = 1\n", toml(&world.text));
        world.in_home("providers.toml", &text);
    }, [
        row(19, "providers"),
        row(19, "status"),
        row(19, "doctor"),
    ];

    names_of_vectors: "the names of vectors", |world| {
        let decision = json!({"refused": {"code": "expired"}, "trail": [
            {"credential": world.text, "code": "expired", "attributes": {world.text.as_str(): world.text}},
        ], "attributes": {world.text.as_str(): world.text}});
        world.vectors("vectors", &json!([
            {"name": world.text, "facts": facts(), "decision": decision},
            {"name": world.text, "facts": facts(), "error": "other"},
            {"name": world.text, "facts": facts(), "error": "other", "settings": {world.text.as_str(): 1}},
        ]));
        policy_inputs(world);
    }, [
        row(1, "policy test {built-in} --vectors {vectors} --junit {report}").exact(),
    ];

    flaws_of_vectors: "the flaws of vectors", |world| {
        let text = world.text.clone();
        let text = text.as_str();
        let decision = json!({"refused": {"code": "expired"}, "trail": []});
        let mut vector = json!({"name": text, "facts": facts(), "decision": decision});
        world.vectors("both", &json!([with(&vector, "/error", json!("other"))]));
        world.vectors("member", &json!([with(&vector, &format!("/{}", escaped(text)), json!(1))]));
        world.vectors("code", &json!([with(&vector, "/decision/refused/code", json!(text))]));
        world.vectors("error", &json!([{"name": "a", "facts": facts(), "error": text}]));
        vector["facts"]["request"]["now_ms"] = json!(text);
        world.vectors("number", &json!([vector]));
        world.vectors("list", &json!(text));
    }, [
        row(19, "policy test {built-in} --vectors {both}"),
        row(19, "policy test {built-in} --vectors {member}"),
        row(19, "policy test {built-in} --vectors {code}"),
        row(19, "policy test {built-in} --vectors {error}"),
        row(19, "policy test {built-in} --vectors {number}"),
        row(19, "policy test {built-in} --vectors {list}"),
    ];

    foreign_facts: "foreign facts", |world| {
        // A slash would separate segments of the path.
        world.text = world.text.replace('/', "");
        let mut facts = facts();
        facts["chain"][0]["path"] = json!(world.text);
        facts["request"]["provider"] = json!(world.text);
        facts["chain"][0]["credentials"][0]["id"] = json!(world.text);
        world.file("facts", "facts.jsonl", format!("{facts}\n"));
        let mut unknown = self::facts();
        unknown["chain"][0][world.text.as_str()] = json!(1);
        world.file("unknown", "unknown.jsonl", format!("{unknown}\n"));
        world.input = unknown.to_string().into_bytes();
    }, [
        row(0, "policy decide {facts}").exact(),
        row(19, "policy decide {unknown}"),
        row(19, "policy decide"),
    ];

    arguments: "an argument", |_| {}, [
        row(2, "{text}"),
        row(2, "--{text}"),
        row(2, "-{text}").hidden(),
        row(2, "status {text}"),
        row(2, "status acme {text}"),
        row(2, "status --{text}"),
        row(2, "init {text}"),
        row(2, "help {text}"),
        row(2, "use {text}"),
        row(1, "import {text} --dry-run"),
        row(2, "import --org {text}"),
        row(2, "import --provider {text}"),
        row(2, "project {text}"),
        row(2, "project add {text}"),
        row(2, "project list {text}"),
        row(2, "project remove {text}"),
        row(2, "credential {text}"),
        row(2, "credential set {text} openai"),
        row(2, "credential set acme {text}"),
        row(2, "credential set acme openai --name {text}"),
        row(2, "credential set acme openai --priority {text}"),
        row(19, "credential set acme openai --keep-secret --models {text}"),
        row(19, "credential set acme openai --keep-secret --share {text}"),
        row(19, "credential set acme openai --keep-secret --expires {text}"),
        row(19, "credential set acme openai --mode {text}"),
        row(19, "credential set acme openai --param {text}").hidden(),
        row(19, "credential set acme openai --keep-secret --param {text}=1"),
        row(19, "credential set acme openai --keep-secret --param base_url={text}").hidden(),
        row(19, "credential set acme openai --from-env {text}"),
        row(19, "credential set acme openai --from-env {text}=X"),
        failing("credential set acme openai --from-file {text}"),
        row(19, "credential rotate acme openai --from-env X --grace {text}").hidden(),
        row(19, "credential rollback acme openai --grace {text}"),
        row(2, "credential rotate {text} openai"),
        row(2, "credential rollback acme {text}"),
        row(2, "credential list {text}"),
        row(2, "credential show {text} openai"),
        row(2, "credential disable acme {text}"),
        row(2, "credential enable acme openai --name {text}"),
        row(2, "credential remove acme {text}"),
        row(19, "credential remove acme openai --grace {text}"),
        row(2, "credential restore acme {text}"),
        row(2, "inherit {text}"),
        row(2, "inherit acme/evals {text}"),
        row(2, "model acme openai {text}"),
        row(2, "model {text} openai"),
        row(2, "resolve {text} openai"),
        row(2, "resolve acme {text}"),
        row(2, "resolve acme openai --model {text}"),
        row(2, "resolve acme openai --name {text}"),
        row(2, "resolve acme openai --format {text}"),
        row(19, "resolve acme openai --attribute {text}"),
        row(19, "resolve acme openai --attribute {text}=1"),
        row(19, "resolve acme openai --attribute a={text}"),
        row(19, "explain acme openai --attribute {text}"),
        row(2, "explain {text} openai"),
        row(2, "run {text} -- true"),
        row(2, "run acme --provider {text} -- true"),
        row(19, "run acme --attribute {text} -- true"),
        failing("run acme -- {text}"),
        row(2, "export-env {text}"),
        row(19, "export-env acme --attribute a={text}"),
        row(2, "providers {text}"),
        row(2, "policy {text}"),
        row(2, "policy new --lang {text} directory"),
        row(19, "policy new --lang rust {text}"),
        failing("policy build {text}"),
        failing("policy check {text}"),
        failing("policy test {text}"),
        failing("policy decide {text}"),
        failing("policy replay {text}"),
        failing("policy diff {text}"),
        row(2, "policy diff {built-in} --organization {text}"),
        failing("policy install {text}"),
        row(19, "policy install {built-in} --over {text}"),
        row(19, "policy show {text}"),
        row(19, "policy activate acme {text}"),
        row(2, "policy activate {text} built-in"),
        row(2, "policy activate acme built-in --isolation {text}"),
        row(2, "policy rollback {text}"),
        row(2, "policy shadow {text}"),
        row(19, "policy shadow acme {text}"),
        row(19, "policy remove {text}"),
        row(2, "key {text}"),
        row(2, "key rotate {text}"),
        row(2, "key list {text}"),
        row(2, "key reseal {text}"),
        row(19, "key add-recipient {text}").hidden(),
        row(19, "key remove-recipient {text}"),
        row(2, "audit {text}"),
        row(2, "audit tail -n {text}"),
        row(2, "audit tail --scope {text}"),
        row(2, "audit tail --provider {text}"),
        row(0, "audit tail --principal {text}").hidden(),
        row(19, "audit tail --outcome {text}"),
        row(19, "audit show --since {text}"),
        row(19, "audit show --until {text}"),
        row(2, "audit verify {text}"),
        row(2, "verify {text}"),
        row(2, "backup --{text}"),
        row(2, "backup a {text}"),
        row(2, "restore a {text}"),
        row(19, "restore a --accept-rollback --verifier {text}"),
        row(2, "doctor {text}"),
        row(2, "dev {text}"),
        row(2, "dev {text}"),
        row(2, "completions {text}"),
        row(2, "--identity-fd {text} status"),
        row(2, "--identity-fd={text} status"),
        row(14, "--home {text} status"),
    ];

    a_variable_with_a_number: "a variable that should be a number", |world| {
        world.variable("ENTAIL_IDENTITY_FD");
    }, [
        row(2, "status"),
        row(2, "resolve acme openai"),
        row(2, "doctor"),
    ];

    a_variable_with_the_home: "the variable of the home", |world| {
        world.variable("ENTAIL_HOME");
    }, [
        row(14, "status"),
        row(14, "doctor"),
        row(14, "policy list"),
    ];

    a_variable_with_a_passphrase_file: "the variable of the passphrase", |world| {
        world.variable("ENTAIL_PASSPHRASE_FILE");
    }, [
        failing("init acme --passphrase --home {fresh}"),
    ];

    a_variable_with_the_data_directory: "the variable of the data directory", |world| {
        let directory = world.sandbox.path(&file_name(&world.text));
        world.environment.insert("XDG_DATA_HOME", Some(directory.into()));
        world.environment.insert("ENTAIL_HOME", None);
    }, [
        row(14, "status"),
        row(0, "init beta --dry-run"),
    ];

    a_variable_with_credentials: "the variable of systemd's credentials", |world| {
        let directory = file_name(&world.text);
        world.file("", &format!("{directory}/entail-identity"), "none");
        let directory = world.sandbox.path(&directory);
        world.environment.insert("CREDENTIALS_DIRECTORY", Some(directory.into()));
    }, [
        row(16, "status").hidden(),
        row(16, "key list").hidden(),
    ];

    a_variable_with_a_scope: "the variable of the scope", |world| {
        world.variable("ENTAIL_SCOPE");
    }, [
        row(19, "use"),
        row(19, "run -- true"),
        row(19, "resolve openai"),
        row(19, "explain openai"),
        row(19, "export-env"),
        row(19, "status"),
    ];

    the_directory_of_an_import: "the name of a directory to import", |world| {
        let directory = file_name(&world.text);
        let contents = "OPENAI_API_KEY=not-a-real-key-0000-1234\nset -e\n";
        world.file("", &format!("{directory}/.env"), contents);
        let directory = world.sandbox.path(&directory);
        world.set("directory", directory.to_str().unwrap());
    }, [
        row(0, "import {directory} --dry-run"),
        row(0, "import {directory} --map {directory}=acme/new --yes"),
        row(19, "import {directory} --map {directory}/none=acme/new --yes"),
    ];

    the_contents_of_an_import: "the contents of a file to import", |world| {
        let contents = format!("{}\nXAI_API_KEY='{}'\n", world.text, world.text.replace('\'', ""));
        world.file("file", "app/keys.env", contents);
    }, [
        row(0, "import {file} --dry-run").hidden().alone(),
    ];

    a_variable_with_the_temporary_directory: "the variable of the temporary directory", |world| {
        let directory = world.sandbox.path(&file_name(&world.text));
        std::fs::create_dir(&directory).unwrap();
        world.environment.insert("TMPDIR", Some(directory.into()));
    }, [
        row(0, "dev"),
    ];

    a_variable_with_a_key: "the variable of a key", |world| {
        world.variable("XAI_API_KEY");
    }, [
        row(19, "credential set acme xai --from-env").hidden(),
        row(19, "credential set acme xai --from-env XAI_API_KEY").hidden(),
        row(0, "dev").hidden(),
    ];

    invalid_facts: "invalid facts", |world| {
        // Each line is parsed separately.
        let text = world.text.replace('\n', " ");
        world.input = text.clone().into_bytes();
        world.file("file", "file", text);
    }, [
        row(19, "policy decide").hidden(),
        row(19, "policy decide {file}").hidden(),
    ];

    standard_input: "standard input", |world| {
        world.input = world.text.clone().into_bytes();
        let text = world.text.clone();
        world.file("file", "file", text);
    }, [
        row(19, "credential set acme xai").hidden(),
        row(19, "credential rotate acme openai").hidden(),
        row(19, "credential set acme xai --from-file {file}").hidden(),
        row(19, "credential set acme vertex-ai").hidden(),
        row(12, "policy decide --policy {file}").hidden(),
        row(12, "policy check {file}").hidden(),
        row(12, "policy install {file}").hidden(),
    ];
}

impl World {
    fn set(&mut self, name: &'static str, value: impl Into<std::ffi::OsString>) {
        self.values.insert(name, value.into());
    }

    /// Writes a file, and sets `name` to its path.
    fn file(&mut self, name: &'static str, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.sandbox.file(path, contents);
        self.set(name, path);
    }

    /// Puts the text into an environment variable.
    fn variable(&mut self, name: &'static str) {
        let value = self.text.replace('\0', "");
        self.environment.insert(name, Some(value.into()));
    }

    /// Truncates the text where a longer one would be refused.
    fn truncate(&mut self, most: usize) {
        self.text = self.text.chars().take(most).collect();
    }

    /// Writes a file with mode 600 in the home.
    pub fn in_home(&self, name: &str, text: &str) {
        let file = self.sandbox.home().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes a file of vectors into a new directory.
    fn vectors(&mut self, name: &'static str, vectors: &Value) {
        self.sandbox
            .file(&format!("{name}/vectors.json"), vectors.to_string());
        let directory = self.sandbox.path(name);
        self.set(name, directory);
    }

    fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.sandbox.database()).unwrap()
    }

    fn sql(&self, statement: &str) {
        self.connection().execute_batch(statement).unwrap();
    }

    /// The text as a quoted name in SQL, without NUL.
    fn quoted(&self) -> String {
        let text = self.text.replace('\0', "").replace('"', "\"\"");
        format!("\"{text}\"")
    }

    fn insert(&self, table: &str, [kind, name, payload, signature, signer]: &[&str; 5]) {
        let inserted = self.connection().execute(
            &format!(
                "INSERT INTO {table} VALUES (?1, ?2, 1, CAST(?3 AS BLOB), CAST(?4 AS BLOB), ?5)"
            ),
            [kind, name, payload, signature, signer],
        );
        assert_eq!(inserted.unwrap(), 1);
    }

    /// Inserts a row whose key is the bytes of the text.
    fn insert_bytes(&self, table: &str) {
        let inserted = self.connection().execute(
            &format!("INSERT INTO {table} VALUES (CAST(?1 AS BLOB), x'00')"),
            [&self.text],
        );
        assert_eq!(inserted.unwrap(), 1);
    }

    fn update(&self, statement: &str) {
        let changed = self.connection().execute(statement, [&self.text]);
        assert_eq!(changed.unwrap(), 1);
    }
}

fn facts() -> Value {
    json!({
        "request": {"provider": "openai", "now_ms": 1},
        "chain": [{"path": "acme", "credentials": [{"id": "1", "name": "default"}]}],
    })
}

/// Sets the other inputs of policy commands: facts, vectors and a path for the report.
fn policy_inputs(world: &mut World) {
    world.file("facts", "facts.jsonl", format!("{}\n", facts()));
    if !world.values.contains_key("vectors") {
        let decision = json!({"refused": {"code": "expired"}, "trail": []});
        let vector = json!({"name": "none", "facts": facts(), "decision": decision});
        world.vectors("vectors", &json!([vector]));
    }
    let report = world.sandbox.path("report.xml");
    world.set("report", report);
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

/// Forges log lines in every form that a reader accepts.
fn forged_log(world: &mut World) {
    // The text is also an argument, which cannot contain NUL.
    world.text = world.text.replace('\0', "");
    let text = world.text.as_str();
    let facts = json!({
        "request": {"provider": text, "principal": text, "now_ms": 1, "model": text},
        "chain": [{"path": text, "credentials": [{"id": text, "name": text}]}],
    });
    let line = |sequence: u64, details: &Value| {
        let mut line = json!({
            "writer": text, "sequence": sequence, "previous": null, "at_ms": sequence,
            "purpose": text, "principal": text, "scope": text, "provider": text,
            "revision": 1, "policy": text, "result": text, "facts": facts, text: text,
        });
        line.as_object_mut()
            .unwrap()
            .extend(details.as_object().unwrap().clone());
        line.to_string()
    };
    let refused = |code: &str| json!({"refused": {"code": code, "message": text}, "trail": []});
    let granted = json!({"granted": {"credential": text, "model": text}, "trail": []});
    let of = json!({"holder": text, "credential": text, "version": 1});
    let lines = [
        line(1, &json!({"decision": refused(text)})),
        line(2, &json!({"decision": refused("expired")})),
        line(3, &json!({"decision": granted, "granted": of})),
        line(4, &json!({"failure": text})),
        // The same number twice.
        line(4, &json!({"failure": text})),
        text.replace('\n', " "),
    ];
    world.in_home("decisions.jsonl", &(lines.join("\n") + "\n"));
    world.set("forged", "");
}

fn forged_shadow_log(world: &mut World) {
    let shadow = ["policy", "shadow", "acme", "built-in"];
    world.sandbox.entail(&shadow).ok();
    let text = world.text.as_str();
    let digest = PolicyDigest::of(&std::fs::read(BUILT_IN).unwrap()).to_string();
    let offered = json!([{"id": text, "holder": text, "name": text}]);
    let line = |decision: Value, shadow_decision: Value| {
        let scope = format!("acme/{text}");
        let line = json!({
            "at_ms": 4_000_000_000_000_u64, "scope": scope, "provider": text,
            "policy": digest, "decision": decision, "shadow": digest,
            "shadow_decision": shadow_decision, "difference": "widened",
        });
        line.to_string() + "\n"
    };
    let failed = || json!({"failed": {"cause": text}});
    let granted = || json!({"granted": {"credentials": offered, "model": text}});
    let lines = line(failed(), granted()) + &line(granted(), failed());
    world.in_home("shadow.jsonl", &lines);
    world.set("forged", "");
}

/// Writes an image layout with two manifests and a changed index.
fn layout(world: &mut World, name: &'static str, change: impl Fn(&mut Value)) {
    let manifest = |digit: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", digit.repeat(64)), "size": 1,
        })
    };
    let mut index = json!({"schemaVersion": 2, "manifests": [manifest("1"), manifest("2")]});
    change(&mut index);
    let version = r#"{"imageLayoutVersion": "1.0.0"}"#;
    world.sandbox.file(&format!("{name}/oci-layout"), version);
    world
        .sandbox
        .file(&format!("{name}/index.json"), index.to_string());
    let directory = world.sandbox.path(name);
    world.set(name, directory);
}

/// Creates files and directories of all kinds that are named by the text.
fn files(world: &mut World) {
    policy_inputs(world);
    let name = file_name(&world.text);
    let component = std::fs::read(BUILT_IN).unwrap();
    let digest = PolicyDigest::of(&component).to_string();
    world.set("digest", digest);
    world.file("component", &format!("{name}.wasm"), &component);
    world.file("no-component", &format!("{name}.txt"), "none");
    world.file("", &format!("two/{name}.1.wasm"), &component);
    world.file("", &format!("two/{name}.2.wasm"), &component);
    let directory = world.sandbox.path("two");
    world.set("directory", directory);
    let empty = world.sandbox.path(&format!("{name}.empty"));
    std::fs::create_dir(&empty).unwrap();
    world.set("empty", empty);
    let missing = world.sandbox.path(&format!("{name}.missing"));
    world.set("missing", missing);
    let below = world.sandbox.path(&format!("{name}.txt/{name}"));
    world.set("below-a-file", below);
    let vectors = world.sandbox.path("vectors/vectors.json");
    let vectors = std::fs::read(vectors).unwrap();
    world.file("", &format!("others/{name}.json"), vectors);
    let others = world.sandbox.path("others");
    world.set("vectors-directory", others);
    world.file("backup", "backup.db", "none");
}

/// Renames the home to the text.
fn moved_home(world: &mut World) -> std::path::PathBuf {
    let home = world.sandbox.path(&file_name(&world.text));
    std::fs::rename(world.sandbox.home(), &home).unwrap();
    let value = home.clone().into();
    world.environment.insert("ENTAIL_HOME", Some(value));
    home
}

/// A text as a TOML string.
fn toml(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(quoted, "\\{character}").unwrap(),
            c if is_plain(c) => quoted.push(c),
            c => write!(quoted, "\\U{:08X}", u32::from(c)).unwrap(),
        }
    }
    quoted.push('"');
    quoted
}

/// The foreign parts of a provider, as TOML.
struct Words<'a> {
    id: &'a str,
    url: &'a str,
    /// Texts for people.
    shown: &'a str,
    /// The names of its mode and of a field.
    names: &'a str,
    variables: &'a str,
}

impl Default for Words<'_> {
    fn default() -> Self {
        Words {
            id: "\"local\"",
            url: "\"https://llm.example.com\"",
            shown: "\"Local\"",
            names: "\"key\"",
            variables: "\"LOCAL_API_KEY\"",
        }
    }
}

fn provider(words: &Words<'_>) -> String {
    let Words {
        id,
        url,
        shown,
        names,
        variables,
    } = words;
    format!(
        r#"
        [[provider]]
        id = {id}
        name = {shown}
        kind = "gateway"
        docs = {shown}
        base-url = {url}
        hosts = ["llm.example.com"]
        [[provider.mode]]
        name = {names}
        label = {shown}
        required = ["api_key"]
        optional = [{names}]
        authentication = {{ headers = {{ Authorization = "Bearer {{api_key}}" }} }}
        [[provider.field]]
        name = "api_key"
        label = {shown}
        secret = true
        environment = [{variables}]
        hint = {shown}
        [[provider.field]]
        name = {names}
        label = {shown}
        default = {shown}
        hint = {shown}
        "#
    )
}

fn field(name: &str) -> String {
    format!("\n[[provider.field]]\nname = {name}\nlabel = \"Field\"\n")
}

/// A copy of a value with one member replaced or added.
fn with(value: &Value, pointer: &str, new: Value) -> Value {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    value.pointer_mut(parent).unwrap()[name.as_str()] = new;
    value
}

/// Escapes a name for a JSON Pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[test]
fn the_built_in_policy_exists() {
    assert!(Path::new(BUILT_IN).is_file());
}
