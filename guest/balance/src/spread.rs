//! Weighted rendezvous hashing: each request orders the credentials of a scope. The
//! order depends only on the key of the request and on the names and weights of the
//! credentials.
//!
//! A credential gets a share of the keys that is its weight over the sum of all. Adding
//! or removing a credential moves only the keys that it gets or had; all other keys
//! keep their credential. Source: Schindelhauer and Schomaker, "Weighted
//! distributed hash tables", SPAA 2005.

use std::cmp::Ordering;

use entail_default_policy::resolver::{Decision, Grant, Outcome, Request, Scope};
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// A credential to choose from.
struct Candidate {
    id: String,
    weight: u32,
    /// Its distance for this request, not yet divided by its weight: at least 1, and
    /// distributed exponentially over all requests.
    distance: u64,
}

/// Spreads a grant over the credentials of the granted one's scope.
pub fn spread(decision: &mut Decision, request: &Request, chain: &[Scope], settings: &Settings) {
    let Outcome::Granted(grant) = &mut decision.outcome else {
        return;
    };
    let Some(scope) = chain.iter().find(|scope| holds(scope, &grant.credential)) else {
        return;
    };
    let key = Key::of(request, chain, settings);
    let (taking_part, others): (Vec<String>, Vec<String>) =
        ids(grant).partition(|id| holds(scope, id));
    let mut candidates: Vec<Candidate> = Vec::with_capacity(taking_part.len());
    for id in taking_part {
        let name = name_of(scope, &id);
        let candidate = Candidate {
            weight: settings.weight(&scope.path, name),
            distance: key.distance(&scope.path, &request.provider, name),
            id,
        };
        // After those with the same distance: they keep the default order.
        let place =
            candidates.partition_point(|placed| nearer(placed, &candidate) != Ordering::Greater);
        candidates.insert(place, candidate);
    }
    if candidates.len() < 2 {
        return;
    }
    let mut ordered = candidates
        .into_iter()
        .map(|candidate| candidate.id)
        .chain(others);
    if let Some(nearest) = ordered.next() {
        grant.credential = nearest;
        grant.alternates = ordered.collect();
    }
    relabel(decision);
    decision
        .attributes
        .push(("balanced-by".to_owned(), key.origin.to_owned()));
}

fn holds(scope: &Scope, id: &str) -> bool {
    scope.credentials.iter().any(|held| held.id == id)
}

fn name_of<'a>(scope: &'a Scope, id: &str) -> &'a str {
    scope
        .credentials
        .iter()
        .find(|held| held.id == id)
        .map_or("", |held| &held.name)
}

fn ids(grant: &Grant) -> impl Iterator<Item = String> {
    std::iter::once(&grant.credential)
        .chain(&grant.alternates)
        .cloned()
}

/// The key of a request: requests with the same key get the same credential.
struct Key<'a> {
    /// Its source, for people.
    origin: &'a str,
    parts: [&'a str; 2],
}

impl<'a> Key<'a> {
    /// The value of the attribute; without one, the principal and the scope.
    fn of(request: &'a Request, chain: &'a [Scope], settings: &'a Settings) -> Self {
        let value = request
            .attributes
            .iter()
            .find(|(name, value)| *name == settings.by && !value.is_empty());
        match value {
            Some((_, value)) => Key {
                origin: &settings.by,
                parts: [value, ""],
            },
            None => Key {
                origin: "principal",
                parts: [
                    chain.first().map_or("", |scope| &scope.path),
                    &request.principal,
                ],
            },
        }
    }

    /// Returns the distance of a credential for this key.
    fn distance(&self, scope: &str, provider: &str, name: &str) -> u64 {
        let mut hash = Sha256::new();
        for part in [scope, provider, name].into_iter().chain(self.parts) {
            // The length separates it from the next one.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        minus_log2(first_eight(&hash.finalize()))
    }
}

fn first_eight(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Compares distance over weight. A weight of zero means an infinite distance.
fn nearer(one: &Candidate, other: &Candidate) -> Ordering {
    match (one.weight, other.weight) {
        (0, 0) => Ordering::Equal,
        (0, _) => Ordering::Greater,
        (_, 0) => Ordering::Less,
        _ => {
            let crossed = |distance: u64, weight: u32| u128::from(distance) * u128::from(weight);
            crossed(one.distance, other.weight).cmp(&crossed(other.distance, one.weight))
        }
    }
}

/// −log₂((`number` + 1) / 2⁶⁴), in units of 2⁻³², with integers: the same in
/// every runtime. At least 1, so that dividing it by a weight has an effect.
fn minus_log2(number: u64) -> u64 {
    let number = u128::from(number) + 1;
    let whole = number.ilog2();
    if whole == 64 {
        return 1;
    }
    // Between 1 and 2, in units of 2⁻⁶³.
    let mut fraction = number << (63 - whole);
    let mut log2 = u64::from(whole) << 32;
    for bit in (0..32).rev() {
        // Squaring doubles the logarithm; its integer part is the next bit.
        fraction = (fraction * fraction) >> 63;
        if fraction >> 64 == 1 {
            fraction >>= 1;
            log2 |= 1 << bit;
        }
    }
    (64 << 32) - log2
}

/// Updates the trail with the chosen credential; keeps the order of the rules.
fn relabel(decision: &mut Decision) {
    let Outcome::Granted(grant) = &decision.outcome else {
        return;
    };
    for finding in &mut decision.trail {
        if finding.code == "chosen" || finding.code == "alternate" {
            let code = match finding.credential == grant.credential {
                true => "chosen",
                false => "alternate",
            };
            code.clone_into(&mut finding.code);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_logarithm_is_right_at_powers_of_two_and_between() {
        let unit = 1u64 << 32;
        assert_eq!(minus_log2(0), 64 * unit);
        assert_eq!(minus_log2(1), 63 * unit);
        assert_eq!(minus_log2((1 << 63) - 1), unit);
        assert_eq!(minus_log2(u64::MAX), 1);
        // log₂ 3 is 1.5849625007…
        assert_eq!(64 * unit - minus_log2(2), 6_807_362_105);
    }

    /// Returns the credential that a session gets, by weight.
    fn winner(weights: &[(&str, u32)], session: &str) -> String {
        let key = Key {
            origin: "session",
            parts: [session, ""],
        };
        let candidate = |(name, weight): &(&str, u32)| Candidate {
            id: (*name).to_owned(),
            weight: *weight,
            distance: key.distance("acme", "openai", name),
        };
        let nearest = weights.iter().map(candidate).min_by(nearer);
        nearest.unwrap().id
    }

    #[test]
    fn each_credential_takes_its_share_and_when_one_goes_only_its_keys_move() {
        let shares = [("a", 5), ("b", 3), ("c", 2)];
        let mut won = BTreeMap::from([("a", 0), ("b", 0), ("c", 0)]);
        for session in (0..20_000).map(|number| number.to_string()) {
            let before = winner(&shares, &session);
            let after = winner(&shares[..2], &session);
            assert!(before == "c" || before == after, "{session} moved");
            *won.get_mut(before.as_str()).unwrap() += 1;
        }
        for (name, weight) in shares {
            let part = f64::from(won[name]) / 20_000.0;
            let share = f64::from(weight) / 10.0;
            assert!((part - share).abs() < 0.012, "{name}: {part} for {share}");
        }
    }
}
