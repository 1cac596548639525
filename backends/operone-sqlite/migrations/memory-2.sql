-- Versions of memories, duplicates by content, origins, keys of writes and marks.
--
-- No row of `records` is rewritten here: a row that grows or shrinks can leave copies of its neighbours in a page.

DROP INDEX records_by_id;
CREATE INDEX records_by_id ON records (id, scope) WHERE entry IS NOT NULL;

-- When a memory was erased, by its tombstone. Not a column of `records`, which would lengthen each row that is
-- overwritten.
CREATE TABLE tombstones (record INTEGER PRIMARY KEY, at INTEGER NOT NULL);

-- The records that hold a memory's current version, by a hash of what it says.
CREATE TABLE contents (
    scope   INTEGER NOT NULL,
    content INTEGER NOT NULL,
    record  INTEGER NOT NULL,
    PRIMARY KEY (scope, content, record)
) WITHOUT ROWID;

-- The records whose memory was made from another.
CREATE TABLE origins (
    origin TEXT NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (origin, record)
) WITHOUT ROWID;

-- The receipts of writes that may be repeated.
CREATE TABLE receipts (
    scope       INTEGER NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    at          INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    written     BLOB NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX receipts_by_age ON receipts (scope, at);

CREATE TABLE marks (
    scope  INTEGER NOT NULL,
    name   TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;

-- Records of the first schema that are still to be entered in `contents`.
CREATE TABLE to_enter (record INTEGER PRIMARY KEY);
INSERT INTO to_enter SELECT number FROM records WHERE entry IS NOT NULL AND kept = 1;
