//! Ingest and retrieval: sources to chunks in a store, and queries to ranked passages with citations.
//!
//! ```
//! use std::sync::Arc;
//! use operone_core::chunk::Collection;
//! use operone_core::id::TenantId;
//! use operone_core::in_process::{HashingEmbedder, InProcessChunkStore, InProcessEmbeddingCache};
//! use operone_core::metadata::Metadata;
//! use operone_core::retrieve::{RetrieveQuery, Retriever};
//! use operone_core::source::Fetched;
//! use operone_rag::{HybridRetriever, ingest::Ingestor, parse::DocumentParser};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = Arc::new(InProcessChunkStore::default());
//! let embedder = Arc::new(HashingEmbedder::new(512));
//! let cache = Arc::new(InProcessEmbeddingCache::default());
//! let parser = Arc::new(DocumentParser::default());
//!
//! let ingestor = Ingestor::new(store.clone(), embedder.clone(), cache.clone(), parser);
//! let collection = Collection::of(TenantId::local());
//! let report = Fetched::new("q3.md", b"# Sales\n\nQ3 sales were $1M.".to_vec());
//! let options = ingestor.default_options();
//! ingestor.ingest_fetched(&collection, "upload:q3.md", report, &Metadata::new(), &options, None).await?;
//!
//! let retriever = HybridRetriever::new(store, embedder, cache);
//! let hits = retriever.retrieve(RetrieveQuery::new(collection, "What were the Q3 sales?")).await?;
//! assert!(hits[0].content.contains("$1M"));
//! assert_eq!(hits[0].source.heading, ["Sales"]);
//! # operone_core::Result::<()>::Ok(()) }).unwrap();
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod chunk;
pub mod eval;
pub mod ingest;
pub mod parse;

mod hybrid;
mod language;
mod rerank;
mod tools;
mod vectors;

pub use hybrid::{HybridConfig, HybridRetriever};
pub use rerank::LexicalReranker;
pub use tools::search_tool;
