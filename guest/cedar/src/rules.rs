//! An organization's rules, ready to evaluate.

use std::collections::BTreeMap;

use cedar_policy::{
    Authorizer, Decision, Entities, Entity, EntityUid, PolicyId, PolicySet, Response,
    RestrictedExpression,
};
use entail_default_policy::resolver::{self, Scope};

use crate::facts::{self, FactsError};
use crate::settings::{Kind, KnownEntity, Settings, SettingsError, Uid};
use crate::vocabulary::Vocabulary;

/// The rules, with the principals and groups that they use.
#[derive(Debug)]
pub struct Rules {
    names: Vocabulary,
    policies: PolicySet,
    known: Entities,
}

/// Why the rules do not allow a credential.
#[derive(Debug, PartialEq, Eq)]
pub enum Objection {
    /// No rule permits it.
    NotPermitted,
    /// These rules forbid it: their `@id`, or Cedar's names for them.
    Forbidden(Vec<String>),
    /// A rule could not be evaluated. It may be a `forbid` rule, so the credential is not
    /// allowed even if other rules permit it.
    Failed(Vec<String>),
}

impl Rules {
    /// Returns the rules of settings.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let names = Vocabulary::new()?;
        let known = settings
            .entities
            .into_iter()
            .map(|entity| known(&names, entity))
            .collect::<Result<Vec<Entity>, _>>()?;
        Ok(Rules {
            names,
            policies: settings.rules.parse().map_err(Box::new)?,
            known: Entities::from_entities(known, None).map_err(contradiction)?,
        })
    }

    /// Returns the objections to credentials of the chain, by credential id. Credentials that
    /// the rules allow have none, and disabled ones are skipped.
    pub fn objections(
        &self,
        request: &resolver::Request,
        chain: &[Scope],
    ) -> Result<BTreeMap<String, Objection>, FactsError> {
        let authorizer = Authorizer::new();
        let context = facts::context(&self.names, request, chain)?;
        let entities = self
            .known
            .clone()
            .add_entities(facts::entities(&self.names, request, chain)?, None)
            .map_err(FactsError::new)?;
        let mut objections = BTreeMap::new();
        for scope in chain {
            for credential in scope.credentials.iter().filter(|held| held.enabled) {
                let question =
                    facts::question(&self.names, request, scope, credential, context.clone())?;
                let response = authorizer.is_authorized(&question, &self.policies, &entities);
                if let Some(objection) = self.objection(&response) {
                    objections.insert(credential.id.clone(), objection);
                }
            }
        }
        Ok(objections)
    }

    fn objection(&self, response: &Response) -> Option<Objection> {
        let diagnostics = response.diagnostics();
        let errors = sorted(diagnostics.errors().map(ToString::to_string));
        if !errors.is_empty() {
            return Some(Objection::Failed(errors));
        }
        if response.decision() == Decision::Allow {
            return None;
        }
        let forbidding = sorted(diagnostics.reason().map(|id| self.name(id)));
        Some(if forbidding.is_empty() {
            Objection::NotPermitted
        } else {
            Objection::Forbidden(forbidding)
        })
    }

    fn name(&self, id: &PolicyId) -> String {
        match self.policies.annotation(id, "id") {
            Some(name) => name.to_owned(),
            None => id.to_string(),
        }
    }
}

/// Cedar returns them in the order of a hash map.
fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts
}

fn known(names: &Vocabulary, entity: KnownEntity) -> Result<Entity, SettingsError> {
    let named = |uid: &Uid| -> EntityUid {
        match uid.kind {
            Kind::Principal => names.principal(&uid.id),
            Kind::Group => names.group(&uid.id),
        }
    };
    let tags = entity
        .tags
        .into_iter()
        .map(|(name, value)| (name, RestrictedExpression::new_string(value)));
    Entity::new_with_tags(
        named(&entity.uid),
        [],
        entity.parents.iter().map(named),
        tags,
    )
    .map_err(contradiction)
}

fn contradiction(error: impl ToString) -> SettingsError {
    SettingsError::Entities(error.to_string())
}
