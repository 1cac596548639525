-- What a collection holds is counted without reading its documents.

ALTER TABLE documents
    ADD COLUMN chunks INTEGER GENERATED ALWAYS AS (json_extract(document, '$.chunks')) VIRTUAL;
CREATE INDEX documents_by_size ON documents (collection, chunks);
