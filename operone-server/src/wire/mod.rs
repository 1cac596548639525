//! The bodies of requests and responses. Core types never go on the wire directly.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod memory;
pub(crate) mod openai;
pub(crate) mod rag;

use operone_core::error::ErrorReport;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct ErrorView {
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl ErrorView {
    pub(crate) fn new(error: ErrorReport) -> Self {
        Self { code: error.code, detail: error.detail }
    }
}
