//! How well retrieval finds what people judged relevant: a judged collection, run through a store, as figures.
//!
//! ```
//! use std::sync::Arc;
//! use operone_core::in_process::{HashingEmbedder, InProcessChunkStore, InProcessEmbeddingCache};
//! use operone_rag::HybridConfig;
//! use operone_rag::eval::{Dataset, EvalDocument, EvalMode, EvalQuery, Evaluation};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let dataset = Dataset::new(
//!     vec![EvalDocument::new("d1", "Sales", "Q3 sales were $1M."), EvalDocument::new("d2", "", "A cat sat.")],
//!     vec![EvalQuery::new("q1", "What were the sales?", [("d1", 1)])],
//! )?;
//! let embedder = Arc::new(HashingEmbedder::new(512));
//! let cache = Arc::new(InProcessEmbeddingCache::default());
//! let evaluation = Evaluation::new(Arc::new(InProcessChunkStore::default()), embedder, cache);
//! let report = evaluation.run(&dataset, &EvalMode::ALL, |_| {}).await?;
//! assert_eq!(report.modes[&EvalMode::Hybrid].ndcg_at_10, 1.0);
//! # operone_core::Result::<()>::Ok(()) }).unwrap();
//! ```

mod dataset;
mod evaluation;
mod metrics;
mod report;

pub use dataset::{Dataset, EvalDocument, EvalQuery};
pub use evaluation::{EvalProgress, Evaluation};
pub use metrics::{Judgements, Ranking};
pub use report::{EvalMode, EvalReport, Figures};
