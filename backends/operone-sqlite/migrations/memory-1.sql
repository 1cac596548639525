-- One append log per scope. Rows are only ever added at the end and overwritten in their own length, so that no
-- page keeps a copy of what is erased.

CREATE TABLE scopes (
    number   INTEGER PRIMARY KEY,
    tenant   TEXT NOT NULL,
    scope    TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, scope)
);

CREATE TABLE records (
    number   INTEGER PRIMARY KEY,
    scope    INTEGER NOT NULL REFERENCES scopes (number),
    revision INTEGER NOT NULL,
    id       TEXT NOT NULL,
    -- Whether there is content: 0 for what was erased.
    kept     INTEGER NOT NULL,
    -- The memory as JSON; zeros of the same length once it is erased; NULL for a tombstone.
    entry    BLOB,
    UNIQUE (scope, revision)
);
CREATE UNIQUE INDEX records_by_id ON records (id, scope) WHERE entry IS NOT NULL;
