//! Decisions as JSON, as the decision log and the answers of other hosts have
//! them.
//!
//! Checked: a decision that is read is written and read back equal, with nothing
//! lost, and is a grant or a refusal, not both.

#![no_main]

use entail::policy::{Decision, Outcome};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(decision) = serde_json::from_slice::<Decision>(data) else {
        return;
    };
    let written = serde_json::to_string(&decision).expect("a decision is plain data");
    let again: Decision = serde_json::from_str(&written).expect("a decision reads back");
    assert_eq!(again, decision);
    entail_fuzz::assert_nothing_lost(data, &written);

    let read: Value = serde_json::from_slice(data).expect("it was read as JSON before");
    let outcomes = (read.get("granted"), read.get("refused"));
    match decision.outcome {
        Outcome::Granted(_) => assert!(matches!(outcomes, (Some(_), None))),
        Outcome::Refused(_) => assert!(matches!(outcomes, (None, Some(_)))),
    }
});
