//! What must hold of a store after anything: all that was acknowledged is there, and
//! everything is what was written.

use std::path::Path;

use entail::{Entail, Home, Principal, Request};

use super::settings;
use super::worker::scope;

/// The newest changes of a writer that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The count of the newest secret.
    pub secret: u64,
    /// The count of the newest model.
    pub model: u64,
}

impl Acknowledged {
    /// The newest change of either kind.
    pub fn newest(&self) -> u64 {
        self.secret.max(self.model)
    }
}

/// What each writer has acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    writers: Vec<Acknowledged>,
}

impl Ledger {
    /// For so many writers, none of whom did anything.
    pub fn new(writers: u32) -> Self {
        Ledger {
            writers: (0..writers).map(|_| Acknowledged::default()).collect(),
        }
    }

    /// Takes in what workers said; answers with how many changes that were.
    pub fn take<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> usize {
        let mut changes = 0;
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [writer, what, count] = words.as_slice() else {
                continue;
            };
            let writer = &mut self.writers[writer.parse::<usize>().unwrap()];
            let count = count.parse().unwrap();
            match *what {
                "secret" => writer.secret = count,
                "model" => writer.model = count,
                other => panic!("a worker said {other}"),
            }
            changes += 1;
        }
        changes
    }

    /// Each writer's own.
    pub fn writers(&self) -> impl Iterator<Item = (u32, &Acknowledged)> {
        (0..).zip(&self.writers)
    }

    /// Sees what there is: it may be a change ahead of what was acknowledged.
    pub fn catch_up(&mut self, found: &[Acknowledged]) {
        self.writers = found.to_vec();
    }
}

/// Opens the home as a newcomer would, and holds it against the ledger. Answers with
/// what each writer has there.
///
/// # Errors
///
/// In words, what does not hold.
pub async fn check(
    folder: &Path,
    cache: &Path,
    ledger: &Ledger,
) -> Result<Vec<Acknowledged>, String> {
    let said = |error: entail::Error| error.to_string();
    let home = Home::open(folder).map_err(said)?;
    let entail = Entail::open(&home, settings(cache)).map_err(said)?;
    let me = Principal::LocalOwner;
    let mut found = Vec::new();
    for (writer, acknowledged) in ledger.writers() {
        let request = Request::new(scope(writer).parse().unwrap(), "openai".parse().unwrap());
        let lease = entail.resolve(&me, &request).await.map_err(said)?;
        let key = lease.secret("api_key").ok_or("a lease without a key")?;
        let there = Acknowledged {
            secret: count(key.expose_text().unwrap_or_default())?,
            model: count(lease.model().map_or("", |model| model.as_str()))?,
        };
        // At most one change was under way, and may have been made.
        let next = acknowledged.newest() + 1;
        for (what, there, least) in [
            ("secret", there.secret, acknowledged.secret),
            ("model", there.model, acknowledged.model),
        ] {
            if there < least || there > least && there != next {
                return Err(format!(
                    "writer {writer} has the {what} of change {there}, and {least} was acknowledged"
                ));
            }
        }
        found.push(there);
    }
    let verified = entail.verify(&me, &mut |_| {}).await.map_err(said)?;
    match verified.faults.first() {
        Some(fault) => Err(fault.to_string()),
        None if verified.unopened > 0 || !verified.foreign.is_empty() => {
            Err("secrets were not opened".to_owned())
        }
        None => Ok(found),
    }
}

/// The number that a text ends with.
fn count(text: &str) -> Result<u64, String> {
    let digits = text.rsplit('-').next().unwrap_or_default();
    digits.parse().map_err(|_| format!("{text:?} has no count"))
}
