-- Documents in chunks. What the search index is built from lies apart from the texts, one row per document, so
-- that the index loads without reading them.

CREATE TABLE collections (
    number     INTEGER PRIMARY KEY,
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    -- Both NULL while there is no document; the dimension until there is a vector.
    embedder   TEXT,
    dimension  INTEGER,
    UNIQUE (tenant, name)
);

CREATE TABLE documents (
    number     INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (number),
    id         TEXT NOT NULL,
    document   TEXT NOT NULL,
    -- The job that stored it, and its place in that job.
    job        TEXT,
    job_index  INTEGER,
    UNIQUE (collection, id)
);
CREATE INDEX documents_of_job ON documents (collection, job) WHERE job IS NOT NULL;

CREATE TABLE chunks (
    number     INTEGER PRIMARY KEY,
    document   INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE,
    ordinal    INTEGER NOT NULL,
    text       TEXT NOT NULL,
    first_byte INTEGER NOT NULL,
    end_byte   INTEGER NOT NULL,
    page       INTEGER,
    -- The headings as a JSON array; NULL where there is none.
    heading    TEXT,
    hash       BLOB NOT NULL,
    UNIQUE (document, ordinal)
);

-- Each term of a collection has a number, dense from 0, for ever.
CREATE TABLE terms (
    collection INTEGER NOT NULL REFERENCES collections (number),
    number     INTEGER NOT NULL,
    term       TEXT NOT NULL,
    PRIMARY KEY (collection, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX terms_by_text ON terms (collection, term);

CREATE TABLE document_indexes (
    document    INTEGER PRIMARY KEY REFERENCES documents (number) ON DELETE CASCADE,
    -- The number of each term of the document, with its count.
    terms       BLOB NOT NULL,
    -- For each chunk the places of its terms in `terms`, with their counts.
    chunk_terms BLOB NOT NULL,
    -- For each chunk a byte that says whether there is a vector, and its numbers as 32-bit floats, lowest byte first.
    vectors     BLOB NOT NULL
);
