//! Converts a request and its chain to Cedar entities: see `entail.cedarschema`.

use std::fmt::Display;

use cedar_policy::{Context, Entity, EntityUid, Request, RestrictedExpression};
use entail_default_policy::resolver::{self, Credential, Inheritance, Scope};

use crate::vocabulary::Vocabulary;

const MS_A_MINUTE: u64 = 60 * 1000;
const MINUTES_AN_HOUR: u64 = 60;
const HOURS_A_DAY: u64 = 24;
const DAYS_A_WEEK: u64 = 7;
/// The first day of 1970 was a Thursday, three days after a Monday.
const DAYS_SINCE_A_MONDAY: u64 = 3;

/// Cedar does not accept the facts: for example, two entities have the same name.
#[derive(Debug, thiserror::Error)]
#[error("the rules cannot be evaluated with these facts: {0}")]
pub struct FactsError(String);

impl FactsError {
    /// Returns the error with Cedar's message.
    pub fn new(error: impl Display) -> Self {
        FactsError(error.to_string())
    }
}

/// Returns the entities of a request: the scopes of the chain, their credentials, and the
/// attributes of the request.
pub fn entities(
    names: &Vocabulary,
    request: &resolver::Request,
    chain: &[Scope],
) -> Result<Vec<Entity>, FactsError> {
    let mut entities = vec![entity(
        names.attributes(),
        Vec::new(),
        None,
        &request.attributes,
    )?];
    for (depth, scope) in chain.iter().enumerate() {
        let holder = names.scope(&scope.path);
        for credential in &scope.credentials {
            entities.push(entity(
                names.credential(&scope.path, &request.provider, &credential.name),
                attributes(credential, &request.provider, &holder),
                Some(holder.clone()),
                &credential.attributes,
            )?);
        }
        let parent = chain.get(depth + 1).map(|parent| names.scope(&parent.path));
        entities.push(entity(holder, Vec::new(), parent, &scope.attributes)?);
    }
    Ok(entities)
}

fn entity(
    name: EntityUid,
    attributes: Vec<(String, RestrictedExpression)>,
    parent: Option<EntityUid>,
    tags: &[resolver::Attribute],
) -> Result<Entity, FactsError> {
    let tags = tags.iter().map(|(name, value)| (name.clone(), text(value)));
    Entity::new_with_tags(name, attributes, parent, tags).map_err(FactsError::new)
}

/// Returns the Cedar request: may the principal use this credential of this scope?
pub fn question(
    names: &Vocabulary,
    request: &resolver::Request,
    holder: &Scope,
    credential: &Credential,
    context: Context,
) -> Result<Request, FactsError> {
    Request::new(
        names.principal(&request.principal),
        names.action(),
        names.credential(&holder.path, &request.provider, &credential.name),
        context,
        None,
    )
    .map_err(FactsError::new)
}

/// Returns the Cedar context, which is the same for every credential of the chain.
pub fn context(
    names: &Vocabulary,
    request: &resolver::Request,
    chain: &[Scope],
) -> Result<Context, FactsError> {
    let requesting = chain.first().map_or("", |scope| scope.path.as_str());
    let model = effective_model(request, chain).map(|model| ("model".to_owned(), text(model)));
    let entity = RestrictedExpression::new_entity_uid;
    Context::from_pairs(
        [
            ("provider".to_owned(), text(&request.provider)),
            ("scope".to_owned(), entity(names.scope(requesting))),
            ("now".to_owned(), now(request.now_ms)?),
            ("attributes".to_owned(), entity(names.attributes())),
        ]
        .into_iter()
        .chain(model),
    )
    .map_err(FactsError::new)
}

/// Returns the effective model (rule 2 of the default policy).
fn effective_model<'a>(request: &'a resolver::Request, chain: &'a [Scope]) -> Option<&'a str> {
    let mut opted_in = true;
    let mut reachable = chain.iter().take_while(|scope| {
        let reachable = opted_in;
        opted_in = scope.inheritance != Inheritance::Isolated;
        reachable
    });
    match &request.model {
        Some(model) => Some(model),
        None => reachable.find_map(|scope| scope.default_model.as_deref()),
    }
}

fn attributes(
    credential: &Credential,
    provider: &str,
    holder: &EntityUid,
) -> Vec<(String, RestrictedExpression)> {
    let mut attributes = vec![
        (
            "holder".to_owned(),
            RestrictedExpression::new_entity_uid(holder.clone()),
        ),
        ("provider".to_owned(), text(provider)),
        ("name".to_owned(), text(&credential.name)),
        (
            "mandatory".to_owned(),
            RestrictedExpression::new_bool(credential.mandatory),
        ),
        ("priority".to_owned(), number(credential.priority.into())),
    ];
    if let Some(end) = credential.expires_at_ms {
        attributes.push(("expires_at_ms".to_owned(), number(end)));
    }
    if let Some(models) = &credential.models {
        attributes.push((
            "models".to_owned(),
            RestrictedExpression::new_set(models.iter().map(|model| text(model))),
        ));
    }
    attributes
}

fn now(now_ms: u64) -> Result<RestrictedExpression, FactsError> {
    let minutes = now_ms / MS_A_MINUTE;
    let hours = minutes / MINUTES_AN_HOUR;
    let days = hours / HOURS_A_DAY;
    let of_day = |name: &str, value| (name.to_owned(), number(value));
    RestrictedExpression::new_record([
        of_day("ms", now_ms),
        of_day("hour", hours % HOURS_A_DAY),
        of_day("minute", minutes % MINUTES_AN_HOUR),
        of_day("weekday", (days + DAYS_SINCE_A_MONDAY) % DAYS_A_WEEK + 1),
    ])
    .map_err(FactsError::new)
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// Converts a number to Cedar's signed numbers. Larger numbers become the largest one, which
/// is a time 300 million years ahead.
fn number(number: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}
