//! What was asked lately, by the decision log: models and attributes that no scope knows
//! of, and that a policy may go by.

use std::collections::{BTreeMap, HashMap, HashSet};

use entail_policy::Facts;
use serde::Deserialize;

use crate::audit::{Filter, last_records};
use crate::error::Error;
use crate::home::Home;
use crate::resolve::facts::Request;
use crate::resolve::host_attributes::{KEPT, parse_kept};
use entail_decision::name::{ProviderId, ScopePath};

/// The newest records that are read: a day of a busy home, in a second.
const RECORDS: usize = 10_000;

/// Different requests that are kept of a scope for a provider: where attributes are ids
/// of sessions, one is as good as another.
const OF_A_SCOPE: usize = 16;

/// Requests of the decision log, each once, the newest first.
#[derive(Debug, Default)]
pub(crate) struct RecordedRequests {
    records: usize,
    requests: HashMap<(ScopePath, ProviderId), Vec<Request>>,
    /// All there are, kept or not.
    distinct: HashSet<Request>,
}

/// The part of a record that says what was asked.
#[derive(Deserialize)]
struct Recorded {
    scope: ScopePath,
    provider: ProviderId,
    facts: Facts,
}

impl RecordedRequests {
    /// Those of the newest records of a home's log.
    ///
    /// # Errors
    ///
    /// [`Error::Home`] when the log cannot be read.
    pub(crate) fn latest(home: &Home) -> Result<Self, Error> {
        let mut recorded = RecordedRequests::default();
        for record in last_records(home, &Filter::default(), RECORDS)? {
            recorded.records += 1;
            // What is not a request, or no longer one, is left out.
            if let Some(request) = parse(record?.json()) {
                recorded.add(request);
            }
        }
        Ok(recorded)
    }

    fn add(&mut self, request: Request) {
        self.distinct.insert(request.clone());
        let key = (request.scope.clone(), request.provider.clone());
        let requests = self.requests.entry(key).or_default();
        // The newest ones stay.
        requests.retain(|known| *known != request);
        if requests.len() == OF_A_SCOPE {
            requests.remove(0);
        }
        requests.push(request);
    }

    /// What a scope asked for a provider.
    pub(crate) fn of(&self, scope: &ScopePath, provider: &ProviderId) -> &[Request] {
        let key = (scope.clone(), provider.clone());
        self.requests.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How many records were read.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// How many requests there are to ask.
    pub(crate) fn len(&self) -> usize {
        self.requests.values().map(Vec::len).sum()
    }

    /// How many different ones are not kept, since their scope has asked many others for
    /// the provider since.
    pub(crate) fn left_out(&self) -> usize {
        self.distinct.len() - self.len()
    }
}

fn parse(json: &str) -> Option<Request> {
    let recorded: Recorded = serde_json::from_str(json).ok()?;
    let asked = recorded.facts.request;
    let mut attributes = BTreeMap::new();
    let mut kept = Vec::new();
    for (name, value) in asked.attributes {
        // The host's own attributes are written anew; only what was kept is part of what
        // was asked.
        if name == KEPT {
            kept = parse_kept(&value).ok()?;
            continue;
        }
        attributes.insert(name.parse().ok()?, value.parse().ok()?);
    }
    Some(Request {
        model: asked.model.map(|model| model.parse()).transpose().ok()?,
        credential: asked.credential.map(|name| name.parse()).transpose().ok()?,
        attributes,
        kept,
        ..Request::new(recorded.scope, recorded.provider)
    })
}
