//! Step 4: enforces the guard's rules on the decision.

use entail_policy::Facts;

use crate::error::Error;
use crate::resolve::decide::Decided;
use entail_decision::guard;

/// Rejects a decision that grants more than the facts allow.
pub(crate) fn enforce(facts: &Facts, decided: Decided) -> Decided {
    let decision = decided
        .decision
        .and_then(|decision| guard::enforce(facts, decision).map_err(Error::GuardViolated));
    Decided {
        decision,
        ..decided
    }
}
