//! Ingest: a source is fetched, parsed, cut and embedded, and replaces its earlier version in one step.

mod handler;
mod ingestor;
mod outcome;
mod prepare;
mod spec;
mod view;

pub use handler::IngestHandler;
pub use ingestor::Ingestor;
pub(crate) use ingestor::embedder_mismatch;
pub use outcome::{DocumentOutcome, DocumentRequest, DocumentStatus};
pub use spec::IngestSpec;
pub use view::{JobDocument, JobStatus, JobView, job_status};
