//! Search indexes kept in the database: written in pieces, so that no commit waits long, and read back whole.

use std::io::{self, Read, Write};

use operone_core::chunk::Generation;
use operone_core::in_process::chunk_index::{ChunkIndex, VectorPrecision};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Rows, params};

use super::rows::Found;
use crate::database::integer;
use crate::error::Failure;

/// The bytes of a piece: few enough to stay in a processor's cache while they are checked and copied.
const PIECE: usize = 256 * 1024;
/// The bytes of the check sum before each piece.
const CHECK: usize = 8;
/// How many pieces are written or deleted in one transaction.
const PIECES_AT_ONCE: usize = 16;

/// An index as it was, cut in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Vec<u8>>,
    length: u64,
}

impl Pieces {
    pub(super) fn of(index: &ChunkIndex) -> io::Result<Self> {
        let mut pieces = Self::default();
        index.save(&mut pieces)?;
        pieces.seal();
        Ok(pieces)
    }

    /// The transactions that save the index of a collection, in their order. Until the last one the save before
    /// stays the valid one.
    pub(super) fn into_steps(self, collection: i64, generation: Generation) -> impl Iterator<Item = Step> {
        let length = self.length;
        let mut pieces = self.pieces.into_iter();
        let writes = std::iter::from_fn(move || {
            let some: Vec<_> = pieces.by_ref().take(PIECES_AT_ONCE).collect();
            (!some.is_empty()).then_some(some)
        });
        let mut first = true;
        let writes = writes.map(move |pieces| {
            let kind = Kind::Write { pieces, first: std::mem::take(&mut first) };
            Step { collection, kind }
        });
        let end = Step { collection, kind: Kind::Finish { generation, length } };
        writes.chain([end])
    }

    fn seal(&mut self) {
        let number = self.pieces.len() as u64;
        if let Some(piece) = self.pieces.last_mut()
            && let Some((check, bytes)) = piece.split_first_chunk_mut::<CHECK>()
        {
            *check = sum(number, bytes).to_le_bytes();
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.seal();
            let mut piece = Vec::with_capacity(PIECE);
            piece.extend_from_slice(&[0; CHECK]);
            self.pieces.push(piece);
        }
        let Some(piece) = self.pieces.last_mut() else { return Ok(0) };
        let (taken, _) = bytes.split_at_checked(PIECE - piece.len()).unwrap_or((bytes, &[]));
        piece.extend_from_slice(taken);
        self.length += taken.len() as u64;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What one transaction does of a save.
#[derive(Debug)]
pub(super) struct Step {
    collection: i64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Write { pieces: Vec<Vec<u8>>, first: bool },
    Finish { generation: Generation, length: u64 },
}

impl Step {
    pub(super) fn run(self, db: &Connection) -> Result<(), Failure> {
        let valid: Option<i64> = db
            .prepare_cached("SELECT save FROM saved_indexes WHERE collection = ?1")?
            .query_row(params![self.collection], |row| row.get(0))
            .optional()?;
        let save = valid.map_or(0, |save| save + 1);
        match self.kind {
            Kind::Write { pieces, first } => {
                if first {
                    // What was broken off before it was valid.
                    delete(db, self.collection, valid)?;
                }
                let mut insert = db.prepare_cached(
                    "INSERT INTO saved_index_parts (collection, save, bytes) VALUES (?1, ?2, ?3)",
                )?;
                for piece in pieces {
                    insert.execute(params![self.collection, save, piece])?;
                }
            }
            Kind::Finish { generation, length } => {
                db.prepare_cached(
                    "INSERT INTO saved_indexes (collection, save, generation, length) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (collection) DO UPDATE SET save = ?2, generation = ?3, length = ?4",
                )?
                .execute(params![
                    self.collection,
                    save,
                    integer(generation.0),
                    integer(length)
                ])?;
                delete(db, self.collection, Some(save))?;
            }
        }
        Ok(())
    }
}

/// Deletes the pieces of all saves but one.
fn delete(db: &Connection, collection: i64, but: Option<i64>) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM saved_index_parts WHERE collection = ?1 AND save <> ?2")?
        .execute(params![collection, but.unwrap_or(-1)])?;
    Ok(())
}

/// The saved index of a collection with the generation that it holds; `None` where there is none, or one that cannot
/// be used.
pub(super) fn read(
    db: &Connection,
    found: &Found,
    precision: VectorPrecision,
) -> Result<Option<(ChunkIndex, Generation)>, Failure> {
    let saved: Option<(i64, u64, u64)> = db
        .prepare_cached("SELECT save, generation, length FROM saved_indexes WHERE collection = ?1")?
        .query_row(params![found.number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((save, generation, length)) = saved.filter(|(_, _, length)| *length > 0) else {
        return Ok(None);
    };
    let mut statement: CachedStatement<'_> = db.prepare_cached(
        "SELECT bytes FROM saved_index_parts WHERE collection = ?1 AND save = ?2 ORDER BY number",
    )?;
    let rows = statement.query(params![found.number, save])?;
    let mut reader = Reader { rows, piece: Vec::new(), read: CHECK, number: 0 };
    match ChunkIndex::load(&mut reader, length, precision) {
        Ok(index) => Ok(Some((index, Generation(generation)))),
        Err(error) => {
            tracing::warn!(%error, "the saved search index cannot be used and is built anew");
            Ok(None)
        }
    }
}

/// Reads the pieces of a save one after the other, each checked before it is used.
struct Reader<'a> {
    rows: Rows<'a>,
    piece: Vec<u8>,
    /// How much of the piece was read.
    read: usize,
    number: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.piece.len() {
            let Some(row) = self.rows.next().map_err(io::Error::other)? else { return Ok(0) };
            let piece = row.get_ref(0).map_err(io::Error::other)?.as_blob().map_err(io::Error::other)?;
            self.piece.clear();
            self.piece.extend_from_slice(piece);
            (self.read, self.number) = (CHECK, self.number + 1);
            let whole = self.piece.split_first_chunk::<CHECK>();
            if whole.is_none_or(|(check, bytes)| sum(self.number, bytes).to_le_bytes() != *check) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece was changed"));
            }
        }
        let mut rest = self.piece.get(self.read..).unwrap_or_default();
        let taken = Read::read(&mut rest, bytes)?;
        self.read += taken;
        Ok(taken)
    }
}

/// Tells accidental changes of a piece; the number is its place.
fn sum(number: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [number, !number, number ^ FACTOR, bytes.len() as u64];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    let tail =
        rest.iter().fold(0, |tail: u64, byte| (tail ^ u64::from(*byte)).wrapping_mul(FACTOR).rotate_left(29));
    lanes.iter().fold(tail, |sum, lane| (sum ^ lane).wrapping_mul(FACTOR).rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_tells_a_changed_bit_and_a_changed_place() {
        let bytes: Vec<u8> = (0..1_003_u32).map(|byte| byte as u8).collect();
        let whole = sum(1, &bytes);
        for place in [0, 31, 32, 991, 992, 1_002] {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            assert_ne!(sum(1, &changed), whole);
        }
        assert_ne!(sum(2, &bytes), whole);
        assert_ne!(sum(1, &bytes[..1_002]), whole);
    }
}
