//! Ingest: a source is fetched, parsed, cut and embedded, and replaces its earlier version in one step.

mod handler;
mod ingestor;
mod manifest;
mod meter;
mod outcome;
mod prepare;
mod progress;
mod reembed;
mod reembed_handler;
mod removal;
mod spec;
mod tries;
mod turns;
mod view;

pub use handler::IngestHandler;
pub use ingestor::Ingestor;
pub(crate) use ingestor::embedder_mismatch;
pub use meter::{IngestFigures, IngestMeter};
pub use outcome::{DocumentOutcome, DocumentRequest, DocumentStatus};
pub use progress::JobRate;
pub use reembed::ReembedProgress;
pub use reembed_handler::{ReembedHandler, ReembedSpec};
pub use spec::IngestSpec;
pub use view::{JobDocument, JobStatus, JobView, job_status};
