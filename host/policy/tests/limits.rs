//! Each limit of a policy, obeyed and exceeded, with its exact error; and each reason for
//! rejecting a component.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

use std::time::Duration;

use entail_policy::{
    CallError, Compiler, Engine, EngineConfig, Exceeded, Facts, Limits, Outcome, Rejected,
};

mod sketch;

use sketch::Sketch;

fn engine(limits: Limits) -> Engine {
    Engine::new(EngineConfig {
        limits,
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    })
}

fn facts(provider: &str) -> Facts {
    serde_json::from_str(&format!(
        r#"{{"request": {{"provider": "{provider}", "now_ms": 1}}, "chain": [{{"path": "acme"}}]}}"#
    ))
    .unwrap()
}

/// Instructions that do `evil` for the provider "evil" only, so that the
/// component passes its trial call.
fn if_evil(evil: &str) -> &'static str {
    let evil =
        format!("(if (i32.eq (i32.load offset=4 (local.get 0)) (i32.const 4)) (then {evil}))");
    Box::leak(evil.into_boxed_str())
}

fn decide(sketch: &Sketch, limits: Limits, provider: &str) -> Result<Outcome, CallError> {
    let policy = engine(limits).admit(&sketch.component()).unwrap();
    policy
        .decide(&facts(provider))
        .map(|decision| decision.outcome)
}

fn exceeded(result: Result<Outcome, CallError>) -> Exceeded {
    match result {
        Err(CallError::Exceeded(exceeded)) => exceeded,
        other => panic!("expected a limit to be exceeded, got {other:?}"),
    }
}

#[test]
fn a_call_within_all_limits_returns_a_decision() {
    let outcome = decide(&Sketch::default(), Limits::default(), "evil").unwrap();
    assert!(matches!(outcome, Outcome::Granted(_)));
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let sketch = Sketch {
        decide: if_evil("(loop $on (br $on))"),
        ..Sketch::default()
    };
    assert!(decide(&sketch, Limits::default(), "harmless").is_ok());
    let limits = Limits {
        deadline: Duration::from_millis(40),
        ..Limits::default()
    };
    assert_eq!(
        exceeded(decide(&sketch, limits, "evil")),
        Exceeded::DeadlineMs(40)
    );
}

#[test]
fn each_call_has_a_new_deadline() {
    let limits = Limits {
        deadline: Duration::from_millis(40),
        ..Limits::default()
    };
    let policy = engine(limits)
        .admit(&Sketch::default().component())
        .unwrap();
    std::thread::sleep(Duration::from_millis(120));
    assert!(policy.decide(&facts("harmless")).is_ok());
}

#[test]
fn memory_may_grow_to_the_limit_and_not_beyond() {
    // The memory has one page, and the limit is four.
    let limits = || Limits {
        memory_bytes: 4 * 65_536,
        ..Limits::default()
    };
    let grow = |pages: u32| Sketch {
        decide: if_evil(&format!("(drop (memory.grow (i32.const {pages})))")),
        ..Sketch::default()
    };
    assert!(decide(&grow(3), limits(), "evil").is_ok());
    assert_eq!(
        exceeded(decide(&grow(4), limits(), "evil")),
        Exceeded::MemoryBytes(4 * 65_536)
    );
}

#[test]
fn tables_may_grow_to_the_limit_and_not_beyond() {
    let limits = || Limits {
        table_elements: 100,
        ..Limits::default()
    };
    let grow = |elements: u32| Sketch {
        items: "(table $t 10 funcref)",
        decide: if_evil(&format!(
            "(drop (table.grow $t (ref.null func) (i32.const {elements})))"
        )),
        ..Sketch::default()
    };
    assert!(decide(&grow(90), limits(), "evil").is_ok());
    assert_eq!(
        exceeded(decide(&grow(91), limits(), "evil")),
        Exceeded::TableElements(100)
    );
}

#[test]
fn recursion_ends_with_the_stack() {
    let recurse = |depth: u32| Sketch {
        items: "(func $down (param i32) (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))",
        decide: if_evil(&format!("(call $down (i32.const {depth}))")),
        ..Sketch::default()
    };
    assert!(decide(&recurse(1_000), Limits::default(), "evil").is_ok());
    assert_eq!(
        exceeded(decide(&recurse(10_000_000), Limits::default(), "evil")),
        Exceeded::Stack
    );
}

#[test]
fn a_result_may_be_as_large_as_the_limit_and_not_larger() {
    let limits = || Limits {
        result_bytes: 10_000,
        ..Limits::default()
    };
    // The length of the granted credential's id; zero bytes are valid UTF-8.
    let returns = |bytes: u32| Sketch {
        decide: if_evil(&format!(
            "(i32.store (i32.const 1032) (i32.const 8192)) (i32.store (i32.const 1036) (i32.const {bytes}))"
        )),
        ..Sketch::default()
    };
    assert!(decide(&returns(9_000), limits(), "evil").is_ok());
    assert_eq!(
        exceeded(decide(&returns(10_001), limits(), "evil")),
        Exceeded::ResultBytes(10_000)
    );
}

#[test]
fn a_trap_is_named() {
    let sketch = Sketch {
        decide: if_evil("(unreachable)"),
        ..Sketch::default()
    };
    let result = decide(&sketch, Limits::default(), "evil");
    assert!(matches!(result, Err(CallError::Trapped(_))), "{result:?}");
}

#[test]
fn results_that_the_contract_does_not_allow_are_malformed() {
    for (what, evil) in [
        (
            "a case that does not exist",
            "(i32.store8 (i32.const 1024) (i32.const 7))",
        ),
        (
            "a pointer out of its memory",
            "(i32.store (i32.const 1032) (i32.const -16)) (i32.store (i32.const 1036) (i32.const 8))",
        ),
        (
            "text that is not UTF-8",
            "(i32.store (i32.const 8192) (i32.const -1)) (i32.store (i32.const 1032) (i32.const 8192)) (i32.store (i32.const 1036) (i32.const 4))",
        ),
    ] {
        let sketch = Sketch {
            decide: if_evil(evil),
            ..Sketch::default()
        };
        let result = decide(&sketch, Limits::default(), "evil");
        assert!(
            matches!(result, Err(CallError::Malformed(_))),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn errors_that_the_policy_returns_are_distinguished() {
    let returning_error = |case: u32| Sketch {
        decide: if_evil(&format!(
            "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const {case}))"
        )),
        ..Sketch::default()
    };
    let result = decide(&returning_error(0), Limits::default(), "evil");
    assert!(
        matches!(result, Err(CallError::InvalidFacts(_))),
        "{result:?}"
    );
    let result = decide(&returning_error(1), Limits::default(), "evil");
    assert!(matches!(result, Err(CallError::Undecided(_))), "{result:?}");
}

#[test]
fn no_state_of_one_call_remains_for_the_next() {
    // Counts its calls in memory and in a global, and traps on the second.
    let sketch = Sketch {
        items: "(global $calls (mut i32) (i32.const 0))",
        decide: "(if (i32.or (global.get $calls) (i32.load (i32.const 2048))) (then (unreachable)))
                 (global.set $calls (i32.const 1)) (i32.store (i32.const 2048) (i32.const 1))",
        ..Sketch::default()
    };
    let policy = engine(Limits::default())
        .admit(&sketch.component())
        .unwrap();
    for _ in 0..1_000 {
        policy.decide(&facts("any")).unwrap();
    }
}

fn rejected(component: &[u8], limits: Limits) -> Rejected {
    engine(limits).admit(component).unwrap_err()
}

#[test]
fn a_component_may_be_as_large_as_the_limit_and_not_larger() {
    let component = Sketch::default().component();
    let exactly = Limits {
        component_bytes: component.len(),
        ..Limits::default()
    };
    assert!(engine(exactly).admit(&component).is_ok());
    let less = Limits {
        component_bytes: component.len() - 1,
        ..Limits::default()
    };
    assert!(matches!(
        rejected(&component, less),
        Rejected::TooLarge { .. }
    ));
}

#[test]
fn text_modules_and_noise_are_distinguished_from_components() {
    let text = b"(component)";
    assert!(matches!(
        rejected(text, Limits::default()),
        Rejected::NotAComponent
    ));
    let module = wat::parse_str("(module)").unwrap();
    assert!(matches!(
        rejected(&module, Limits::default()),
        Rejected::CoreModule
    ));
    let mut cut = Sketch::default().component();
    cut.truncate(cut.len() / 2);
    assert!(matches!(
        rejected(&cut, Limits::default()),
        Rejected::Invalid(_)
    ));
}

#[test]
fn an_import_is_rejected_by_name() {
    let component =
        wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#).unwrap();
    match rejected(&component, Limits::default()) {
        Rejected::Imports(names) => assert_eq!(names, ["wasi:cli/environment@0.2.0"]),
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_export_is_rejected_by_name() {
    let component = wat::parse_str("(component)").unwrap();
    let rejected = rejected(&component, Limits::default());
    assert!(matches!(rejected, Rejected::MissingExport(_)), "{rejected}");
    assert!(
        rejected
            .to_string()
            .contains("entail:policy/resolver@0.2.0"),
        "{rejected}"
    );
}

#[test]
fn an_export_of_another_type_is_rejected() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $resolver (export "decide" (func $f)))
            (instance $about (export "describe" (func $f)))
            (export "entail:policy/resolver@0.2.0" (instance $resolver))
            (export "entail:policy/about@0.2.0" (instance $about)))"#,
    )
    .unwrap();
    let rejected = rejected(&component, Limits::default());
    assert!(matches!(rejected, Rejected::WrongType(_)), "{rejected}");
}

#[test]
fn a_component_that_loops_when_instantiated_is_rejected() {
    let sketch = Sketch {
        items: "(func $on (loop $on (br $on))) (start $on)",
        ..Sketch::default()
    };
    let rejected = rejected(&sketch.component(), Limits::default());
    assert!(
        matches!(
            rejected,
            Rejected::Trial(CallError::Exceeded(Exceeded::DeadlineMs(_)))
        ),
        "{rejected:?}"
    );
}

#[test]
fn a_component_with_too_much_initial_memory_is_rejected() {
    let sketch = Sketch {
        memory: r#"(memory (export "memory") 1000)"#,
        ..Sketch::default()
    };
    let rejected = rejected(&sketch.component(), Limits::default());
    assert!(matches!(rejected, Rejected::Invalid(_)), "{rejected:?}");
}

#[test]
fn a_description_with_control_characters_is_rejected() {
    let sketch = Sketch {
        describe: "(i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (i32.const 1)) (i32.store8 (i32.const 2048) (i32.const 27))",
        ..Sketch::default()
    };
    assert!(matches!(
        rejected(&sketch.component(), Limits::default()),
        Rejected::Description(_)
    ));
}

#[test]
fn a_component_with_a_disabled_proposal_is_rejected() {
    let sketch = Sketch {
        memory: r#"(memory (export "memory") 1 2 shared)"#,
        ..Sketch::default()
    };
    let rejected = rejected(&sketch.component(), Limits::default());
    assert!(matches!(rejected, Rejected::Invalid(_)), "{rejected:?}");
}
