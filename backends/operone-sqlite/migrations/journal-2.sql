-- Approvals, runs that wait behind others, and keys of repeated requests.

-- Asked for in the order of their numbers.
CREATE TABLE approvals (
    number         INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    work           INTEGER NOT NULL REFERENCES work (number) ON DELETE CASCADE,
    tenant         TEXT NOT NULL,
    step           INTEGER NOT NULL,
    call_id        TEXT NOT NULL,
    tool           TEXT NOT NULL,
    inputs         TEXT NOT NULL,
    arguments_hash TEXT NOT NULL,
    reason         TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    -- The decision; all NULL until there is one.
    verdict        TEXT,
    comment        TEXT,
    decided_at     INTEGER
);
CREATE INDEX approvals_of_work ON approvals (work, number);
CREATE INDEX approvals_open ON approvals (tenant, number) WHERE verdict IS NULL;

DROP INDEX work_open;
-- A claim walks the work of a kind that has not ended, oldest first, to the first that is due.
CREATE INDEX work_open ON work (kind, created_at, number)
    WHERE status IN ('queued', 'running', 'waiting_approval');
-- A run is held back by an earlier one of its agent.
CREATE INDEX work_open_of_agent ON work (agent, number)
    WHERE status IN ('queued', 'running', 'waiting_approval');

CREATE TABLE request_keys (
    tenant     TEXT NOT NULL,
    key        TEXT NOT NULL,
    request    TEXT NOT NULL,
    seed       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Since when a request is being done.
    held_at    INTEGER,
    answer     TEXT,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX request_keys_oldest ON request_keys (created_at);
