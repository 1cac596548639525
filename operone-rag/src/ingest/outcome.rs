//! What is asked of an ingest, and what came of each document.

use operone_core::error::ErrorReport;
use operone_core::id::DocId;
use operone_core::metadata::Metadata;
use serde::{Deserialize, Serialize};

/// A document to ingest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentRequest {
    /// The URI of the document.
    pub source: String,
    /// What the caller says of it. `date` is an ISO 8601 date or time and is what `date_range` compares with.
    #[serde(default)]
    pub metadata: Metadata,
}

impl DocumentRequest {
    /// A document without metadata.
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), metadata: Metadata::new() }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

/// Where a document of an ingest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DocumentStatus {
    /// Not looked at yet.
    Pending,
    /// Stored for the first time.
    Indexed,
    /// Stored in place of an earlier version.
    Updated,
    /// The same as what is stored: nothing was embedded and nothing written.
    Unchanged,
    /// Not stored; an earlier version stays.
    Failed,
}

/// What came of one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DocumentOutcome {
    /// The URI as it was asked for.
    pub source: String,
    /// Where it stands.
    pub status: DocumentStatus,
    /// Its id; absent while pending, and if the URI could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_id: Option<DocId>,
    /// How many chunks it has; absent while pending or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u32>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

impl DocumentOutcome {
    /// A document that was not looked at yet.
    pub fn pending(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            status: DocumentStatus::Pending,
            doc_id: None,
            chunks: None,
            error: None,
        }
    }

    /// A document that is stored.
    pub fn stored(source: impl Into<String>, status: DocumentStatus, doc_id: DocId, chunks: u32) -> Self {
        Self { status, doc_id: Some(doc_id), chunks: Some(chunks), ..Self::pending(source) }
    }

    /// A document that is not stored.
    pub fn failed(source: impl Into<String>, doc_id: Option<DocId>, error: ErrorReport) -> Self {
        Self { status: DocumentStatus::Failed, doc_id, error: Some(error), ..Self::pending(source) }
    }

    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        self.status == DocumentStatus::Failed
    }
}
