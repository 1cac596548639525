//! The chunk store's tables: what is written in one transaction, and what is read back.

use operone_core::cache::ContentHash;
use operone_core::chunk::{Chunk, ChunkKey, Collection, Document, Generation, NewDocument, StoredChunk};
use operone_core::id::{DocId, WorkId};
use operone_core::in_process::chunk_index::{IndexedDocument, TermCounts, VectorSpace};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::codec::{EncodedChunks, decode_chunks, decode_terms, encode_terms};
use super::terms;
use crate::database::integer;
use crate::error::{Failure, corrupt};
use crate::json::{json, optional_json, to_json};

/// A row of `collections`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) number: i64,
    pub(super) generation: Generation,
    pub(super) space: Option<VectorSpace>,
}

pub(super) fn find(db: &Connection, collection: &Collection) -> Result<Option<Found>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT number, generation, embedder, dimension FROM collections WHERE tenant = ?1 AND name = ?2",
    )?;
    let found = statement.query_row(params![collection.tenant.as_str(), collection.name], |row| {
        let (embedder, dimension) = (row.get::<_, Option<String>>(2)?, row.get(3)?);
        let space = embedder.map(|embedder| VectorSpace::new(embedder, dimension));
        Ok(Found { number: row.get(0)?, generation: Generation(row.get(1)?), space })
    });
    Ok(found.optional()?)
}

/// Stores a document in the place of the one of this id; gives the numbers of its terms, too, in their order.
pub(super) fn replace(
    db: &Connection,
    collection: &Collection,
    new: &NewDocument,
    counts: &TermCounts,
    chunks: &EncodedChunks,
) -> Result<(Generation, Vec<(u32, u32)>), Failure> {
    let found = match find(db, collection)? {
        Some(found) => found,
        None => create(db, collection)?,
    };
    let space = VectorSpace::admit(found.space.as_ref(), new)?;
    delete(db, found.number, &new.document.id)?;
    let (job, place) = new.job.as_ref().map(|(job, place)| (job.as_str(), *place)).unzip();
    let id = new.document.id.as_str();
    let document = to_json(&new.document, "the document")?;
    let number = db
        .prepare_cached(
            "INSERT INTO documents (collection, id, document, job, job_index) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![found.number, id, document, job, place])?;
    insert_chunks(db, number, &new.chunks)?;
    let numbered = terms::number(db, found.number, counts)?;
    db.prepare_cached(
        "INSERT INTO document_indexes (document, terms, chunk_terms, vectors) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![number, encode_terms(&numbered), chunks.terms, chunks.vectors])?;
    Ok((set_collection(db, &found, Some(&space))?, numbered))
}

/// Removes documents; unknown ids are passed over.
pub(super) fn remove(db: &Connection, collection: &Collection, ids: &[DocId]) -> Result<Generation, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(Generation(0)) };
    let mut removed = false;
    for id in ids {
        removed |= delete(db, found.number, id)?;
    }
    if !removed {
        return Ok(found.generation);
    }
    let mut any = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM documents WHERE collection = ?1)")?;
    let left: bool = any.query_row(params![found.number], |row| row.get(0))?;
    let space = found.space.as_ref().filter(|_| left);
    set_collection(db, &found, space)
}

pub(super) fn document(
    db: &Connection,
    collection: &Collection,
    id: &DocId,
) -> Result<Option<Document>, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(None) };
    let mut statement =
        db.prepare_cached("SELECT document FROM documents WHERE collection = ?1 AND id = ?2")?;
    let mut rows = statement.query(params![found.number, id.as_str()])?;
    rows.next()?.map(|row| json(row, 0, "a document")).transpose()
}

pub(super) fn documents(
    db: &Connection,
    collection: &Collection,
    after: Option<&DocId>,
    limit: usize,
) -> Result<Vec<Document>, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(Vec::new()) };
    let mut statement = db.prepare_cached(
        "SELECT document FROM documents WHERE collection = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let after = after.map_or("", |id| id.as_str());
    let mut rows = statement.query(params![found.number, after, integer(limit)])?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(json(row, 0, "a document")?);
    }
    Ok(documents)
}

pub(super) fn outcomes(
    db: &Connection,
    collection: &Collection,
    job: &WorkId,
) -> Result<Vec<(u32, DocId)>, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(Vec::new()) };
    let mut statement = db.prepare_cached(
        "SELECT job_index, id FROM documents WHERE collection = ?1 AND job = ?2 ORDER BY job_index, id",
    )?;
    let mut rows = statement.query(params![found.number, job.as_str()])?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        outcomes.push((row.get(0)?, doc_id(row, 1)?));
    }
    Ok(outcomes)
}

/// The text and place of chunks, in the order of the keys.
pub(super) fn chunks(
    db: &Connection,
    collection: &Collection,
    keys: &[ChunkKey],
) -> Result<Vec<Option<StoredChunk>>, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(vec![None; keys.len()]) };
    let mut statement = db.prepare_cached(
        "SELECT c.ordinal, c.first_byte, c.text, c.end_byte, c.page, c.heading, c.hash, d.document
         FROM documents AS d JOIN chunks AS c ON c.document = d.number
         WHERE d.collection = ?1 AND d.id = ?2 AND c.ordinal = ?3",
    )?;
    let mut one = |key: &ChunkKey| {
        let mut rows = statement.query(params![found.number, key.doc.as_str(), key.ordinal])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let document: Document = json(row, 7, "a document")?;
        Ok(Some(StoredChunk::new(&document, &chunk_of(row)?)))
    };
    keys.iter().map(&mut one).collect()
}

/// The chunks of a document with their terms and vectors.
pub(super) fn document_chunks(
    db: &Connection,
    collection: &Collection,
    id: &DocId,
) -> Result<Vec<Chunk>, Failure> {
    let Some(found) = find(db, collection)? else { return Ok(Vec::new()) };
    let mut statement = db.prepare_cached(
        "SELECT c.ordinal, c.first_byte, c.text, c.end_byte, c.page, c.heading, c.hash
         FROM documents AS d JOIN chunks AS c ON c.document = d.number
         WHERE d.collection = ?1 AND d.id = ?2 ORDER BY c.ordinal",
    )?;
    let mut rows = statement.query(params![found.number, id.as_str()])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        chunks.push(chunk_of(row)?);
    }
    let mut indexes = indexes_statement(db, "AND d.id = ?2")?;
    let mut rows = indexes.query(params![found.number, id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(chunks) };
    let index = indexed_of(row, found.space.as_ref())?;
    let terms = terms::texts(db, found.number, &index.terms)?;
    for (chunk, index) in chunks.iter_mut().zip(index.chunks) {
        let repeated = index.terms.iter().filter_map(|(place, count)| {
            let term = terms.get(*place as usize)?;
            Some(std::iter::repeat_n(term.clone(), *count as usize))
        });
        chunk.terms = repeated.flatten().collect();
        chunk.vector = index.vector;
    }
    Ok(chunks)
}

/// Calls `each` for every document of a collection with what the search index needs.
pub(super) fn for_each_index(
    db: &Connection,
    found: &Found,
    mut each: impl FnMut(IndexedDocument),
) -> Result<(), Failure> {
    let mut indexes = indexes_statement(db, "ORDER BY d.number")?;
    let mut rows = indexes.query(params![found.number])?;
    while let Some(row) = rows.next()? {
        each(indexed_of(row, found.space.as_ref())?);
    }
    Ok(())
}

/// About how many vectors a collection has: its chunks without one add a little.
pub(super) fn count_vectors(db: &Connection, found: &Found) -> Result<usize, Failure> {
    let Some(dimension) = found.space.as_ref().and_then(|space| space.dimension) else { return Ok(0) };
    let bytes: usize = db.query_row(
        "SELECT coalesce(sum(length(i.vectors)), 0)
         FROM documents AS d JOIN document_indexes AS i ON i.document = d.number WHERE d.collection = ?1",
        params![found.number],
        |row| row.get(0),
    )?;
    Ok(bytes / (1 + 4 * dimension))
}

fn create(db: &Connection, collection: &Collection) -> Result<Found, Failure> {
    let mut statement = db.prepare_cached("INSERT INTO collections (tenant, name) VALUES (?1, ?2)")?;
    let number = statement.insert(params![collection.tenant.as_str(), collection.name])?;
    Ok(Found { number, generation: Generation(0), space: None })
}

fn set_collection(
    db: &Connection,
    found: &Found,
    space: Option<&VectorSpace>,
) -> Result<Generation, Failure> {
    let mut statement = db.prepare_cached(
        "UPDATE collections SET generation = ?2, embedder = ?3, dimension = ?4 WHERE number = ?1",
    )?;
    let generation = Generation(found.generation.0 + 1);
    let embedder = space.map(|space| space.embedder.as_str());
    let dimension = space.and_then(|space| space.dimension).map(integer);
    statement.execute(params![found.number, integer(generation.0), embedder, dimension])?;
    Ok(generation)
}

fn delete(db: &Connection, collection: i64, id: &DocId) -> Result<bool, Failure> {
    let mut statement = db.prepare_cached("DELETE FROM documents WHERE collection = ?1 AND id = ?2")?;
    Ok(statement.execute(params![collection, id.as_str()])? > 0)
}

fn insert_chunks(db: &Connection, document: i64, chunks: &[Chunk]) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(
        "INSERT INTO chunks (document, ordinal, text, first_byte, end_byte, page, heading, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for chunk in chunks {
        let heading =
            if chunk.heading.is_empty() { None } else { Some(to_json(&chunk.heading, "a heading")?) };
        statement.execute(params![
            document,
            chunk.ordinal,
            chunk.text,
            integer(chunk.start),
            integer(chunk.end),
            chunk.page,
            heading,
            chunk.hash.0.as_slice()
        ])?;
    }
    Ok(())
}

fn chunk_of(row: &Row<'_>) -> Result<Chunk, Failure> {
    let mut chunk = Chunk::new(row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, Vec::new());
    chunk.end = row.get(3)?;
    chunk.page = row.get(4)?;
    chunk.heading = optional_json(row, 5, "a heading")?.unwrap_or_default();
    chunk.hash = ContentHash(row.get(6)?);
    Ok(chunk)
}

fn indexes_statement<'a>(db: &'a Connection, which: &str) -> Result<CachedStatement<'a>, Failure> {
    Ok(db.prepare_cached(&format!(
        "SELECT d.document, i.terms, i.chunk_terms, i.vectors
         FROM documents AS d JOIN document_indexes AS i ON i.document = d.number
         WHERE d.collection = ?1 {which}"
    ))?)
}

fn indexed_of(row: &Row<'_>, space: Option<&VectorSpace>) -> Result<IndexedDocument, Failure> {
    let blob = |column| Ok::<_, Failure>(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?);
    let document: Document = json(row, 0, "a document")?;
    let dimension = space.and_then(|space| space.dimension).unwrap_or(0);
    let chunks = decode_chunks(blob(2)?, blob(3)?, dimension)?;
    Ok(IndexedDocument::new(&document, decode_terms(blob(1)?)?, chunks))
}

fn doc_id(row: &Row<'_>, column: usize) -> Result<DocId, Failure> {
    DocId::new(row.get::<_, String>(column)?).map_err(|_| corrupt("an id").into())
}
