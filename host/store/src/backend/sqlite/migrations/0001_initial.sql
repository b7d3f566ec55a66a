-- The journal: one entry per change, with its signed checkpoint and the record of the change.
CREATE TABLE journal (
    revision   INTEGER NOT NULL PRIMARY KEY,
    checkpoint BLOB    NOT NULL,
    signatures BLOB    NOT NULL,
    change     BLOB    NOT NULL
) STRICT;

-- The keyrings: who may change the store, and who may read it. Owners sign them.
CREATE TABLE keyrings (
    number     INTEGER NOT NULL PRIMARY KEY,
    payload    BLOB    NOT NULL,
    signatures BLOB    NOT NULL
) STRICT;

-- The newest heartbeat: a signer confirms the newest checkpoint. One row at most.
CREATE TABLE heartbeat (
    place      INTEGER NOT NULL PRIMARY KEY CHECK (place = 0),
    payload    BLOB    NOT NULL,
    signatures BLOB    NOT NULL
) STRICT;

-- Documents: one row each, the newest version only.
CREATE TABLE documents (
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- The document tree: the nodes by their paths.
CREATE TABLE tree (
    path BLOB NOT NULL PRIMARY KEY,
    node BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Blobs: byte strings, stored under their SHA-256.
CREATE TABLE blobs (
    digest BLOB NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;
