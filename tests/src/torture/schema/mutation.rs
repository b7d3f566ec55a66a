//! Mutations of the definition of a database.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

/// The permitted results of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Reported as tampering, if the definition differs from before.
    Refused,
    /// Refused with any error: whole pages may be missing.
    NotServed,
    /// Without effect.
    Harmless,
}

/// A mutation.
pub(super) struct Mutation {
    pub(super) what: String,
    pub(super) expected: Expected,
}

/// The rows of the schema table, and the settings that affect the meaning of rows; `None`
/// if they cannot be read.
pub(super) type Definition = Option<Vec<Vec<Value>>>;

/// Opens a database directly, so that even a definition that SQLite cannot parse can be
/// read and edited.
fn open(database: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(database, flags).ok()?;
    connection
        .execute_batch("PRAGMA writable_schema = ON; PRAGMA foreign_keys = OFF;")
        .ok()?;
    Some(connection)
}

/// Reads the definition of a database.
pub(super) fn definition(database: &Path) -> Definition {
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

const TABLES: [&str; 5] = ["documents", "blobs", "journal", "keyrings", "tree"];

fn columns(table: &str) -> &'static [&'static str] {
    match table {
        "documents" => &["kind", "name", "payload"],
        "blobs" => &["digest", "bytes"],
        "journal" => &["revision", "checkpoint", "signatures", "change"],
        "keyrings" => &["number", "payload", "signatures"],
        _ => &["path", "node"],
    }
}

/// Makes a mutation; `None` if SQLite rejected it.
pub(super) fn mutation(
    random: &mut fastrand::Rng,
    database: &Path,
    is_open: bool,
) -> Option<Mutation> {
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
        // The file does not contain what is in the log.
        _ => pages(random, database),
    }
}

/// Adds or changes an object by a statement.
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
        // Hides the change from open connections.
        connection
            .execute_batch(&format!("PRAGMA schema_version = {before}"))
            .ok()?;
        return Some(format!("{text}, hidden"));
    }
    Some(text)
}

/// Edits a row of the schema table.
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
            // Another unused page is detected by its contents.
            if !there && page > 1 {
                return None;
            }
            connection.execute(
                "UPDATE sqlite_schema SET rootpage = ?2 WHERE name = ?1 AND rootpage <> ?2",
                rusqlite::params![table, page],
            )
        }
        7 => {
            what = "a row deleted".to_owned();
            connection.execute(
                "DELETE FROM sqlite_schema
                 WHERE rowid = (SELECT rowid FROM sqlite_schema ORDER BY random() LIMIT 1)",
                [],
            )
        }
        8 => {
            what = "a row duplicated".to_owned();
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
        // So that open connections notice.
        let version: i64 = connection
            .query_row("PRAGMA schema_version", [], |row| row.get(0))
            .ok()?;
        connection
            .execute_batch(&format!("PRAGMA schema_version = {}", version + 1))
            .ok()?;
    }
    Some(what)
}

/// Edits the text of a definition.
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

/// Rebuilds a table with another definition and the same rows, in a way that works.
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

/// Changes a setting of the file.
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

/// Rebuilds the database with another text encoding.
fn utf16(random: &mut fastrand::Rng, database: &Path) -> Option<String> {
    let encoding = choice(random, &["UTF-16le", "UTF-16be"]);
    let converted = PathBuf::from(format!("{}.other", database.display()));
    let connection = Connection::open(&converted).unwrap();
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
    std::fs::set_permissions(&converted, own).unwrap();
    std::fs::rename(&converted, database).unwrap();
    Some(format!("texts in {encoding}"))
}

/// Harmless maintenance.
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

/// Edits bytes of the file.
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
    // The schema table begins on the first page.
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
            // Swaps two rows: a lookup between them fails.
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
            // One row less, or more.
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
