//! The scan of all vectors, by several threads where there are many.

use std::sync::OnceLock;
use std::thread;

use super::top::{Ranked, Top};
use super::vectors::{self, Prepared, VectorPrecision};
use super::{Accepted, ChunkIndex};
use crate::chunk::DenseQuery;

/// A thread is begun for so many bytes of vectors: about a millisecond's work, many times what the beginning costs.
const BYTES_PER_THREAD: usize = 16 * 1024 * 1024;
/// The most threads of one query.
const MOST_THREADS: usize = 4;

/// The chunks that come nearest in the precision of the index, best first.
pub(super) fn nearest<'a>(index: &'a ChunkIndex, query: &DenseQuery<'_>, limit: usize) -> Vec<Ranked<'a>> {
    let rows = index.vectors.rows();
    if query.limit == 0 || rows == 0 {
        return Vec::new();
    }
    let prepared = index.vectors.prepare(query.vector);
    #[cfg(feature = "approximate")]
    if let Some(cells) = &index.cells {
        return within_cells(index, cells, query, &prepared, limit);
    }
    let part = |begin: usize, end: usize| part(index, query, &prepared, limit, begin, end);
    let bytes = rows * index.vectors.precision().bytes(query.vector.len());
    let threads = (bytes / BYTES_PER_THREAD).clamp(1, processors().min(MOST_THREADS));
    let share = rows.div_ceil(threads);
    let (first, others) = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|thread| {
                let (begin, end) = (thread * share, (thread + 1) * share);
                let work = move || part(begin, end).into_ranked();
                // Where no thread can be had, this one does it.
                (begin, end, thread::Builder::new().spawn_scoped(scope, work).ok())
            })
            .collect();
        let first = part(0, share);
        let join = |(begin, end, thread): (_, _, Option<thread::ScopedJoinHandle<'_, _>>)| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| part(begin, end).into_ranked())
        };
        (first, others.into_iter().map(join).collect::<Vec<_>>())
    });
    let mut top = first;
    for ranked in others.into_iter().flatten() {
        top.offer(ranked.score, ranked.row, || Some(ranked.key));
    }
    top.into_ranked()
}

fn part<'a>(
    index: &'a ChunkIndex,
    query: &DenseQuery<'_>,
    prepared: &Prepared,
    limit: usize,
    begin: usize,
    end: usize,
) -> Top<'a> {
    let mut top = Top::new(limit);
    let mut accepted = Accepted::new(index, query.filter);
    let whole = index.vectors.precision() == VectorPrecision::F32;
    index.vectors.scan(prepared, begin, end, |row, score| {
        let score = if whole { vectors::within(score) } else { score };
        top.offer(score, row, || {
            let document = index.chunks.get(row as usize)?;
            if accepted.holds(*document) { index.key(row) } else { None }
        });
    });
    top
}

/// The chunks of the nearest cells that come nearest: of as many cells as are looked into at least, and of more until
/// enough was found.
#[cfg(feature = "approximate")]
fn within_cells<'a>(
    index: &'a ChunkIndex,
    cells: &super::cells::Cells,
    query: &DenseQuery<'_>,
    prepared: &Prepared,
    limit: usize,
) -> Vec<Ranked<'a>> {
    let mut top = Top::new(limit);
    let mut accepted = Accepted::new(index, query.filter);
    let whole = index.vectors.precision() == VectorPrecision::F32;
    let (cells, least) = cells.by_distance(query.vector);
    let mut found = 0;
    for (place, rows) in cells.into_iter().enumerate() {
        if place >= least && found >= limit {
            break;
        }
        index.vectors.scan_rows(prepared, rows, |row, score| {
            let score = if whole { vectors::within(score) } else { score };
            top.offer(score, row, || {
                let document = index.chunks.get(row as usize)?;
                if !accepted.holds(*document) {
                    return None;
                }
                found += 1;
                index.key(row)
            });
        });
    }
    top.into_ranked()
}

/// How many processors this process may use, asked for once.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
