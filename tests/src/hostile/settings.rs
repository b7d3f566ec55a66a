//! Schemas that are invalid or expensive, and policies that misbehave when they validate
//! their settings.

use serde_json::{Value, json};

use super::sketch::{SCRATCH, Sketch, VALIDATION, point, store_byte};
use super::{Case, Cause, Failing};

pub(super) fn cases() -> Vec<Case> {
    [
        no_schemas(),
        large_schemas(),
        costly_schemas(),
        patterns(),
        problems(),
    ]
    .concat()
}

fn no_schemas() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, text) in [
        ("is not JSON", "evil"),
        ("is empty", ""),
        ("ends too soon", r#"{"type": "#),
        ("continues after its end", r#"{"type": "object"} {}"#),
        ("is a number", "7"),
        ("is a list", "[]"),
        ("is a string", r#""object""#),
        (
            "refers to a remote schema",
            r#"{"$ref": "https://schemas.example/evil.json"}"#,
        ),
        ("refers to a file", r#"{"$ref": "file:///etc/passwd"}"#),
        ("refers to itself", r##"{"$ref": "#"}"##),
        (
            "refers to itself as an alternative",
            r##"{"anyOf": [{"type": "object"}, {"$ref": "#"}]}"##,
        ),
        (
            "refers in a cycle",
            r##"{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}"##,
        ),
        (
            "refers to itself dynamically",
            r##"{"$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]}"##,
        ),
        (
            "has an unknown dialect",
            r#"{"$schema": "https://schemas.example/evil"}"#,
        ),
        (
            "has a nested reference",
            r#"{"properties": {"a": {"items": {"not": {"$ref": "file:///dev/zero"}}}}}"#,
        ),
    ] {
        cases.push(Case::of(
            format!("schema/{what}"),
            Sketch::default().schema_text(text),
            Cause::Schema,
        ));
    }
    // This is detected only when settings are validated.
    for (what, schema) in [
        ("has a numeric type", r#"{"type": 7}"#),
        ("has an unknown type", r#"{"type": "evil"}"#),
        ("has a negative length", r#"{"minProperties": -1}"#),
    ] {
        cases.push(
            Case::of(
                format!("schema/{what}"),
                Sketch::default().schema_text(schema),
                Cause::Schema,
            )
            .settings(json!({})),
        );
    }
    for (what, schema) in [
        ("accepts nothing", "false"),
        (
            "requires a missing property",
            r#"{"type": "object", "required": ["evil"]}"#,
        ),
    ] {
        cases.push(
            Case::of(
                format!("schema/{what}"),
                Sketch::default().schema_text(schema),
                Cause::SettingsNotAccepted,
            )
            .settings(json!({})),
        );
    }
    cases
}

fn large_schemas() -> Vec<Case> {
    let nested = |levels: usize| {
        [
            r#"{"not":"#.repeat(levels),
            "{}".to_owned(),
            "}".repeat(levels),
        ]
        .concat()
    };
    let many = |count: usize| -> String {
        let properties: serde_json::Map<String, Value> = (0..count)
            .map(|n| (format!("p{n}"), json!({"type": "integer", "minimum": n})))
            .collect();
        json!({"type": "object", "properties": properties}).to_string()
    };
    let names: Vec<String> = (0..40_000).map(|n| n.to_string()).collect();
    let accepted = [Cause::Grants, Cause::Schema];
    vec![
        Case::of(
            "schema/nested 1,000 deep",
            Sketch::default().schema_text(nested(1_000)),
            Cause::Schema,
        ),
        Case::of(
            "schema/nested 100,000 deep",
            Sketch::default().schema_text(nested(100_000)),
            Cause::Schema,
        ),
        Case::of(
            "schema/lists nested 100,000 deep",
            Sketch::default().schema_text("[".repeat(100_000)),
            Cause::Schema,
        ),
        Case::of(
            "schema/that doubles at each of 10 levels",
            Sketch::default().schema_text(doubled(10).to_string()),
            accepted,
        )
        .settings(json!({"a": 1})),
        Case::of(
            "schema/that doubles at each of 13 levels",
            Sketch::default().schema_text(doubled(13).to_string()),
            Cause::Schema,
        ),
        Case::of(
            "schema/of 1,000 properties",
            Sketch::default().schema_text(many(1_000)),
            accepted,
        )
        .settings(json!({"p1": 1})),
        Case::of(
            "schema/of 15,000 properties",
            Sketch::default().schema_text(many(15_000)),
            Cause::Schema,
        ),
        Case::of(
            "schema/of 40,000 names",
            Sketch::default()
                .schema_text(json!({"propertyNames": {"enum": names}}).to_string()),
            Cause::Schema,
        ),
        Case::of(
            "schema/of 900,000 spaces",
            Sketch::default().schema_text(" ".repeat(900_000) + "{}"),
            Cause::Schema,
        ),
        Case::of(
            "schema/of 60,000 spaces",
            Sketch::default().schema_text(" ".repeat(60_000) + "{}"),
            accepted,
        ),
        Case::of(
            "schema/with a title that clears the screen",
            Sketch::default().schema_text(r#"{"title": "\u001b[2J", "type": "object"}"#),
            accepted,
        ),
        Case::of(
            "schema/that accepts only one of a thousand alternatives",
            Sketch::default().schema_text(
                json!({"oneOf": (0..1_000).map(|n| json!({"required": [n.to_string()]})).collect::<Vec<_>>()})
                    .to_string(),
            ),
            Cause::SettingsNotAccepted,
        )
        .settings(json!({})),
    ]
}

/// Schemas of a few kilobytes that take much memory or time. The cost of each depends on the
/// validator; what matters is that no one waits for it.
fn costly_schemas() -> Vec<Case> {
    let all = |count: usize, keyword: &dyn Fn(usize) -> Value| -> Value {
        json!({"additionalProperties": {"allOf": (0..count).map(keyword).collect::<Vec<_>>()}})
    };
    let nested = |levels: usize, around: &dyn Fn(Value) -> Value| {
        (0..levels).fold(json!({"required": ["evil"]}), |below, _| around(below))
    };
    let numbers: Vec<usize> = (0..100_000).collect();
    let lists: Vec<Value> = (0..15_000).map(|n| json!([[n]])).collect();
    let names: serde_json::Map<String, Value> = (0..3_000)
        .map(|n| (format!("[^{n}]{{99}}"), json!(true)))
        .collect();
    let text = "evil".repeat(200_000);
    let contained = || [Cause::Grants, Cause::SettingsNotAccepted, Cause::Schema];
    let mut cases = Vec::new();
    for (what, schema, settings) in [
        (
            "of 2,000 patterns",
            all(2_000, &|n| json!({"pattern": format!("[^a]{{990}}{n}")})),
            json!({"a": "b"}),
        ),
        (
            "of patterns that are tried at each position",
            all(30, &|n| json!({"pattern": format!("[ab]*a[^c]{{900}}{n}")})),
            json!({"a": "ab".repeat(200_000)}),
        ),
        (
            "of 3,000 patterns of names",
            json!({"patternProperties": names}),
            json!({"a": 1}),
        ),
        (
            "of 20 levels of oneOf",
            nested(
                20,
                &|below| json!({"oneOf": [below, {"not": {"type": "object"}}]}),
            ),
            json!({"a": 1}),
        ),
        (
            "of 20 levels of anyOf",
            nested(20, &|below| json!({"anyOf": [{"type": "null"}, below]})),
            json!({"a": 1}),
        ),
        (
            "of 28 levels of unevaluated properties",
            nested(
                28,
                &|below| json!({"anyOf": [below, {"properties": {"a": true}}], "unevaluatedProperties": false}),
            ),
            json!({"a": 1}),
        ),
        (
            "of 28 levels of conditions",
            nested(
                28,
                &|below| json!({"if": below, "then": {"required": ["b"]}, "else": true, "unevaluatedProperties": true}),
            ),
            json!({"a": 1}),
        ),
        (
            "that compares 100,000 numbers",
            json!({"additionalProperties": {"uniqueItems": true}}),
            json!({"a": numbers}),
        ),
        (
            "that compares 15,000 lists",
            json!({"additionalProperties": {"uniqueItems": true}}),
            json!({"a": lists}),
        ),
        (
            "of 9,000 constants for a long text",
            json!({"additionalProperties": {"enum": (0..9_000).collect::<Vec<_>>()}}),
            json!({"a": text}),
        ),
        (
            "of a multiple of a tiny number",
            json!({"additionalProperties": {"multipleOf": 1e-300}}),
            json!({"a": 1e300}),
        ),
        (
            "of huge lengths",
            json!({"minProperties": 18_446_744_073_709_551_615_u64, "additionalProperties": {"maxLength": 1e300}}),
            json!({"a": text}),
        ),
        (
            "of 20 levels of contains",
            nested(20, &|below| json!({"contains": below, "minContains": 1})),
            json!({"a": [[[[[[1]]]]]]}),
        ),
    ] {
        let text = schema.to_string();
        assert!(text.len() <= 64 << 10, "{what}: {} bytes", text.len());
        cases.push(
            Case::of(
                format!("schema/{what}"),
                Sketch::default().schema_text(text).pages(64),
                contained(),
            )
            .settings(settings),
        );
    }
    cases
}

/// A schema in which each level contains the one below twice, without references.
fn doubled(levels: u32) -> Value {
    match levels {
        0 => json!({"type": "object"}),
        _ => json!({"allOf": [doubled(levels - 1), doubled(levels - 1)]}),
    }
}

fn patterns() -> Vec<Case> {
    let text = "a".repeat(5_000) + "!";
    let mut cases = Vec::new();
    for (what, pattern) in [
        ("repeats a repetition", "^(a+)+$"),
        ("alternates equal branches", "^(a|a)*$"),
        ("can match from any position", "^(a*)*b$"),
        ("repeats a thousand times", "^(a?){1000}a{1000}$"),
        ("repeats a word's start", r"^([a-zA-Z]+)*$"),
        ("repeats repetitions of repetitions", "((a{100}){100}){100}"),
        ("looks ahead", "(?=a+)+b"),
        ("has a back reference", r"^(a+)\1+$"),
        ("is not a pattern", "(("),
        ("repeats all letters many times", r"^(\p{L}{100}){100}$"),
    ] {
        cases.push(
            Case::of(
                format!("pattern/{what}"),
                Sketch::default().schema_text(
                    json!({"additionalProperties": {"type": "string", "pattern": pattern}})
                        .to_string(),
                ),
                [Cause::SettingsNotAccepted, Cause::Schema],
            )
            .settings(json!({"a": text})),
        );
    }
    cases.push(
        Case::of(
            "pattern/of names that repeats what repeats",
            Sketch::default()
                .schema_text(json!({"patternProperties": {"^(a+)+$": false}}).to_string()),
            [Cause::Grants, Cause::SettingsNotAccepted, Cause::Schema],
        )
        .settings(json!({"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!": 1})),
    );
    cases
}

/// Hostile results of `validate`.
fn problems() -> Vec<Case> {
    let validate = |instructions: String| {
        format!("(if (i32.gt_u (local.get $settings_len) (i32.const 2)) (then {instructions}))")
    };
    let says = |instructions: String| {
        Sketch::default().validate(validate(store_byte(VALIDATION, 1) + &instructions))
    };
    let one = point(VALIDATION + 4, SCRATCH, 1);
    let mut cases = Vec::new();
    for (what, sketch, cause) in [
        (
            "with a text that clears the screen",
            says(
                one.clone()
                    + &point(SCRATCH, SCRATCH + 64, 4)
                    + &point(SCRATCH + 8, SCRATCH + 64, 4),
            )
            .data(&[[0; 64].as_slice(), b"\x1b[2J"].concat()),
            Cause::SettingsNotAccepted,
        ),
        (
            "and a list of none",
            says(String::new()),
            Cause::SettingsNotAccepted,
        ),
        (
            "and 5,000 of them",
            says(point(VALIDATION + 4, 131_072, 5_000)),
            Cause::SettingsNotAccepted,
        ),
        (
            "with 500,000 bytes of text",
            says(one.clone() + &point(SCRATCH + 8, 131_072, 500_000)).pages(32),
            Cause::SettingsNotAccepted,
        ),
        (
            "that is no text",
            says(one.clone() + &point(SCRATCH, SCRATCH + 64, 2))
                .data(&[[0; 64].as_slice(), b"a\xff"].concat()),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "that is beyond the memory",
            says(one + &point(SCRATCH, 0x7fff_0000, 2)),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "in a list beyond the memory",
            says(point(VALIDATION + 4, 0x7fff_0000, 1)),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "in a list that is not aligned",
            says(point(VALIDATION + 4, SCRATCH + 2, 1)),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "of as many as can be counted",
            says(point(VALIDATION + 4, SCRATCH, u32::MAX)),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "in a third case of result",
            Sketch::default().validate(validate(store_byte(VALIDATION, 2))),
            Cause::SettingsFail(Failing::Malformed),
        ),
        (
            "that is nowhere",
            Sketch::default().validate(validate("(return (i32.const -4))".to_owned())),
            Cause::SettingsFail(Failing::Malformed),
        ),
    ] {
        cases.push(
            Case::of(format!("problem/{what}"), sketch, cause).settings(json!({"anything": 1})),
        );
    }
    // Valid settings that make the policy misbehave.
    for (what, instructions, cause) in [
        ("traps", "(unreachable)", Cause::Fails(Failing::Trapped)),
        (
            "loops",
            "(loop $on (br $on))",
            Cause::Fails(Failing::Deadline),
        ),
    ] {
        cases.push(
            Case::of(
                format!("set/{what} when something is set"),
                Sketch::evil(instructions)
                    .when("(i32.gt_u (i32.load offset=52 (local.get $p)) (i32.const 2))"),
                cause,
            )
            .settings(json!({"anything": 1})),
        );
    }
    cases.push(
        Case::of(
            "set/settings for a policy without settings",
            Sketch::default().world("without-settings"),
            Cause::SettingsNotAccepted,
        )
        .settings(json!({"anything": 1})),
    );
    cases
}
