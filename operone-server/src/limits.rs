//! How much one request may ask for.

/// The largest body of a request, in bytes.
pub(crate) const BODY: usize = 1 << 20;
/// The largest body of a batch to ingest or to remember, in bytes.
pub(crate) const BULK_BODY: usize = 32 << 20;
/// The most agents of one batch.
pub(crate) const AGENTS_PER_BATCH: usize = 100;
/// The most documents of a job that one page shows.
pub(crate) const JOB_PAGE: usize = 1000;
/// The most rows of one page.
pub(crate) const PAGE: usize = 100;

/// The rows of a page: as many as were asked for, 1 to `most`, or `most`.
pub(crate) fn rows(asked: Option<usize>, most: usize) -> usize {
    asked.unwrap_or(most).clamp(1, most)
}
