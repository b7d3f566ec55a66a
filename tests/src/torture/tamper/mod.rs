//! An attacker who can write the database: every row, column and byte range is changed,
//! deleted, duplicated, moved or rolled back. Each time the right fault must be reported,
//! and no wrong data may be returned.

mod cases;
mod original;

use std::path::Path;

use cases::{Affected, Case, cases};
use entail::store::Fault;
use entail::{Entail, ErrorKind, Home, Principal, Request};
use original::{Original, PROJECTS, project, secret};
use rusqlite::Connection;

use super::block_on;

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tampered {
    /// The number of changes of the database.
    pub cases: usize,
    /// The number of refused requests.
    pub refused: usize,
    /// The number of unaffected requests that were served correctly.
    pub granted: usize,
}

/// Changes the database in every way, and replaces it with `older` older copies.
///
/// # Panics
///
/// If a fault is not reported, or wrong data is returned.
pub fn tamper(older: usize, seed: u64) -> Tampered {
    let original = Original::create(older);
    let mut tampered = Tampered::default();
    for case in cases(&original, seed) {
        original.try_case(&case, &mut tampered);
    }
    for copy in &original.older {
        original.roll_back(copy, &mut tampered);
    }
    tampered
}

impl Original {
    fn try_case(&self, case: &Case, tampered: &mut Tampered) {
        let (_directory, home) = self.copy();
        let witness = self.open(&home);
        for number in 0..PROJECTS {
            self.request(&witness, number).unwrap();
        }
        let database = Connection::open(home.database_file()).unwrap();
        (case.change)(&database);
        drop(database);
        self.verify_case(case, &home, &witness, tampered);
    }

    /// Replaces the database with an older one.
    fn roll_back(&self, copy: &Path, tampered: &mut Tampered) {
        let (_directory, home) = self.copy();
        let witness = self.open(&home);
        for number in 0..PROJECTS {
            self.request(&witness, number).unwrap();
        }
        for suffix in ["-wal", "-shm"] {
            let mut name = home.database_file().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
        let staged = home.directory().join("older.db");
        std::fs::copy(copy, &staged).unwrap();
        std::fs::rename(staged, home.database_file()).unwrap();
        let case = Case {
            what: format!("the older database {}", copy.display()),
            change: Box::new(|_| {}),
            faults: vec![Fault::Stale],
            affects: Affected::Everybody,
        };
        self.verify_case(&case, &home, &witness, tampered);
    }

    fn verify_case(&self, case: &Case, home: &Home, witness: &Entail, tampered: &mut Tampered) {
        tampered.cases += 1;
        let reopened = self.open(home);
        for entail in [witness, &reopened] {
            for number in 0..PROJECTS {
                let what = &case.what;
                match (self.request(entail, number), case.affects.has(number)) {
                    (Ok(()), false) => tampered.granted += 1,
                    (Ok(()), true) => panic!("{what}: project {number} was served"),
                    (Err(ErrorKind::Tampered | ErrorKind::Unavailable), _) => {
                        tampered.refused += 1;
                    }
                    (Err(other), _) => panic!("{what}: project {number}: {other:?}"),
                }
            }
        }
        let me = Principal::LocalOwner;
        let verified = block_on(reopened.maintenance().verify(&me, &mut |_| {})).unwrap();
        let reported: Vec<String> = verified.faults.iter().map(ToString::to_string).collect();
        assert!(
            verified
                .faults
                .iter()
                .any(|fault| case.faults.contains(&fault.fault())),
            "{}: expected {:?}, reported {reported:?}",
            case.what,
            case.faults
        );
    }

    /// Requests a project's secret, which must be the right one if it is served.
    fn request(&self, entail: &Entail, number: usize) -> Result<(), ErrorKind> {
        let request = Request::new(project(number).parse().unwrap(), "openai".parse().unwrap());
        let lease = block_on(entail.resolve(&Principal::LocalOwner, &request))
            .map_err(|error| error.kind())?;
        let key = lease.secret("api_key").unwrap().expose_text().unwrap();
        assert_eq!(key, secret(number, self.rounds()));
        Ok(())
    }
}
