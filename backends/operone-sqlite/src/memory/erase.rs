//! Erasing memories so that no page keeps their text.

use operone_core::clock::Timestamp;
use operone_core::id::MemoryId;
use operone_core::memory::{Erased, Revision, ScopeKey};
use rusqlite::{Connection, params};

use super::read::current;
use super::write::withdraw;
use super::{Found, find, set_revision};
use crate::database::integer;
use crate::error::Failure;

pub(super) fn erase(
    db: &Connection,
    scope: &ScopeKey,
    ids: &[MemoryId],
    at: Timestamp,
) -> Result<Erased, Failure> {
    let Some(Found { number, mut revision }) = find(db, scope)? else {
        return Ok(Erased::new(Revision(0), Vec::new()));
    };
    // Zeros of the same length overwrite each version in its place. A shorter row could make SQLite merge pages,
    // which leaves copies of neighbours where `secure_delete` does not reach.
    let mut overwrite = db.prepare_cached(
        "UPDATE records SET kept = 0, entry = zeroblob(length(entry))
         WHERE id = ?1 AND scope = ?2 AND entry IS NOT NULL AND kept = 1",
    )?;
    let mut bury = db.prepare_cached(
        "INSERT INTO records (scope, revision, id, kept, entry) VALUES (?1, ?2, ?3, 0, NULL)",
    )?;
    let mut date = db.prepare_cached("INSERT INTO tombstones VALUES (?1, ?2)")?;
    let mut erased = Vec::new();
    for id in ids {
        if let Some((record, entry)) = current(db, number, id)? {
            withdraw(db, number, record, &entry)?;
            overwrite.execute(params![id.as_str(), number])?;
            revision.0 += 1;
            let tombstone = bury.insert(params![number, integer(revision.0), id.as_str()])?;
            date.execute(params![tombstone, at.as_millis()])?;
            erased.push(id.clone());
        }
    }
    set_revision(db, number, revision)?;
    Ok(Erased::new(revision, erased))
}
