//! Whoever can write the database can change what its tables mean. The definition of a
//! valid database is changed at random, by statements, by edits of the schema table, by
//! edits of pages, before a process opens the database and while one has it open. Each
//! time it is refused, by name, or nothing has changed for anybody: what is read, listed,
//! changed and verified is as it should be. None passes in silence.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use entail::{Change, Entail, Error, ErrorKind, Home, Principal, Request};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::{add_scope, block_on, copy_folder, set_key, settings};

/// The scopes that have a secret of their own. The second is not to be removed, since
/// the third is below it.
const SCOPES: [&str; 4] = ["acme", "acme/p0", "acme/p0/x", "acme/p1"];

/// The scope that is changed by whoever has the database open.
const CHANGED: &str = "acme/p1";

/// Changes to a home before it is copied: enough for more than one page of each table.
const ROUNDS: usize = 6;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutated {
    /// Ways in which the database was changed.
    pub mutations: usize,
    /// Of them, those made while a process had the database open.
    pub while_open: usize,
    /// Refused as tampering when the database was opened.
    pub refused: usize,
    /// Refused otherwise when it was opened: it is no database, or of a newer version.
    pub unreadable: usize,
    /// Found, in a database that opens, by whoever uses or verifies it.
    pub found: usize,
    /// Changed nothing: everything is as it should be.
    pub harmless: usize,
    /// Changes that a process with the database open made all the same, and that are
    /// there.
    pub acknowledged: usize,
    /// Changes that it was refused.
    pub not_acknowledged: usize,
}

/// What a mutation may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Refused as tampering, if the definition is another than before.
    Refused,
    /// Refused as whatever it looks like: whole pages may be gone.
    NotServed,
    /// Nothing but that all is well.
    Harmless,
}

/// A mutation that was made.
struct Mutation {
    what: String,
    expected: Expected,
}

/// A home that is in order.
struct Original {
    folder: tempfile::TempDir,
    cache: tempfile::TempDir,
    definition: Definition,
}

/// The rows of the schema table, and what else gives the others a meaning; `None` if they
/// cannot be read.
type Definition = Option<Vec<Vec<Value>>>;

/// Mutates a database so many times.
///
/// # Panics
///
/// When a mutation passes in silence.
pub fn mutate(mutations: usize, seed: u64, mut on_progress: impl FnMut(Mutated)) -> Mutated {
    let original = block_on(Original::make());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut mutated = Mutated::default();
    while mutated.mutations < mutations {
        // Mutations that SQLite does not make are none.
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
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("home"), None)
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
            folder,
            cache,
            definition,
        }
    }

    /// Makes one mutation and judges it; whether one was made.
    fn try_one(&self, random: &mut fastrand::Rng, mutated: &mut Mutated) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("home");
        copy_folder(&self.folder.path().join("home"), &place);
        let home = Home::open(&place).unwrap();
        let database = home.database_file();
        let witness = random.bool().then(|| {
            let witness = self.open(&home).unwrap();
            block_on(judge_reads(&witness, ROUNDS)).unwrap();
            witness
        });
        let Some(mutation) = mutation(random, &database, witness.is_some()) else {
            return false;
        };
        let Mutation { what, expected } = &mutation;
        let mut round = ROUNDS;
        if let Some(witness) = witness {
            mutated.while_open += 1;
            round = Self::judge_witness(what, &witness, mutated);
        }
        let changed = definition(&database) != self.definition;
        if *expected == Expected::Harmless {
            assert!(!changed, "{what}: is not harmless");
        }
        let newcomer = match self.open(&home) {
            Ok(newcomer) => newcomer,
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
        assert!(!changed, "{what}: passed in silence");
        match self.judge_newcomer(&home, &newcomer, round) {
            Ok(()) => mutated.harmless += 1,
            Err(said) => {
                assert_eq!(*expected, Expected::NotServed, "{what}: {said}");
                mutated.found += 1;
            }
        }
        true
    }

    fn open(&self, home: &Home) -> Result<Entail, Error> {
        Entail::open(home, settings(self.cache.path()))
    }

    /// What one that had the database open is told; answers with the newest secret that
    /// was acknowledged.
    fn judge_witness(what: &str, witness: &Entail, mutated: &mut Mutated) -> usize {
        if let Err(said) = block_on(judge_reads(witness, ROUNDS)) {
            assert!(!said.is_empty(), "{what}");
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

    /// Uses a database that opens in every way, and verifies it, before and after a
    /// change. What is found is told, what is wrong ends the program.
    fn judge_newcomer(&self, home: &Home, newcomer: &Entail, round: usize) -> Result<(), String> {
        let me = Principal::LocalOwner;
        let verified = |entail: &Entail| {
            let verified = block_on(entail.verify(&me, &mut |_| {}));
            match verified {
                Ok(verified) => match verified.faults.first() {
                    Some(fault) => Err(fault.to_string()),
                    None => Ok(()),
                },
                Err(error) => Err(refused(&error).unwrap_or_else(|| panic!("{error}"))),
            }
        };
        let found = verified(newcomer);
        let read = block_on(judge_reads(newcomer, round));
        // What is in order for the one is for the other.
        let backup = self.folder.path().join("backup.db");
        let copied = block_on(newcomer.backup(&me, &backup));
        let _ = std::fs::remove_file(&backup);
        let copied = copied.map_err(|error| refused(&error).unwrap_or_else(|| panic!("{error}")));
        found?;
        read.unwrap_or_else(|said| panic!("verified, and: {said}"));
        copied.unwrap_or_else(|said| panic!("verified, and no copy: {said}"));
        block_on(set(newcomer, CHANGED, round + 1))
            .unwrap_or_else(|error| panic!("verified, and: {error}"));
        let again = self.open(home).unwrap();
        block_on(judge_reads(&again, round + 1)).unwrap();
        verified(&again).unwrap();
        Ok(())
    }
}

/// Reads, lists and does what must fail. Nothing may come of it but what is right, or an
/// error that says that something is not.
async fn judge_reads(entail: &Entail, round: usize) -> Result<(), String> {
    let me = Principal::LocalOwner;
    let mut said = Vec::new();
    for scope in SCOPES {
        let request = Request::new(scope.parse().unwrap(), "openai".parse().unwrap());
        match entail.resolve(&me, &request).await {
            Ok(lease) => {
                let key = lease.secret("api_key").unwrap().expose_text().unwrap();
                let newest = if scope == CHANGED { round } else { ROUNDS };
                assert_eq!(key, secret(scope, newest));
            }
            Err(error) => said.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
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
            Err(error) => said.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
        }
    }
    let scope = "acme/p0".parse().unwrap();
    match entail.change(&me, &Change::RemoveProject { scope }).await {
        Err(Error::HasProjects { .. }) => {}
        Err(error) => said.push(refused(&error).unwrap_or_else(|| panic!("{error}"))),
        Ok(_) => panic!("a project was removed above its child"),
    }
    match said.is_empty() {
        true => Ok(()),
        false => Err(said.join("; ")),
    }
}

async fn set(entail: &Entail, scope: &str, round: usize) -> Result<(), Error> {
    let set = Change::SetCredential(Box::new(set_key(scope, secret(scope, round))));
    entail.change(&Principal::LocalOwner, &set).await.map(drop)
}

/// What an error says that names something that is wrong.
fn refused(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::Tampered | ErrorKind::Unavailable => Some(error.to_string()),
        _ => None,
    }
}

/// Opens a database as anybody can, so that even what it cannot parse can be read and
/// edited.
fn open(database: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(database, flags).ok()?;
    connection
        .execute_batch("PRAGMA writable_schema = ON; PRAGMA foreign_keys = OFF;")
        .ok()?;
    Some(connection)
}

fn definition(database: &Path) -> Definition {
    let connection = open(database)?;
    let rows = |query: &str| -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect())?;
        rows.collect()
    };
    let mut all =
        rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2, 3, 4").ok()?;
    let roots = rows("SELECT rootpage FROM sqlite_schema").ok()?;
    let mut distinct = BTreeSet::new();
    for root in &roots {
        if let [Value::Integer(page)] = root[..] {
            distinct.insert(page);
        }
    }
    let own_pages = distinct.len() == roots.len() && distinct.iter().all(|page| *page > 1);
    all.push(vec![Value::Integer(i64::from(own_pages))]);
    for pragma in ["encoding", "user_version", "application_id", "auto_vacuum"] {
        all.extend(rows(&format!("PRAGMA {pragma}")).ok()?);
    }
    Some(all)
}

fn choice<'a, T: ?Sized>(random: &mut fastrand::Rng, of: &[&'a T]) -> &'a T {
    of[random.usize(..of.len())]
}

const TABLES: [&str; 4] = ["documents", "blobs", "journal", "tree"];

fn columns(table: &str) -> &'static [&'static str] {
    match table {
        "documents" => &["kind", "name", "revision", "payload", "signature", "signer"],
        "blobs" => &["digest", "bytes"],
        "journal" => &["revision", "payload", "signature", "signer"],
        _ => &["path", "node"],
    }
}

/// Makes a mutation; `None` if SQLite did not take it.
fn mutation(random: &mut fastrand::Rng, database: &Path, is_open: bool) -> Option<Mutation> {
    let refused = |what: Option<String>| {
        what.map(|what| Mutation {
            what,
            expected: Expected::Refused,
        })
    };
    match random.u8(..10) {
        0 | 1 => refused(statement(random, database)),
        2..=4 => refused(edit_row(random, database)),
        5 | 6 => refused(rebuild(random, database)),
        7 => refused(setting(random, database, is_open)),
        8 => harmless(random, database),
        // What is in the file is not yet what is in the log.
        _ => pages(random, database),
    }
}

/// Something more, by a statement.
fn statement(random: &mut fastrand::Rng, database: &Path) -> Option<String> {
    let table = choice(random, &TABLES);
    let column = choice(random, columns(table));
    let name = choice(
        random,
        &[
            "extra",
            "journal ",
            "Journa1",
            "jоurnal",
            "documents\u{200b}",
            "sqlite-x",
            "blobs_1",
            "main",
            "temp",
            "tree\n",
            "\u{202e}eert",
            "x'y",
            "a\"b",
        ],
    )
    .replace('"', "\"\"");
    let event = choice(random, &["INSERT", "UPDATE", "DELETE"]);
    let when = choice(random, &["BEFORE", "AFTER"]);
    let text = match random.u8(..16) {
        0 => format!("CREATE INDEX \"{name}\" ON {table} ({column})"),
        1 => format!("CREATE INDEX \"{name}\" ON {table} ({column}) WHERE {column} IS NULL"),
        2 => format!("CREATE INDEX \"{name}\" ON {table} ({column} COLLATE NOCASE DESC)"),
        3 => format!("CREATE INDEX \"{name}\" ON {table} (length({column}))"),
        4 => format!(
            "CREATE TRIGGER \"{name}\" {when} {event} ON {table} BEGIN SELECT RAISE(IGNORE); END"
        ),
        5 => format!(
            "CREATE TRIGGER \"{name}\" {when} {event} ON {table} WHEN 0 BEGIN DELETE FROM {table}; END"
        ),
        6 => format!("CREATE VIEW \"{name}\" AS SELECT * FROM {table}"),
        7 => format!("CREATE TABLE \"{name}\" AS SELECT * FROM {table}"),
        8 => format!("CREATE VIRTUAL TABLE \"{name}\" USING fts5({column})"),
        9 => format!("CREATE VIRTUAL TABLE \"{name}\" USING rtree(id, x0, x1)"),
        10 => "ANALYZE".to_owned(),
        11 => format!(
            "CREATE TABLE \"{name}\" (id INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE \"{name}\";"
        ),
        12 => format!(
            "ALTER TABLE {table} ADD COLUMN \"{name}\" AS ({column}) {}",
            choice(random, &["", "VIRTUAL", "CHECK (1)"])
        ),
        13 => format!("ALTER TABLE {table} ADD COLUMN \"{name}\" BLOB DEFAULT x'00'"),
        14 => format!("ALTER TABLE {table} RENAME COLUMN {column} TO \"{name}\""),
        _ => format!("ALTER TABLE {table} RENAME TO \"{name}\""),
    };
    let connection = open(database)?;
    let before: i64 = connection
        .query_row("PRAGMA schema_version", [], |row| row.get(0))
        .ok()?;
    connection.execute_batch(&text).ok()?;
    if random.u8(..4) == 0 {
        // As if nothing had changed.
        connection
            .execute_batch(&format!("PRAGMA schema_version = {before}"))
            .ok()?;
        return Some(format!("{text}, hidden"));
    }
    Some(text)
}

/// A row of the schema table with another text.
fn edit_row(random: &mut fastrand::Rng, database: &Path) -> Option<String> {
    let connection = open(database)?;
    let table = choice(random, &TABLES);
    let mut text: String = connection
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = ?1",
            [table],
            |row| row.get(0),
        )
        .ok()?;
    let what;
    let changed = match random.u8(..10) {
        0..=4 => {
            edit_text(random, &mut text, table);
            what = format!("{table} defined as {text:?}");
            connection.execute(
                "UPDATE sqlite_schema SET sql = ?2 WHERE name = ?1",
                [table, &text],
            )
        }
        5 => {
            let column = choice(random, &["type", "name", "tbl_name", "sql"]);
            let value: Value = match random.u8(..4) {
                0 => Value::Null,
                1 => Value::Blob(b"documents".to_vec()),
                2 => Value::Text(choice(random, &["view", "index", "trigger", "tree", "x"]).into()),
                _ => Value::Integer(7),
            };
            what = format!("{column} of a row is {value:?}");
            connection.execute(
                &format!(
                    "UPDATE sqlite_schema SET {column} = ?1
                     WHERE rowid = (SELECT rowid FROM sqlite_schema ORDER BY random() LIMIT 1)"
                ),
                [value],
            )
        }
        6 => {
            let page = random.u32(..8);
            what = format!("{table} begins at page {page}");
            let there: bool = connection
                .query_row(
                    "SELECT count(*) FROM sqlite_schema WHERE rootpage = ?1",
                    [page],
                    |row| row.get(0),
                )
                .ok()?;
            // A page of its own that is another's is found by what is in it.
            if !there && page > 1 {
                return None;
            }
            connection.execute(
                "UPDATE sqlite_schema SET rootpage = ?2 WHERE name = ?1 AND rootpage <> ?2",
                rusqlite::params![table, page],
            )
        }
        7 => {
            what = "a row is gone".to_owned();
            connection.execute(
                "DELETE FROM sqlite_schema
                 WHERE rowid = (SELECT rowid FROM sqlite_schema ORDER BY random() LIMIT 1)",
                [],
            )
        }
        8 => {
            what = "a row is there twice".to_owned();
            connection.execute(
                "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema ORDER BY random() LIMIT 1",
                [],
            )
        }
        _ => {
            let name = choice(
                random,
                &[
                    "sqlite_sequence",
                    "sqlite_stat1",
                    "sqlite_autoindex_blobs_2",
                    "sqlite_autoindex_tree_1",
                    "sqlite_parameters",
                ],
            );
            let of = choice(random, &["table", "index", "view", "trigger"]);
            what = format!("a row for a {of} {name}");
            connection.execute(
                "INSERT INTO sqlite_schema VALUES (?1, ?2, ?3, 0, ?4)",
                [of, name, table, &format!("CREATE {of} {name} (a)")],
            )
        }
    };
    if changed.ok()? == 0 {
        return None;
    }
    if random.bool() {
        // So that whoever has it open looks again.
        let version: i64 = connection
            .query_row("PRAGMA schema_version", [], |row| row.get(0))
            .ok()?;
        connection
            .execute_batch(&format!("PRAGMA schema_version = {}", version + 1))
            .ok()?;
    }
    Some(what)
}

/// Changes the text of a definition in some place.
fn edit_text(random: &mut fastrand::Rng, text: &mut String, table: &str) {
    let column = choice(random, columns(table));
    let conflict = choice(random, &["IGNORE", "REPLACE", "FAIL", "ABORT", "ROLLBACK"]);
    let before = text.clone();
    match random.u8(..16) {
        0 => *text = text.replace("STRICT, WITHOUT ROWID", "WITHOUT ROWID"),
        1 => *text = text.replace("STRICT, WITHOUT ROWID", "STRICT"),
        2 => *text = text.replace(" STRICT", ""),
        3 => *text = text.replace("NOT NULL", &format!("NOT NULL ON CONFLICT {conflict}")),
        4 => *text = text.replacen("NOT NULL", "", 1 + random.usize(..3)),
        5 => *text = text.replacen("NOT NULL", "NOT NULL DEFAULT x'00'", 1),
        6 => *text = text.replace(" BLOB", choice(random, &[" TEXT", " ANY", " INTEGER"])),
        7 => {
            *text = text.replace(
                "PRIMARY KEY",
                &format!("PRIMARY KEY ON CONFLICT {conflict}"),
            );
        }
        8 => *text = text.replacen("TEXT", "TEXT COLLATE NOCASE", 1),
        9 => {
            *text = text.replacen(
                '(',
                &format!(
                    "(gone BLOB AS (NULL) {} NOT NULL ON CONFLICT {conflict},",
                    choice(random, &["VIRTUAL", "STORED"])
                ),
                1,
            );
        }
        10 => *text = text.replacen('(', &format!("({column}x TEXT,"), 1),
        11 => *text = text.replace(column, &format!("{column}_")),
        12 => *text = text.replacen("NOT NULL", "NOT NULL CHECK (1 = 1)", 1),
        13 => {
            *text = text.replacen(
                ' ',
                choice(random, &["  ", "\t", " /**/ ", "\n", " -- x\n"]),
                1,
            );
        }
        14 => text.push_str(choice(random, &["\0", " ", ";", "\0x", ", STRICT"])),
        _ => {
            let at = random.usize(..text.len());
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << random.u8(..7);
            if let Ok(other) = String::from_utf8(bytes) {
                *text = other;
            }
        }
    }
    if *text == before {
        text.push('\n');
    }
}

/// A table with another definition and the same rows, as somebody would make it who
/// wants it to work.
fn rebuild(random: &mut fastrand::Rng, database: &Path) -> Option<String> {
    let connection = open(database)?;
    let table = choice(random, &TABLES);
    let (text, version): (String, i64) = connection
        .query_row(
            "SELECT sql, (SELECT schema_version FROM pragma_schema_version)
             FROM sqlite_schema WHERE name = ?1",
            [table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .ok()?;
    let mut edited = text.clone();
    edit_text(random, &mut edited, table);
    let names = columns(table).join(", ");
    connection
        .execute_batch(&format!(
            "BEGIN;
             ALTER TABLE {table} RENAME TO before;
             {};
             INSERT INTO {table} ({names}) SELECT {names} FROM before;
             DROP TABLE before;
             COMMIT;",
            edited.replace('\0', "")
        ))
        .ok()?;
    if random.bool() {
        connection
            .execute_batch(&format!("PRAGMA schema_version = {version}"))
            .ok()?;
    }
    Some(format!("{table} made anew as {edited:?}"))
}

/// Another setting of the file.
fn setting(random: &mut fastrand::Rng, database: &Path, is_open: bool) -> Option<String> {
    let number = choice(random, &["-1", "0", "2", "7", "2147483647"]);
    let text = match random.u8(..5) {
        0 => format!("PRAGMA user_version = {number}"),
        1 if number != "0" => format!("PRAGMA application_id = {number}"),
        2 if !is_open => format!(
            "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = {}; VACUUM;",
            choice(random, &["FULL", "INCREMENTAL"])
        ),
        3 if !is_open => return utf16(random, database),
        _ => return None,
    };
    open(database)?.execute_batch(&text).ok()?;
    Some(text)
}

/// The same database with its texts in another encoding.
fn utf16(random: &mut fastrand::Rng, database: &Path) -> Option<String> {
    let encoding = choice(random, &["UTF-16le", "UTF-16be"]);
    let made = PathBuf::from(format!("{}.other", database.display()));
    let connection = Connection::open(&made).unwrap();
    let script = |text: &str| connection.execute_batch(text).unwrap();
    script(&format!("PRAGMA encoding = '{encoding}'"));
    let from = open(database)?;
    let mut statement = from
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .unwrap();
    let texts = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    for text in texts {
        script(&text.unwrap());
    }
    script("PRAGMA user_version = 1");
    for table in TABLES {
        let names = columns(table);
        let places = vec!["?"; names.len()].join(", ");
        let mut read = from
            .prepare(&format!("SELECT {} FROM {table}", names.join(", ")))
            .unwrap();
        let mut rows = read.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..names.len()).map(|at| row.get(at).unwrap()).collect();
            connection
                .execute(
                    &format!("INSERT INTO {table} VALUES ({places})"),
                    rusqlite::params_from_iter(values),
                )
                .unwrap();
        }
    }
    let own: std::fs::Permissions = std::fs::metadata(database).unwrap().permissions();
    std::fs::set_permissions(&made, own).unwrap();
    std::fs::rename(&made, database).unwrap();
    Some(format!("texts in {encoding}"))
}

/// What anybody may do with a database.
fn harmless(random: &mut fastrand::Rng, database: &Path) -> Option<Mutation> {
    let text = choice(
        random,
        &[
            "VACUUM",
            "REINDEX",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA incremental_vacuum",
            "PRAGMA schema_version = 999",
            "CREATE TEMP TRIGGER t BEFORE INSERT ON journal BEGIN SELECT RAISE(IGNORE); END",
            "CREATE TEMP TABLE journal (x)",
            "CREATE TABLE more (x); DROP TABLE more;",
            "PRAGMA ignore_check_constraints = ON",
            "BEGIN; DELETE FROM journal; ROLLBACK;",
        ],
    );
    open(database)?.execute_batch(text).ok()?;
    Some(Mutation {
        what: text.to_owned(),
        expected: Expected::Harmless,
    })
}

/// Bytes of the file.
fn pages(random: &mut fastrand::Rng, database: &Path) -> Option<Mutation> {
    let connection = open(database)?;
    let size: u32 = connection
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .ok()?;
    let size = u64::from(size);
    drop(connection);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(database)
        .ok()?;
    let count = file.metadata().ok()?.len() / size;
    // The schema table is on the first page.
    let page = if random.bool() {
        0
    } else {
        random.u64(..count)
    };
    let header = if page == 0 { 100 } else { 0 };
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    file.read_exact_at(&mut bytes, page * size).ok()?;
    let before = bytes.clone();
    let what = match random.u8(..4) {
        0 => {
            let at = 16 + random.usize(..84);
            bytes[at] ^= 1 << random.u8(..8);
            format!("a bit of byte {at} of page {page}")
        }
        1 => {
            // Two rows in the wrong order: what is looked up between them is not found.
            let cells = usize::from(u16::from_be_bytes([bytes[header + 3], bytes[header + 4]]));
            let pointers = header + if bytes[header] < 8 { 12 } else { 8 };
            if cells < 2 || pointers + 2 * cells > bytes.len() {
                return None;
            }
            let (one, other) = (random.usize(..cells), random.usize(..cells));
            for byte in 0..2 {
                bytes.swap(pointers + 2 * one + byte, pointers + 2 * other + byte);
            }
            format!("rows {one} and {other} of page {page} swapped")
        }
        2 => {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            format!("byte {at} of page {page}")
        }
        _ => {
            // A row less, or more.
            let at = header + 4;
            bytes[at] = bytes[at].wrapping_add(if random.bool() { 1 } else { 255 });
            format!("another number of rows on page {page}")
        }
    };
    if bytes == before {
        return None;
    }
    file.write_all_at(&bytes, page * size).ok()?;
    Some(Mutation {
        what,
        expected: Expected::NotServed,
    })
}
