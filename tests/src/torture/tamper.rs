//! Whoever can write the database: every row, column and byte range of it is changed,
//! dropped, doubled, moved or put back, and every time the right name must be said
//! for it, and nothing be handed out but what belongs there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use entail::store::{Binding, Digest, Fault, Keys, Recipients};
use entail::{Change, Entail, ErrorKind, Home, Principal, Request, Secret};
use rusqlite::{Connection, params};

use super::{add_scope, block_on, copy_folder, set_key, settings};

/// Projects, each with a secret of its own.
const PROJECTS: usize = 6;

/// The bytes of a document that one case changes.
const RANGE_BYTES: usize = 16;

/// Bits flipped and cuts made, per blob.
const FLIPS: usize = 24;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tampered {
    /// Ways in which the database was changed.
    pub cases: usize,
    /// Requests that were refused for it.
    pub refused: usize,
    /// Requests that it did not concern, and that got what belongs to them.
    pub granted: usize,
}

/// A way to change the database.
struct Case {
    what: String,
    change: Box<dyn Fn(&Connection)>,
    /// One of them must be named.
    faults: Vec<Fault>,
    /// Requests of these projects must be refused.
    concerns: Concerned,
}

enum Concerned {
    Nobody,
    Projects(BTreeSet<usize>),
    Everybody,
}

/// A home as it was before anybody changed it.
struct Original {
    folder: tempfile::TempDir,
    cache: tempfile::TempDir,
    /// Copies of the database, one after each change.
    older: Vec<PathBuf>,
}

fn project(number: usize) -> String {
    format!("acme/p{number}")
}

fn secret(number: usize, round: usize) -> String {
    format!("canary-of-project-{number}-round-{round:03}")
}

/// Changes the database in every way there is, and puts `older` older ones back.
///
/// # Panics
///
/// When something is not named, or is handed out that must not be.
pub fn tamper(older: usize, seed: u64) -> Tampered {
    let original = Original::make(older);
    let mut tampered = Tampered::default();
    for case in cases(&original, seed) {
        original.try_case(&case, &mut tampered);
    }
    for copy in &original.older {
        original.put_back(copy, &mut tampered);
    }
    tampered
}

impl Original {
    /// A home that has seen more than `older` changes, with a copy after each.
    fn make(older: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut original = Original {
            folder,
            cache: tempfile::tempdir().unwrap(),
            older: Vec::new(),
        };
        block_on(original.fill(older));
        original
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    async fn fill(&mut self, older: usize) {
        let home = Home::create(&self.home(), None).await.unwrap();
        let entail = Entail::open(&home, settings(self.cache.path())).unwrap();
        let me = Principal::LocalOwner;
        add_scope(&entail, "acme").await;
        for number in 0..PROJECTS {
            add_scope(&entail, &project(number)).await;
        }
        let rounds = older.div_ceil(PROJECTS).max(2);
        for round in 0..rounds {
            for number in 0..PROJECTS {
                let set = set(number, round);
                entail.change(&me, &set).await.unwrap();
                if self.older.len() < older {
                    let copy = self.folder.path().join(format!("{}.db", self.older.len()));
                    entail.backup(&me, &copy).await.unwrap();
                    self.older.push(copy);
                }
            }
        }
        // So that even the newest copy is an older one.
        entail.change(&me, &set(0, rounds)).await.unwrap();
        for number in 1..PROJECTS {
            entail.change(&me, &set(number, rounds)).await.unwrap();
        }
    }

    fn rounds(&self) -> usize {
        self.older.len().div_ceil(PROJECTS).max(2)
    }

    /// A copy of the home, to be changed.
    fn copy(&self) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        copy_folder(&self.home(), &home);
        (folder, Home::open(&home).unwrap())
    }

    fn open(&self, home: &Home) -> Entail {
        Entail::open(home, settings(self.cache.path())).unwrap()
    }

    fn try_case(&self, case: &Case, tampered: &mut Tampered) {
        let (_folder, home) = self.copy();
        let witness = self.open(&home);
        for number in 0..PROJECTS {
            self.ask(&witness, number).unwrap();
        }
        let database = Connection::open(home.database_file()).unwrap();
        (case.change)(&database);
        drop(database);
        self.judge(case, &home, &witness, tampered);
    }

    /// Puts a whole older database in the place of the present one.
    fn put_back(&self, copy: &Path, tampered: &mut Tampered) {
        let (_folder, home) = self.copy();
        let witness = self.open(&home);
        for number in 0..PROJECTS {
            self.ask(&witness, number).unwrap();
        }
        for suffix in ["-wal", "-shm"] {
            let mut name = home.database_file().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
        let beside = home.directory().join("older.db");
        std::fs::copy(copy, &beside).unwrap();
        std::fs::rename(beside, home.database_file()).unwrap();
        let case = Case {
            what: format!("the older database {}", copy.display()),
            change: Box::new(|_| {}),
            faults: vec![Fault::Stale],
            concerns: Concerned::Everybody,
        };
        self.judge(&case, &home, &witness, tampered);
    }

    fn judge(&self, case: &Case, home: &Home, witness: &Entail, tampered: &mut Tampered) {
        tampered.cases += 1;
        let newcomer = self.open(home);
        for entail in [witness, &newcomer] {
            for number in 0..PROJECTS {
                let what = &case.what;
                match (self.ask(entail, number), case.concerns.has(number)) {
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
        let verified = block_on(newcomer.verify(&me, &mut |_| {})).unwrap();
        let named: Vec<String> = verified.faults.iter().map(ToString::to_string).collect();
        assert!(
            verified
                .faults
                .iter()
                .any(|fault| case.faults.contains(&fault.fault())),
            "{}: expected {:?}, named {named:?}",
            case.what,
            case.faults
        );
    }

    /// Asks for a project's secret; what is handed out must be the right one.
    fn ask(&self, entail: &Entail, number: usize) -> Result<(), ErrorKind> {
        let request = Request::new(project(number).parse().unwrap(), "openai".parse().unwrap());
        let lease = block_on(entail.resolve(&Principal::LocalOwner, &request))
            .map_err(|error| error.kind())?;
        let key = lease.secret("api_key").unwrap().expose_text().unwrap();
        assert_eq!(key, secret(number, self.rounds()));
        Ok(())
    }
}

impl Concerned {
    fn has(&self, project: usize) -> bool {
        match self {
            Concerned::Nobody => false,
            Concerned::Everybody => true,
            Concerned::Projects(projects) => projects.contains(&project),
        }
    }

    /// Who is concerned by a document.
    fn by(kind: &str, name: &str) -> Self {
        match (kind, name.strip_prefix("acme/p")) {
            ("scope", Some(number)) => Concerned::Projects([number.parse().unwrap()].into()),
            ("scope", None) => Concerned::Everybody,
            _ => Concerned::Nobody,
        }
    }
}

fn set(number: usize, round: usize) -> Change {
    Change::SetCredential(Box::new(set_key(&project(number), secret(number, round))))
}

/// What is in the database to be changed.
struct Rows {
    documents: Vec<(String, String, usize)>,
    /// The digest of each blob, and the project whose document names it.
    blobs: Vec<(Vec<u8>, usize, usize)>,
    entries: i64,
    nodes: Vec<Vec<u8>>,
}

fn rows(original: &Original) -> Rows {
    let database = Connection::open(original.home().join("entail.db")).unwrap();
    let all = |query: &str| -> Vec<(Vec<u8>, i64)> {
        let mut statement = database.prepare(query).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut statement = database
        .prepare("SELECT kind, name, length(payload) FROM documents")
        .unwrap();
    let documents: Vec<(String, String, usize)> = statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
        })
        .unwrap()
        .map(Result::unwrap)
        .map(|(kind, name, length)| (kind, name, usize::try_from(length).unwrap()))
        .collect();
    let owner = |digest: &[u8]| {
        let hex = Digest::from(<[u8; 32]>::try_from(digest).unwrap()).to_string();
        let name: String = database
            .query_row(
                "SELECT name FROM documents WHERE instr(CAST(payload AS TEXT), ?1) > 0",
                [hex],
                |row| row.get(0),
            )
            .unwrap();
        name.strip_prefix("acme/p").unwrap().parse().unwrap()
    };
    Rows {
        documents,
        blobs: all("SELECT digest, length(bytes) FROM blobs")
            .into_iter()
            .map(|(digest, length)| {
                let owner = owner(&digest);
                (digest, usize::try_from(length).unwrap(), owner)
            })
            .collect(),
        entries: database
            .query_row("SELECT max(revision) FROM journal", [], |row| row.get(0))
            .unwrap(),
        nodes: all("SELECT path, length(node) FROM tree")
            .into_iter()
            .map(|(path, _)| path)
            .collect(),
    }
}

/// A change by one statement, which must concern some row.
fn statement(
    what: String,
    text: &'static str,
    parameters: Vec<rusqlite::types::Value>,
    faults: &[Fault],
    concerns: Concerned,
) -> Case {
    let said = what.clone();
    Case {
        what,
        change: Box::new(move |database| {
            let parameters = rusqlite::params_from_iter(parameters.iter());
            let changed = database.execute(text, parameters).unwrap();
            assert!(changed > 0, "{said} changed nothing");
        }),
        faults: faults.to_vec(),
        concerns,
    }
}

fn cases(original: &Original, seed: u64) -> Vec<Case> {
    let rows = rows(original);
    let mut cases = Vec::new();
    documents(&rows, original, &mut cases);
    blobs(&rows, original, seed, &mut cases);
    journal(&rows, &mut cases);
    nodes(&rows, &mut cases);
    cases
}

fn documents(rows: &Rows, original: &Original, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing, Stale, Swapped};
    for (kind, name, length) in &rows.documents {
        let this = || vec![kind.clone().into(), name.clone().into()];
        let mut case = |what: &str, text: &'static str, faults: &[Fault]| {
            let what = format!("{kind} {name}: {what}");
            let concerns = Concerned::by(kind, name);
            cases.push(statement(what, text, this(), faults, concerns));
        };
        case(
            "another revision",
            "UPDATE documents SET revision = revision + 1 WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "another signature",
            "UPDATE documents SET signature = zeroblob(64) WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "no signature",
            "UPDATE documents SET signature = x'' WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "another signer",
            "UPDATE documents SET signer = 'mallory' WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "another kind",
            "UPDATE documents SET kind = 'other' WHERE kind = ?1 AND name = ?2",
            &[Missing, Extra],
        );
        case(
            "another name",
            "UPDATE documents SET name = 'acme/planted' WHERE kind = ?1 AND name = ?2",
            &[Missing, Extra],
        );
        case(
            "dropped",
            "DELETE FROM documents WHERE kind = ?1 AND name = ?2",
            &[Missing],
        );
        case(
            "an empty payload",
            "UPDATE documents SET payload = x'' WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "cut short",
            "UPDATE documents SET payload = substr(payload, 1, length(payload) - 1)
             WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        cases.push(statement(
            format!("{kind} {name}: doubled under another name"),
            "INSERT INTO documents SELECT kind, name || '-too', revision, payload, signature, signer
             FROM documents WHERE kind = ?1 AND name = ?2",
            this(),
            &[Extra],
            Concerned::Nobody,
        ));
        if name.starts_with("acme/p") {
            let before = original.older.last().unwrap().to_str().unwrap().to_owned();
            let this = [kind.clone(), name.clone()];
            cases.push(Case {
                what: format!("{kind} {name}: as it was before"),
                faults: vec![Stale],
                concerns: Concerned::by(kind, name),
                change: Box::new(move |database| {
                    database.execute("ATTACH ?1 AS before", [&before]).unwrap();
                    let changed = database
                        .execute(
                            "INSERT OR REPLACE INTO documents SELECT * FROM before.documents
                             WHERE kind = ?1 AND name = ?2",
                            [&this[0], &this[1]],
                        )
                        .unwrap();
                    assert_eq!(changed, 1);
                }),
            });
        }
        for (other_kind, other, _) in &rows.documents {
            if (other_kind, other) != (kind, name) {
                let mut parameters = this();
                parameters.extend([other_kind.clone().into(), other.clone().into()]);
                cases.push(statement(
                    format!("{kind} {name}: {other_kind} {other} in its place"),
                    "INSERT OR REPLACE INTO documents SELECT ?1, ?2, revision, payload, signature, signer
                     FROM documents WHERE kind = ?3 AND name = ?4",
                    parameters,
                    &[Swapped],
                    Concerned::by(kind, name),
                ));
            }
        }
        for start in (0..*length).step_by(RANGE_BYTES) {
            cases.push(byte_range(kind, name, start));
        }
    }
}

/// Changes some bytes of a document.
fn byte_range(kind: &str, name: &str, start: usize) -> Case {
    let this = [kind.to_owned(), name.to_owned()];
    Case {
        what: format!("{kind} {name}: bytes from {start}"),
        faults: vec![Fault::Forged],
        concerns: Concerned::by(kind, name),
        change: Box::new(move |database| {
            let mut payload: Vec<u8> = database
                .query_row(
                    "SELECT payload FROM documents WHERE kind = ?1 AND name = ?2",
                    [&this[0], &this[1]],
                    |row| row.get(0),
                )
                .unwrap();
            for byte in payload.iter_mut().skip(start).take(RANGE_BYTES) {
                *byte ^= 1;
            }
            database
                .execute(
                    "UPDATE documents SET payload = ?3 WHERE kind = ?1 AND name = ?2",
                    params![this[0], this[1], payload],
                )
                .unwrap();
        }),
    }
}

fn blobs(rows: &Rows, original: &Original, seed: u64, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing, Swapped};
    let mut random = fastrand::Rng::with_seed(seed);
    for (position, (digest, length, owner)) in rows.blobs.iter().enumerate() {
        let mine = || Concerned::Projects([*owner].into());
        let this = || vec![digest.clone().into()];
        cases.push(statement(
            format!("blob of {owner}: dropped"),
            "DELETE FROM blobs WHERE digest = ?1",
            this(),
            &[Missing],
            mine(),
        ));
        cases.push(statement(
            format!("blob of {owner}: under another name"),
            "UPDATE blobs SET digest = zeroblob(32) WHERE digest = ?1",
            this(),
            &[Missing, Extra],
            mine(),
        ));
        cases.push(statement(
            format!("blob of {owner}: doubled"),
            "INSERT INTO blobs SELECT zeroblob(32), bytes FROM blobs WHERE digest = ?1",
            this(),
            &[Extra],
            Concerned::Nobody,
        ));
        for (other, _, others) in rows.blobs.iter().skip(position + 1) {
            let (one, two) = (digest.clone(), other.clone());
            cases.push(Case {
                what: format!("the blobs of {owner} and {others} swapped"),
                faults: vec![Swapped],
                concerns: Concerned::Projects([*owner, *others].into()),
                change: Box::new(move |database| {
                    let bytes = |digest: &Vec<u8>| -> Vec<u8> {
                        let query = "SELECT bytes FROM blobs WHERE digest = ?1";
                        database
                            .query_row(query, [digest], |row| row.get(0))
                            .unwrap()
                    };
                    let update = "UPDATE blobs SET bytes = ?2 WHERE digest = ?1";
                    for (place, bytes) in [(&one, bytes(&two)), (&two, bytes(&one))] {
                        let changed = database.execute(update, params![place, bytes]).unwrap();
                        assert_eq!(changed, 1);
                    }
                }),
            });
        }
        for _ in 0..FLIPS {
            let (at, bit) = (random.usize(0..*length), random.u8(0..8));
            cases.push(edited(
                digest,
                *owner,
                format!("bit {bit} of byte {at} flipped"),
                move |bytes| {
                    bytes[at] ^= 1 << bit;
                },
            ));
            let end = random.usize(0..*length);
            cases.push(edited(
                digest,
                *owner,
                format!("cut to {end} bytes"),
                move |bytes| {
                    bytes.truncate(end);
                },
            ));
        }
        let forged = block_on(forge(original, *owner));
        let place = digest.clone();
        cases.push(Case {
            what: format!("blob of {owner}: another secret, sealed to the right recipient"),
            faults: vec![Forged],
            concerns: mine(),
            change: Box::new(move |database| {
                database
                    .execute(
                        "UPDATE blobs SET bytes = ?2 WHERE digest = ?1",
                        params![place, forged],
                    )
                    .unwrap();
            }),
        });
    }
}

/// A blob with other bytes.
fn edited(digest: &[u8], owner: usize, how: String, edit: impl Fn(&mut Vec<u8>) + 'static) -> Case {
    let digest = digest.to_vec();
    Case {
        what: format!("blob of {owner}: {how}"),
        faults: vec![Fault::Forged],
        concerns: Concerned::Projects([owner].into()),
        change: Box::new(move |database| {
            let mut bytes: Vec<u8> = database
                .query_row(
                    "SELECT bytes FROM blobs WHERE digest = ?1",
                    [&digest],
                    |row| row.get(0),
                )
                .unwrap();
            edit(&mut bytes);
            database
                .execute(
                    "UPDATE blobs SET bytes = ?2 WHERE digest = ?1",
                    params![digest, bytes],
                )
                .unwrap();
        }),
    }
}

/// What anybody who knows the recipients can make: a secret with the right frame.
async fn forge(original: &Original, owner: usize) -> Vec<u8> {
    let home = Home::open(&original.home()).unwrap();
    let entail = original.open(&home);
    let me = Principal::LocalOwner;
    let recipients: Recipients = entail.recipients(&me).await.unwrap();
    let scope = entail
        .scope(&me, &project(owner).parse().unwrap())
        .await
        .unwrap();
    let credential = &scope.credentials[0];
    let binding = Binding {
        scope: project(owner),
        credential: credential.id.to_string(),
        version: credential.version.number,
        provider: "openai".to_owned(),
        hosts: credential.version.hosts.clone(),
        epoch: credential.version.epoch,
    };
    let fields = vec![(
        "api_key".to_owned(),
        Secret::from("canary-of-a-stranger-0001"),
    )];
    Keys::seal(&recipients, &binding, &fields).unwrap()
}

fn journal(rows: &Rows, cases: &mut Vec<Case>) {
    use Fault::{Forged, Stale};
    for revision in 1..=rows.entries {
        let is_newest = revision == rows.entries;
        let this = || vec![revision.into()];
        let mut case = |what: &str, text: &'static str, all_if_newest: bool| {
            let concerns = match is_newest && all_if_newest {
                true => Concerned::Everybody,
                false => Concerned::Nobody,
            };
            let what = format!("journal entry {revision}: {what}");
            cases.push(statement(what, text, this(), &[Forged, Stale], concerns));
        };
        case("dropped", "DELETE FROM journal WHERE revision = ?1", true);
        case(
            "another signature",
            "UPDATE journal SET signature = zeroblob(64) WHERE revision = ?1",
            false,
        );
        case(
            "another signer",
            "UPDATE journal SET signer = 'mallory' WHERE revision = ?1",
            false,
        );
        case(
            "another principal",
            "UPDATE journal SET payload = CAST(replace(CAST(payload AS TEXT), 'local:owner', 'local:other') AS BLOB)
             WHERE revision = ?1",
            true,
        );
        if is_newest {
            case(
                "doubled as a newer one",
                "INSERT INTO journal SELECT revision + 1, payload, signature, signer FROM journal
                 WHERE revision = ?1",
                true,
            );
        } else {
            cases.push(Case {
                what: format!("journal entries {revision} and {} swapped", revision + 1),
                faults: vec![Forged],
                concerns: match revision + 1 == rows.entries {
                    true => Concerned::Everybody,
                    false => Concerned::Nobody,
                },
                change: Box::new(move |database| {
                    for (from, to) in [(revision, -1), (revision + 1, revision), (-1, revision + 1)]
                    {
                        let changed = database
                            .execute(
                                "UPDATE journal SET revision = ?2 WHERE revision = ?1",
                                [from, to],
                            )
                            .unwrap();
                        assert_eq!(changed, 1);
                    }
                }),
            });
        }
    }
}

fn nodes(rows: &Rows, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing};
    for path in &rows.nodes {
        let this = || vec![path.clone().into()];
        let concerns = || match path.is_empty() {
            true => Concerned::Everybody,
            false => Concerned::Nobody,
        };
        let mut case = |what: &str, text: &'static str, faults: &[Fault]| {
            let what = format!("node {path:?}: {what}");
            cases.push(statement(what, text, this(), faults, concerns()));
        };
        case(
            "a byte changed",
            "UPDATE tree SET node = CAST(x'01' || substr(node, 2, length(node) - 2) || x'07' AS BLOB)
             WHERE path = ?1",
            &[Forged],
        );
        case(
            "emptied",
            "UPDATE tree SET node = x'01' WHERE path = ?1",
            &[Forged],
        );
        case("dropped", "DELETE FROM tree WHERE path = ?1", &[Missing]);
        case(
            "moved",
            "UPDATE tree SET path = CAST(path || x'0f0f0f' AS BLOB) WHERE path = ?1",
            &[Missing, Extra],
        );
    }
}
