//! Files named by the user: components, image layouts, vectors, facts, and files to import.

use entail::policy::PolicyDigest;
use serde_json::{Value, json};

use super::{BUILT_IN, facts, policy_inputs};
use crate::hostile_text::corpus::file_name;
use crate::hostile_text::{Source, World, check_source, failing, row};

sources! {
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
        row(1, "key add-recipient --recovery {no-component}"),
        row(1, "key add-recipient --recovery {below-a-file} --dry-run"),
        row(0, "key add-recipient --recovery {fresh}"),
        row(0, "key add-recipient --recovery {fresh} --shares 2 --threshold 2"),
        row(16, "restore {backup} --recovery {no-component} --recovery {no-component} --home {fresh}"),
        row(0, "init acme --home {fresh}"),
        row(0, "init acme --home {fresh} --dry-run"),
        row(1, "init acme --passphrase --home {fresh} --passphrase-file {missing}"),
        row(14, "status --home {missing}"),
        row(14, "status --home {no-component}"),
        row(127, "run acme -- {missing}"),
        row(126, "run acme -- {no-component}"),
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

    invalid_facts: "invalid facts", |world| {
        // Each line is parsed separately.
        let text = world.text.replace('\n', " ");
        world.input = text.clone().into_bytes();
        world.file("file", "file", text);
    }, [
        row(19, "policy decide").hidden(),
        row(19, "policy decide {file}").hidden(),
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
