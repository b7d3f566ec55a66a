//! Components that exhaust resources: time, memory, tables, the stack, and the bytes of a
//! result.

use serde_json::json;

use super::answers::{LISTS, TEXTS};
use super::sketch::{
    ANSWER, DESCRIPTION, SCHEMA, SCRATCH, Sketch, VALIDATION, each, of_first_contract, point,
    store, store_byte,
};
use super::{Case, Cause, Failing};

pub(super) fn cases() -> Vec<Case> {
    [
        loops(),
        memory(),
        tables(),
        recursion(),
        results(),
        over_time(),
    ]
    .concat()
}

fn loops() -> Vec<Case> {
    const LOOP: &str = "(loop $on (br $on))";
    let mut cases = everywhere("loop", "", LOOP, Failing::Deadline);
    // Loops that a deadline check at the back edge could miss.
    for (what, items, instructions) in [
        (
            "that fills memory",
            "",
            "(loop $on (memory.fill (i32.const 65536) (i32.const 0) (i32.const 65536)) (br $on))",
        ),
        (
            "that copies memory",
            "",
            "(loop $on (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 65536)) (br $on))",
        ),
        (
            "that grows memory by nothing",
            "",
            "(loop $on (drop (memory.grow (i32.const 0))) (br $on))",
        ),
        (
            "that grows a table by nothing",
            "(table $t 1 funcref)",
            "(loop $on (drop (table.grow $t (ref.null func) (i32.const 0))) (br $on))",
        ),
        (
            "that fills a table",
            "(table $t 9000 funcref)",
            "(loop $on (table.fill $t (i32.const 0) (ref.null func) (i32.const 9000)) (br $on))",
        ),
        (
            "by a table of branches",
            "",
            "(loop $on (br_table $on $on $on (local.get $i)))",
        ),
        (
            "by a condition",
            "",
            "(loop $on (br_if $on (i32.const 1)))",
        ),
        (
            "that calls",
            "(func $nothing)",
            "(loop $on (call $nothing) (br $on))",
        ),
        (
            "that calls through a table",
            "(table $t funcref (elem $nothing)) (func $nothing)",
            "(loop $on (call_indirect $t (i32.const 0)) (br $on))",
        ),
        (
            "that calls a function that loops",
            "(func $on (loop $on (br $on)))",
            "(call $on)",
        ),
        (
            "that counts to two to the 64th",
            "(global $count (mut i64) (i64.const 0))",
            "(loop $on (global.set $count (i64.add (global.get $count) (i64.const 1)))
                (br_if $on (i64.ne (global.get $count) (i64.const 0))))",
        ),
        (
            "of square roots",
            "(global $x (mut f64) (f64.const 2))",
            "(loop $on (global.set $x (f64.sqrt (global.get $x))) (br $on))",
        ),
        (
            "of divisions",
            "(global $x (mut i64) (i64.const -1))",
            "(loop $on (global.set $x (i64.div_u (i64.const -1) (i64.or (global.get $x) (i64.const 1)))) (br $on))",
        ),
        (
            "within loops",
            "",
            "(loop $a (loop $b (loop $c (loop $d (br_if $d (i32.const 0)) (br_if $c (i32.const 0)) (br_if $b (i32.const 1)) (br $a)))))",
        ),
        (
            "of calls that double at each level",
            "(func $down (param i32) (if (local.get 0) (then
                (call $down (i32.sub (local.get 0) (i32.const 1)))
                (call $down (i32.sub (local.get 0) (i32.const 1))))))",
            "(call $down (i32.const 60))",
        ),
        (
            "of stores",
            "",
            "(loop $on (i32.store (local.get $i) (local.get $j))
                (local.set $i (i32.and (i32.add (local.get $i) (i32.const 4)) (i32.const 0xffff))) (br $on))",
        ),
    ] {
        cases.push(Case::of(
            format!("loop/{what}"),
            Sketch::evil(instructions).items(items),
            Cause::Fails(Failing::Deadline),
        ));
    }
    cases.push(Case::new(
        "loop/of the first contract",
        of_first_contract(LOOP),
        Cause::Fails(Failing::Deadline),
    ));
    // It is stopped each time, and no call is affected by the previous one.
    cases.push(
        Case::of(
            "loop/in an instance that stays",
            Sketch::evil(LOOP),
            Cause::Fails(Failing::Deadline),
        )
        .warm(),
    );
    cases
}

/// Cases that run the same instructions at each place where code of a component runs.
pub(super) fn everywhere(
    group: &str,
    items: &str,
    instructions: &str,
    failing: Failing,
) -> Vec<Case> {
    let for_settings =
        format!("(if (i32.gt_u (local.get $settings_len) (i32.const 2)) (then {instructions}))");
    let for_large_allocations =
        format!("(if (i32.ge_u (local.get $size) (i32.const 400)) (then {instructions}))");
    let when_evil = format!("(if (global.get $evil) (then {instructions}))");
    let begin = format!("{items} (func $begin {instructions}) (start $begin)");
    let sketch = || Sketch::default().items(items);
    let case = |place: &str, sketch: Sketch, cause: Cause| {
        Case::of(format!("{group}/{place}"), sketch, cause)
    };
    vec![
        case(
            "at the start",
            Sketch::default().items(begin),
            Cause::Trial(failing),
        ),
        case(
            "in describe",
            sketch().describe(instructions),
            Cause::Trial(failing),
        ),
        case(
            "in schema",
            sketch().schema(instructions),
            Cause::Trial(failing),
        ),
        case(
            "in validate",
            sketch().validate(for_settings),
            Cause::SettingsFail(failing),
        )
        .settings(json!({"anything": 1})),
        case(
            "in realloc",
            sketch().realloc(instructions),
            Cause::Trial(failing),
        ),
        case(
            "in realloc when there is much",
            sketch().realloc(for_large_allocations),
            Cause::Fails(failing),
        ),
        case(
            "in decide",
            Sketch::decide(instructions).items(items),
            Cause::Trial(failing),
        ),
        case(
            "in decide when evil",
            Sketch::evil(instructions).items(items),
            Cause::Fails(failing),
        ),
        case(
            "after the answer",
            sketch().after(instructions),
            Cause::Trial(failing),
        ),
        case(
            "after the answer when evil",
            sketch().after(when_evil),
            Cause::Fails(failing),
        ),
    ]
}

fn memory() -> Vec<Case> {
    // The limit is 16 MiB, 256 pages.
    let grow = |pages: u32| format!("(drop (memory.grow (i32.const {pages})))");
    let mut cases = everywhere("memory", "", &grow(300), Failing::Memory);
    for pages in [257, 1_000, 65_536] {
        cases.push(Case::of(
            format!("memory/{pages} pages from the start"),
            Sketch::default().pages(pages),
            [Cause::Invalid, Cause::Trial(Failing::Memory)],
        ));
    }
    for pages in [254, 65_535, u32::MAX] {
        cases.push(Case::of(
            format!("memory/grows by {pages} pages"),
            Sketch::evil(grow(pages)),
            // A size beyond 32 bits fails without reaching the limit: the module
            // gets -1.
            [Cause::Fails(Failing::Memory), Cause::Grants],
        ));
    }
    cases.extend([
        Case::of(
            "memory/grows page by page",
            Sketch::evil("(loop $on (drop (memory.grow (i32.const 1))) (br $on))"),
            Cause::Fails(Failing::Memory),
        ),
        Case::of(
            "memory/grows page by page and fills each",
            Sketch::evil(
                "(loop $on (local.set $i (memory.grow (i32.const 1)))
                    (memory.fill (i32.shl (local.get $i) (i32.const 16)) (i32.const 1) (i32.const 65536))
                    (br $on))",
            ),
            Cause::Fails(Failing::Memory),
        ),
        Case::of(
            "memory/grows to the limit and fills it",
            Sketch::evil(
                "(drop (memory.grow (i32.const 250)))
                (memory.fill (i32.const 65536) (i32.const 1)
                    (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))",
            ),
            // The facts are overwritten, too; the texts of the result are all ones.
            [
                Cause::Widens("was not offered"),
                Cause::Widens("is not the effective model"),
                Cause::Fails(Failing::Malformed),
            ],
        ),
        Case::of(
            "memory/allocates beyond its memory",
            Sketch::default().realloc(
                "(if (i32.ge_u (local.get $size) (i32.const 400)) (then (return (i32.const 0x7fff0000))))",
            ),
            Cause::Fails(Failing::Malformed),
        ),
        Case::of(
            "memory/returns -1 for an allocation",
            Sketch::default().realloc(
                "(if (i32.ge_u (local.get $size) (i32.const 400)) (then (return (i32.const -1))))",
            ),
            Cause::Fails(Failing::Malformed),
        ),
        Case::of(
            "memory/allocates without alignment",
            Sketch::default().realloc(
                "(if (i32.ge_u (local.get $size) (i32.const 400)) (then (return (i32.const 131073))))",
            ),
            Cause::Fails(Failing::Malformed),
        ),
        Case::of(
            "memory/always allocates the same address",
            Sketch::default().realloc("(return (i32.const 131072))"),
            // It reads corrupted facts, and must not access anything outside of its
            // memory with them.
            [
                Cause::Trial(Failing::Trapped),
                Cause::Trial(Failing::Deadline),
                Cause::Trial(Failing::Malformed),
                Cause::Fails(Failing::Trapped),
                Cause::Fails(Failing::Malformed),
                Cause::Refuses,
                Cause::Grants,
            ],
        ),
        Case::of(
            "memory/allocates the address of its answer",
            Sketch::default().realloc(
                "(if (i32.ge_u (local.get $size) (i32.const 400)) (then (return (i32.const 1024))))",
            ),
            [
                Cause::Fails(Failing::Trapped),
                Cause::Fails(Failing::Malformed),
                Cause::Fails(Failing::ResultBytes),
                Cause::Widens("was not offered"),
                Cause::Refuses,
                Cause::Grants,
            ],
        ),
    ]);
    cases
}

fn tables() -> Vec<Case> {
    // The limit is 10,000 elements.
    let items = "(table $t 10 funcref)";
    let grow =
        |elements: u32| format!("(drop (table.grow $t (ref.null func) (i32.const {elements})))");
    let mut cases = everywhere("table", items, &grow(20_000), Failing::Table);
    for elements in [10_001, 1_000_000, u32::MAX] {
        cases.push(Case::of(
            format!("table/{elements} elements from the start"),
            Sketch::default().items(format!("(table {elements} funcref)")),
            [Cause::Invalid, Cause::Trial(Failing::Table)],
        ));
    }
    cases.extend([
        Case::of(
            "table/grows element by element",
            Sketch::evil("(loop $on (drop (table.grow $t (ref.null func) (i32.const 1))) (br $on))")
                .items(items),
            Cause::Fails(Failing::Table),
        ),
        Case::of(
            "table/grows by the maximum",
            Sketch::evil(grow(u32::MAX)).items(items),
            [Cause::Fails(Failing::Table), Cause::Grants],
        ),
        Case::of(
            "table/many that add up",
            Sketch::default().items("(table 3000 funcref) (table 3000 funcref) (table 3000 funcref) (table 3000 funcref)"),
            [Cause::Invalid, Cause::Trial(Failing::Table)],
        ),
        Case::of(
            "table/too many of them",
            Sketch::default().items("(table 1 funcref)".repeat(90)),
            [Cause::Invalid, Cause::Trial(Failing::Table)],
        ),
    ]);
    cases
}

fn recursion() -> Vec<Case> {
    let items = "(func $down (call $down))";
    let mut cases = everywhere("recursion", items, "(call $down)", Failing::Stack);
    let many = "i64 ".repeat(16);
    let drops = "(drop)".repeat(16);
    for (what, items, drops) in [
        (
            "of two functions",
            "(func $down (call $other)) (func $other (call $down))".to_owned(),
            "",
        ),
        (
            "through a table",
            "(table $t funcref (elem $down)) (func $down (call_indirect $t (i32.const 0)))"
                .to_owned(),
            "",
        ),
        (
            "with a large frame",
            format!(
                "(func $down (local {}) (call $down))",
                "i64 ".repeat(20_000)
            ),
            "",
        ),
        (
            "with many results",
            format!("(func $down (result {many}) (call $down))"),
            &drops,
        ),
        (
            "with many parameters",
            format!(
                "(func $deep (param {many}) {} (call $deep)) (func $down {} (call $deep))",
                each(16, |n| format!("(local.get {n})")),
                "(i64.const 1)".repeat(16)
            ),
            "",
        ),
    ] {
        cases.push(Case::of(
            format!("recursion/{what}"),
            Sketch::evil(format!("(call $down) {drops}")).items(items),
            Cause::Fails(Failing::Stack),
        ));
    }
    cases
}

fn results() -> Vec<Case> {
    const PAGES: u32 = 64;
    // All zeros, which are valid UTF-8.
    const START: u32 = 196_608;
    const LEN: u32 = 3 << 20;
    let mut cases = Vec::new();
    for (what, around, at) in TEXTS {
        cases.push(Case::of(
            format!("result/3 MiB for {what}"),
            Sketch::evil(around.to_owned() + &point(at, START, LEN)).pages(PAGES),
            Cause::Fails(Failing::ResultBytes),
        ));
    }
    for (what, around, at, element) in LISTS {
        cases.push(Case::of(
            format!("result/a list of {} {what}", LEN / element),
            Sketch::evil(around.to_owned() + &point(at, START, LEN / element)).pages(PAGES),
            Cause::Fails(Failing::ResultBytes),
        ));
    }
    // Small in its memory, and large when copied: all elements point to the same text.
    let many = |text: u32| {
        format!(
            "(local.set $i (i32.const {START}))
            (loop $on
                (i32.store (local.get $i) (i32.const {SCRATCH}))
                (i32.store offset=4 (local.get $i) (i32.const {text}))
                (local.set $i (i32.add (local.get $i) (i32.const 8)))
                (br_if $on (i32.lt_u (local.get $i) (i32.const {}))))",
            START + 16_000 * 8
        ) + &point(ANSWER + 16, START, 16_000)
    };
    cases.extend([
        Case::of(
            "result/the same text as 16,000 alternates",
            Sketch::evil(many(1_000)).pages(PAGES),
            Cause::Fails(Failing::ResultBytes),
        ),
        Case::of(
            "result/findings that all point to the same attributes",
            // Each finding's attributes are the whole list of findings, read as pairs.
            Sketch::evil(
                format!(
                    "(local.set $i (i32.const {START}))
                (loop $on
                    (i32.store offset=16 (local.get $i) (i32.const {}))
                    (i32.store offset=20 (local.get $i) (i32.const 1000))
                    (local.set $i (i32.add (local.get $i) (i32.const 24)))
                    (br_if $on (i32.lt_u (local.get $i) (i32.const {}))))",
                    START + (1 << 20),
                    START + 10_000 * 24
                ) + &point(ANSWER + 36, START, 10_000),
            )
            .pages(PAGES),
            Cause::Fails(Failing::ResultBytes),
        ),
        Case::of(
            "result/findings just within the limit",
            Sketch::evil(point(ANSWER + 36, START, 8_000)).pages(PAGES),
            // They are copied, but have no valid codes.
            Cause::Fails(Failing::Malformed),
        ),
        Case::of(
            "result/3 MiB for a description",
            Sketch::default()
                .describe(point(DESCRIPTION + 16, START, LEN))
                .pages(PAGES),
            [Cause::Description, Cause::Trial(Failing::ResultBytes)],
        ),
        Case::of(
            "result/3 MiB for a schema",
            Sketch::default()
                .schema(point(SCHEMA, START, LEN))
                .pages(PAGES),
            Cause::Trial(Failing::ResultBytes),
        ),
        Case::of(
            "result/200,000 problems of settings",
            Sketch::default()
                .validate(
                    "(if (i32.gt_u (local.get $settings_len) (i32.const 2)) (then ".to_owned()
                        + &store_byte(VALIDATION, 1)
                        + &point(VALIDATION + 4, START, 190_000)
                        + "))",
                )
                .pages(PAGES),
            Cause::SettingsFail(Failing::ResultBytes),
        )
        .settings(json!({"a": 1})),
        Case::new(
            "result/3 MiB of the first contract",
            of_first_contract(&format!(
                "(drop (memory.grow (i32.const 60))) {}",
                point(1032, START, LEN)
            )),
            Cause::Fails(Failing::ResultBytes),
        ),
    ]);
    cases
}

/// Components that behave well a few times and then misbehave.
fn over_time() -> Vec<Case> {
    let count = "(global $calls (mut i32) (i32.const 0))";
    let on_call = |number: u32, instructions: &str| {
        format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (if (i32.ge_u (global.get $calls) (i32.const {number})) (then {instructions}))"
        )
    };
    let in_memory = format!(
        "(i32.store (i32.const {SCRATCH}) (i32.add (i32.load (i32.const {SCRATCH})) (i32.const 1)))
        (if (i32.ge_u (i32.load (i32.const {SCRATCH})) (i32.const 2)) (then (unreachable)))"
    );
    let leak = "(drop (memory.grow (i32.const 30)))";
    vec![
        // Each call has a fresh instance, so the counter stays at one.
        Case::of(
            "over-time/traps on its second call",
            Sketch::evil(on_call(2, "(unreachable)")).items(count),
            Cause::Grants,
        )
        .calls(20),
        Case::of(
            "over-time/traps on its second call by its memory",
            Sketch::evil(in_memory),
            Cause::Grants,
        )
        .calls(20),
        Case::of(
            "over-time/grants what it saw in an earlier call",
            // The first call stores an id; later calls grant what is stored there.
            Sketch::evil(format!(
                "(if (i32.load (i32.const {SCRATCH})) (then {}))
                {}",
                point(ANSWER + 8, SCRATCH + 16, 4),
                store(SCRATCH, 1)
            )),
            Cause::Grants,
        )
        .calls(20),
        Case::of(
            "over-time/leaks in fresh instances",
            Sketch::evil(leak),
            Cause::Grants,
        )
        .calls(40),
        Case::of(
            "over-time/leaks in an instance that stays",
            Sketch::evil(leak),
            // When its memory is exhausted, it eventually gets a new instance.
            [Cause::Fails(Failing::Memory), Cause::Grants],
        )
        .warm()
        .calls(40),
        Case::of(
            "over-time/traps on its fifth call in an instance that stays",
            Sketch::evil(on_call(5, "(unreachable)")).items(count),
            Cause::Fails(Failing::Trapped),
        )
        .warm()
        .calls(20),
        Case::of(
            "over-time/loops on its fifth call in an instance that stays",
            Sketch::evil(on_call(5, "(loop $on (br $on))")).items(count),
            Cause::Fails(Failing::Deadline),
        )
        .warm()
        .calls(8),
        Case::of(
            "over-time/forges on its fifth call in an instance that stays",
            Sketch::evil(on_call(5, &point(ANSWER + 8, SCRATCH, 4))).items(count),
            Cause::Widens("was not offered"),
        )
        .warm()
        .calls(8),
        Case::of(
            "over-time/leaks allocations in an instance that stays",
            Sketch::default(),
            [
                Cause::Fails(Failing::Memory),
                Cause::Fails(Failing::Malformed),
                Cause::Fails(Failing::Trapped),
                Cause::Grants,
            ],
        )
        .warm()
        .calls(500),
    ]
}
