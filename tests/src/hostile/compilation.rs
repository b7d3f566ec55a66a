//! Small components that take much time or memory to compile.

use super::sketch::{Sketch, each};
use super::{Case, Cause, Expected};

/// A number of bytes that is well within the limit for components.
const MANY_BYTES: usize = 1 << 20;

pub(super) fn cases() -> Vec<Case> {
    [functions(), modules(), components()].concat()
}

/// The cost of such a component depends on the machine and the version of the compiler. It
/// may compile or not; what matters is that no one waits for it.
fn contained() -> Expected {
    [
        Cause::Grants,
        Cause::Invalid,
        Cause::CompileTime,
        Cause::CompileMemory,
    ]
    .into()
}

fn functions() -> Vec<Case> {
    let body = |body: String| format!("(func $bomb (param i32) (param i64) {body})");
    let values = "i64 ".repeat(60);
    let constants = "(i64.const 1)".repeat(60);
    let drops = "drop ".repeat(60);
    let bombs = [
        (
            "a function of 200,000 additions",
            body("local.get 0 ".to_owned() + &"i32.const 1 i32.add ".repeat(200_000) + "drop"),
        ),
        (
            "a function of 100,000 divisions",
            body("local.get 1 ".to_owned() + &"i64.const 7 i64.rem_u ".repeat(100_000) + "drop"),
        ),
        (
            "a function of 60,000 recursive calls",
            body("local.get 0 local.get 1 call $bomb ".repeat(60_000)),
        ),
        (
            "a function of 100,000 stores",
            body("local.get 0 local.get 1 i64.store ".repeat(100_000)),
        ),
        (
            "a function of 60,000 square roots",
            body(
                "local.get 0 f64.convert_i32_s ".to_owned() + &"f64.sqrt ".repeat(60_000) + "drop",
            ),
        ),
        (
            "a function of 100,000 unreachable instructions",
            body("unreachable ".to_owned() + &"i32.const 1 drop ".repeat(100_000)),
        ),
        (
            "blocks nested 50,000 deep",
            body("block ".repeat(50_000) + &"end ".repeat(50_000)),
        ),
        (
            "loops nested 5,000 deep with a value each",
            body(
                "local.get 1 ".to_owned()
                    + &"loop (param i64) (result i64) ".repeat(5_000)
                    + &"local.get 0 br_if 0 local.get 1 i64.add end ".repeat(5_000)
                    + "drop",
            ),
        ),
        (
            "conditions nested 10,000 deep",
            body("local.get 0 if ".repeat(10_000) + &"else nop end ".repeat(10_000)),
        ),
        (
            "a branch to 300,000 places",
            body(format!(
                "block local.get 0 br_table {} end",
                "0 ".repeat(300_000)
            )),
        ),
        (
            "a branch to 3,000 places with 60 values",
            body(format!(
                "block (result {values}) {constants} local.get 0 br_table {} end {drops}",
                "0 ".repeat(3_000)
            )),
        ),
        (
            "2,000 branches with 60 values to as many blocks",
            body(each(2_000, |_| {
                format!("block (result {values}) {constants} local.get 0 br_if 0 end {drops} ")
            })),
        ),
        (
            "100,000 branches to the same end",
            body(format!(
                "block {} end",
                "local.get 0 br_if 0 ".repeat(100_000)
            )),
        ),
        (
            "50,000 locals",
            format!(
                "(func (local {}) {})",
                "i64 ".repeat(49_000),
                each(40_000, |n| format!("local.get {n} local.set {} ", n + 1))
            ),
        ),
        (
            "2,000 locals that change in each of 200 loops",
            format!(
                "(func (local {}) {} {})",
                "i64 ".repeat(2_000),
                each(200, |n| {
                    format!(
                        "loop {} ",
                        each(200, |local| format!(
                            "local.get {} i64.const 1 i64.add local.set {} ",
                            (local * 10 + n) % 2_000,
                            (local * 7 + n) % 2_000
                        ))
                    )
                }),
                "end ".repeat(200)
            ),
        ),
        (
            "1,000 results that are handed on 400 times",
            format!(
                "(func $many (result {r}) unreachable) (func (drop (i32.const 0)) {})",
                ("call $many ".to_owned() + &"drop ".repeat(1_000)).repeat(400),
                r = "i64 ".repeat(1_000),
            ),
        ),
        (
            "1,000 parameters that are handed on 100 times",
            format!(
                "(func $many (param {}) {})",
                "i64 ".repeat(1_000),
                (each(1_000, |n| format!("local.get {n} ")) + "call $many ").repeat(100)
            ),
        ),
        (
            "60,000 vectors that are mixed",
            body(
                "i64.const 1 i64x2.splat ".to_owned()
                    + &"i64.const 3 i64x2.splat i64x2.mul ".repeat(60_000)
                    + "drop",
            ),
        ),
    ];
    bombs
        .into_iter()
        .map(|(what, items)| {
            Case::of(
                format!("compile/{what}"),
                Sketch::default().items(items),
                contained(),
            )
        })
        .collect()
}

fn modules() -> Vec<Case> {
    let name = "x".repeat(90_000);
    let bombs = [
        ("60,000 functions", "(func)".repeat(60_000)),
        (
            "2,000 functions with a table of branches each",
            format!(
                "(func (param i32) block local.get 0 br_table {} end)",
                "0 ".repeat(100)
            )
            .repeat(2_000),
        ),
        (
            "30,000 types",
            each(30_000, |n| {
                format!("(type (func (param {})))", "i32 i64 ".repeat(n % 20))
            }),
        ),
        (
            "100,000 globals",
            "(global i64 (i64.const 1))".repeat(100_000),
        ),
        (
            "30,000 exports",
            "(func $f)".to_owned() + &each(30_000, |n| format!(r#"(export "e{n}" (func $f))"#)),
        ),
        (
            "300,000 elements",
            format!("(func $f) (elem $e func {})", "$f ".repeat(300_000)),
        ),
        ("40,000 pieces of data", r#"(data "x")"#.repeat(40_000)),
        (
            "a megabyte of data",
            format!(r#"(data "{}")"#, "evil".repeat(1 << 18)),
        ),
        (
            "an export with a name of 90,000 letters",
            format!(r#"(func $f) (export "{name}" (func $f))"#),
        ),
    ];
    let mut cases: Vec<Case> = bombs
        .into_iter()
        .map(|(what, items)| {
            Case::of(
                format!("compile/{what}"),
                Sketch::default().items(items),
                contained(),
            )
        })
        .collect();
    // The message about the fault contains the long name.
    let twice = wat::parse_str(r#"(module (func) (export "a" (func 0)) (export "b" (func 0)))"#)
        .map(|module| same_exports(&module, 90_000))
        .unwrap();
    cases.push(Case::new(
        "compile/an error of 90,000 letters",
        with_section(&Sketch::default().component(), 1, &twice),
        Cause::Invalid,
    ));
    cases
}

/// The module with its exports replaced by two of the same name, `len` bytes long.
fn same_exports(module: &[u8], len: usize) -> Vec<u8> {
    let mut exports = number(2);
    for _ in 0..2 {
        exports.extend(number(len));
        exports.extend(vec![b'x'; len]);
        exports.extend([0, 0]);
    }
    let mut bytes = module[..8].to_vec();
    for (id, body) in sections(module) {
        let body = match id {
            7 => exports.clone(),
            _ => body.to_vec(),
        };
        bytes.extend(section(id, &body));
    }
    bytes
}

fn components() -> Vec<Case> {
    let good = Sketch::default().component();
    let nested = |component: &str, times: usize| {
        let component = wat::parse_str(component).unwrap_or_else(|error| panic!("{error}"));
        with_instances(&good, &component, times)
    };
    let memory = |pages: u32| {
        format!("(component (core module $m (memory {pages})) (core instance (instantiate $m)))")
    };
    // Each level contains several of the level below.
    let tower = |levels: usize, times: usize| {
        (0..levels).fold(
            "(component (core module $m (func (export \"f\"))) (core instance (instantiate $m)))"
                .to_owned(),
            |below, _| {
                let name = "(component $below";
                let below = below.replacen("(component", name, 1);
                format!(
                    "(component {below} {})",
                    "(instance (instantiate $below))".repeat(times)
                )
            },
        )
    };
    let too_many = || {
        Expected::from([
            Cause::Invalid,
            Cause::Trial(super::Failing::Memory),
            Cause::CompileTime,
            Cause::CompileMemory,
        ])
    };
    let mut cases = Vec::new();
    for (what, bytes) in [
        ("ten memories of 40 pages", nested(&memory(40), 10)),
        ("two hundred memories", nested(&memory(1), 200)),
        (
            "a memory larger than the machine's",
            nested(&memory(60_000), 1),
        ),
        ("a tower of a hundred instances", nested(&tower(2, 10), 1)),
        ("a tower of a million instances", nested(&tower(6, 10), 1)),
        (
            "a tower of as many instances as can be counted",
            nested(&tower(40, 2), 1),
        ),
        (
            "a tower of more instances than can be counted",
            nested(&tower(60, 10), 1),
        ),
    ] {
        cases.push(Case::new(format!("component/{what}"), bytes, too_many()));
    }
    let within = |component: &str| {
        let component = wat::parse_str(component).unwrap_or_else(|error| panic!("{error}"));
        with_section(&good, 4, &component)
    };
    let types = |from: &str, next: &dyn Fn(usize) -> String, count: usize| {
        let types = each(count, |n| format!("(type $t{} {})", n + 1, next(n)));
        format!("(component (type $t0 {from}) {types})")
    };
    for (what, bytes) in [
        (
            "nested 90 deep",
            within(
                &((0..90).fold("(component)".to_owned(), |inner, _| {
                    format!("(component {inner})")
                })),
            ),
        ),
        ("nested 900 deep", with_section(&good, 4, &deep(900))),
        (
            "20,000 empty ones",
            within(&format!("(component {})", "(component)".repeat(20_000))),
        ),
        (
            "20,000 empty modules",
            within(&format!("(component {})", "(core module)".repeat(20_000))),
        ),
        (
            "types that double 40 times",
            within(&types("string", &|n| format!("(tuple $t{n} $t{n})"), 40)),
        ),
        (
            "lists nested 5,000 deep",
            within(&types("string", &|n| format!("(list $t{n})"), 5_000)),
        ),
        (
            "options nested 90 deep",
            within(&types("string", &|n| format!("(option $t{n})"), 90)),
        ),
        (
            "a record of 20,000 fields",
            within(&format!(
                "(component (type (record {})))",
                each(20_000, |n| format!(r#"(field "f{n}" u64)"#))
            )),
        ),
        (
            "a variant of 20,000 cases",
            within(&format!(
                "(component (type (variant {})))",
                each(20_000, |n| format!(r#"(case "c{n}" u64)"#))
            )),
        ),
        (
            "50,000 types",
            within(&format!(
                "(component {})",
                "(type (list string))".repeat(50_000)
            )),
        ),
        (
            "instance types that double 30 times",
            within(&instance_types(30)),
        ),
        (
            "50,000 functions of one",
            within(&format!(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) {})"#,
                r#"(func (canon lift (core func $i "f")))"#.repeat(10_000)
            )),
        ),
        (
            "10,000 exports",
            within(&format!(
                "(component (instance $i) {})",
                each(10_000, |n| format!(r#"(export "e{n}" (instance $i))"#))
            )),
        ),
    ] {
        assert!(bytes.len() < 2 * MANY_BYTES, "{what}");
        cases.push(Case::new(format!("component/{what}"), bytes, contained()));
    }
    cases
}

/// Nested components, built as bytes because a text parser would overflow its stack.
fn deep(levels: usize) -> Vec<u8> {
    (0..levels).fold(preambled(b""), |inner, _| preambled(&section(4, &inner)))
}

/// Instance types, each of which exports the previous one twice.
fn instance_types(levels: usize) -> String {
    let types = each(levels, |before| {
        let n = before + 1;
        format!(
            r#"(type $t{n} (instance
                (alias outer 1 $t{before} (type $b))
                (export "a" (instance (type $b)))
                (export "b" (instance (type $b)))))"#
        )
    });
    format!("(component (type $t0 (instance)) {types})")
}

/// A component that contains another one and instantiates it several times.
fn with_instances(component: &[u8], nested: &[u8], times: usize) -> Vec<u8> {
    let index = sections(component).filter(|(id, _)| *id == 4).count();
    let mut instances = number(times);
    for _ in 0..times {
        instances.push(0);
        instances.extend(number(index));
        instances.push(0);
    }
    let mut bytes = with_section(component, 4, nested);
    bytes.extend(section(5, &instances));
    bytes
}

/// A component with an additional section.
fn with_section(component: &[u8], id: u8, body: &[u8]) -> Vec<u8> {
    [component, &section(id, body)].concat()
}

/// The sections of a module or a component, as ids and bodies.
fn sections(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = &bytes[8..];
    std::iter::from_fn(move || {
        let (id, mut after) = rest.split_first()?;
        let mut len = 0;
        for shift in (0..).step_by(7) {
            let (byte, next) = after.split_first().unwrap();
            after = next;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (body, next) = after.split_at(len);
        rest = next;
        Some((*id, body))
    })
}

/// The preamble of a component, followed by these sections.
pub(super) fn preambled(sections: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0", sections].concat()
}

/// Encodes a section.
pub(super) fn section(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(number(body.len()));
    bytes.extend(body);
    bytes
}

/// A number in LEB128, the encoding of WebAssembly.
pub(super) fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        match number {
            0 => {
                bytes.push(byte);
                return bytes;
            }
            _ => bytes.push(byte | 0x80),
        }
    }
}
