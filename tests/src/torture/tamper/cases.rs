//! The tamper cases: changes made directly in the database.

use std::collections::BTreeSet;

use entail::store::{Digest, Fault, Keys, SealContext};
use entail::{Home, Principal, Secret};
use rusqlite::{Connection, params};

use super::original::{Original, project};
use crate::torture::block_on;

/// The number of bytes of a document that one case changes.
const RANGE_BYTES: usize = 16;

/// The number of bit flips and truncations per blob.
const FLIPS: usize = 24;

/// A change made directly in the database, and the expected faults.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) change: Box<dyn Fn(&Connection)>,
    /// One of these faults must be reported.
    pub(super) faults: Vec<Fault>,
    /// The projects whose requests must be refused.
    pub(super) affects: Affected,
}

pub(super) enum Affected {
    Nobody,
    Projects(BTreeSet<usize>),
    Everybody,
}

impl Affected {
    pub(super) fn has(&self, project: usize) -> bool {
        match self {
            Affected::Nobody => false,
            Affected::Everybody => true,
            Affected::Projects(projects) => projects.contains(&project),
        }
    }

    /// The projects that a document affects.
    fn by(kind: &str, name: &str) -> Self {
        match (kind, name.strip_prefix("acme/p")) {
            ("scope", Some(number)) => Affected::Projects([number.parse().unwrap()].into()),
            ("scope", None) => Affected::Everybody,
            _ => Affected::Nobody,
        }
    }
}

/// The rows of the database.
struct Rows {
    documents: Vec<(String, String, usize)>,
    /// The digest and length of each sealed secret, and the project whose document refers to it.
    blobs: Vec<(Vec<u8>, usize, usize)>,
    /// The digest and length of the key of the epoch.
    epoch: (Vec<u8>, usize),
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
    let owner = |digest: &[u8]| -> Option<usize> {
        let hex = Digest::from(<[u8; 32]>::try_from(digest).unwrap()).to_string();
        let name: String = database
            .query_row(
                "SELECT name FROM documents WHERE instr(CAST(payload AS TEXT), ?1) > 0",
                [hex],
                |row| row.get(0),
            )
            .ok()?;
        name.strip_prefix("acme/p").unwrap().parse().ok()
    };
    let mut blobs = Vec::new();
    let mut epochs = Vec::new();
    for (digest, length) in all("SELECT digest, length(bytes) FROM blobs") {
        let length = usize::try_from(length).unwrap();
        match owner(&digest) {
            Some(owner) => blobs.push((digest, length, owner)),
            None => epochs.push((digest, length)),
        }
    }
    assert_eq!(epochs.len(), 1);
    Rows {
        documents,
        blobs,
        epoch: epochs.remove(0),
        entries: database
            .query_row("SELECT max(revision) FROM journal", [], |row| row.get(0))
            .unwrap(),
        nodes: all("SELECT path, length(node) FROM tree")
            .into_iter()
            .map(|(path, _)| path)
            .collect(),
    }
}

/// A case that runs one SQL statement. Its change panics if no row changes.
fn statement(
    what: String,
    text: &'static str,
    parameters: Vec<rusqlite::types::Value>,
    faults: &[Fault],
    affects: Affected,
) -> Case {
    let label = what.clone();
    Case {
        what,
        change: Box::new(move |database| {
            let parameters = rusqlite::params_from_iter(parameters.iter());
            let changed = database.execute(text, parameters).unwrap();
            assert!(changed > 0, "{label} changed nothing");
        }),
        faults: faults.to_vec(),
        affects,
    }
}

/// All cases.
pub(super) fn cases(original: &Original, seed: u64) -> Vec<Case> {
    let rows = rows(original);
    let mut cases = Vec::new();
    documents(&rows, original, &mut cases);
    blobs(&rows, original, seed, &mut cases);
    epoch(&rows, seed, &mut cases);
    journal(&rows, &mut cases);
    keyrings(&mut cases);
    nodes(&rows, &mut cases);
    cases
}

fn documents(rows: &Rows, original: &Original, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing, Stale, Swapped};
    for (kind, name, length) in &rows.documents {
        let key = || vec![kind.clone().into(), name.clone().into()];
        let mut case = |what: &str, text: &'static str, faults: &[Fault]| {
            let what = format!("{kind} {name}: {what}");
            let affects = Affected::by(kind, name);
            cases.push(statement(what, text, key(), faults, affects));
        };
        case(
            "a space before it",
            "UPDATE documents SET payload = CAST(' ' || CAST(payload AS TEXT) AS BLOB)
             WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "another version",
            "UPDATE documents SET payload = CAST(replace(CAST(payload AS TEXT), '\"version\":1', '\"version\":2') AS BLOB)
             WHERE kind = ?1 AND name = ?2",
            &[Forged],
        );
        case(
            "another member",
            "UPDATE documents SET payload = CAST('{\"more\":1,' || substr(CAST(payload AS TEXT), 2) AS BLOB)
             WHERE kind = ?1 AND name = ?2",
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
            "INSERT INTO documents SELECT kind, name || '-too', payload
             FROM documents WHERE kind = ?1 AND name = ?2",
            key(),
            &[Extra],
            Affected::Nobody,
        ));
        if name.starts_with("acme/p") {
            let before = original.older.last().unwrap().to_str().unwrap().to_owned();
            let key = [kind.clone(), name.clone()];
            cases.push(Case {
                what: format!("{kind} {name}: as it was before"),
                faults: vec![Stale],
                affects: Affected::by(kind, name),
                change: Box::new(move |database| {
                    database.execute("ATTACH ?1 AS before", [&before]).unwrap();
                    let changed = database
                        .execute(
                            "INSERT OR REPLACE INTO documents SELECT * FROM before.documents
                             WHERE kind = ?1 AND name = ?2",
                            [&key[0], &key[1]],
                        )
                        .unwrap();
                    assert_eq!(changed, 1);
                }),
            });
        }
        for (other_kind, other, _) in &rows.documents {
            if (other_kind, other) != (kind, name) {
                let mut parameters = key();
                parameters.extend([other_kind.clone().into(), other.clone().into()]);
                cases.push(statement(
                    format!("{kind} {name}: {other_kind} {other} in its place"),
                    "INSERT OR REPLACE INTO documents SELECT ?1, ?2, payload
                     FROM documents WHERE kind = ?3 AND name = ?4",
                    parameters,
                    &[Swapped],
                    Affected::by(kind, name),
                ));
            }
        }
        for start in (0..*length).step_by(RANGE_BYTES) {
            cases.push(byte_range(kind, name, start));
        }
    }
}

/// A case that flips a bit of each byte in a range of a document.
fn byte_range(kind: &str, name: &str, start: usize) -> Case {
    let key = [kind.to_owned(), name.to_owned()];
    Case {
        what: format!("{kind} {name}: bytes from {start}"),
        // Within the name, the result is another document.
        faults: vec![Fault::Forged, Fault::Swapped],
        affects: Affected::by(kind, name),
        change: Box::new(move |database| {
            let mut payload: Vec<u8> = database
                .query_row(
                    "SELECT payload FROM documents WHERE kind = ?1 AND name = ?2",
                    [&key[0], &key[1]],
                    |row| row.get(0),
                )
                .unwrap();
            for byte in payload.iter_mut().skip(start).take(RANGE_BYTES) {
                *byte ^= 1;
            }
            database
                .execute(
                    "UPDATE documents SET payload = ?3 WHERE kind = ?1 AND name = ?2",
                    params![key[0], key[1], payload],
                )
                .unwrap();
        }),
    }
}

fn blobs(rows: &Rows, original: &Original, seed: u64, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing, Swapped};
    let mut random = fastrand::Rng::with_seed(seed);
    for (position, (digest, length, owner)) in rows.blobs.iter().enumerate() {
        let owner_only = || Affected::Projects([*owner].into());
        let key = || vec![digest.clone().into()];
        cases.push(statement(
            format!("blob of {owner}: dropped"),
            "DELETE FROM blobs WHERE digest = ?1",
            key(),
            &[Missing],
            owner_only(),
        ));
        cases.push(statement(
            format!("blob of {owner}: under another name"),
            "UPDATE blobs SET digest = zeroblob(32) WHERE digest = ?1",
            key(),
            &[Missing, Extra],
            owner_only(),
        ));
        cases.push(statement(
            format!("blob of {owner}: doubled"),
            "INSERT INTO blobs SELECT zeroblob(32), bytes FROM blobs WHERE digest = ?1",
            key(),
            &[Extra],
            Affected::Nobody,
        ));
        for (other, _, others) in rows.blobs.iter().skip(position + 1) {
            let (one, two) = (digest.clone(), other.clone());
            cases.push(Case {
                what: format!("the blobs of {owner} and {others} swapped"),
                faults: vec![Swapped],
                affects: Affected::Projects([*owner, *others].into()),
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
                owner_only(),
                format!("blob of {owner}: bit {bit} of byte {at} flipped"),
                move |bytes| {
                    bytes[at] ^= 1 << bit;
                },
            ));
            let end = random.usize(0..*length);
            cases.push(edited(
                digest,
                owner_only(),
                format!("blob of {owner}: cut to {end} bytes"),
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
            affects: owner_only(),
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

/// The key of the epoch. A running process has opened it, and needs the file no more.
fn epoch(rows: &Rows, seed: u64, cases: &mut Vec<Case>) {
    use Fault::{Extra, Missing};
    let mut random = fastrand::Rng::with_seed(seed);
    let (digest, length) = &rows.epoch;
    for (what, text, faults) in [
        (
            "dropped",
            "DELETE FROM blobs WHERE digest = ?1",
            &[Missing][..],
        ),
        (
            "under another name",
            "UPDATE blobs SET digest = zeroblob(32) WHERE digest = ?1",
            &[Missing, Extra],
        ),
    ] {
        let what = format!("the key of the epoch: {what}");
        let key = vec![digest.clone().into()];
        cases.push(statement(what, text, key, faults, Affected::Nobody));
    }
    for _ in 0..FLIPS {
        let (at, bit) = (random.usize(0..*length), random.u8(0..8));
        let how = format!("the key of the epoch: bit {bit} of byte {at} flipped");
        cases.push(edited(digest, Affected::Nobody, how, move |bytes| {
            bytes[at] ^= 1 << bit;
        }));
    }
}

/// A case that applies `edit` to the bytes of a blob.
fn edited(
    digest: &[u8],
    affects: Affected,
    what: String,
    edit: impl Fn(&mut Vec<u8>) + 'static,
) -> Case {
    let digest = digest.to_vec();
    Case {
        what,
        faults: vec![Fault::Forged],
        affects,
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

/// Forges a secret with the right context, as anyone who knows the recipients can.
async fn forge(original: &Original, owner: usize) -> Vec<u8> {
    let home = Home::open(&original.home()).unwrap();
    let entail = original.open(&home);
    let me = Principal::LocalOwner;
    let keyring = entail.keys().keyring(&me).await.unwrap();
    let scope = entail
        .scope(&me, &project(owner).parse().unwrap())
        .await
        .unwrap();
    let credential = &scope.credentials[0];
    let context = SealContext {
        store: keyring.store(),
        mode: credential.version.mode.clone(),
        fields: vec!["api_key".to_owned()],
        scope: project(owner),
        credential: credential.id.to_string(),
        version: credential.version.number,
        provider: "openai".to_owned(),
        hosts: credential.version.hosts.clone(),
        destination: credential.version.destination_digest(),
        epoch: credential.version.epoch,
    };
    let fields = vec![(
        "api_key".to_owned(),
        Secret::from("canary-of-an-attacker-0001"),
    )];
    let epoch = keyring.readers("acme").unwrap().newest().unwrap();
    Keys::seal(epoch, &context, &fields).unwrap()
}

fn journal(rows: &Rows, cases: &mut Vec<Case>) {
    use Fault::{Forged, Stale};
    for revision in 1..=rows.entries {
        let is_newest = revision == rows.entries;
        let key = || vec![revision.into()];
        let mut case = |what: &str, text: &'static str, all_if_newest: bool| {
            let affects = if is_newest && all_if_newest {
                Affected::Everybody
            } else {
                Affected::Nobody
            };
            let what = format!("journal entry {revision}: {what}");
            cases.push(statement(what, text, key(), &[Forged, Stale], affects));
        };
        case("dropped", "DELETE FROM journal WHERE revision = ?1", true);
        case(
            "another signature",
            "UPDATE journal SET signatures = zeroblob(64) WHERE revision = ?1",
            false,
        );
        case(
            "another signer",
            "UPDATE journal SET signatures = CAST(replace(CAST(signatures AS TEXT), 'ed25519:', 'ed25519:0') AS BLOB)
             WHERE revision = ?1",
            false,
        );
        case(
            "a space after the signatures",
            "UPDATE journal SET signatures = CAST(CAST(signatures AS TEXT) || ' ' AS BLOB)
             WHERE revision = ?1",
            false,
        );
        case(
            "no signature",
            "UPDATE journal SET signatures = CAST('[]' AS BLOB) WHERE revision = ?1",
            false,
        );
        case(
            "another principal",
            "UPDATE journal SET change = CAST(replace(CAST(change AS TEXT), '\"principal\":\"', '\"principal\":\"0') AS BLOB)
             WHERE revision = ?1",
            false,
        );
        case(
            "another time",
            "UPDATE journal SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), '\"at_ms\":', '\"at_ms\":1') AS BLOB)
             WHERE revision = ?1",
            true,
        );
        case(
            "another version",
            "UPDATE journal SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), '\"version\":1', '\"version\":2') AS BLOB)
             WHERE revision = ?1",
            true,
        );
        if is_newest {
            case(
                "doubled as a newer one",
                "INSERT INTO journal SELECT revision + 1, checkpoint, signatures, change FROM journal
                 WHERE revision = ?1",
                true,
            );
        } else {
            cases.push(Case {
                what: format!("journal entries {revision} and {} swapped", revision + 1),
                faults: vec![Forged],
                affects: if revision + 1 == rows.entries {
                    Affected::Everybody
                } else {
                    Affected::Nobody
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

/// The machine has a copy of the keyring that it trusts, so a changed one in the database stops no
/// request.
fn keyrings(cases: &mut Vec<Case>) {
    for (what, text) in [
        ("dropped", "DELETE FROM keyrings WHERE number = 1"),
        (
            "another signature",
            "UPDATE keyrings SET signatures = CAST('[]' AS BLOB)",
        ),
        (
            "another reader",
            "UPDATE keyrings SET payload = CAST(replace(CAST(payload AS TEXT), 'age1', 'age2') AS BLOB)",
        ),
        (
            "another number",
            "UPDATE keyrings SET number = 9 WHERE number = 2",
        ),
        (
            "doubled as the next one",
            "INSERT INTO keyrings SELECT 3, payload, signatures FROM keyrings WHERE number = 2",
        ),
    ] {
        cases.push(statement(
            format!("the keyring: {what}"),
            text,
            Vec::new(),
            &[Fault::Forged],
            Affected::Nobody,
        ));
    }
}

fn nodes(rows: &Rows, cases: &mut Vec<Case>) {
    use Fault::{Extra, Forged, Missing};
    for path in &rows.nodes {
        let key = || vec![path.clone().into()];
        let affects = || {
            if path.is_empty() {
                Affected::Everybody
            } else {
                Affected::Nobody
            }
        };
        let mut case = |what: &str, text: &'static str, faults: &[Fault]| {
            let what = format!("node {path:?}: {what}");
            cases.push(statement(what, text, key(), faults, affects()));
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
