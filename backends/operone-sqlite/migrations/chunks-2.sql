-- Whole vectors lie one to a row, so that the few that a query compares exactly are read by themselves, and the
-- search index is saved, so that it is read back instead of built.

-- The number of a version of a document, never given twice.
CREATE TABLE document_numbers (last INTEGER NOT NULL);
INSERT INTO document_numbers SELECT coalesce(max(number), 0) FROM documents;

CREATE TABLE vectors (
    -- The number of the document times 2^32, and the place of the chunk in it.
    place  INTEGER PRIMARY KEY,
    -- 32-bit floats, lowest byte first.
    vector BLOB NOT NULL
);

WITH RECURSIVE pieces (document, ordinal, begin, size) AS (
    SELECT i.document, 0, 1, 4 * coalesce(c.dimension, 0)
    FROM document_indexes AS i JOIN documents AS d ON d.number = i.document
         JOIN collections AS c ON c.number = d.collection
    WHERE length(i.vectors) > 0
    UNION ALL
    SELECT p.document, p.ordinal + 1, p.begin + 1 + iif(substr(i.vectors, p.begin, 1) = x'01', p.size, 0), p.size
    FROM pieces AS p JOIN document_indexes AS i ON i.document = p.document
    WHERE p.begin + 1 + iif(substr(i.vectors, p.begin, 1) = x'01', p.size, 0) <= length(i.vectors)
)
INSERT INTO vectors (place, vector)
SELECT p.document * 4294967296 + p.ordinal, substr(i.vectors, p.begin + 1, p.size)
FROM pieces AS p JOIN document_indexes AS i ON i.document = p.document
WHERE substr(i.vectors, p.begin, 1) = x'01';

CREATE TABLE document_words (
    document    INTEGER PRIMARY KEY REFERENCES documents (number) ON DELETE CASCADE,
    -- The number of each term of the document, with its count.
    terms       BLOB NOT NULL,
    -- For each chunk the places of its terms in `terms`, with their counts.
    chunk_terms BLOB NOT NULL
);
INSERT INTO document_words SELECT document, terms, chunk_terms FROM document_indexes;
DROP TABLE document_indexes;

-- The newest whole save of each collection's index.
CREATE TABLE saved_indexes (
    collection INTEGER PRIMARY KEY REFERENCES collections (number),
    save       INTEGER NOT NULL,
    -- The collection's generation that it holds.
    generation INTEGER NOT NULL,
    length     INTEGER NOT NULL
);

-- The bytes of saves, in pieces; also of one that is being written, or was broken off.
CREATE TABLE saved_index_parts (
    number     INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (number),
    save       INTEGER NOT NULL,
    bytes      BLOB NOT NULL
);
CREATE INDEX saved_index_parts_of_collection ON saved_index_parts (collection, save);
