//! An attacker who can write the database changes its definition: at random, by statements,
//! edits of the schema table or edits of pages, before a process opens the database or while
//! a process has it open. Each change must be reported with what was changed, or have no
//! effect: reads, lists, changes and verifications work correctly.

mod mutation;

use entail::{Change, Entail, Error, ErrorKind, Home, Principal, Request};

use mutation::{Definition, Expected, Mutation, definition, mutation};

use super::{add_scope, block_on, copy_directory, set_key, settings};

/// The scopes, each with a separate secret. The second cannot be removed, because the third
/// is below it.
const SCOPES: [&str; 4] = ["acme", "acme/p0", "acme/p0/x", "acme/p1"];

/// The scope that is changed while the database is open.
const CHANGED: &str = "acme/p1";

/// The number of changes per scope before the home is copied: enough for more than one page
/// per table.
const ROUNDS: usize = 6;

/// The result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutated {
    /// The number of mutations of the database.
    pub mutations: usize,
    /// Those made while a process had the database open.
    pub while_open: usize,
    /// Reported as tampering when the database was opened.
    pub refused: usize,
    /// Refused with another error on opening: not a database, or of a newer version.
    pub unreadable: usize,
    /// Found by using or verifying a database that opens.
    pub found: usize,
    /// Without effect: everything works.
    pub harmless: usize,
    /// Changes that a process made after the mutation of its open database, and that exist.
    pub acknowledged: usize,
    /// Changes that such a process tried to make and that failed.
    pub not_acknowledged: usize,
}

/// The unmodified home.
struct Original {
    directory: tempfile::TempDir,
    cache: tempfile::TempDir,
    definition: Definition,
}

/// Mutates a database `mutations` times.
///
/// # Panics
///
/// If a mutation passes unnoticed.
pub fn mutate(mutations: usize, seed: u64, mut on_progress: impl FnMut(Mutated)) -> Mutated {
    let original = block_on(Original::create());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut mutated = Mutated::default();
    while mutated.mutations < mutations {
        // Mutations that SQLite rejects do not count.
        if original.try_one(&mut random, &mut mutated) {
            mutated.mutations += 1;
            on_progress(mutated);
        }
    }
    mutated
}

fn secret(scope: &str, round: usize) -> String {
    format!("canary-of-{}-round-{round:03}", scope.replace('/', "-"))
}

impl Original {
    async fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let home = Home::create(&directory.path().join("home"), None)
            .await
            .unwrap();
        let entail = Entail::open(&home, settings(cache.path())).unwrap();
        for scope in SCOPES {
            add_scope(&entail, scope).await;
        }
        for round in 0..=ROUNDS {
            for scope in SCOPES {
                set(&entail, scope, round).await.unwrap();
            }
        }
        drop(entail);
        let definition = definition(&home.database_file());
        assert!(definition.is_some());
        Original {
            directory,
            cache,
            definition,
        }
    }

    /// Makes one mutation and checks the result. Returns whether a mutation was made.
    fn try_one(&self, random: &mut fastrand::Rng, mutated: &mut Mutated) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("home");
        copy_directory(&self.directory.path().join("home"), &place);
        let home = Home::open(&place).unwrap();
        let database = home.database_file();
        let witness = random.bool().then(|| {
            let witness = self.open(&home).unwrap();
            block_on(check_reads(&witness, ROUNDS)).unwrap();
            witness
        });
        let Some(mutation) = mutation(random, &database, witness.is_some()) else {
            return false;
        };
        let Mutation { what, expected } = &mutation;
        let mut round = ROUNDS;
        if let Some(witness) = witness {
            mutated.while_open += 1;
            round = Self::check_open_store(what, &witness, mutated);
        }
        let changed = definition(&database) != self.definition;
        if *expected == Expected::Harmless {
            assert!(!changed, "{what}: is not harmless");
        }
        let reopened = match self.open(&home) {
            Ok(reopened) => reopened,
            Err(Error::Tampered(fault)) => {
                assert_ne!(*expected, Expected::Harmless, "{what}: {fault}");
                assert!(!fault.what().is_empty(), "{what}: nothing is named");
                mutated.refused += 1;
                return true;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
                let newer = error.to_string().contains("schema version");
                assert!(newer || *expected == Expected::NotServed, "{what}: {error}");
                mutated.unreadable += 1;
                return true;
            }
        };
        assert!(!changed, "{what}: passed unnoticed");
        match self.check_reopened_store(&home, &reopened, round) {
            Ok(()) => mutated.harmless += 1,
            Err(error) => {
                assert_eq!(*expected, Expected::NotServed, "{what}: {error}");
                mutated.found += 1;
            }
        }
        true
    }

    fn open(&self, home: &Home) -> Result<Entail, Error> {
        Entail::open(home, settings(self.cache.path()))
    }

    /// Uses a store that was open during the mutation. Returns the newest acknowledged round.
    fn check_open_store(what: &str, witness: &Entail, mutated: &mut Mutated) -> usize {
        if let Err(error) = block_on(check_reads(witness, ROUNDS)) {
            assert!(!error.is_empty(), "{what}");
        }
        match block_on(set(witness, CHANGED, ROUNDS + 1)) {
            Ok(()) => {
                mutated.acknowledged += 1;
                ROUNDS + 1
            }
            Err(error) => {
                refused(&error).unwrap_or_else(|| panic!("{what}: {error}"));
                mutated.not_acknowledged += 1;
                ROUNDS
            }
        }
    }

    /// Uses a reopened store in every way, and verifies it, before and after a change. Returns
    /// a reported fault; panics for wrong data.
    fn check_reopened_store(
        &self,
        home: &Home,
        reopened: &Entail,
        round: usize,
    ) -> Result<(), String> {
        let me = Principal::LocalOwner;
        let verified = |entail: &Entail| {
            let verified = block_on(entail.maintenance().verify(&me, &mut |_| {}));
            match verified {
                Ok(verified) => match verified.faults.first() {
                    Some(fault) => Err(fault.to_string()),
                    None => Ok(()),
                },
                Err(error) => Err(refused(&error).unwrap_or_else(|| panic!("{error}"))),
            }
        };
        let found = verified(reopened);
        let read = block_on(check_reads(reopened, round));
        // Reads and verification must agree.
        let backup = self.directory.path().join("backup.db");
        let copied = block_on(reopened.maintenance().backup(&me, &backup));
        let _ = std::fs::remove_file(&backup);
        let copied = copied.map_err(|error| refused(&error).unwrap_or_else(|| panic!("{error}")));
        found?;
        read.unwrap_or_else(|error| panic!("verified, but: {error}"));
        copied.unwrap_or_else(|error| panic!("verified, but not copied: {error}"));
        block_on(set(reopened, CHANGED, round + 1))
            .unwrap_or_else(|error| panic!("verified, but: {error}"));
        let again = self.open(home).unwrap();
        block_on(check_reads(&again, round + 1)).unwrap();
        verified(&again).unwrap();
        Ok(())
    }
}

/// Reads, lists, and tries a change that must fail. Each must work correctly or report an
/// error.
async fn check_reads(entail: &Entail, round: usize) -> Result<(), String> {
    let me = Principal::LocalOwner;
    let mut errors = Vec::new();
    for scope in SCOPES {
        let request = Request::new(scope.parse().unwrap(), "openai".parse().unwrap());
        match entail.resolve(&me, &request).await {
            Ok(lease) => {
                let key = lease.secret("api_key").unwrap().expose_text().unwrap();
                let newest = if scope == CHANGED { round } else { ROUNDS };
                assert_eq!(key, secret(scope, newest));
            }
            Err(error) => errors.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
        }
    }
    for (under, expected) in [
        (None, &SCOPES[..]),
        (Some("acme/p0"), &["acme/p0", "acme/p0/x"]),
    ] {
        let under = under.map(|under| under.parse().unwrap());
        match entail.scopes(&me, under.as_ref()).await {
            Ok(scopes) => {
                let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
                assert_eq!(scopes, expected);
            }
            Err(error) => errors.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
        }
    }
    let scope = "acme/p0".parse().unwrap();
    match entail.change(&me, &Change::RemoveProject { scope }).await {
        Err(Error::HasProjects { .. }) => {}
        Err(error) => errors.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
        Ok(_) => panic!("a project was removed above its child"),
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}

async fn set(entail: &Entail, scope: &str, round: usize) -> Result<(), Error> {
    let set = Change::SetCredential(Box::new(set_key(scope, secret(scope, round))));
    entail.change(&Principal::LocalOwner, &set).await.map(drop)
}

/// The text of an error that reports tampering or unavailability.
fn refused(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::Tampered | ErrorKind::Unavailable => Some(error.to_string()),
        _ => None,
    }
}
