//! How the chunk store keeps its search indexes in memory.

use operone_core::in_process::chunk_index::VectorPrecision;

/// How a chunk store keeps its search indexes in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChunkIndexConfig {
    /// The form of the vectors in memory; whole ones are in the file in any case.
    pub precision: VectorPrecision,
    /// About how many bytes the indexes of all collections may take together. Beyond it those that were not used
    /// for longest are let go and loaded again when they are searched; the one in use stays, however large.
    pub memory: usize,
    /// When and how a dense query compares not all vectors; it compares all where absent. Cells are found anew whenever
    /// an index is loaded, in seconds for a million vectors.
    #[cfg(feature = "approximate")]
    pub approximate: Option<operone_core::in_process::chunk_index::Approximate>,
}

impl ChunkIndexConfig {
    /// One byte per component, and two gibibytes for all indexes.
    pub fn new() -> Self {
        Self {
            precision: VectorPrecision::I8,
            memory: 2 << 30,
            #[cfg(feature = "approximate")]
            approximate: None,
        }
    }

    /// Sets the form of the vectors in memory.
    #[must_use]
    pub fn with_precision(mut self, precision: VectorPrecision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets when and how a dense query compares not all vectors.
    #[cfg(feature = "approximate")]
    #[must_use]
    pub fn with_approximate(
        mut self,
        approximate: Option<operone_core::in_process::chunk_index::Approximate>,
    ) -> Self {
        self.approximate = approximate;
        self
    }

    /// Sets the limit of memory, in bytes.
    #[must_use]
    pub fn with_memory(mut self, memory: usize) -> Self {
        self.memory = memory;
        self
    }
}

impl Default for ChunkIndexConfig {
    fn default() -> Self {
        Self::new()
    }
}
