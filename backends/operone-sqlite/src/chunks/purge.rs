//! What a removal leaves behind, taken out of the file soon after: the saved index, and words that no document has
//! any more.

use operone_core::chunk::Collection;
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::decode_terms;
use super::rows;
use crate::error::Failure;

/// How many pieces of a saved index are deleted in one transaction.
const PIECES_AT_ONCE: i64 = 64;

/// The generation of a saved index that is to be purged, with what else a removal has left: no save has it.
const MARK: i64 = 0;

/// Notes that a collection is to be purged, in the transaction that makes it so: a crash does not lose it.
pub(super) fn mark(db: &Connection, collection: i64) -> Result<(), Failure> {
    db.prepare_cached(
        "INSERT INTO saved_indexes (collection, save, generation, length) VALUES (?1, -1, ?2, 0)
         ON CONFLICT (collection) DO UPDATE SET generation = ?2",
    )?
    .execute(params![collection, MARK])?;
    Ok(())
}

/// Whether a purge of a collection was noted and did not end.
pub(super) fn is_marked(db: &Connection, collection: &Collection) -> Result<bool, Failure> {
    let mut marked = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM saved_indexes AS s JOIN collections AS c ON c.number = s.collection
         WHERE c.tenant = ?1 AND c.name = ?2 AND s.generation = ?3)",
    )?;
    Ok(marked.query_row(params![collection.tenant.as_str(), collection.name, MARK], |row| row.get(0))?)
}

/// Words of a collection that no document had when they were looked for.
#[derive(Debug)]
pub(super) struct Unused {
    collection: i64,
    terms: Vec<u32>,
    /// The number of the last document that was looked at.
    last: i64,
}

/// Looks for the words that no document of a collection has. Reads the words of every document.
pub(super) fn unused(db: &Connection, collection: &Collection) -> Result<Option<Unused>, Failure> {
    let Some(found) = rows::find(db, collection)? else { return Ok(None) };
    let last = db.query_row("SELECT last FROM document_numbers", [], |row| row.get(0))?;
    let mut used = Vec::new();
    each_used(db, found.number, 0, |term| {
        let term = term as usize;
        if used.len() <= term {
            used.resize(term + 1, false);
        }
        if let Some(slot) = used.get_mut(term) {
            *slot = true;
        }
    })?;
    let mut statement =
        db.prepare_cached("SELECT number FROM terms WHERE collection = ?1 AND term NOT LIKE char(1) || '%'")?;
    let mut rows = statement.query(params![found.number])?;
    let mut terms = Vec::new();
    while let Some(row) = rows.next()? {
        let term: u32 = row.get(0)?;
        if !used.get(term as usize).copied().unwrap_or(false) {
            terms.push(term);
        }
    }
    Ok(Some(Unused { collection: found.number, terms, last }))
}

impl Unused {
    /// Takes the words out that still nobody uses. Their numbers are not given again: the index in memory may have
    /// them.
    pub(super) fn forget(mut self, db: &Connection) -> Result<(), Failure> {
        if self.terms.is_empty() {
            return Ok(());
        }
        let mut used = std::collections::HashSet::new();
        each_used(db, self.collection, self.last, |term| {
            used.insert(term);
        })?;
        self.terms.retain(|term| !used.contains(term));
        let mut statement = db.prepare_cached(
            "UPDATE terms SET term = char(1) || number WHERE collection = ?1 AND number = ?2",
        )?;
        for term in self.terms {
            statement.execute(params![self.collection, term])?;
        }
        Ok(())
    }
}

/// Calls `each` with every word, by its number, of the documents after one.
fn each_used(db: &Connection, collection: i64, after: i64, mut each: impl FnMut(u32)) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(
        "SELECT w.terms FROM documents AS d JOIN document_words AS w ON w.document = d.number
         WHERE d.collection = ?1 AND d.number > ?2",
    )?;
    let mut rows = statement.query(params![collection, after])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        decode_terms(bytes)?.into_iter().for_each(|(term, _)| each(term));
    }
    Ok(())
}

/// Deletes some of a saved index that is older than the collection; tells whether there may be more. From the first
/// call on there is no valid save.
pub(super) fn forget_saved(db: &Connection, collection: &Collection) -> Result<bool, Failure> {
    let Some(found) = rows::find(db, collection)? else { return Ok(false) };
    let saved: Option<i64> = db
        .prepare_cached("SELECT generation FROM saved_indexes WHERE collection = ?1")?
        .query_row(params![found.number], |row| row.get(0))
        .optional()?;
    if saved.is_some_and(|saved| u64::try_from(saved).is_ok_and(|saved| saved == found.generation.0)) {
        return Ok(false);
    }
    db.prepare_cached("DELETE FROM saved_indexes WHERE collection = ?1")?.execute(params![found.number])?;
    let deleted = db
        .prepare_cached(
            "DELETE FROM saved_index_parts WHERE number IN
             (SELECT number FROM saved_index_parts WHERE collection = ?1 LIMIT ?2)",
        )?
        .execute(params![found.number, PIECES_AT_ONCE])?;
    Ok(i64::try_from(deleted).unwrap_or(0) == PIECES_AT_ONCE)
}
