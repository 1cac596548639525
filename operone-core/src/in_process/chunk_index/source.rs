//! What the index asks of the store that it belongs to.

use crate::error::Result;
use crate::id::DocId;

/// The store behind an index, as of the moment of a query.
pub trait IndexSource {
    /// The number of a term; `None` where it has none.
    fn term(&self, term: &str) -> Result<Option<u32>>;

    /// Calls `found` with the place among `chunks` and the whole vector of each chunk that the store still has. A
    /// chunk that it leaves out is ranked by the index's own copy of the vector.
    fn vectors(&self, chunks: &[VectorPlace<'_>], found: &mut dyn FnMut(usize, &[f32])) -> Result<()>;
}

/// Where a store has a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VectorPlace<'a> {
    /// The document's id.
    pub id: &'a DocId,
    /// The number under which the store knows this version of the document.
    pub number: i64,
    /// The chunk's place in it, from 0.
    pub ordinal: u32,
}

impl<'a> VectorPlace<'a> {
    pub(super) fn new(id: &'a DocId, number: i64, ordinal: u32) -> Self {
        Self { id, number, ordinal }
    }
}
