//! Compares the guard with the naive model: it must permit exactly the grants that the
//! search of the model permits, whatever a policy returns.

use entail::guard;
use entail_policy::{Decision, Facts, Grant, Outcome};

use crate::{agreement, naive};

/// A grant on which the guard and the naive model disagree.
#[derive(Debug)]
pub struct Breach {
    facts: Facts,
    grant: Grant,
    expected: bool,
    actual: Result<(), String>,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts = serde_json::to_string_pretty(&self.facts).expect("facts have a JSON form");
        writeln!(f, "facts    {facts}")?;
        writeln!(f, "grant    {:?}", self.grant)?;
        writeln!(
            f,
            "expected {}",
            if self.expected { "granted" } else { "refused" }
        )?;
        write!(f, "actual   {:?}", self.actual)
    }
}

/// For the facts of each number below `count`, checks `answers` random grants, and the grant
/// of each credential alone.
///
/// # Errors
///
/// The first breach that a thread finds.
///
/// # Panics
///
/// If `facts` panics.
pub fn compare(
    count: u64,
    facts: impl Fn(u64) -> Facts + Sync,
    answers: usize,
) -> Result<(), Box<Breach>> {
    agreement::for_each(count, |index| {
        let facts = facts(index);
        let (members, model) = naive::ceiling(&facts);
        let credentials = facts.chain.iter().flat_map(|scope| &scope.credentials);
        let ids: Vec<&str> = credentials.map(|c| c.id.as_str()).collect();
        for id in ids.iter().chain(&["forged"]) {
            let single = Grant {
                credential: (*id).to_owned(),
                alternates: Vec::new(),
                model: model.clone(),
            };
            check(&facts, &members, model.as_deref(), single)?;
        }
        let mut random = fastrand::Rng::with_seed(index);
        for _ in 0..answers {
            let grant = random_grant(&facts, &ids, &members, model.as_deref(), &mut random);
            check(&facts, &members, model.as_deref(), grant)?;
        }
        Ok(())
    })
}

fn check(
    facts: &Facts,
    members: &[String],
    model: Option<&str>,
    grant: Grant,
) -> Result<(), Box<Breach>> {
    let mut named: Vec<&String> = grant.alternates.iter().collect();
    named.push(&grant.credential);
    let all_are_members = named.iter().all(|id| members.contains(id));
    let count = named.len();
    named.sort();
    named.dedup();
    let expected = all_are_members && named.len() == count && grant.model.as_deref() == model;
    let decision = Decision {
        outcome: Outcome::Granted(grant.clone()),
        trail: Vec::new(),
        attributes: [].into(),
    };
    let actual = guard::enforce(facts, decision);
    if actual.is_ok() == expected {
        return Ok(());
    }
    Err(Box::new(Breach {
        facts: facts.clone(),
        grant,
        expected,
        actual: actual.map(drop).map_err(|violation| violation.to_string()),
    }))
}

/// A random grant: of members only or of any credential, for a model that a scope names or
/// for none.
fn random_grant(
    facts: &Facts,
    ids: &[&str],
    members: &[String],
    model: Option<&str>,
    random: &mut fastrand::Rng,
) -> Grant {
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let choices = if random.bool() && !members.is_empty() {
        &members[..]
    } else {
        ids
    };
    let pick = |random: &mut fastrand::Rng| match choices {
        [] => "forged".to_owned(),
        choices => choices[random.usize(..choices.len())].to_owned(),
    };
    let credential = pick(random);
    let alternates = (0..random.usize(..3)).map(|_| pick(random)).collect();
    let mut models = vec![None, Some("another".to_owned())];
    models.extend(facts.chain.iter().map(|scope| scope.default_model.clone()));
    let model = match random.usize(..4) {
        0 => models.swap_remove(random.usize(..models.len())),
        _ => model.map(str::to_owned),
    };
    Grant {
        credential,
        alternates,
        model,
    }
}
