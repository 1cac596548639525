//! The numbers of a collection's terms.

use operone_core::in_process::chunk_index::TermCounts;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Failure, corrupt};

/// The number of each term with its count, in their order; terms that have no number are given one.
pub(super) fn number(
    db: &Connection,
    collection: i64,
    terms: &TermCounts,
) -> Result<Vec<(u32, u32)>, Failure> {
    let mut known = db.prepare_cached("SELECT number FROM terms WHERE collection = ?1 AND term = ?2")?;
    let mut add = db.prepare_cached(
        "INSERT INTO terms (collection, number, term)
         VALUES (?1, (SELECT coalesce(max(number) + 1, 0) FROM terms WHERE collection = ?1), ?2)
         RETURNING number",
    )?;
    let mut number_of = |term: &str| {
        let key = params![collection, term];
        match known.query_row(key, |row| row.get(0)).optional()? {
            Some(number) => Ok::<u32, Failure>(number),
            None => Ok(add.query_row(key, |row| row.get(0))?),
        }
    };
    terms.iter().map(|(term, count)| Ok((number_of(term)?, count))).collect()
}

/// The texts of terms by their numbers, in their order.
pub(super) fn texts(db: &Connection, collection: i64, terms: &[(u32, u32)]) -> Result<Vec<String>, Failure> {
    let mut statement = db.prepare_cached("SELECT term FROM terms WHERE collection = ?1 AND number = ?2")?;
    let mut text_of = |(number, _): &(u32, u32)| {
        let text = statement.query_row(params![collection, number], |row| row.get(0)).optional()?;
        text.ok_or_else(|| corrupt("a term without a text").into())
    };
    terms.iter().map(&mut text_of).collect()
}

/// The number of a term, if it has one.
pub(super) fn find(db: &Connection, collection: i64, term: &str) -> Result<Option<u32>, Failure> {
    let mut known = db.prepare_cached("SELECT number FROM terms WHERE collection = ?1 AND term = ?2")?;
    Ok(known.query_row(params![collection, term], |row| row.get(0)).optional()?)
}
