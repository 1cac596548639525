//! How much one request may ask for.

use std::time::Duration;

/// The largest body of a request, in bytes.
pub(crate) const BODY: usize = 1 << 20;
/// The largest body of a batch to ingest or to remember, in bytes.
pub(crate) const BULK_BODY: usize = 32 << 20;
/// The largest document that is uploaded, in bytes: as much as a parser takes.
pub(crate) const UPLOAD: usize = 64 << 20;
/// How many uploads are worked on at once; further ones wait.
pub(crate) const UPLOADS_AT_ONCE: usize = 4;
/// How long the body of an upload may take to arrive.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_secs(300);
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
