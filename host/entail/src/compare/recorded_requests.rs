//! The recent requests in the decision log: they may have models and attributes that no
//! scope names, and that a policy depends on.

use std::collections::{BTreeMap, HashMap, HashSet};

use entail_policy::Facts;
use serde::Deserialize;

use crate::audit::{Filter, last_records};
use crate::error::Error;
use crate::home::Home;
use crate::resolve::host_attributes::{KEPT, parse_kept};
use crate::resolve::request::Request;
use entail_decision::name::{ProviderId, ScopePath};

/// How many of the newest records are read: a day of a busy home, in a second.
const RECORDS: usize = 10_000;

/// The most distinct requests of a scope for a provider: if attributes are session ids, a
/// few are enough.
const MAX_PER_SCOPE: usize = 16;

/// Distinct requests of the decision log, newest first.
#[derive(Debug, Default)]
pub(crate) struct RecordedRequests {
    records: usize,
    requests: HashMap<(ScopePath, ProviderId), Vec<Request>>,
    /// All of them, including the skipped ones.
    distinct: HashSet<Request>,
}

/// The part of a record that holds the request.
#[derive(Deserialize)]
struct Recorded {
    scope: ScopePath,
    provider: ProviderId,
    facts: Facts,
}

impl RecordedRequests {
    /// Reads those of the newest records of a home's log.
    ///
    /// # Errors
    ///
    /// [`Error::Home`] if the log cannot be read.
    pub(crate) fn latest(home: &Home) -> Result<Self, Error> {
        let mut recorded = RecordedRequests::default();
        for record in last_records(home, &Filter::default(), RECORDS)? {
            recorded.records += 1;
            // Skips what is not, or no longer, a valid request.
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
        // Keeps the newest ones.
        requests.retain(|known| *known != request);
        if requests.len() == MAX_PER_SCOPE {
            requests.remove(0);
        }
        requests.push(request);
    }

    /// The requests of a scope for a provider.
    pub(crate) fn of(&self, scope: &ScopePath, provider: &ProviderId) -> &[Request] {
        let key = (scope.clone(), provider.clone());
        self.requests.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The number of records read.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The number of requests to compare.
    pub(crate) fn len(&self) -> usize {
        self.requests.values().map(Vec::len).sum()
    }

    /// The number of distinct requests that are skipped, because their scope has made many
    /// others for the provider since.
    pub(crate) fn skipped(&self) -> usize {
        self.distinct.len() - self.len()
    }
}

fn parse(json: &str) -> Option<Request> {
    let recorded: Recorded = serde_json::from_str(json).ok()?;
    let request = recorded.facts.request;
    let mut attributes = BTreeMap::new();
    let mut kept = Vec::new();
    for (name, value) in request.attributes {
        // The host sets its attributes again; only what the caller keeps is part of the
        // request.
        if name == KEPT {
            kept = parse_kept(&value).ok()?;
            continue;
        }
        attributes.insert(name.parse().ok()?, value.parse().ok()?);
    }
    Some(Request {
        model: request.model.map(|model| model.parse()).transpose().ok()?,
        credential: request
            .credential
            .map(|name| name.parse())
            .transpose()
            .ok()?,
        attributes,
        kept,
        ..Request::new(recorded.scope, recorded.provider)
    })
}
