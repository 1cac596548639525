//! One data folder on SQLite: journal, memory, chunks and the embedding cache of Operone.
//!
//! Each contract has a file of its own, so that a long ingest never holds up the commit of a step:
//!
//! ```
//! use std::sync::Arc;
//! use operone_core::clock::SystemClock;
//! use operone_sqlite::{DataFolder, SqliteChunkStore, SqliteEmbeddingCache, SqliteJournal, SqliteMemoryStore};
//!
//! # let root = tempfile::tempdir()?;
//! # let path = root.path().join("data");
//! // Keep it as long as the stores: the folder belongs to one process at a time.
//! let folder = DataFolder::lock(path)?;
//! let journal = SqliteJournal::open(folder.join("journal.db"), Arc::new(SystemClock))?;
//! let memory = SqliteMemoryStore::open(folder.join("memory.db"))?;
//! let chunks = SqliteChunkStore::open(folder.join("chunks.db"))?;
//! let embeddings = SqliteEmbeddingCache::open(folder.join("embeddings.db"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each file has one thread that writes: what waits for it at one moment shares a transaction, and so a write to the
//! disk. Reads run beside it on tokio's threads for blocking work, so the stores must be used within a tokio runtime.
//! Dropping the last handle of a store ends its thread and closes the file.
//!
//! [`SqliteQueryDatabase`] stands apart: a file of the host's own, anywhere but in a data folder, that agents may read by SQL.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod chunks;
mod database;
mod error;
mod folder;
mod journal;
mod json;
mod memory;
mod query;
mod schema;
mod writer;

pub use cache::SqliteEmbeddingCache;
pub use chunks::{ChunkIndexConfig, SqliteChunkStore};
pub use folder::DataFolder;
pub use journal::SqliteJournal;
pub use memory::SqliteMemoryStore;
pub use query::SqliteQueryDatabase;
