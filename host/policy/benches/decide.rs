//! One decision in a fresh instance: 2 scopes with 4 credentials each.
//!
//! Prints medians and the throughput on one and on two threads, and the same for the floor:
//! a component that returns immediately and ignores the facts.
//! `cargo bench -p entail-policy`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // allowed in benchmarks

use std::hint::black_box;
use std::time::{Duration, Instant};

use entail_policy::{Compiler, Engine, EngineConfig, Facts, Policy};

#[allow(dead_code)]
#[path = "../tests/sketch/mod.rs"]
mod sketch;

const CALLS: usize = 200_000;

fn main() {
    let engine = Engine::new(EngineConfig {
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    let component = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest/default/default-policy.wasm"
    ))
    .unwrap();
    let started = Instant::now();
    let policy = engine.admit(&component).unwrap();
    println!(
        "admit, including compilation     {:>9.1?}",
        started.elapsed()
    );
    let floor = engine
        .admit(&sketch::Sketch::default().component())
        .unwrap();
    let facts = facts();
    report("floor: fresh instance, no work", &floor, &facts);
    report("default policy", &policy, &facts);
}

fn report(what: &str, policy: &Policy, facts: &Facts) {
    timed(policy, facts, CALLS / 10);
    let mut times = timed(policy, facts, CALLS);
    times.sort_unstable();
    let one = throughput(policy, facts, 1);
    let two = throughput(policy, facts, 2);
    println!(
        "{what:<32} p50 {:>7.2?}  p99 {:>7.2?}  {one:>8.0}/s on one thread, {two:>8.0}/s on two ({:.2}x)",
        times[CALLS / 2],
        times[CALLS / 100 * 99],
        two / one,
    );
}

fn timed(policy: &Policy, facts: &Facts, calls: usize) -> Vec<Duration> {
    (0..calls)
        .map(|_| {
            let started = Instant::now();
            black_box(policy.decide(black_box(facts)).unwrap());
            started.elapsed()
        })
        .collect()
}

#[allow(clippy::cast_precision_loss)] // a rate
fn throughput(policy: &Policy, facts: &Facts, threads: usize) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..CALLS {
                    black_box(policy.decide(black_box(facts)).unwrap());
                }
            });
        }
    });
    (CALLS * threads) as f64 / started.elapsed().as_secs_f64()
}

fn facts() -> Facts {
    let credentials = |scope: &str| {
        (0..4)
            .map(|n| {
                format!(
                    r#"{{"id": "{scope}-0123456789abcdef-{n}", "name": "key-{n}", "priority": {n}, "models": ["gpt-*"]}}"#
                )
            })
            .collect::<Vec<_>>()
            .join(",")
    };
    serde_json::from_str(&format!(
        r#"{{
            "request": {{"provider": "openai", "model": "gpt-5", "principal": "local:owner", "now_ms": 1767225600000}},
            "chain": [
                {{"path": "acme/evals", "inheritance": "fall-back", "credentials": [{}]}},
                {{"path": "acme", "credentials": [{}]}}
            ]
        }}"#,
        credentials("p"),
        credentials("o"),
    ))
    .unwrap()
}
