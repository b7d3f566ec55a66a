//! The default policy decides by its nine rules: every vector is a separate case, natively
//! and as a component, and so is each comparison with the naive model.
//!
//! The component is the one in the product, `guest/default/default-policy.wasm`. A
//! component that was built against the first version of the contract must pass as well.

// Any failure here should fail the case, or the run, at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use entail_policy::{Decision, Facts, Outcome, Policy};
use entail_tests::{agreement, ceiling, component, generate, naive, native};
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

const TREES: u64 = 50_000;

/// Fewer, since every call of the component creates an instance.
const TREES_THROUGH_THE_COMPONENT: u64 = 5_000;

/// The number of random grants for each random tree.
const GRANTS: usize = 4;

/// Facts and the expected result.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    facts: Facts,
    decision: Option<Decision>,
    error: Option<String>,
}

type Decide = fn(&Facts) -> Result<Decision, String>;

const RUNTIMES: [(&str, Decide); 3] = [
    ("native", native::decide),
    ("component", through_component),
    ("component of contract 0.1.0", through_old_component),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let files = vector_files();
    let decisions: Vec<Decision> = files
        .iter()
        .flat_map(|(_, vectors)| vectors)
        .filter_map(|vector| vector.decision.clone())
        .collect();
    let mut trials = vec![
        Trial::test("the vectors use every code of the contract", move || {
            use_every_code(decisions)
        }),
        Trial::test("the random trees use every code of the contract", || {
            use_every_code((0..TREES).map(|seed| naive::decide(&generate::random(seed))))
        }),
        Trial::test("naive::small configurations", || {
            agree(generate::count(), generate::nth, native::decide)
        }),
        Trial::test("naive::random trees", || {
            agree(TREES, generate::random, native::decide)
        }),
        Trial::test("guard::small configurations", || {
            Ok(ceiling::compare(generate::count(), generate::nth, 1)?)
        }),
        Trial::test("guard::random trees", || {
            Ok(ceiling::compare(TREES, generate::random, GRANTS)?)
        }),
        Trial::test("naive::random trees through the component", || {
            agree(
                TREES_THROUGH_THE_COMPONENT,
                generate::random,
                through_component,
            )
        }),
    ];
    for (file, vectors) in files {
        for vector in vectors {
            for (runtime, decide) in RUNTIMES {
                let vector = vector.clone();
                let name = format!("{runtime}::{file}::{}", vector.name);
                trials.push(Trial::test(name, move || check_vector(&vector, decide)));
            }
            if vector.decision.is_some() {
                let name = format!("naive::{file}::{}", vector.name);
                let decide = |facts: &Facts| Ok(naive::decide(facts));
                trials.push(Trial::test(name, move || check_vector(&vector, decide)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check_vector(vector: &Vector, decide: Decide) -> Result<(), Failed> {
    let actual = decide(&vector.facts).map(agreement::without_prose);
    let as_expected = match (&vector.decision, &vector.error, &actual) {
        (Some(expected), None, Ok(decision)) => decision == expected,
        (None, Some(expected), Err(error)) => error
            .split_once(':')
            .is_some_and(|(case, _)| case == expected),
        (Some(_), None, Err(_)) | (None, Some(_), Ok(_)) => false,
        _ => return Err("a vector has either a decision or an error".into()),
    };
    if as_expected {
        return Ok(());
    }
    let expected = vector.decision.as_ref().ok_or(vector.error.as_ref());
    Err(format!("expected {expected:#?}\nactual {actual:#?}").into())
}

fn agree(count: u64, facts: fn(u64) -> Facts, decide: Decide) -> Result<(), Failed> {
    agreement::compare(count, facts, decide)?;
    Ok(())
}

fn use_every_code(decisions: impl IntoIterator<Item = Decision>) -> Result<(), Failed> {
    let contract = std::fs::read_to_string(workspace().join("wit/policy.wit"))?;
    let mut unused_refusals = codes(&contract, "record refusal {");
    let mut unused_findings = codes(&contract, "record finding {");
    for decision in decisions {
        if let Outcome::Refused(refusal) = &decision.outcome {
            unused_refusals.remove(refusal.code.as_str());
        }
        for finding in &decision.trail {
            unused_findings.remove(finding.code.as_str());
        }
    }
    if unused_refusals.is_empty() && unused_findings.is_empty() {
        return Ok(());
    }
    Err(format!("unused refusals {unused_refusals:?}, findings {unused_findings:?}").into())
}

/// The codes that the contract lists for the field `code` of a record, in backticks before
/// the field.
fn codes(contract: &str, record: &str) -> BTreeSet<String> {
    let (_, record) = contract
        .split_once(record)
        .expect("the contract has the record");
    let (_, listed) = record
        .split_once("as a code.")
        .expect("the field is documented");
    let (listed, _) = listed
        .split_once("code: string")
        .expect("the record has a code");
    let codes: BTreeSet<String> = listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect();
    assert!(codes.len() > 1, "the contract lists codes");
    codes
}

fn through_component(facts: &Facts) -> Result<Decision, String> {
    static POLICY: OnceLock<Result<Policy, String>> = OnceLock::new();
    let load = || component::load(&workspace().join("guest/default/default-policy.wasm"));
    component::decide(POLICY.get_or_init(load).as_ref()?, facts)
}

/// The same policy, built when the first version of the contract was current.
fn through_old_component(facts: &Facts) -> Result<Decision, String> {
    static POLICY: OnceLock<Result<Policy, String>> = OnceLock::new();
    let load = || component::load(&workspace().join("tests/fixtures/default-policy-0.1.0.wasm"));
    component::decide(POLICY.get_or_init(load).as_ref()?, facts)
}

/// The vectors by file name, sorted by name.
fn vector_files() -> Vec<(String, Vec<Vector>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory of the vectors exists")
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).expect("a vector file can be read");
            let vectors = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let subject = file
                .file_stem()
                .expect("a file has a name")
                .to_string_lossy();
            (subject.into_owned(), vectors)
        })
        .collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
