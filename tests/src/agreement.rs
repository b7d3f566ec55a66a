//! Compares two implementations of the decision on two threads, until they differ or no
//! facts are left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use entail_policy::{Decision, Facts, Outcome};

use crate::naive;

/// Facts on which the naive model and another implementation disagree.
#[derive(Debug)]
pub struct Disagreement {
    /// The number of the facts.
    pub index: u64,
    /// The facts.
    pub facts: Facts,
    /// The decision of the naive model.
    pub expected: Decision,
    /// The decision of the other. An error is a disagreement, since the facts are valid.
    pub actual: Result<Decision, String>,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = |decision| serde_json::to_string(decision).expect("a decision has a JSON form");
        let facts = serde_json::to_string_pretty(&self.facts).expect("facts have a JSON form");
        writeln!(f, "number {}", self.index)?;
        writeln!(f, "facts    {facts}")?;
        writeln!(f, "expected {}", json(&self.expected))?;
        match &self.actual {
            Ok(decision) => write!(f, "actual   {}", json(decision)),
            Err(error) => write!(f, "actual   error: {error}"),
        }
    }
}

/// A decision without the message of a refusal, which is prose that policies may word
/// differently.
#[must_use]
pub fn without_prose(mut decision: Decision) -> Decision {
    if let Outcome::Refused(refusal) = &mut decision.outcome {
        refusal.message = String::new().into();
    }
    decision
}

/// Compares the naive model with `decide` for the facts of each number below `count`.
///
/// # Errors
///
/// The first disagreement that a thread finds.
///
/// # Panics
///
/// If `facts` or `decide` panics.
pub fn compare(
    count: u64,
    facts: impl Fn(u64) -> Facts + Sync,
    decide: impl Fn(&Facts) -> Result<Decision, String> + Sync,
) -> Result<(), Box<Disagreement>> {
    for_each(count, |index| compare_one(index, facts(index), &decide))
}

/// Calls `check` with each number below `count`, on two threads.
///
/// # Errors
///
/// The first error that a thread finds.
///
/// # Panics
///
/// If `check` panics.
pub fn for_each<E: Send>(
    count: u64,
    check: impl Fn(u64) -> Result<(), Box<E>> + Sync,
) -> Result<(), Box<E>> {
    // Threads take numbers in blocks, since some numbers take far longer than others.
    const BLOCK: u64 = 1024;
    let next = AtomicU64::new(0);
    let has_failed = AtomicBool::new(false);
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let start = next.fetch_add(BLOCK, Ordering::Relaxed);
            if start >= count {
                break;
            }
            for index in start..count.min(start + BLOCK) {
                check(index).inspect_err(|_| has_failed.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(())
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(work);
        let this = work();
        this.and(other.join().expect("the other thread ends by itself"))
    })
}

fn compare_one(
    index: u64,
    facts: Facts,
    decide: impl Fn(&Facts) -> Result<Decision, String>,
) -> Result<(), Box<Disagreement>> {
    let expected = naive::decide(&facts);
    let actual = decide(&facts).map(without_prose);
    let agreed = actual.as_ref().is_ok_and(|decision| *decision == expected);
    if agreed {
        return Ok(());
    }
    Err(Box::new(Disagreement {
        index,
        facts,
        expected,
        actual,
    }))
}
