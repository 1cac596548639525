//! Backends that live and die with the process: real ones, and the ones to read before writing another.

mod bus;
mod cache;
pub mod chunk_index;
mod chunks;
mod extractive;
mod hashing;
mod journal;
mod memory;
mod scripted;

pub use bus::InProcessBus;
pub use cache::InProcessEmbeddingCache;
pub use chunks::InProcessChunkStore;
pub use extractive::ExtractiveModel;
pub use hashing::{HashingEmbedder, WordTokenizer};
pub use journal::InProcessJournal;
pub use memory::InProcessMemoryStore;
pub use scripted::{ScriptedModel, ScriptedTurn};
