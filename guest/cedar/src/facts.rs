//! A request and its chain, as the rules see them: see `entail.cedarschema`.

use cedar_policy::entities_errors::EntitiesError;
use cedar_policy::{
    Context, ContextCreationError, Entity, EntityAttrEvaluationError, EntityUid, Request,
    RequestValidationError, RestrictedExpression,
};
use entail_default_policy::resolver::{self, Credential, Inheritance, Scope};

use crate::vocabulary::Vocabulary;

const MS_A_MINUTE: u64 = 60 * 1000;
const MINUTES_AN_HOUR: u64 = 60;
const HOURS_A_DAY: u64 = 24;
const DAYS_A_WEEK: u64 = 7;
/// The first day of 1970 was a Thursday, three days after a Monday.
const DAYS_SINCE_A_MONDAY: u64 = 3;

/// Facts that Cedar does not take.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// As entities: two of them have the same name.
    #[error(transparent)]
    Entities(#[from] Box<EntitiesError>),
    /// As the attributes of one.
    #[error(transparent)]
    Attributes(#[from] EntityAttrEvaluationError),
    /// As a context.
    #[error(transparent)]
    Context(#[from] ContextCreationError),
    /// As a request.
    #[error(transparent)]
    Request(#[from] Box<RequestValidationError>),
}

/// The entities of a request: its chain, the credentials on it, and what is said
/// of the request.
pub fn entities(
    names: &Vocabulary,
    request: &resolver::Request,
    chain: &[Scope],
) -> Result<Vec<Entity>, FactsError> {
    let mut entities = vec![Entity::new_with_tags(
        names.attributes(),
        [],
        [],
        tags(&request.attributes),
    )?];
    for (depth, scope) in chain.iter().enumerate() {
        let holder = names.scope(&scope.path);
        for credential in &scope.credentials {
            entities.push(Entity::new_with_tags(
                names.credential(&scope.path, &request.provider, &credential.name),
                attributes(credential, &request.provider, &holder),
                [holder.clone()],
                tags(&credential.attributes),
            )?);
        }
        let parent = chain.get(depth + 1).map(|parent| names.scope(&parent.path));
        entities.push(Entity::new_with_tags(
            holder,
            [],
            parent,
            tags(&scope.attributes),
        )?);
    }
    Ok(entities)
}

/// May the principal of the request use this credential of this scope?
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
    .map_err(|error| Box::new(error).into())
}

/// What is the same for every credential of the chain.
pub fn context(
    names: &Vocabulary,
    request: &resolver::Request,
    chain: &[Scope],
) -> Result<Context, FactsError> {
    let requesting = chain.first().map_or("", |scope| scope.path.as_str());
    let model = effective_model(request, chain)
        .map(|model| ("model".to_owned(), text(model)));
    let entity = RestrictedExpression::new_entity_uid;
    Ok(Context::from_pairs(
        [
            ("provider".to_owned(), text(&request.provider)),
            ("scope".to_owned(), entity(names.scope(requesting))),
            ("now".to_owned(), now(request.now_ms)?),
            ("attributes".to_owned(), entity(names.attributes())),
        ]
        .into_iter()
        .chain(model),
    )?)
}

/// The second of the default rules: the model that a grant would be for.
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

fn now(now_ms: u64) -> Result<RestrictedExpression, ContextCreationError> {
    let minutes = now_ms / MS_A_MINUTE;
    let hours = minutes / MINUTES_AN_HOUR;
    let days = hours / HOURS_A_DAY;
    let of_day = |name: &str, value| (name.to_owned(), number(value));
    Ok(RestrictedExpression::new_record([
        of_day("ms", now_ms),
        of_day("hour", hours % HOURS_A_DAY),
        of_day("minute", minutes % MINUTES_AN_HOUR),
        of_day(
            "weekday",
            (days + DAYS_SINCE_A_MONDAY) % DAYS_A_WEEK + 1,
        ),
    ])?)
}

fn tags(attributes: &[resolver::Attribute]) -> Vec<(String, RestrictedExpression)> {
    attributes
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// Cedar's numbers are signed. What is beyond the largest is as far as it goes:
/// some 300 million years.
fn number(number: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}
