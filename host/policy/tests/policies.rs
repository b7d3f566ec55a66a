//! What an embedder can do with an admitted policy: apply settings, keep an instance warm,
//! compose it with a layer, and run a policy of an older contract.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use entail_policy::{
    BadSettings, CallError, Compiler, ComposeError, Contract, Engine, EngineConfig, Exceeded,
    Facts, Isolation, Limits, Outcome, Policy, Rejected, Values,
};
use serde_json::json;

mod sketch;

use sketch::Sketch;

fn engine() -> Engine {
    Engine::new(EngineConfig {
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    })
}

fn admit(sketch: &Sketch) -> Policy {
    engine().admit(&sketch.component()).unwrap()
}

fn facts() -> Facts {
    serde_json::from_value(json!({
        "request": {"provider": "openai", "now_ms": 1},
        "chain": [{"path": "acme", "credentials": [{"id": "key", "name": "default"}]}],
    }))
    .unwrap()
}

fn values(json: serde_json::Value) -> Values {
    match json {
        serde_json::Value::Object(values) => values,
        other => panic!("{other} is not an object"),
    }
}

/// A policy that counts its calls, and traps in the fourth.
fn counting() -> Sketch {
    Sketch {
        items: "(global $calls (mut i32) (i32.const 0))",
        decide: "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                 (if (i32.eq (global.get $calls) (i32.const 4)) (then (unreachable)))",
        ..Sketch::default()
    }
}

#[test]
fn settings_are_validated_against_the_schema_with_path_and_rule() {
    let policy = admit(&Sketch {
        schema: r#"{"type":"object","additionalProperties":false,"properties":{"n":{"type":"integer"}}}"#,
        ..Sketch::default()
    });
    assert!(policy.schema().is_some());
    let set = policy.with_settings(&values(json!({"n": 7}))).unwrap();
    assert_eq!(set.settings(), r#"{"n":7}"#);
    assert!(set.decide(&facts()).is_ok());
    match policy.with_settings(&values(json!({"n": "seven"}))) {
        Err(BadSettings::NotAccepted(problems)) => {
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].path, "/n");
            assert!(problems[0].rule.contains("integer"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(policy.with_settings(&values(json!({"m": 7}))).is_err());
}

#[test]
fn settings_that_the_policy_itself_rejects_are_rejected() {
    // It returns one problem with an empty path and an empty rule.
    let policy = admit(&Sketch {
        validate: "(i32.store8 (i32.const 1024) (i32.const 1))
                   (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 1))",
        ..Sketch::default()
    });
    match policy.with_settings(&Values::new()) {
        Err(BadSettings::NotAccepted(problems)) => assert_eq!(problems.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_that_fails_to_validate_settings_has_its_own_error() {
    let policy = admit(&Sketch {
        validate: "(unreachable)",
        ..Sketch::default()
    });
    let result = policy.with_settings(&Values::new());
    assert!(
        matches!(result, Err(BadSettings::Failed(CallError::Trapped(_)))),
        "{result:?}"
    );
}

#[test]
fn a_policy_whose_schema_has_an_invalid_form_is_rejected() {
    for schema in ["", "7", "[]", r#"{"$ref": "elsewhere"}"#] {
        let sketch = Sketch {
            schema,
            ..Sketch::default()
        };
        let rejected = engine().admit(&sketch.component()).unwrap_err();
        assert!(
            matches!(rejected, Rejected::Schema(_)),
            "{schema}: {rejected}"
        );
    }
}

/// Admission checks only the form of a schema; building a validator shows the rest.
#[test]
fn an_invalid_schema_accepts_no_settings() {
    let policy = admit(&Sketch {
        schema: r#"{"type": 1}"#,
        ..Sketch::default()
    });
    assert!(policy.decide(&facts()).is_ok());
    let bad = policy.with_settings(&Values::new());
    assert!(matches!(bad, Err(BadSettings::Schema(_))), "{bad:?}");
}

#[test]
fn calls_share_an_instance_only_if_that_was_chosen() {
    let fresh = admit(&counting());
    let warm = fresh.with_isolation(Isolation::PerOrganization);
    for _ in 0..10 {
        fresh.decide(&facts()).unwrap();
    }
    for _ in 0..3 {
        warm.decide(&facts()).unwrap();
    }
    let fourth = warm.decide(&facts());
    assert!(matches!(fourth, Err(CallError::Trapped(_))), "{fourth:?}");
    // The instance that failed was dropped.
    for _ in 0..3 {
        warm.decide(&facts()).unwrap();
    }
    // Another organization has another instance.
    let other = fresh.with_isolation(Isolation::PerOrganization);
    assert!(other.decide(&facts()).is_ok());
}

#[test]
fn a_policy_may_have_higher_limits_than_the_engine() {
    let sketch = Sketch {
        memory: r#"(memory (export "memory") 1000)"#,
        ..Sketch::default()
    };
    let engine = engine();
    assert!(engine.admit(&sketch.component()).is_err());
    let more = Limits {
        memory_bytes: 1000 << 16,
        ..Limits::default()
    };
    let policy = engine.admit_within(&sketch.component(), &more).unwrap();
    assert!(policy.decide(&facts()).is_ok());
    assert_eq!(policy.costs().memory_bytes, 1000 << 16);
    let far_more = Limits {
        memory_bytes: Limits::CEILING.memory_bytes + 1,
        ..Limits::default()
    };
    let rejected = engine.admit_within(&sketch.component(), &far_more);
    assert!(matches!(
        rejected,
        Err(Rejected::AboveCeiling("memory_bytes"))
    ));
}

fn file(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_component_of_the_first_contract_runs_beside_a_newer_one() {
    let engine = engine();
    let old = engine
        .admit(&file("tests/fixtures/default-policy-0.1.0.wasm"))
        .unwrap();
    let new = engine
        .admit(&file("guest/default/default-policy.wasm"))
        .unwrap();
    assert_eq!(old.contract(), Contract::V0_1_0);
    assert_eq!(new.contract(), Contract::V0_2_0);
    assert_eq!(old.description().name, "default");
    assert_eq!(old.decide(&facts()).unwrap(), new.decide(&facts()).unwrap());
    // It accepts no settings.
    assert!(old.schema().is_none());
    assert!(old.with_settings(&Values::new()).is_ok());
    let refused = old.with_settings(&values(json!({"a/b": 1})));
    assert!(
        matches!(&refused, Err(BadSettings::NotAccepted(problems)) if problems[0].path == "/a~1b"),
        "{refused:?}"
    );
}

#[test]
fn a_layer_and_a_policy_that_do_not_match_are_not_composed() {
    let policy = Sketch::default().component();
    let error = engine().compose(&policy, &policy).unwrap_err();
    assert!(error.to_string().contains("layer"), "{error}");
    assert!(engine().compose(b"noise", &policy).is_err());
    assert!(engine().compose(&policy, b"noise").is_err());
}

/// While one policy is stuck in every call, another one still decides immediately.
#[test]
fn a_policy_that_is_stuck_does_not_delay_another() {
    let limits = Limits {
        deadline: Duration::from_millis(30),
        ..Limits::default()
    };
    let engine = Engine::new(EngineConfig {
        limits,
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    let stuck = Sketch {
        decide: "(if (i32.eq (i32.load offset=4 (local.get 0)) (i32.const 6)) (then (loop $on (br $on))))",
        ..Sketch::default()
    };
    let stuck = engine.admit(&stuck.component()).unwrap();
    let fast = engine.admit(&Sketch::default().component()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let facts = Arc::new(facts());
    let (errors, slowest) = runtime.block_on(async {
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let (stuck, facts) = (stuck.clone(), Arc::clone(&facts));
                tokio::spawn(async move { stuck.decide_async(facts).await })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let started = Instant::now();
            let decision = fast.decide_async(Arc::clone(&facts)).await.unwrap();
            assert!(matches!(decision.outcome, Outcome::Granted(_)));
            slowest = slowest.max(started.elapsed());
        }
        let mut errors = Vec::new();
        for call in calls {
            errors.push(call.await.unwrap().unwrap_err());
        }
        (errors, slowest)
    });
    for error in errors {
        assert!(
            matches!(
                error,
                CallError::Busy | CallError::Exceeded(Exceeded::DeadlineMs(_))
            ),
            "{error}"
        );
    }
    // All 64 calls, one after the other, would take two seconds.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn foreign_components_are_compiled_only_if_the_engine_has_a_compiler() {
    let component = Sketch::default().component();
    let without_compiler = Engine::new(EngineConfig::default());
    assert!(matches!(
        without_compiler.admit(&component).unwrap_err(),
        Rejected::CompilerDisabled(_)
    ));
    assert!(matches!(
        without_compiler
            .compose(&component, &component)
            .unwrap_err(),
        ComposeError::CompilerDisabled(_)
    ));
    // A component of the program itself is not foreign.
    without_compiler.admit_trusted(&component).unwrap();
    engine().admit(&component).unwrap();
}
