-- Vectors that need not be computed again.

CREATE TABLE embedders (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE
);

CREATE TABLE embeddings (
    number   INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,
    embedder INTEGER NOT NULL REFERENCES embedders (number),
    -- 32-bit floats, lowest byte first.
    vector   BLOB NOT NULL,
    UNIQUE (hash, embedder)
);
