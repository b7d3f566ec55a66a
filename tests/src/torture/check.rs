//! Checks a store after a stress test: every acknowledged change exists, and everything is
//! as written.

use std::path::Path;

use entail::{Entail, Home, Principal, Request};

use super::settings;
use super::worker::scope;

/// The newest acknowledged changes of a writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The number of the newest secret.
    pub secret: u64,
    /// The number of the newest model.
    pub model: u64,
}

impl Acknowledged {
    /// The newest change of either kind.
    pub fn newest(&self) -> u64 {
        self.secret.max(self.model)
    }
}

/// The acknowledged changes of each writer.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    writers: Vec<Acknowledged>,
}

impl Ledger {
    /// Creates a ledger for a number of writers, without changes.
    pub fn new(writers: u32) -> Self {
        Ledger {
            writers: (0..writers).map(|_| Acknowledged::default()).collect(),
        }
    }

    /// Adds the lines that workers printed. Returns the number of changes.
    pub fn add_lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> usize {
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
                other => panic!("unexpected line of a worker: {other}"),
            }
            changes += 1;
        }
        changes
    }

    /// The acknowledged changes by writer.
    pub fn writers(&self) -> impl Iterator<Item = (u32, &Acknowledged)> {
        (0..).zip(&self.writers)
    }

    /// Records the actual state, which may be one change ahead of the acknowledged one.
    pub fn catch_up(&mut self, found: &[Acknowledged]) {
        self.writers = found.to_vec();
    }
}

/// Reopens the home and compares it with the ledger. Returns what each writer actually
/// has.
///
/// # Errors
///
/// A description of what is wrong.
pub async fn check(
    directory: &Path,
    cache: &Path,
    ledger: &Ledger,
) -> Result<Vec<Acknowledged>, String> {
    let to_text = |error: entail::Error| error.to_string();
    let home = Home::open(directory).map_err(to_text)?;
    let entail = Entail::open(&home, settings(cache)).map_err(to_text)?;
    let me = Principal::LocalOwner;
    let mut all = Vec::new();
    for (writer, acknowledged) in ledger.writers() {
        let request = Request::new(scope(writer).parse().unwrap(), "openai".parse().unwrap());
        let lease = entail.resolve(&me, &request).await.map_err(to_text)?;
        let key = lease.secret("api_key").ok_or("a lease without a key")?;
        let actual = Acknowledged {
            secret: count(key.expose_text().unwrap_or_default())?,
            model: count(lease.model().map_or("", |model| model.as_str()))?,
        };
        // At most one change was in progress, and may have been made.
        let next = acknowledged.newest() + 1;
        for (what, found, least) in [
            ("secret", actual.secret, acknowledged.secret),
            ("model", actual.model, acknowledged.model),
        ] {
            if found < least || found > least && found != next {
                return Err(format!(
                    "writer {writer} has the {what} of change {found}, but {least} was acknowledged"
                ));
            }
        }
        all.push(actual);
    }
    let verified = entail
        .maintenance()
        .verify(&me, &mut |_| {})
        .await
        .map_err(to_text)?;
    match verified.faults.first() {
        Some(fault) => Err(fault.to_string()),
        None if verified.unopened > 0 || !verified.foreign.is_empty() => {
            Err("secrets were not opened".to_owned())
        }
        None => Ok(all),
    }
}

/// The number at the end of a text.
fn count(text: &str) -> Result<u64, String> {
    let digits = text.rsplit('-').next().unwrap_or_default();
    digits.parse().map_err(|_| format!("{text:?} has no count"))
}
