//! Memory on the wire.

use operone_core::clock::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemories {
    pub(crate) scope: String,
    pub(crate) entries: Vec<WriteMemory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteMemory {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct WrittenMemories {
    pub(crate) ids: Vec<String>,
    pub(crate) revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMemories {
    #[serde(default)]
    pub(crate) query: String,
    pub(crate) scope: String,
    pub(crate) limit: Option<usize>,
}

#[derive(Serialize)]
pub(crate) struct ReadEntries {
    pub(crate) entries: Vec<ReadEntry>,
}

/// A memory as `GET /memory/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct MemoryView {
    pub(crate) id: String,
    pub(crate) scope: String,
    pub(crate) content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) created_at: Timestamp,
}

#[derive(Serialize)]
pub(crate) struct ReadEntry {
    pub(crate) id: String,
    pub(crate) content: String,
    pub(crate) score: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) created_at: Timestamp,
}
