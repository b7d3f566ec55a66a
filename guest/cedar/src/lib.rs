//! A policy whose settings are rules in Cedar, which an organization writes itself.
//!
//! The rules of the default policy apply unchanged; in addition, a credential that the Cedar
//! rules do not allow is unusable. So Cedar rules can only restrict: if a scope's own
//! credential is forbidden, the request is refused, and no other scope pays.
//!
//! A request is decided in three steps, each in a module: the settings become rules
//! (`rules`), each candidate is evaluated against them (`facts` makes Cedar entities of the
//! request and the chain), and the default rules decide without the forbidden candidates
//! (`decision`).

mod decision;
mod facts;
mod rules;
mod settings;
mod text;
mod validation;
mod vocabulary;

use std::cell::RefCell;
use std::rc::Rc;

use entail_default_policy::{about, resolver};

use crate::rules::Rules;

/// The component's exports.
#[derive(Debug)]
pub struct Policy;

impl resolver::Guest for Policy {
    fn decide(
        request: resolver::Request,
        chain: Vec<resolver::Scope>,
    ) -> Result<resolver::Decision, resolver::Error> {
        let rules = rules_of(&request.settings)
            .map_err(|error| resolver::Error::Other(error.to_string()))?;
        decision::decide(&request, chain, &rules)
    }
}

impl entail_default_policy::settings::Guest for Policy {
    fn schema() -> String {
        settings::SCHEMA.to_owned()
    }

    fn validate(settings: String) -> Result<(), Vec<entail_default_policy::settings::Problem>> {
        validation::validate(&settings)
    }
}

impl about::Guest for Policy {
    fn describe() -> about::Description {
        about::Description {
            name: "cedar".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

/// Returns the rules of these settings. The latest rules are cached by the text of their
/// settings: a warm instance parses them once, and its decisions still depend on its
/// arguments alone.
fn rules_of(settings: &str) -> Result<Rc<Rules>, settings::SettingsError> {
    thread_local! {
        static LATEST: RefCell<Option<(String, Rc<Rules>)>> = const { RefCell::new(None) };
    }
    LATEST.with_borrow_mut(|latest| {
        if let Some((text, rules)) = latest
            && text == settings
        {
            return Ok(Rc::clone(rules));
        }
        let rules = Rc::new(Rules::new(settings::parse(settings)?)?);
        *latest = Some((settings.to_owned(), Rc::clone(&rules)));
        Ok(rules)
    })
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)] // generated: the symbols that the component exports
mod exported {
    use crate::Policy;
    use entail_default_policy::bindings;

    bindings::export!(Policy with_types_in bindings);
}
