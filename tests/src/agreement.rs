//! Two ways to decide, asked the same questions on two threads until they
//! differ or the questions run out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use entail_policy::{Decision, Facts, Outcome};

use crate::naive;

/// Facts on which the naive model and another way to decide do not agree.
#[derive(Debug)]
pub struct Disagreement {
    /// The number of the facts among those asked.
    pub index: u64,
    /// What both were asked.
    pub facts: Facts,
    /// What the naive model says.
    pub expected: Decision,
    /// What the other says; an error is one too, since these facts are valid.
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

/// A decision without the sentence of a refusal: it is for people, and no two
/// policies need word it alike.
#[must_use]
pub fn without_prose(mut decision: Decision) -> Decision {
    if let Outcome::Refused(refusal) = &mut decision.outcome {
        refusal.message = String::new().into();
    }
    decision
}

/// Asks the naive model and `decide` about the facts of each number below `count`.
///
/// # Errors
///
/// The first disagreement that a thread came upon.
///
/// # Panics
///
/// When `facts` or `decide` does.
pub fn compare(
    count: u64,
    facts: impl Fn(u64) -> Facts + Sync,
    decide: impl Fn(&Facts) -> Result<Decision, String> + Sync,
) -> Result<(), Box<Disagreement>> {
    for_each(count, |index| ask(index, facts(index), &decide))
}

/// Calls `check` with each number below `count`, on two threads.
///
/// # Errors
///
/// The first error that a thread came upon.
///
/// # Panics
///
/// When `check` does.
pub fn for_each<E: Send>(
    count: u64,
    check: impl Fn(u64) -> Result<(), Box<E>> + Sync,
) -> Result<(), Box<E>> {
    // Handed out in blocks, since some numbers take far longer than others.
    const BLOCK: u64 = 1024;
    let next = AtomicU64::new(0);
    let found = AtomicBool::new(false);
    let work = || {
        while !found.load(Ordering::Relaxed) {
            let start = next.fetch_add(BLOCK, Ordering::Relaxed);
            if start >= count {
                break;
            }
            for index in start..count.min(start + BLOCK) {
                check(index).inspect_err(|_| found.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(())
    };
    std::thread::scope(|threads| {
        let other = threads.spawn(work);
        let mine = work();
        mine.and(other.join().expect("the other thread ends by itself"))
    })
}

fn ask(
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
