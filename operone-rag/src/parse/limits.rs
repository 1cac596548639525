//! How far a document is read.

use std::time::Duration;

/// How far a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseLimits {
    /// The most bytes of a document; 64 MiB by default.
    pub bytes: usize,
    /// The most bytes that one entry of an archive may expand to, and all that are read together; 256 MiB by default.
    pub expanded: usize,
    /// The most entries of an archive; 10,000 by default.
    pub entries: usize,
    /// The most bytes of text that a document gives; 64 MiB by default.
    pub text: usize,
    /// The most values of a workbook or of structured data, repeated ones counted once; 4,000,000 by default.
    pub cells: usize,
    /// The most pages; 10,000 by default.
    pub pages: usize,
    /// How long one document may take; 30 seconds by default.
    pub time: Duration,
    /// How many documents are parsed at once; 4 by default.
    pub parallel: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            expanded: 256 << 20,
            entries: 10_000,
            text: 64 << 20,
            cells: 4_000_000,
            pages: 10_000,
            time: Duration::from_secs(30),
            parallel: 4,
        }
    }
}

impl ParseLimits {
    /// Sets the most bytes of a document.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the most bytes that an archive may expand to.
    #[must_use]
    pub fn with_expanded(mut self, expanded: usize) -> Self {
        self.expanded = expanded;
        self
    }

    /// Sets the most entries of an archive.
    #[must_use]
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// Sets the most bytes of text that a document gives.
    #[must_use]
    pub fn with_text(mut self, text: usize) -> Self {
        self.text = text;
        self
    }

    /// Sets the most values of a workbook or of structured data.
    #[must_use]
    pub fn with_cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }

    /// Sets the most pages.
    #[must_use]
    pub fn with_pages(mut self, pages: usize) -> Self {
        self.pages = pages;
        self
    }

    /// Sets how long one document may take.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets how many documents are parsed at once, one at least.
    #[must_use]
    pub fn with_parallel(mut self, parallel: usize) -> Self {
        self.parallel = parallel;
        self
    }
}
