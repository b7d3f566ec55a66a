//! The decision log and the log of a shadow.

use entail::policy::PolicyDigest;
use serde_json::{Value, json};

use super::BUILT_IN;
use crate::hostile_text::{Source, World, check_source, failing, row};

sources! {
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

    a_name_of_the_log: "a name in the file of who the ids in the log are", |world| {
        let id = "0123456789abcdef0123456789abcdef";
        let line = json!({"id": id, "kind": "local", "issuer": world.text, "subject": world.text});
        world.in_home("principals.jsonl", &format!("{line}\n{}\n", world.text));
    }, [
        // A text that is too long is no name.
        row(0, "principal list").hidden().alone(),
        row(18, "principal erase fedcba9876543210fedcba9876543210").hidden(),
        row(0, "audit show").hidden(),
    ];

    a_line_of_the_shadow_log: "a line of a shadow's log", forged_shadow_log, [
        row(0, "policy shadow acme").exact(),
    ];
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
            "writer": text, "sequence": sequence, "previous": null, "kind": "decision",
            "at_ms": sequence,
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
    let opening = |details: Value| {
        let mut line = json!({
            "writer": text, "sequence": 6, "previous": null, "kind": "opening", "of": 3,
            "at_ms": 6, "result": "failed",
        });
        let details = details.as_object().unwrap().clone();
        line.as_object_mut().unwrap().extend(details);
        line.to_string()
    };
    let lines = [
        line(1, &json!({"decision": refused(text)})),
        line(2, &json!({"decision": refused("expired")})),
        line(3, &json!({"decision": granted, "granted": of})),
        line(4, &json!({"failure": text})),
        // The same number twice.
        line(4, &json!({"failure": text})),
        opening(json!({"code": text})),
        opening(json!({"result": text})),
        line(7, &json!({"kind": text})),
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
