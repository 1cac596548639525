//! The chunk store's tables: what is written in one transaction, and what is read back.

use operone_core::Error;
use operone_core::cache::ContentHash;
use operone_core::chunk::{
    Chunk, ChunkKey, Collection, CollectionSummary, Document, Generation, NewDocument, StoredChunk,
};
use operone_core::id::{DocId, TenantId, WorkId};
use operone_core::in_process::chunk_index::{IndexedChunk, IndexedDocument, TermCounts, VectorSpace};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::codec::{EncodedChunks, decode_chunks, decode_terms, encode_terms, floats};
use super::{purge, terms};
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

/// What became of a document that was stored.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) generation: Generation,
    /// The document's number.
    pub(super) number: i64,
    /// The numbers of its terms in their order, with their counts.
    pub(super) terms: Vec<(u32, u32)>,
}

/// Stores a document in the place of the one of this id.
pub(super) fn replace(
    db: &Connection,
    collection: &Collection,
    new: &NewDocument,
    counts: &TermCounts,
    chunks: &EncodedChunks,
) -> Result<Replaced, Failure> {
    let found = match find(db, collection)? {
        Some(found) => found,
        None => create(db, collection)?,
    };
    let space = VectorSpace::admit(found.space.as_ref(), new)?;
    delete(db, found.number, &new.document.id)?;
    let (job, place) = new.job.as_ref().map(|(job, place)| (job.as_str(), *place)).unzip();
    let id = new.document.id.as_str();
    let document = to_json(&new.document, "the document")?;
    let number: i64 = db
        .prepare_cached("UPDATE document_numbers SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    db.prepare_cached(
        "INSERT INTO documents (number, collection, id, document, job, job_index)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![number, found.number, id, document, job, place])?;
    insert_chunks(db, number, &new.chunks)?;
    let terms = terms::number(db, found.number, counts)?;
    db.prepare_cached("INSERT INTO document_words (document, terms, chunk_terms) VALUES (?1, ?2, ?3)")?
        .execute(params![number, encode_terms(&terms), chunks.terms])?;
    let mut insert = db.prepare_cached("INSERT INTO vectors (place, vector) VALUES (?1, ?2)")?;
    for (ordinal, vector) in (0..).zip(&chunks.vectors) {
        if let Some(vector) = vector {
            insert.execute(params![place_of(number, ordinal), vector])?;
        }
    }
    Ok(Replaced { generation: set_collection(db, &found, Some(&space))?, number, terms })
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
    purge::mark(db, found.number)?;
    if !left {
        db.prepare_cached("DELETE FROM terms WHERE collection = ?1")?.execute(params![found.number])?;
    }
    let space = found.space.as_ref().filter(|_| left);
    set_collection(db, &found, space)
}

/// The collections of a tenant that hold a document.
pub(super) fn collections(db: &Connection, tenant: &TenantId) -> Result<Vec<CollectionSummary>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT c.name, c.embedder, c.dimension, c.generation, count(*),
                total(d.chunks)
         FROM collections AS c JOIN documents AS d ON d.collection = c.number
         WHERE c.tenant = ?1 AND c.embedder IS NOT NULL GROUP BY c.number ORDER BY c.name",
    )?;
    let summaries = statement.query_map(params![tenant.as_str()], |row| {
        let mut summary = CollectionSummary::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        summary.dimension = row.get(2)?;
        summary.generation = Generation(row.get(3)?);
        summary.documents = row.get(4)?;
        // Counts are whole and far below 2^53.
        summary.chunks = row.get::<_, f64>(5)? as u64;
        Ok(summary)
    })?;
    Ok(summaries.collect::<Result<_, _>>()?)
}

/// Exchanges two collections by giving each the name of the other.
pub(super) fn exchange(
    db: &Connection,
    live: &Collection,
    other: &Collection,
    expected: Generation,
) -> Result<Generation, Failure> {
    let present = find(db, live)?;
    if present.as_ref().map(|found| found.generation).unwrap_or_default() != expected {
        let changed = Error::conflict("the collection was changed meanwhile");
        return Err(changed.with_code("generation_changed").into());
    }
    let one = present.map_or_else(|| create(db, live), Ok)?;
    let two = find(db, other)?.map_or_else(|| create(db, other), Ok)?;
    let generation = Generation(one.generation.max(two.generation).0 + 1);
    let mut rename =
        db.prepare_cached("UPDATE collections SET name = ?2, generation = ?3 WHERE number = ?1")?;
    // No name is empty, so that nothing is in the way.
    rename.execute(params![one.number, "", integer(generation.0)])?;
    rename.execute(params![two.number, live.name, integer(generation.0)])?;
    rename.execute(params![one.number, other.name, integer(generation.0)])?;
    Ok(generation)
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
    let index = indexed_of(db, row)?;
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
        each(indexed_of(db, row)?);
    }
    Ok(())
}

/// What the search index needs of one document.
pub(super) fn index_of(db: &Connection, found: &Found, number: i64) -> Result<IndexedDocument, Failure> {
    let mut indexes = indexes_statement(db, "AND d.number = ?2")?;
    let mut rows = indexes.query(params![found.number, number])?;
    let row = rows.next()?.ok_or_else(|| corrupt("a document without an index"))?;
    indexed_of(db, row)
}

/// The numbers of the documents of a collection.
pub(super) fn numbers(db: &Connection, found: &Found) -> Result<Vec<i64>, Failure> {
    let mut statement = db.prepare_cached("SELECT number FROM documents WHERE collection = ?1")?;
    let numbers = statement.query_map(params![found.number], |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Calls `found` with the vector of each chunk that is there, and its place among those given by the numbers of their
/// documents and their ordinals.
pub(super) fn vectors(
    db: &Connection,
    chunks: impl Iterator<Item = (i64, u32)>,
    found: &mut dyn FnMut(usize, &[f32]),
) -> Result<(), Failure> {
    let mut statement = db.prepare_cached("SELECT vector FROM vectors WHERE place = ?1")?;
    let mut vector = Vec::new();
    for (place, (number, ordinal)) in chunks.enumerate() {
        let mut rows = statement.query(params![place_of(number, ordinal)])?;
        let Some(row) = rows.next()? else { continue };
        vector.clear();
        vector.extend(floats(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?));
        found(place, &vector);
    }
    Ok(())
}

/// How many chunks a collection has.
pub(super) fn count_chunks(db: &Connection, found: &Found) -> Result<usize, Failure> {
    Ok(db.query_row(
        "SELECT count(*) FROM documents AS d JOIN chunks AS c ON c.document = d.number WHERE d.collection = ?1",
        params![found.number],
        |row| row.get(0),
    )?)
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
    let mut statement =
        db.prepare_cached("DELETE FROM documents WHERE collection = ?1 AND id = ?2 RETURNING number")?;
    let number: Option<i64> =
        statement.query_row(params![collection, id.as_str()], |row| row.get(0)).optional()?;
    let Some(number) = number else { return Ok(false) };
    db.prepare_cached("DELETE FROM vectors WHERE place BETWEEN ?1 AND ?2")?
        .execute(params![place_of(number, 0), place_of(number, u32::MAX)])?;
    Ok(true)
}

/// Where `vectors` has the vector of a chunk.
fn place_of(document: i64, ordinal: u32) -> i64 {
    (document << 32) | i64::from(ordinal)
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
        "SELECT d.document, d.number, i.terms, i.chunk_terms
         FROM documents AS d JOIN document_words AS i ON i.document = d.number
         WHERE d.collection = ?1 {which}"
    ))?)
}

fn indexed_of(db: &Connection, row: &Row<'_>) -> Result<IndexedDocument, Failure> {
    let blob = |column| Ok::<_, Failure>(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?);
    let (document, number): (Document, i64) = (json(row, 0, "a document")?, row.get(1)?);
    let mut chunks = decode_chunks(blob(3)?)?;
    put_vectors(db, number, &mut chunks)?;
    Ok(IndexedDocument::new(&document, number, decode_terms(blob(2)?)?, chunks))
}

fn put_vectors(db: &Connection, document: i64, chunks: &mut [IndexedChunk]) -> Result<(), Failure> {
    let mut statement =
        db.prepare_cached("SELECT place, vector FROM vectors WHERE place BETWEEN ?1 AND ?2")?;
    let mut rows = statement.query(params![place_of(document, 0), place_of(document, u32::MAX)])?;
    while let Some(row) = rows.next()? {
        let ordinal = row.get::<_, i64>(0)? - place_of(document, 0);
        let chunk = usize::try_from(ordinal).ok().and_then(|ordinal| chunks.get_mut(ordinal));
        let chunk = chunk.ok_or_else(|| corrupt("a vector without a chunk"))?;
        chunk.vector = Some(floats(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?).collect());
    }
    Ok(())
}

fn doc_id(row: &Row<'_>, column: usize) -> Result<DocId, Failure> {
    DocId::new(row.get::<_, String>(column)?).map_err(|_| corrupt("an id").into())
}
