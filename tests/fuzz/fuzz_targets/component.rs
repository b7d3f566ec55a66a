//! Policy components from untrusted sources: files for `entail policy`, blobs of a
//! database.
//!
//! An input that begins with the WebAssembly magic is the component. Any other input is a
//! list of edits of the built-in policy, so that the fuzzer gets past the format checks:
//! four bytes each, a 24-bit little-endian offset and the new value.
//!
//! Checked: a component is admitted or rejected, within the limits. An admitted component
//! imports nothing, according to a parser that is independent of the engine; it has the
//! digest of its bytes and a description that is safe to display; it decides or fails with
//! a named error, and decides the same for the same facts.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use entail::DEFAULT_POLICY;
use entail::policy::{Compiler, Engine, EngineConfig, Facts, Limits, Policy, PolicyDigest};
use libfuzzer_sys::fuzz_target;

/// As small as the built-in policy allows, so that violations are found sooner.
const LIMITS: Limits = Limits {
    deadline: Duration::from_millis(20),
    memory_bytes: 8 << 20,
    table_elements: 1_000,
    instances: 16,
    credentials: 10,
    result_bytes: 64 << 10,
    component_bytes: 64 << 10,
    compile_memory_bytes: 1 << 30,
    compile_time: Duration::from_secs(30),
};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let settings = EngineConfig {
        limits: LIMITS,
        concurrent_calls: 1,
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    };
    Engine::new(settings)
});

static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    let facts = r#"{
        "request": {"provider": "openai", "model": "gpt-5", "now_ms": 1767225600000},
        "chain": [
            {"path": "acme/evals", "inheritance": "fall-back", "credentials": [
                {"id": "1", "name": "default", "models": ["claude-*"]}
            ]},
            {"path": "acme", "credentials": [
                {"id": "2", "name": "default", "sharing": {"paths": ["acme/*"]}, "mandatory": true},
                {"id": "3", "name": "spare", "priority": 1, "expires_at_ms": 1767225600000}
            ]}
        ]
    }"#;
    serde_json::from_str(facts).expect("the facts have their form")
});

fuzz_target!(
    init: {
        LazyLock::force(&ENGINE);
        LazyLock::force(&FACTS);
    },
    |data: &[u8]| {
        let component = if data.starts_with(b"\0asm") {
            data.to_vec()
        } else {
            edited(data)
        };
        match ENGINE.admit(&component) {
            Ok(policy) => check(&policy, &component),
            Err(rejected) => {
                assert!(component != DEFAULT_POLICY, "the built-in policy: {rejected}");
                assert!(!rejected.to_string().is_empty());
            }
        }
    }
);

fn edited(edits: &[u8]) -> Vec<u8> {
    let mut component = DEFAULT_POLICY.to_vec();
    let (edits, _) = edits.as_chunks::<4>();
    for [low, middle, high, value] in edits {
        let offset = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
        let offset = offset % component.len();
        component[offset] = *value;
    }
    component
}

fn check(policy: &Policy, component: &[u8]) {
    assert!(component.len() <= LIMITS.component_bytes);
    assert_eq!(imports(component), Some(0));
    assert_eq!(policy.digest(), PolicyDigest::of(component));
    let description = policy.description();
    for text in [
        &description.name,
        &description.version,
        &description.summary,
    ] {
        assert!(text.len() <= 512 && !text.chars().any(char::is_control));
    }
    let (first, second) = (policy.decide(&FACTS), policy.decide(&FACTS));
    // Near the deadline one call may complete and the other not.
    if let (Ok(first), Ok(second)) = (first, second) {
        assert_eq!(first, second);
    }
}

/// The number of imports of the outermost component: the sum of the counts of its import
/// sections (number 10, a length, a count, the entries). `None` if it does not consist of
/// sections.
fn imports(component: &[u8]) -> Option<u64> {
    const IMPORT_SECTION: u8 = 10;
    let mut rest = component.get(8..)?;
    let mut imports = 0;
    while let Some((section, after)) = rest.split_first() {
        let (length, after) = number(after)?;
        let (content, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        if *section == IMPORT_SECTION {
            imports += number(content)?.0;
        }
        rest = after;
    }
    Some(imports)
}

/// Parses a LEB128 number.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at(end + 1);
    let value = digits
        .iter()
        .rev()
        .fold(0, |value, digit| value << 7 | u64::from(digit & 0x7f));
    Some((value, rest))
}
