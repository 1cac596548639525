//! One data folder on SQLite: journal, memory, chunks and the embedding cache of Operone.

mod cache;
mod chunks;
mod database;
mod error;
mod folder;
mod journal;
mod json;
mod memory;
mod schema;
mod writer;

pub use cache::SqliteEmbeddingCache;
pub use chunks::SqliteChunkStore;
pub use folder::DataFolder;
pub use journal::SqliteJournal;
pub use memory::SqliteMemoryStore;
