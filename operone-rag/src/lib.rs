//! Ingest and retrieval: sources to chunks in a store, and queries to ranked passages with citations.

pub mod chunk;
pub mod ingest;
pub mod parse;

mod hybrid;
mod tools;
mod vectors;

pub use hybrid::{HybridConfig, HybridRetriever};
pub use tools::search_tool;
