-- Documents: one row each, the newest version only. The signed bytes are in `payload`.
CREATE TABLE documents (
    kind      TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    payload   BLOB    NOT NULL,
    signature BLOB    NOT NULL,
    signer    TEXT    NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Blobs: byte strings, stored under their SHA-256.
CREATE TABLE blobs (
    digest BLOB NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

-- The journal: one signed entry per change, each with the hash of the previous one.
CREATE TABLE journal (
    revision  INTEGER NOT NULL PRIMARY KEY,
    payload   BLOB    NOT NULL,
    signature BLOB    NOT NULL,
    signer    TEXT    NOT NULL
) STRICT;

-- The document tree: the nodes by the digits that lead to them from the root.
CREATE TABLE tree (
    path BLOB NOT NULL PRIMARY KEY,
    node BLOB NOT NULL
) STRICT, WITHOUT ROWID;
