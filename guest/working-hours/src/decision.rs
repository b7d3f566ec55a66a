//! What becomes of an answer from below.

use entail_default_policy::pattern::model_matches;

use crate::bindings::entail::policy::resolver::{Decision, Outcome, Refusal};
use crate::settings::Settings;

/// Why a grant was taken back, and what became of those that it named.
const OUTSIDE: &str = "outside-working-hours";

/// The decision, less a grant that the settings do not stand for at this time.
pub fn narrow(mut decision: Decision, settings: &Settings, now_ms: u64) -> Decision {
    let Outcome::Granted(grant) = &decision.outcome else {
        return decision;
    };
    if !is_for_working_hours(grant.model.as_deref(), &settings.models)
        || settings.is_working_time(now_ms)
    {
        return decision;
    }
    decision.outcome = Outcome::Refused(Refusal {
        code: OUTSIDE.to_owned(),
        message: match &grant.model {
            Some(model) => format!("{model} is for working hours only"),
            None => "some models are for working hours only, and no model is known".to_owned(),
        },
    });
    for finding in &mut decision.trail {
        if finding.code == "chosen" || finding.code == "alternate" {
            OUTSIDE.clone_into(&mut finding.code);
        }
    }
    decision
}

/// A grant without a model can be used for any, one of these too.
fn is_for_working_hours(model: Option<&str>, patterns: &[String]) -> bool {
    match model {
        Some(model) => patterns.iter().any(|pattern| model_matches(pattern, model)),
        None => !patterns.is_empty(),
    }
}
