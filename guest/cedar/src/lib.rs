//! A policy whose rules an organization writes itself, in Cedar, and sets as
//! settings.
//!
//! The rules of the default policy stay as they are; a credential that the Cedar
//! rules do not allow counts as unusable. So they narrow, and never widen: a
//! forbidden credential of one's own means a refusal, not another payer.
//!
//! A request is judged in three steps, each a module: the settings are read
//! (`rules`), each candidate is put to them (`facts` makes entities of the
//! request and the chain), and what they forbid is masked from the default rules
//! (`decision`).

mod decision;
mod facts;
mod rules;
mod settings;
mod text;
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
        settings::validate(&settings)
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

/// The rules of these settings. They are kept with the text that they were read
/// from: an instance that serves more than one call reads them once, and its
/// answers are still a matter of its arguments alone.
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
        let rules = Rc::new(Rules::new(settings::read(settings)?)?);
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
