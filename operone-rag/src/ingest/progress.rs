//! How far a job is, as its snapshot keeps it.

use std::time::Instant;

use operone_core::id::WorkId;
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::view::Journalled;
use super::{DocumentOutcome, IngestMeter};

/// The snapshot of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) removed: usize,
    /// Chunks of the documents that are done.
    pub(super) chunks: u64,
    /// Chunks that were found, and that have their vectors, since the worker began.
    pub(super) chunks_found: u64,
    pub(super) chunks_embedded: u64,
    /// How long the worker has been at it, in seconds, and how many documents were done when it began.
    seconds: f64,
    done_before: usize,
    #[serde(skip)]
    begun: Option<Instant>,
}

/// How fast a job is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobRate {
    /// Documents in a second, since its worker began.
    pub documents_per_second: f64,
    /// Chunks with their vectors in a second, since its worker began.
    pub chunks_per_second: f64,
    /// When it will have ended if it goes on like that, in seconds from now.
    pub eta_seconds: f64,
}

impl Progress {
    /// A worker that begins where the journal stands.
    pub(super) fn begin(journalled: &Journalled) -> Self {
        let mut progress =
            Self { begun: Some(Instant::now()), removed: journalled.removed, ..Self::default() };
        for (failed, chunks) in &journalled.documents {
            progress.done += 1;
            progress.failed += usize::from(*failed);
            progress.chunks += u64::from(*chunks);
        }
        progress.done_before = progress.done;
        progress
    }

    /// A worker that begins at the begin.
    pub(super) fn start() -> Self {
        Self::begin(&Journalled::default())
    }

    /// The snapshot.
    pub(super) fn to_json(self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::internal("a snapshot cannot be written as JSON").with_source(error))
    }

    /// What is published of a job of so many documents.
    pub(super) fn counts(&self, job: &WorkId, count: usize) -> Value {
        let rate = self.rate(count);
        json!({
            "job_id": job,
            "count": count,
            "done": self.done,
            "failed": self.failed,
            "docs_indexed": self.done - self.failed,
            "removed": self.removed,
            "chunks": self.chunks,
            "chunks_found": self.chunks_found,
            "chunks_embedded": self.chunks_embedded,
            "documents_per_second": rate.map(|rate| rate.documents_per_second),
            "chunks_per_second": rate.map(|rate| rate.chunks_per_second),
            "eta_seconds": rate.map(|rate| rate.eta_seconds),
        })
    }

    pub(super) fn count(&mut self, outcome: &DocumentOutcome) {
        self.done += 1;
        self.failed += usize::from(outcome.is_failed());
        self.chunks += u64::from(outcome.chunks.unwrap_or(0));
    }

    /// Takes over what the meter says now.
    pub(super) fn met(&mut self, meter: &IngestMeter) {
        let figures = meter.figures();
        self.chunks_found = figures.chunks_found;
        self.chunks_embedded = figures.chunks_embedded;
        self.seconds = self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    }

    /// Whether nothing but time has passed since.
    pub(super) fn is_as_far_as(&self, earlier: &Self) -> bool {
        let what = |progress: &Self| {
            (progress.done, progress.removed, progress.chunks_found, progress.chunks_embedded)
        };
        what(self) == what(earlier)
    }

    /// How fast it is; `None` until a document is done.
    pub(super) fn rate(&self, count: usize) -> Option<JobRate> {
        let done = self.done.checked_sub(self.done_before).filter(|done| *done > 0)?;
        let seconds = self.seconds.max(f64::MIN_POSITIVE);
        let documents_per_second = done as f64 / seconds;
        Some(JobRate {
            documents_per_second,
            chunks_per_second: self.chunks_embedded as f64 / seconds,
            eta_seconds: count.saturating_sub(self.done) as f64 / documents_per_second,
        })
    }
}
