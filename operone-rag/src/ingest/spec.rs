//! What an ingest job is to do, as it is kept in the journal.

use operone_core::chunk::Collection;
use operone_core::clock::Timestamp;
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{NewWork, WorkKind};
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::DocumentRequest;
#[cfg(doc)]
use super::Ingestor;
use crate::chunk::ChunkOptions;

/// The documents of a job, where they go and how they are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IngestSpec {
    /// The name of the tenant's collection.
    pub collection: String,
    /// The documents, in order.
    pub documents: Vec<DocumentRequest>,
    /// How they are cut; by default what suits the embedder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<ChunkOptions>,
    /// Folders whose documents are removed at the end if their sources are gone, see [`Ingestor::prune`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prune: Vec<String>,
}

impl IngestSpec {
    /// The most documents of one job.
    pub const MAX_DOCUMENTS: usize = 10_000;

    /// The most folders to prune.
    pub const MAX_FOLDERS: usize = 100;

    /// Documents for a collection, 1 to [`IngestSpec::MAX_DOCUMENTS`]; another number is `Invalid` with code
    /// `no_documents` or `too_many_documents`.
    pub fn new(collection: &Collection, documents: Vec<DocumentRequest>) -> Result<Self> {
        let most = Self::MAX_DOCUMENTS;
        match documents.len() {
            0 => Err(Error::invalid("a job needs at least one document").with_code("no_documents")),
            count if count > most => {
                Err(Error::invalid(format!("a job takes at most {most} documents, not {count}"))
                    .with_code("too_many_documents"))
            }
            _ => {
                Ok(Self { collection: collection.name.clone(), documents, options: None, prune: Vec::new() })
            }
        }
    }

    /// Sets how documents are cut.
    #[must_use]
    pub fn with_options(mut self, options: Option<ChunkOptions>) -> Self {
        self.options = options;
        self
    }

    /// Sets the folders to prune at the end.
    #[must_use]
    pub fn with_prune(mut self, folders: Vec<String>) -> Self {
        self.prune = folders;
        self
    }

    /// The job to queue in a journal.
    pub fn into_work(self, id: WorkId, tenant: TenantId, created_at: Timestamp) -> Result<NewWork> {
        let spec = serde_json::to_value(self)
            .map_err(|error| Error::internal("the job cannot be written as JSON").with_source(error))?;
        Ok(NewWork::new(id, WorkKind::INGEST, tenant, spec, created_at))
    }

    /// What a job of the journal is to do; anything else is `Internal` with code `invalid_spec`.
    pub fn of(work: &NewWork) -> Result<Self> {
        Self::deserialize(&work.spec).map_err(|error| {
            Error::internal("the job's specification cannot be read")
                .with_code("invalid_spec")
                .with_source(error)
        })
    }
}
