//! Decisions that grant what they must not: ids that were not offered, and ids that were
//! offered but must not be granted.

use super::sketch::{ANSWER, SCRATCH, Sketch, point, store, store_byte};
use super::{Case, Cause, Failing, Query};

const NOT_OFFERED: Cause = Cause::Widens("was not offered");

/// The credentials that a policy must not grant, with the reasons.
const OUT_OF_REACH: [(&str, &str); 7] = [
    ("disabled", "is disabled"),
    ("expired", "has expired"),
    ("unreadable", "cannot be read"),
    ("other-model", "does not allow the model"),
    ("unshared", "is not shared with the requesting scope"),
    ("elsewhere", "is not shared with the requesting scope"),
    ("beyond", "is beyond a scope that has not opted in"),
];

/// Instructions that write to `at` the id of the credential whose name is in the scratch
/// memory at `start`.
fn put(at: u32, start: u32, name: &str) -> String {
    let len = name.len();
    format!(
        "(call $name (i32.const {at})
            (call $find (local.get $p) (i32.const {start}) (i32.const {len})))"
    )
}

pub(super) fn cases() -> Vec<Case> {
    [
        out_of_reach(),
        forged(),
        named_twice(),
        models(),
        withheld(),
    ]
    .concat()
}

fn out_of_reach() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reason) in OUT_OF_REACH {
        // The library cannot create the unreadable credential, so its id is empty there.
        let expected = match name {
            "unreadable" => vec![Cause::Widens(reason), NOT_OFFERED],
            _ => vec![Cause::Widens(reason)],
        };
        let expected = || super::Expected::OneOf(expected.clone());
        let granted = Sketch::evil(put(ANSWER + 8, SCRATCH, name)).data(name.as_bytes());
        cases.push(Case::of(format!("grant/{name}"), granted, expected()));
        let alternates = point(ANSWER + 16, SCRATCH + 512, 1);
        let alternate =
            Sketch::evil(alternates + &put(SCRATCH + 512, SCRATCH, name)).data(name.as_bytes());
        cases.push(Case::of(format!("alternate/{name}"), alternate, expected()));
    }
    cases
}

fn forged() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, id) in [
        ("an empty id", b"".as_slice()),
        ("a zero", b"\0"),
        ("a blank", b" "),
        ("a name instead of an id", b"default"),
        ("a path", b"evil/lab/deep"),
        ("a path of another organization", b"good/openai/default"),
        ("a parent directory", b"../../good"),
        ("a wildcard", b"*"),
        ("a query", b"' OR '1'='1"),
        ("control characters", b"\x1b[2J\x07"),
        ("a made-up id", b"0123456789abcdef0123456789abcdef"),
    ] {
        let len = u32::try_from(id.len()).unwrap();
        cases.push(Case::of(
            format!("forge/{what}"),
            Sketch::evil(point(ANSWER + 8, SCRATCH, len)).data(id),
            NOT_OFFERED,
        ));
        let alternates = point(ANSWER + 16, SCRATCH + 512, 1);
        cases.push(Case::of(
            format!("forge/{what} as an alternate"),
            Sketch::evil(alternates + &point(SCRATCH + 512, SCRATCH, len)).data(id),
            NOT_OFFERED,
        ));
    }
    let granted = "(i32.load (i32.const 1032))";
    for (what, instructions) in [
        (
            "a real id without its last byte",
            "(i32.store (i32.const 1036) (i32.sub (i32.load (i32.const 1036)) (i32.const 1)))"
                .to_owned(),
        ),
        (
            "a real id with an additional byte",
            format!(
                "(memory.copy (i32.const {SCRATCH}) {granted} (i32.load (i32.const 1036)))
                (i32.store (i32.const 1032) (i32.const {SCRATCH}))
                (i32.store (i32.const 1036) (i32.add (i32.load (i32.const 1036)) (i32.const 1)))"
            ),
        ),
        (
            "a real id with a bit changed",
            format!("(i32.store8 {granted} (i32.xor (i32.load8_u {granted}) (i32.const 1)))"),
        ),
        (
            "a real id in upper case",
            format!("(i32.store8 {granted} (i32.xor (i32.load8_u {granted}) (i32.const 0x40)))"),
        ),
        ("500,000 zeros", point(ANSWER + 8, 196_608, 500_000)),
    ] {
        cases.push(Case::of(
            format!("forge/{what}"),
            Sketch::evil(instructions).pages(32),
            NOT_OFFERED,
        ));
    }
    cases.push(Case::of(
        "forge/10,000 empty alternates",
        Sketch::evil(point(ANSWER + 16, 196_608, 10_000)).pages(32),
        NOT_OFFERED,
    ));
    cases
}

fn named_twice() -> Vec<Case> {
    let twice = Cause::Widens("is named twice");
    let alternates = |count| point(ANSWER + 16, SCRATCH + 512, count);
    vec![
        Case::of(
            "alternate/the granted one again",
            Sketch::evil(alternates(1) + &put(SCRATCH + 512, SCRATCH, "default")).data(b"default"),
            twice,
        ),
        Case::of(
            "alternate/the same twice",
            Sketch::evil(
                alternates(2)
                    + &put(SCRATCH + 512, SCRATCH, "second")
                    + &put(SCRATCH + 520, SCRATCH, "second"),
            )
            .data(b"second"),
            twice,
        ),
        Case::of(
            "alternate/a good one and a forged one",
            Sketch::evil(alternates(2) + &put(SCRATCH + 512, SCRATCH, "second")).data(b"second"),
            NOT_OFFERED,
        ),
        Case::of(
            "alternate/another than the requested one",
            Sketch::evil(
                put(ANSWER + 8, SCRATCH, "second")
                    + &alternates(1)
                    + &put(SCRATCH + 512, SCRATCH + 8, "default"),
            )
            .data(b"second\0\0default"),
            Cause::Widens("is not the credential that the request names"),
        )
        .query(Query::Named),
        Case::of(
            "grant/another than the requested one",
            Sketch::evil(""),
            Cause::Widens("is not the credential that the request names"),
        )
        .query(Query::Named),
    ]
}

fn models() -> Vec<Case> {
    let wrong_model = Cause::Widens("is not the effective model");
    let model = |text: &[u8]| {
        let len = u32::try_from(text.len()).unwrap();
        Sketch::evil(store_byte(ANSWER + 24, 1) + &point(ANSWER + 28, SCRATCH, len)).data(text)
    };
    vec![
        Case::of(
            "model/dropped",
            Sketch::evil(store_byte(ANSWER + 24, 0)),
            Cause::Widens("is not the effective model"),
        ),
        Case::of("model/another", model(b"gpt-6"), wrong_model),
        Case::of("model/empty", model(b""), wrong_model),
        Case::of("model/a pattern", model(b"gpt-*"), wrong_model),
        Case::of("model/in upper case", model(b"GPT-5"), wrong_model),
        Case::of("model/with a zero", model(b"gpt-5\0"), wrong_model),
        Case::of(
            "model/made up although none was requested",
            model(b"gpt-5"),
            wrong_model,
        )
        .query(Query::Bare),
        Case::of(
            "model/of a scope that is out of reach",
            model(b"beyond-model"),
            wrong_model,
        )
        .query(Query::Bare),
        Case::of(
            "model/of a scope within reach",
            model(b"lab-model"),
            Cause::Grants,
        )
        .query(Query::Bare),
        Case::of(
            "model/none for a credential with allowed models",
            Sketch::evil(put(ANSWER + 8, SCRATCH, "other-model")).data(b"other-model"),
            Cause::Widens("does not allow the model"),
        )
        .query(Query::Bare),
    ]
}

/// Policies may leave out parts of a decision: the log contains the facts.
fn withheld() -> Vec<Case> {
    vec![
        Case::of(
            "withhold/the trail of a grant",
            Sketch::evil(point(ANSWER + 36, 0, 0)),
            Cause::Grants,
        ),
        Case::of(
            "withhold/the trail of a refusal",
            Sketch::evil(store_byte(ANSWER + 4, 1) + &point(ANSWER + 8, 1307, 13)),
            Cause::Refuses,
        ),
        Case::of(
            "withhold/the project's credential in favour of the parent's",
            Sketch::evil(put(ANSWER + 8, SCRATCH, "shared")).data(b"shared"),
            Cause::Grants,
        ),
        Case::of(
            "withhold/everything",
            Sketch::evil(
                store_byte(ANSWER + 4, 1)
                    + &point(ANSWER + 8, 0, 0)
                    + &store(1040, 0)
                    + &store(1044, 0),
            ),
            // A refusal must have a code.
            Cause::Fails(Failing::Malformed),
        ),
        Case::of(
            "withhold/the granted id from the trail",
            Sketch::evil(
                point(ANSWER + 36, SCRATCH + 512, 1)
                    + &put(SCRATCH + 512, SCRATCH, "second")
                    + &point(SCRATCH + 520, 1300, 7),
            )
            .data(b"second"),
            Cause::Grants,
        ),
    ]
}
