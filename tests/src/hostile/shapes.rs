//! Files that are not components of the contract: other files, other worlds, imports, and
//! WebAssembly features that policies cannot use.

use entail_policy::Limits;

use super::compilation::preambled;
use super::sketch::{Sketch, each};
use super::{BUILT_IN, Case, Cause, Failing};

pub(super) fn cases() -> Vec<Case> {
    [
        files(),
        cut_short(),
        worlds(),
        imports(),
        proposals(),
        sections(),
    ]
    .concat()
}

fn files() -> Vec<Case> {
    let good = Sketch::default().component();
    let module =
        wat::parse_str(r#"(module (func (export "entail:policy/resolver@0.2.0#decide")))"#)
            .unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let limit = Limits::default().component_bytes;
    let not =
        |name: &str, bytes: Vec<u8>| Case::new(format!("file/{name}"), bytes, Cause::NotAComponent);
    vec![
        not("empty", Vec::new()),
        not("a zero", vec![0]),
        not("the magic alone", b"\0asm".to_vec()),
        not("a component as text", b"(component)".to_vec()),
        not("a policy as text", b"(component (core module))".to_vec()),
        not(
            "a component after a space",
            [b" ".as_slice(), &good].concat(),
        ),
        not(
            "a component after a byte order mark",
            [b"\xef\xbb\xbf".as_slice(), &good].concat(),
        ),
        not("an ELF program", b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec()),
        not("compressed", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        not("an archive", b"PK\x03\x04\0\0\0\0".to_vec()),
        not("a script", b"#!/bin/sh\nexit 0\n".to_vec()),
        not("a megabyte of zeros", vec![0; 1 << 20]),
        not("magic in upper case", with(1, b'A')),
        not("a component of an older version", with(4, 0x0a)),
        not("a component of a later version", with(4, 0x7f)),
        not("a layer that does not exist", with(6, 2)),
        Case::new("file/a core module", module, Cause::CoreModule),
        Case::new(
            "file/the start of a core module",
            b"\0asm\x01\0\0\0".to_vec(),
            Cause::CoreModule,
        ),
        Case::new(
            "file/more than is allowed",
            [good.as_slice(), &vec![0; limit * 2]].concat(),
            Cause::TooLarge,
        ),
        Case::new(
            "file/one byte above the limit",
            [good.as_slice(), &vec![0; limit + 1 - good.len()]].concat(),
            Cause::TooLarge,
        ),
        Case::new(
            "file/two components in a row",
            [good.as_slice(), &good].concat(),
            Cause::Invalid,
        ),
        Case::new(
            "file/zeros after a component",
            [good.as_slice(), &[0; 64]].concat(),
            Cause::Invalid,
        ),
        Case::new(
            "file/noise after the preamble",
            preambled(&noise(4096)),
            Cause::Invalid,
        ),
        Case::new(
            "file/the preamble alone",
            preambled(b""),
            Cause::MissingExport,
        ),
        Case::new(
            "file/a module of another version inside",
            // The preamble of the module inside the component.
            {
                let mut bytes = good.clone();
                let at = (8..bytes.len())
                    .find(|at| bytes[*at..].starts_with(b"\0asm\x01\0\0\0"))
                    .unwrap();
                bytes[at + 4] = 9;
                bytes
            },
            Cause::Invalid,
        ),
    ]
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

fn cut_short() -> Vec<Case> {
    (1..=16)
        .map(|part| {
            let len = 8 + (BUILT_IN.len() - 9) * part / 16;
            Case::new(
                format!("cut/after {len} bytes"),
                BUILT_IN[..len].to_vec(),
                // The cut may be at the end of a section.
                [Cause::Invalid, Cause::MissingExport],
            )
        })
        .chain((1..8).map(|len| {
            Case::new(
                format!("cut/after {len} bytes"),
                BUILT_IN[..len].to_vec(),
                Cause::NotAComponent,
            )
        }))
        .collect()
}

fn worlds() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "world/empty",
            wat::parse_str("(component)").unwrap(),
            Cause::MissingExport,
        ),
        Case::of(
            "world/without a resolver",
            Sketch::default().world("without-resolver"),
            Cause::MissingExport,
        ),
        Case::of(
            "world/without a description",
            Sketch::default().world("without-about"),
            Cause::MissingExport,
        ),
        Case::of(
            "world/without settings",
            Sketch::default().world("without-settings"),
            Cause::Grants,
        ),
    ];
    for version in ["9.9.9", "1.0.0", "0.3.0", "0.0.2", "0.2.0-rc.1"] {
        cases.push(Case::of(
            format!("world/of version {version}"),
            Sketch::default().version(version),
            Cause::MissingExport,
        ));
    }
    cases.push(Case::of(
        "world/of a later patch",
        Sketch::default().version("0.2.1"),
        [Cause::Grants, Cause::MissingExport],
    ));
    for (what, from, to) in [
        (
            "an additional field in a request",
            "settings: string,\n",
            "settings: string,\n    more: option<string>,\n",
        ),
        (
            "a missing field in a credential",
            "    priority: u32,\n",
            "",
        ),
        ("a number of another type", "priority: u32", "priority: s32"),
        ("a time in another unit", "now-ms: u64", "now-s: u64"),
        (
            "an additional case in an outcome",
            "refused(refusal),\n",
            "refused(refusal),\n    both(grant),\n",
        ),
        (
            "cases in another order",
            "granted(grant),\n    /// The request is refused.\n    refused(refusal),",
            "refused(refusal),\n    granted(grant),",
        ),
        (
            "a list instead of an option",
            "default-model: option<string>",
            "default-model: list<string>",
        ),
        (
            "no error",
            "-> result<decision, error>",
            "-> result<decision>",
        ),
        (
            "settings that are bytes",
            "schema: func() -> string",
            "schema: func() -> list<u8>",
        ),
        (
            "a missing field in a description",
            "    summary: string,\n",
            "",
        ),
    ] {
        cases.push(Case::of(
            format!("world/with {what}"),
            // The types change, but the functions of the module stay the same.
            Sketch::default().contract(from, to),
            Cause::WrongType,
        ));
    }
    cases.push(Case::of(
        "world/with a renamed parameter",
        Sketch::default().contract(
            "validate: func(settings: string)",
            "validate: func(values: string)",
        ),
        // Names of parameters do not affect the types.
        [Cause::Grants, Cause::WrongType],
    ));
    for (what, component) in [
        (
            "a function instead of an interface",
            r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $about (export "describe" (func $f)))
                (export "entail:policy/resolver@0.2.0" (func $f))
                (export "entail:policy/about@0.2.0" (instance $about)))"#,
        ),
        (
            "empty interfaces",
            r#"(component
                (instance $empty)
                (export "entail:policy/resolver@0.2.0" (instance $empty))
                (export "entail:policy/settings@0.2.0" (instance $empty))
                (export "entail:policy/about@0.2.0" (instance $empty)))"#,
        ),
        (
            "a component instead of a function",
            r#"(component
                (component $c)
                (instance $i (export "decide" (component $c)) (export "describe" (component $c)))
                (export "entail:policy/resolver@0.2.0" (instance $i))
                (export "entail:policy/about@0.2.0" (instance $i)))"#,
        ),
        (
            "functions without parameters",
            r#"(component
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $resolver (export "decide" (func $f)))
                (instance $about (export "describe" (func $f)))
                (export "entail:policy/resolver@0.2.0" (instance $resolver))
                (export "entail:policy/about@0.2.0" (instance $about)))"#,
        ),
    ] {
        let Ok(bytes) = wat::parse_str(component) else {
            panic!("{what}");
        };
        cases.push(Case::new(
            format!("world/with {what}"),
            bytes,
            // The engine does not support exports of components.
            [Cause::MissingExport, Cause::WrongType, Cause::Invalid],
        ));
    }
    cases
}

fn imports() -> Vec<Case> {
    let mut cases = Vec::new();
    // Interfaces, each imported by an otherwise valid policy.
    for name in [
        "wasi:cli/environment@0.2.0",
        "wasi:cli/stdout@0.2.0",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:clocks/monotonic-clock@0.2.6",
        "wasi:random/random@0.2.0",
        "wasi:random/insecure-seed@0.2.0",
        "wasi:filesystem/types@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/ip-name-lookup@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:io/poll@0.2.0",
        "wasi:keyvalue/store@0.2.0-draft",
        "entail:policy/resolver@0.2.0",
        "entail:policy/settings@0.2.0",
        "entail:host/secrets@0.1.0",
        "evil:evil/evil",
    ] {
        cases.push(Case::new(
            format!("import/{name}"),
            importing(&format!(r#"(import "{name}" (instance))"#)),
            Cause::Imports,
        ));
    }
    for (what, import) in [
        ("a function", r#"(import "now" (func (result u64)))"#),
        (
            "a function with a string parameter",
            r#"(import "tell" (func (param "everything" string)))"#,
        ),
        (
            "an instance with a function",
            r#"(import "host:net/http" (instance (export "get" (func (param "url" string) (result string)))))"#,
        ),
        ("a component", r#"(import "child" (component))"#),
        (
            "a core module",
            r#"(import "code" (core module (export "f" (func))))"#,
        ),
        ("a type", r#"(import "handle" (type (sub resource)))"#),
        (
            "an asynchronous function",
            r#"(import "later" (func async (result u64)))"#,
        ),
        (
            "a hundred functions",
            &each(100, |n| format!(r#"(import "f{n}" (func))"#)),
        ),
        (
            "a function with a name of 50,000 letters",
            &format!(r#"(import "{}" (func))"#, "a".repeat(50_000)),
        ),
    ] {
        cases.push(Case::new(
            format!("import/{what}"),
            importing(import),
            [Cause::Imports, Cause::Invalid],
        ));
    }
    cases
}

/// A component that contains only an import.
fn importing(import: &str) -> Vec<u8> {
    // Imports are checked before exports, so the missing exports do not matter.
    wat::parse_str(format!("(component {import})")).unwrap_or_else(|error| panic!("{error}"))
}

/// WebAssembly features that are disabled or missing in the engine.
fn proposals() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, items) in [
        ("a 64-bit table", "(table i64 1 funcref)"),
        ("a tail call", "(func $on (return_call $on))"),
        (
            "atomic operations",
            "(func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))",
        ),
        (
            "waiting for a thread",
            "(func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))",
        ),
        ("exceptions", "(tag $t) (func (throw $t))"),
        (
            "garbage-collected structures",
            "(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))",
        ),
        (
            "garbage-collected arrays",
            "(type $a (array (mut i64))) (func (drop (array.new_default $a (i32.const 100000000))))",
        ),
        (
            "relaxed vector operations",
            "(func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0))))",
        ),
        (
            "wide arithmetic",
            "(func (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)) (drop) (drop))",
        ),
        (
            "stack switching",
            "(type $f (func)) (type $c (cont $f)) (func (drop (ref.null $c)))",
        ),
    ] {
        cases.push(Case::of(
            format!("proposal/{what}"),
            Sketch::default().items(items),
            Cause::Invalid,
        ));
    }
    cases.push(Case::of(
        "proposal/31-bit references",
        Sketch::default().items("(func (drop (ref.i31 (i32.const 1))))"),
        // It is harmless without garbage to collect.
        [Cause::Invalid, Cause::Grants],
    ));
    for (what, memory) in [
        (
            "a second memory",
            r#"(memory (export "memory") 4) (memory 1)"#,
        ),
        (
            "a 64-bit memory",
            r#"(memory (export "memory") 4) (memory i64 1)"#,
        ),
        (
            "a shared memory",
            r#"(memory (export "memory") 4 8 shared)"#,
        ),
        (
            "pages of one byte",
            r#"(memory (export "memory") 200000 (pagesize 1))"#,
        ),
    ] {
        cases.push(Case::of(
            format!("proposal/{what}"),
            Sketch::default().memory(memory),
            Cause::Invalid,
        ));
    }
    for (what, component) in [
        ("a future", "(component (type (future string)))"),
        ("a stream", "(component (type (stream u8)))"),
        ("tasks", "(component (core func (canon task.cancel)))"),
        (
            "a new thread",
            "(component (core func (canon thread.yield)))",
        ),
        ("an error context", "(component (type error-context))"),
        (
            "a start value",
            r#"(component (import "v" (value string)))"#,
        ),
    ] {
        cases.push(Case::new(
            format!("proposal/{what}"),
            wat::parse_str(component).unwrap_or_else(|error| panic!("{what}: {error}")),
            // Harmless if the engine knows it; then it is only not a policy.
            [Cause::Invalid, Cause::MissingExport, Cause::Imports],
        ));
    }
    cases
}

/// Additional sections after those of a valid component.
fn sections() -> Vec<Case> {
    let good = Sketch::default().component();
    let custom = |name: &str, len: usize| {
        let mut body = super::compilation::number(name.len());
        body.extend(name.as_bytes());
        body.resize(body.len() + len, 0xa5);
        super::compilation::section(0, &body)
    };
    let after = |section: &[u8]| [good.as_slice(), section].concat();
    vec![
        Case::new(
            "section/a custom section of one megabyte",
            after(&custom("evil", 1 << 20)),
            Cause::Grants,
        ),
        Case::new(
            "section/ten thousand custom sections",
            after(&custom("x", 8).repeat(10_000)),
            Cause::Grants,
        ),
        Case::new(
            "section/invalid names",
            after(&custom("component-name", 64)),
            [Cause::Grants, Cause::Invalid],
        ),
        Case::new(
            "section/claimed precompiled code",
            after(&custom(".wasmtime.engine", 512)),
            [Cause::Grants, Cause::Invalid],
        ),
        Case::new(
            "section/of an unknown kind",
            after(&super::compilation::section(99, b"evil")),
            Cause::Invalid,
        ),
        Case::new(
            "section/longer than the file",
            after(&[1, 0xff, 0xff, 0xff, 0x7f, 0]),
            Cause::Invalid,
        ),
        Case::new(
            "section/with a length that never ends",
            after(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Cause::Invalid,
        ),
        Case::new(
            "section/with a name longer than itself",
            after(&super::compilation::section(0, &[0xff, 0xff, 0x7f])),
            Cause::Invalid,
        ),
        Case::new(
            "section/with a name that is not UTF-8",
            after(&super::compilation::section(0, b"\x02\xff\xfe")),
            [Cause::Invalid, Cause::Grants],
        ),
        Case::new(
            "section/a missing start function",
            after(&super::compilation::section(9, &[200, 0, 0])),
            Cause::Invalid,
        ),
        Case::new(
            "section/a duplicate export",
            after(
                &wat::parse_str(
                    r#"(component (instance) (export "entail:policy/about@0.2.0" (instance 0)))"#,
                )
                .unwrap()[8..],
            ),
            [Cause::Invalid, Cause::Trial(Failing::Malformed)],
        ),
    ]
}
