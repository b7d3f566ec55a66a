//! Components that crash in different ways, and ones that misbehave only in certain requests.

use super::exhaustion::everywhere;
use super::sketch::{ANSWER, SCRATCH, Sketch, of_first_contract, point};
use super::{Case, Cause, Failing};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = everywhere("trap", "", "(unreachable)", Failing::Trapped);
    for (what, items, instructions) in [
        (
            "divides by zero",
            "",
            "(drop (i32.div_s (i32.const 1) (local.get $i)))",
        ),
        (
            "takes the remainder of a division by zero",
            "",
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get $i))))",
        ),
        (
            "divides the smallest number by minus one",
            "",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1))))",
        ),
        (
            "converts NaN to an integer",
            "",
            "(drop (i32.trunc_f64_s (f64.const nan)))",
        ),
        (
            "converts a number that is too large to an integer",
            "",
            "(drop (i64.trunc_f32_u (f32.const 1e30)))",
        ),
        (
            "loads beyond its memory",
            "",
            "(drop (i32.load (i32.const -8)))",
        ),
        (
            "loads far beyond its memory",
            "",
            "(drop (i64.load offset=4294967295 (i32.const -1)))",
        ),
        (
            "loads across the end of its memory",
            "",
            "(drop (i64.load (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4))))",
        ),
        (
            "stores beyond its memory",
            "",
            "(i64.store (i32.const -16) (i64.const 1))",
        ),
        (
            "fills beyond its memory",
            "",
            "(memory.fill (i32.const 1024) (i32.const 1) (i32.const -1))",
        ),
        (
            "copies beyond its memory",
            "",
            "(memory.copy (i32.const 0) (i32.const -8) (i32.const 16))",
        ),
        (
            "initializes memory from dropped data",
            r#"(data $d "abc")"#,
            "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))",
        ),
        (
            "calls beyond a table",
            "(table $t 1 funcref)",
            "(call_indirect $t (i32.const 100))",
        ),
        (
            "calls an empty table element",
            "(table $t 1 funcref)",
            "(call_indirect $t (i32.const 0))",
        ),
        (
            "calls a function of another type",
            "(table $t funcref (elem $f)) (func $f (param i32))",
            "(call_indirect $t (i32.const 0))",
        ),
        (
            "reads beyond a table",
            "(table $t 1 funcref)",
            "(drop (table.get $t (i32.const 1)))",
        ),
        (
            "fills beyond a table",
            "(table $t 1 funcref)",
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 2))",
        ),
    ] {
        cases.push(Case::of(
            format!("trap/{what}"),
            Sketch::evil(instructions).items(items),
            Cause::Fails(Failing::Trapped),
        ));
    }
    for (what, items) in [
        (
            "has data beyond its memory",
            r#"(data (i32.const 0x7ffffff0) "beyond")"#,
        ),
        (
            "has elements beyond a table",
            "(table $t 1 funcref) (elem (table $t) (i32.const 5) func $f) (func $f)",
        ),
    ] {
        cases.push(Case::of(
            format!("trap/{what}"),
            Sketch::default().items(items),
            [Cause::Trial(Failing::Trapped), Cause::Invalid],
        ));
    }
    cases.push(Case::new(
        "trap/of the first contract",
        of_first_contract("(unreachable)"),
        Cause::Fails(Failing::Trapped),
    ));
    // Conditions on a request that the trial call does not meet.
    for (moment, when) in [
        (
            "a year",
            "(i64.gt_u (i64.load offset=40 (local.get $p)) (i64.const 1700000000000))",
        ),
        (
            "a bit of the time",
            "(i64.ne (i64.and (i64.load offset=40 (local.get $p)) (i64.const 0xfffffffffe)) (i64.const 0))",
        ),
        (
            "a model of five letters that begins with g",
            "(i32.and
                (i32.eq (i32.load offset=16 (local.get $p)) (i32.const 5))
                (i32.eq (i32.load8_u (i32.load offset=12 (local.get $p))) (i32.const 103)))",
        ),
        (
            "a principal with a colon",
            "(i32.eq (i32.load8_u offset=5 (i32.load offset=32 (local.get $p))) (i32.const 58))",
        ),
        (
            "a chain of three",
            "(i32.eq (i32.load offset=68 (local.get $p)) (i32.const 3))",
        ),
        (
            "several credentials",
            "(i32.gt_u (i32.load offset=28 (i32.load offset=64 (local.get $p))) (i32.const 1))",
        ),
        (
            "a scope that inherits",
            "(i32.eq (i32.load8_u offset=8 (i32.load offset=64 (local.get $p))) (i32.const 1))",
        ),
    ] {
        for (what, instructions, cause) in [
            (
                "trap",
                "(unreachable)".to_owned(),
                Cause::Fails(Failing::Trapped),
            ),
            (
                "forge",
                point(ANSWER + 8, SCRATCH, 4),
                Cause::Widens("was not offered"),
            ),
        ] {
            cases.push(Case::of(
                format!("moment/{what} at {moment}"),
                Sketch::evil(instructions).when(when).data(b"evil"),
                cause,
            ));
        }
    }
    cases
}
