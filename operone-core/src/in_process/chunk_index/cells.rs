//! Cells of vectors that lie near each other, of which a query looks into the nearest: an inverted file (Jégou, Douze,
//! Schmid, 2011) over the vectors as they lie in memory.

use std::thread;

use super::kernels;
use super::vectors::Vectors;

/// When a query compares not all vectors of a collection, and how many then. Feature `approximate`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Approximate {
    /// The least number of vectors in a collection; below it all are compared. A million by default: so many are
    /// compared in some hundredths of a second.
    pub from: usize,
    /// Into what share of the cells a query looks, in (0, 1]; 1 looks into all, which finds what an exact index finds.
    /// 0.1 by default. At least eight cells are looked into, and as many more as it takes to find what is asked for
    /// under a filter.
    pub share: f32,
}

impl Approximate {
    /// For collections from a million vectors on, with a tenth of the cells.
    pub fn new() -> Self {
        Self { from: 1_000_000, share: 0.1 }
    }

    /// Sets the least number of vectors.
    #[must_use]
    pub fn with_from(mut self, vectors: usize) -> Self {
        self.from = vectors;
        self
    }

    /// Sets into what share of the cells a query looks; a number outside of (0, 1] becomes the nearest within.
    #[must_use]
    pub fn with_share(mut self, share: f32) -> Self {
        self.share = share.clamp(f32::MIN_POSITIVE, 1.0);
        self
    }
}

impl Default for Approximate {
    fn default() -> Self {
        Self::new()
    }
}

/// The fewest cells that a query looks into.
const FEWEST: usize = 8;
/// How many vectors of a cell take part in finding its centre.
const SAMPLE: usize = 32;
/// How often centres are moved to the middle of what lies nearest to them.
const ROUNDS: usize = 8;

/// The cells of a collection. Centres lie in groups, so that the nearest is found without a look at all.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    share: f32,
    dimension: usize,
    /// One centre after the other.
    groups: Vec<f32>,
    /// By group: the number of the first cell behind it.
    ends: Vec<usize>,
    /// One centre after the other, group by group.
    centres: Vec<f32>,
    /// By cell: its rows, in the order in which they came. A row without a vector any more is passed over.
    members: Vec<Vec<u32>>,
    /// How many rows there were when the centres were found.
    trained: usize,
}

impl Cells {
    /// Finds cells for the vectors that are there; takes seconds for a million. `None` where there are too few.
    pub(super) fn of(vectors: &Vectors, wanted: Approximate) -> Option<Self> {
        let rows: Vec<u32> = (0..vectors.rows() as u32).filter(|row| vectors.has(*row)).collect();
        let dimension = vectors.dimension.filter(|dimension| *dimension > 0)?;
        if rows.is_empty() || rows.len() < wanted.from {
            return None;
        }
        let cells = ((rows.len() as f64).sqrt() * 2.0).ceil() as usize;
        let every = (rows.len() / (cells * SAMPLE)).max(1);
        let sample: Vec<Vec<f32>> =
            rows.iter().step_by(every).map(|row| vectors.unpacked(*row, dimension)).collect();
        let sample: Vec<&[f32]> = sample.iter().map(Vec::as_slice).collect();
        let groups = centres(&sample, (cells as f64).sqrt().ceil() as usize, dimension);
        let mut own: Vec<Vec<&[f32]>> = vec![Vec::new(); groups.len() / dimension];
        for vector in &sample {
            if let Some(group) = own.get_mut(nearest(vector, &groups, dimension)) {
                group.push(vector);
            }
        }
        let (mut found, mut ends) = (Vec::new(), Vec::with_capacity(own.len()));
        for (group, own) in groups.chunks_exact(dimension).zip(&own) {
            let share = (cells * own.len()).div_ceil(sample.len());
            let before = found.len();
            found.extend(centres(own, share, dimension));
            if found.len() == before {
                // Nothing lies here, but something may come.
                found.extend_from_slice(group);
            }
            ends.push(found.len() / dimension);
        }
        let members = vec![Vec::new(); found.len() / dimension];
        let trained = vectors.rows();
        let mut cells =
            Self { share: wanted.share, dimension, groups, ends, centres: found, members, trained };
        let places = cells.places(vectors, &rows);
        for (row, cell) in rows.into_iter().zip(places) {
            cells.put(row, cell);
        }
        Some(cells)
    }

    /// Adds a row that has a vector now. Tells whether so many came since the centres were found that it is time to find
    /// others.
    pub(super) fn insert(&mut self, row: u32, vector: &[f32]) -> bool {
        let cell = self.cell(vector);
        self.put(row, cell);
        row as usize >= self.trained.saturating_mul(2)
    }

    /// Gives each row its new number; those without one are dropped.
    pub(super) fn renumber(&mut self, places: &[Option<u32>]) {
        for members in &mut self.members {
            members.retain_mut(|row| match places.get(*row as usize).copied().flatten() {
                Some(place) => {
                    *row = place;
                    true
                }
                None => false,
            });
        }
        self.trained = self.trained.min(places.len());
    }

    /// The rows of the cells, those of the nearest cells first. The first so many cells are those that a query looks into
    /// at least.
    pub(super) fn by_distance(&self, query: &[f32]) -> (Vec<&[u32]>, usize) {
        let mut ranked: Vec<(f32, &[u32])> = self
            .centres
            .chunks_exact(self.dimension)
            .zip(&self.members)
            .map(|(centre, members)| (kernels::product(query, centre), members.as_slice()))
            .collect();
        ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
        let least = (ranked.len() as f32 * self.share).ceil() as usize;
        (ranked.into_iter().map(|(_, members)| members).collect(), least.max(FEWEST))
    }

    /// The bytes that are allocated.
    pub(super) fn memory(&self) -> usize {
        let members: usize = self.members.iter().map(|members| 4 * members.capacity()).sum();
        4 * (self.groups.capacity() + self.centres.capacity()) + members + 24 * self.members.capacity()
    }

    fn put(&mut self, row: u32, cell: usize) {
        if let Some(members) = self.members.get_mut(cell) {
            members.push(row);
        }
    }

    fn cell(&self, vector: &[f32]) -> usize {
        let group = nearest(vector, &self.groups, self.dimension);
        let begin = group.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(group).copied().unwrap_or(begin);
        let within = self.centres.get(begin * self.dimension..end * self.dimension).unwrap_or_default();
        begin + nearest(vector, within, self.dimension)
    }

    /// The cell of each row, by as many threads as there are processors.
    fn places(&self, vectors: &Vectors, rows: &[u32]) -> Vec<usize> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let place = |rows: &[u32]| -> Vec<usize> {
            rows.iter().map(|row| self.cell(&vectors.unpacked(*row, self.dimension))).collect()
        };
        thread::scope(|scope| {
            let parts = rows.chunks(rows.len().div_ceil(threads).max(1));
            let parts = parts
                .map(|rows| (rows, thread::Builder::new().spawn_scoped(scope, move || place(rows)).ok()));
            let parts: Vec<_> = parts.collect();
            // Where no thread can be had, this one does it.
            let done = |(rows, thread): (&[u32], Option<thread::ScopedJoinHandle<'_, Vec<usize>>>)| {
                thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| place(rows))
            };
            parts.into_iter().flat_map(done).collect()
        })
    }
}

/// At most so many centres of vectors of length one, each in the middle of those that lie nearest to it (Lloyd's
/// algorithm). The same vectors give the same centres.
fn centres(vectors: &[&[f32]], most: usize, dimension: usize) -> Vec<f32> {
    let every = vectors.len().div_ceil(most.max(1)).max(1);
    let mut centres: Vec<f32> =
        vectors.iter().step_by(every).flat_map(|vector| vector.iter().copied()).collect();
    for _ in 0..ROUNDS {
        let mut sums = vec![0.0_f32; centres.len()];
        for vector in vectors {
            let place = nearest(vector, &centres, dimension) * dimension;
            let sum = sums.get_mut(place..place + dimension).unwrap_or_default();
            sum.iter_mut().zip(*vector).for_each(|(sum, number)| *sum += number);
        }
        for (centre, sum) in centres.chunks_exact_mut(dimension).zip(sums.chunks_exact(dimension)) {
            let length = kernels::product(sum, sum).sqrt();
            if length > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(centre, sum)| *centre = sum / length);
            }
        }
    }
    centres
}

fn nearest(vector: &[f32], centres: &[f32], dimension: usize) -> usize {
    let mut best = (f32::NEG_INFINITY, 0);
    for (place, centre) in centres.chunks_exact(dimension.max(1)).enumerate() {
        let product = kernels::product(vector, centre);
        if product > best.0 {
            best = (product, place);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::vectors::VectorPrecision;
    use super::super::{ChunkIndex, IndexSource, IndexedChunk, IndexedDocument, VectorPlace};
    use super::*;
    use crate::chunk::{DenseQuery, Document};
    use crate::error::Result;
    use crate::filter::Filter;
    use crate::id::DocId;

    const DIMENSION: usize = 32;

    /// Knows no whole vectors: what the index has counts.
    struct Nothing;

    impl IndexSource for Nothing {
        fn term(&self, _: &str) -> Result<Option<u32>> {
            Ok(None)
        }

        fn vectors(&self, _: &[VectorPlace<'_>], _: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
            Ok(())
        }
    }

    /// Vectors around subjects, as those of texts lie.
    fn vector(number: usize) -> Vec<f32> {
        let wave = |seed: usize, place: usize| ((seed * 977 + place * 131 + seed * place) as f32).sin();
        let subject = number % 50;
        let numbers: Vec<f32> =
            (0..DIMENSION).map(|place| wave(subject, place) + 0.9 * wave(number + 1_000, place)).collect();
        let length = kernels::product(&numbers, &numbers).sqrt();
        numbers.into_iter().map(|number| number / length).collect()
    }

    fn document(number: usize) -> IndexedDocument {
        let id = DocId::new(format!("doc-{number}")).unwrap();
        let mut document = Document::new(id, "file:///a", "text/plain");
        document.metadata = [("rare".to_owned(), number.is_multiple_of(97).into())].into();
        let chunk = IndexedChunk { terms: Vec::new(), vector: Some(vector(number)) };
        IndexedDocument::new(&document, number as i64, Vec::new(), vec![chunk])
    }

    fn filled(approximate: Option<Approximate>, documents: std::ops::Range<usize>) -> ChunkIndex {
        let mut index = ChunkIndex::new(VectorPrecision::I8).with_approximate(approximate);
        documents.for_each(|number| index.insert(&document(number)));
        index
    }

    fn nearest(index: &ChunkIndex, query: &[f32], filter: Option<&Filter>) -> Vec<DocId> {
        let found = index.dense(&DenseQuery { vector: query, filter, limit: 10 }, &Nothing).unwrap();
        found.into_iter().map(|candidate| candidate.key.doc).collect()
    }

    fn recall(index: &ChunkIndex, exact: &ChunkIndex, filter: Option<&Filter>) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for number in 0..200 {
            let query = vector(50_000 + number * 7);
            let expected: HashSet<DocId> = nearest(exact, &query, filter).into_iter().collect();
            found += nearest(index, &query, filter).into_iter().filter(|id| expected.contains(id)).count();
            wanted += expected.len();
        }
        found as f64 / wanted as f64
    }

    #[test]
    fn a_few_of_the_cells_hold_nearly_all_of_the_nearest() {
        let exact = filled(None, 0..6_000);
        let wanted = Approximate::new().with_from(2_000).with_share(0.1);
        let mut index = filled(Some(wanted), 0..6_000);
        assert!(index.cells.is_some());
        let first = recall(&index, &exact, None);
        assert!(first > 0.95, "{first}");
        // Under a filter that few pass, more cells are looked into.
        let rare = Filter::eq("rare", true);
        let filtered = recall(&index, &exact, Some(&rare));
        assert!(filtered > 0.8, "{filtered}");
        assert!((0..50).all(|number| nearest(&index, &vector(number), Some(&rare)).len() == 10));
        // Removing and adding, and numbering everything anew, lose nothing.
        let mut exact = exact;
        for number in 0..4_500 {
            let id = DocId::new(format!("doc-{number}")).unwrap();
            assert!(index.remove(&id) && exact.remove(&id));
        }
        for number in 6_000..9_000 {
            index.insert(&document(number));
            exact.insert(&document(number));
        }
        let later = recall(&index, &exact, None);
        assert!(later > 0.95, "{later}");
        let all = filled(Some(wanted.with_share(1.0)), 0..3_000);
        assert!((recall(&all, &filled(None, 0..3_000), None) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn few_vectors_are_all_compared() {
        let index = filled(Some(Approximate::new().with_from(500)), 0..499);
        assert!(index.cells.is_none());
        let mut index = filled(Some(Approximate::new().with_from(500)), 0..500);
        assert!(index.cells.is_some() && index.memory() > 500 * DIMENSION);
        for number in 0..500 {
            index.remove(&DocId::new(format!("doc-{number}")).unwrap());
        }
        assert!(index.is_empty() && nearest(&index, &vector(1), None).is_empty());
        assert!(index.approximate.is_some());
    }
}
