-- Agents, runs and jobs, and their events. Times are milliseconds since 1970 in UTC.

CREATE TABLE agents (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    tenant     TEXT NOT NULL,
    spec       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX agents_newest ON agents (tenant, created_at, number);

CREATE TABLE work (
    number           INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    kind             TEXT NOT NULL,
    tenant           TEXT NOT NULL,
    agent            TEXT REFERENCES agents (id),
    spec             TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    status           TEXT NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0,
    last_seq         INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    snapshot         TEXT,
    outcome          TEXT,
    updated_at       INTEGER NOT NULL,
    epoch            INTEGER NOT NULL DEFAULT 0,
    holder           TEXT,
    -- When a lease passes: NULL where nobody holds one.
    lease_until      INTEGER,
    -- When released work is due.
    not_before       INTEGER
);
CREATE INDEX work_of_agent ON work (agent, number) WHERE agent IS NOT NULL;
-- A claim walks the work of a kind that has not ended, oldest first, to the first that is due.
CREATE INDEX work_open ON work (kind, created_at, number) WHERE status IN ('queued', 'running');

CREATE TABLE work_events (
    work    INTEGER NOT NULL REFERENCES work (number),
    seq     INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    payload TEXT NOT NULL,
    time    INTEGER NOT NULL,
    PRIMARY KEY (work, seq)
) WITHOUT ROWID;
