//! What an ingest has got through, counted while it goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Counts what ingestors get through that share it, see [`Ingestor::with_meter`](super::Ingestor::with_meter).
#[derive(Debug, Default)]
pub struct IngestMeter {
    bytes: AtomicU64,
    text_bytes: AtomicU64,
    chunks_found: AtomicU64,
    chunks_embedded: AtomicU64,
    chunks_written: AtomicU64,
    stages: [AtomicU64; STAGES],
}

const STAGES: usize = 5;

/// A stage of an ingest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Fetch,
    Parse,
    Chunk,
    Embed,
    Write,
}

/// What an ingest has got through. Times are added up over documents that were worked on at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IngestFigures {
    /// Bytes of the sources that were read.
    pub bytes: u64,
    /// Bytes of text in them.
    pub text_bytes: u64,
    /// Chunks that they were cut into.
    pub chunks_found: u64,
    /// Chunks that have their vectors, whether computed, kept or from the earlier version.
    pub chunks_embedded: u64,
    /// Chunks that are stored.
    pub chunks_written: u64,
    /// Reading the sources.
    pub fetching: Duration,
    /// Bytes to text.
    pub parsing: Duration,
    /// Text to chunks and words.
    pub chunking: Duration,
    /// Chunks to vectors, with what the cache needs.
    pub embedding: Duration,
    /// Into the store.
    pub writing: Duration,
}

impl IngestMeter {
    /// What was counted so far.
    pub fn figures(&self) -> IngestFigures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [fetching, parsing, chunking, embedding, writing] =
            self.stages.each_ref().map(|stage| Duration::from_nanos(count(stage)));
        IngestFigures {
            bytes: count(&self.bytes),
            text_bytes: count(&self.text_bytes),
            chunks_found: count(&self.chunks_found),
            chunks_embedded: count(&self.chunks_embedded),
            chunks_written: count(&self.chunks_written),
            fetching,
            parsing,
            chunking,
            embedding,
            writing,
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn found(&self, text_bytes: usize, chunks: usize) {
        self.text_bytes.fetch_add(text_bytes as u64, Ordering::Relaxed);
        self.chunks_found.fetch_add(chunks as u64, Ordering::Relaxed);
    }

    pub(super) fn embedded(&self, chunks: usize) {
        self.chunks_embedded.fetch_add(chunks as u64, Ordering::Relaxed);
    }

    pub(super) fn written(&self, chunks: usize) {
        self.chunks_written.fetch_add(chunks as u64, Ordering::Relaxed);
    }

    /// Waits for a stage and counts its time.
    pub(super) async fn time<T>(&self, stage: Stage, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        if let Some(counter) = self.stages.get(stage as usize) {
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            counter.fetch_add(nanos, Ordering::Relaxed);
        }
        done
    }
}
