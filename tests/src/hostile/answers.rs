//! Results that are not values of the contract, and valid ones that must not be shown
//! unchanged.

use super::sketch::{ANSWER, DESCRIPTION, SCHEMA, SCRATCH, Sketch, point, store, store_byte};
use super::{Case, Cause, Failing};

/// Each text of a result: what it is, the instructions that include it, and its address.
pub(super) const TEXTS: [(&str, &str, u32); 13] = [
    ("the granted credential", "", ANSWER + 8),
    ("an alternate", ONE_ALTERNATE, SCRATCH + 512),
    (
        "the model",
        "(i32.store8 (i32.const 1048) (i32.const 1))",
        ANSWER + 28,
    ),
    ("the code of a refusal", REFUSED, ANSWER + 8),
    ("the message of a refusal", REFUSED, ANSWER + 16),
    ("the credential of a finding", ONE_FINDING, SCRATCH + 512),
    ("the code of a finding", ONE_FINDING, SCRATCH + 520),
    (
        "the name of a finding's attribute",
        FINDING_ATTRIBUTE,
        SCRATCH + 576,
    ),
    (
        "the value of a finding's attribute",
        FINDING_ATTRIBUTE,
        SCRATCH + 584,
    ),
    ("the name of an attribute", ONE_ATTRIBUTE, SCRATCH + 512),
    ("the value of an attribute", ONE_ATTRIBUTE, SCRATCH + 520),
    ("the text of invalid facts", INVALID_FACTS, ANSWER + 8),
    ("the text of another error", OTHER_ERROR, ANSWER + 8),
];

/// Each list of a result: its elements, the instructions that include it, its address, and
/// the size of an element in bytes.
pub(super) const LISTS: [(&str, &str, u32, u32); 4] = [
    ("alternates", "", ANSWER + 16, 8),
    ("findings", "", ANSWER + 36, 24),
    ("attributes", "", ANSWER + 44, 16),
    ("attributes of a finding", ONE_FINDING, SCRATCH + 528, 16),
];

const ONE_ALTERNATE: &str =
    "(i32.store (i32.const 1040) (i32.const 3584)) (i32.store (i32.const 1044) (i32.const 1))";
const ONE_FINDING: &str =
    "(i32.store (i32.const 1060) (i32.const 3584)) (i32.store (i32.const 1064) (i32.const 1))";
const ONE_ATTRIBUTE: &str =
    "(i32.store (i32.const 1068) (i32.const 3584)) (i32.store (i32.const 1072) (i32.const 1))";
const FINDING_ATTRIBUTE: &str = "(i32.store (i32.const 1060) (i32.const 3584))
    (i32.store (i32.const 1064) (i32.const 1))
    (i32.store (i32.const 3600) (i32.const 3648)) (i32.store (i32.const 3604) (i32.const 1))";
const REFUSED: &str = "(i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 1307)) (i32.store (i32.const 1036) (i32.const 13))
    (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))";
const INVALID_FACTS: &str = "(i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1028) (i32.const 0))";
const OTHER_ERROR: &str = "(i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1028) (i32.const 1))";

/// Bytes that are not UTF-8, each for a different reason.
const NO_TEXTS: [(&str, &[u8]); 8] = [
    ("a byte that never occurs", b"a\xff"),
    ("a lone continuation byte", b"\x80"),
    ("a truncated character", b"a\xe2\x82"),
    ("an overlong slash", b"\xc0\xaf"),
    ("an overlong zero", b"\xc0\x80"),
    ("a surrogate", b"\xed\xa0\x80"),
    ("a character beyond the last", b"\xf4\x90\x80\x80"),
    ("text of UTF-16", b"\xff\xfee\0v\0i\0l\0"),
];

pub(super) fn cases() -> Vec<Case> {
    [malformed(), descriptions(), odd()].concat()
}

fn malformed() -> Vec<Case> {
    let malformed = |name: String, sketch: Sketch| {
        Case::of(
            format!("malformed/{name}"),
            sketch,
            Cause::Fails(Failing::Malformed),
        )
    };
    let mut cases = Vec::new();
    for (number, (what, around, at)) in TEXTS.into_iter().enumerate() {
        let text = |start, len| Sketch::evil(around.to_owned() + &point(at, start, len));
        let (why, bytes) = NO_TEXTS[number % NO_TEXTS.len()];
        let len = u32::try_from(bytes.len()).unwrap();
        cases.push(malformed(
            format!("{what} has {why}"),
            text(SCRATCH, len).data(bytes),
        ));
        cases.push(malformed(
            format!("{what} is beyond the memory"),
            text(0x7fff_0000, 8),
        ));
        cases.push(malformed(
            format!("{what} ends beyond the address space"),
            text(0xffff_fff0, 0x20),
        ));
    }
    for (what, around, at, _) in LISTS {
        let list = |start, len| Sketch::evil(around.to_owned() + &point(at, start, len));
        cases.extend([
            malformed(
                format!("{what} are beyond the memory"),
                list(0x7fff_0000, 1),
            ),
            malformed(format!("{what} are not aligned"), list(SCRATCH + 1, 1)),
            malformed(
                format!("{what} have the maximum count"),
                list(SCRATCH, u32::MAX),
            ),
            malformed(
                format!("{what} have a size that overflows"),
                list(0, 0x1000_0001),
            ),
        ]);
    }
    let some = "(i32.store8 (i32.const 1048) (i32.const 1))";
    for (what, instructions) in [
        ("a third case of result", store_byte(ANSWER, 2)),
        ("the last case of result", store_byte(ANSWER, 255)),
        ("a third outcome", store_byte(ANSWER + 4, 2)),
        ("the last outcome", store_byte(ANSWER + 4, 255)),
        ("a third case of option", store_byte(ANSWER + 24, 2)),
        (
            "a third case of error",
            store_byte(ANSWER, 1) + &store_byte(ANSWER + 4, 2),
        ),
        (
            "a model at an invalid address",
            some.to_owned() + &point(ANSWER + 28, u32::MAX, u32::MAX),
        ),
        (
            "an answer that is not aligned",
            "(return (i32.const 1025))".to_owned(),
        ),
        (
            "an answer beyond the memory",
            "(return (i32.const 0x7fff0000))".to_owned(),
        ),
        (
            "an answer at the end of the address space",
            "(return (i32.const -4))".to_owned(),
        ),
        (
            "an answer across the end of the memory",
            "(return (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 16)))".to_owned(),
        ),
        (
            "an answer of ones",
            "(memory.fill (i32.const 1024) (i32.const 255) (i32.const 4096))".to_owned(),
        ),
    ] {
        cases.push(malformed(what.to_owned(), Sketch::evil(instructions)));
    }
    for (what, bytes) in NO_TEXTS {
        let len = u32::try_from(bytes.len()).unwrap();
        cases.push(malformed(
            format!("a granted id with {what}"),
            Sketch::evil(point(ANSWER + 8, SCRATCH, len)).data(bytes),
        ));
    }
    for (what, at) in [
        ("name", DESCRIPTION),
        ("version", DESCRIPTION + 8),
        ("summary", DESCRIPTION + 16),
    ] {
        for (how, start, len) in [
            ("is not UTF-8", SCRATCH, 2),
            ("is beyond the memory", 0x7fff_0000, 8),
        ] {
            cases.push(Case::of(
                format!("malformed/the {what} of its description {how}"),
                Sketch::default()
                    .describe(point(at, start, len))
                    .data(b"a\xff"),
                Cause::Trial(Failing::Malformed),
            ));
        }
    }
    for (how, instructions) in [
        ("is not UTF-8", point(SCHEMA, SCRATCH, 2)),
        ("is beyond the memory", point(SCHEMA, 0x7fff_0000, 8)),
        (
            "is at an invalid address",
            "(return (i32.const -4))".to_owned(),
        ),
        ("is not aligned", "(return (i32.const 1185))".to_owned()),
    ] {
        cases.push(Case::of(
            format!("malformed/its schema {how}"),
            Sketch::default().schema(instructions).data(b"a\xff"),
            Cause::Trial(Failing::Malformed),
        ));
    }
    cases
}

fn descriptions() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, at) in [
        ("name", DESCRIPTION),
        ("version", DESCRIPTION + 8),
        ("summary", DESCRIPTION + 16),
    ] {
        for (how, bytes) in [
            ("clears the screen", b"\x1b[2Jevil".as_slice()),
            ("rings the bell", b"evil\x07"),
            ("has a second line", b"evil\nname: default"),
            ("has a zero", b"default\0evil"),
            ("has a C1 control character", "\u{9b}31mevil".as_bytes()),
        ] {
            let len = u32::try_from(bytes.len()).unwrap();
            cases.push(Case::of(
                format!("description/{what} {how}"),
                Sketch::default()
                    .describe(point(at, SCRATCH, len))
                    .data(bytes),
                Cause::Description,
            ));
        }
        cases.push(Case::of(
            format!("description/{what} is too long"),
            Sketch::default().describe(point(at, 65_536, 513)),
            Cause::Description,
        ));
    }
    cases
}

/// Values of the contract with unusual texts, which are sanitized for the terminal but not
/// for the log.
fn odd() -> Vec<Case> {
    let refuses = |code: &[u8], message: &[u8]| {
        let bytes = [code, message].concat();
        let (code, message) = (
            u32::try_from(code.len()).unwrap(),
            u32::try_from(message.len()).unwrap(),
        );
        Sketch::evil(
            REFUSED.to_owned()
                + &point(ANSWER + 8, SCRATCH, code)
                + &point(ANSWER + 16, SCRATCH + code, message),
        )
        .data(&bytes)
    };
    let mut cases = Vec::new();
    for (what, code, message) in [
        ("an empty code", b"".as_slice(), b"".as_slice()),
        (
            "a code that clears the screen",
            b"\x1b[2J\x1b]0;evil\x07",
            b"no",
        ),
        ("a code of zeros", b"\0\0\0\0", b"no"),
        ("the code `granted`", b"granted", b"no"),
        ("the code `failed`", b"failed", b"no"),
        (
            "a code that ends a line of the log",
            b"x\"}\n{\"writer\":\"0\",\"sequence\":1}",
            b"no",
        ),
        (
            "a message that clears the screen",
            b"no",
            b"\x1b[2J\x1b[Hroot# ",
        ),
        (
            "a message written from right to left",
            b"no",
            "\u{202e}detnarg\u{202c}".as_bytes(),
        ),
        (
            "a message with a carriage return",
            b"no",
            b"refused\rgranted",
        ),
    ] {
        // A code must be a name.
        let is_name = !code.is_empty() && code.iter().all(u8::is_ascii_lowercase);
        let expected = match is_name {
            true => Cause::Refuses,
            false => Cause::Fails(Failing::Malformed),
        };
        cases.push(Case::of(
            format!("odd/{what}"),
            refuses(code, message),
            expected,
        ));
    }
    for (what, at, expected) in [
        ("code", ANSWER + 8, Cause::Fails(Failing::Malformed)),
        ("message", ANSWER + 16, Cause::Refuses),
    ] {
        cases.push(Case::of(
            format!("odd/a {what} of 900,000 zeros"),
            Sketch::evil(REFUSED.to_owned() + &point(at, 196_608, 900_000)).pages(32),
            expected,
        ));
    }
    cases.extend([
        Case::of(
            "odd/a duplicate attribute",
            Sketch::evil(point(ANSWER + 44, SCRATCH, 2)),
            Cause::Grants,
        ),
        Case::of(
            "odd/findings of unknown credentials",
            Sketch::evil(
                point(ANSWER + 36, SCRATCH, 2)
                    + &point(SCRATCH, 1280, 6)
                    + &point(SCRATCH + 8, 1300, 7)
                    + &point(SCRATCH + 32, 1300, 7),
            ),
            Cause::Grants,
        ),
        Case::of(
            "odd/invalid facts with 500,000 bytes",
            Sketch::evil(INVALID_FACTS.to_owned() + &point(ANSWER + 8, 196_608, 500_000)).pages(32),
            Cause::Fails(Failing::InvalidFacts),
        ),
        Case::of(
            "odd/another error with control characters",
            Sketch::evil(OTHER_ERROR.to_owned() + &point(ANSWER + 8, SCRATCH, 4)).data(b"\x1b[2J"),
            Cause::Fails(Failing::Undecided),
        ),
        Case::of(
            "odd/invalid facts for every request",
            Sketch::evil(INVALID_FACTS).when("(i32.const 1)"),
            Cause::Fails(Failing::InvalidFacts),
        ),
        Case::of(
            "odd/an error in the place of a grant",
            Sketch::evil(store(ANSWER, 1)),
            // The text of the error is the id that it had granted.
            [
                Cause::Fails(Failing::InvalidFacts),
                Cause::Fails(Failing::Undecided),
            ],
        ),
    ]);
    cases
}
