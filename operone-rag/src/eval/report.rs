//! What an evaluation found, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// A way of retrieving that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvalMode {
    /// Words alone.
    Lexical,
    /// Vectors alone.
    Dense,
    /// Both, fused, without a reranker.
    Hybrid,
    /// Both, fused and reranked.
    Rerank,
}

impl EvalMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Lexical, Self::Dense, Self::Hybrid, Self::Rerank];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Dense => "dense",
            Self::Hybrid => "hybrid",
            Self::Rerank => "rerank",
        }
    }
}

/// The figures of one mode: means over the queries, and the time of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Normalised discounted cumulative gain of the first 10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// The share of the relevant documents among the first 10.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// The share of the relevant documents among the first 100.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// The mean of one by the rank of the first relevant document, of the first 100.
    pub mrr: f64,
    /// Half of the queries took at most so many milliseconds, each alone, no answer or vector from a cache.
    pub p50_ms: f64,
    /// 99 of 100 queries took at most so many milliseconds.
    pub p99_ms: f64,
}

/// What an evaluation found. As text it is a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvalReport {
    /// The figures of each mode.
    pub modes: BTreeMap<EvalMode, Figures>,
    /// How many documents the collection has, those without any text included.
    pub documents: usize,
    /// How many queries were asked.
    pub queries: usize,
    /// How many chunks the documents gave.
    pub chunks: usize,
    /// The embedder's id.
    pub embedder: String,
}

impl fmt::Display for EvalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { documents, queries, chunks, embedder, .. } = self;
        writeln!(f, "{documents} documents in {chunks} chunks, {queries} queries, embedder {embedder}")?;
        write!(f, "{:8} {:>8} {:>10} {:>11} {:>7}", "mode", "nDCG@10", "recall@10", "recall@100", "MRR")?;
        write!(f, " {:>8} {:>8}", "p50 ms", "p99 ms")?;
        for (mode, figures) in &self.modes {
            let Figures { ndcg_at_10, recall_at_10, recall_at_100, mrr, p50_ms, p99_ms } = figures;
            write!(f, "\n{:8} {ndcg_at_10:8.4} {recall_at_10:10.4}", mode.as_str())?;
            write!(f, " {recall_at_100:11.4} {mrr:7.4} {p50_ms:8.2} {p99_ms:8.2}")?;
        }
        Ok(())
    }
}
