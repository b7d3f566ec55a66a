//! Applies the working hours to the decision of the policy below.

use entail_default_policy::pattern::model_matches;

use crate::bindings::entail::policy::resolver::{Decision, Outcome, Refusal};
use crate::settings::Settings;

/// The code of the refusal, and of the findings of the credentials in the grant.
const OUTSIDE: &str = "outside-working-hours";

/// Returns the decision, or a refusal if the settings do not allow its grant at this time.
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

/// A grant without a model can be used for any model, including these.
fn is_for_working_hours(model: Option<&str>, patterns: &[String]) -> bool {
    match model {
        Some(model) => patterns.iter().any(|pattern| model_matches(pattern, model)),
        None => !patterns.is_empty(),
    }
}
