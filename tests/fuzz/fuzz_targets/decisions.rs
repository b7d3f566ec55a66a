//! Decisions as JSON, from the decision log and from other hosts.
//!
//! Checked: a parsed decision round-trips without loss, and is either a grant or a refusal.

#![no_main]

use entail::policy::{Decision, Outcome};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(decision) = serde_json::from_slice::<Decision>(data) else {
        return;
    };
    let written = serde_json::to_string(&decision).expect("a decision is plain data");
    let reread: Decision = serde_json::from_str(&written).expect("a decision reads back");
    assert_eq!(reread, decision);
    entail_fuzz::assert_nothing_lost(data, &written);

    let read: Value = serde_json::from_slice(data).expect("it was read as JSON before");
    let outcomes = (read.get("granted"), read.get("refused"));
    match decision.outcome {
        Outcome::Granted(_) => assert!(matches!(outcomes, (Some(_), None))),
        Outcome::Refused(_) => assert!(matches!(outcomes, (None, Some(_)))),
    }
});
