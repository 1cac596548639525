//! The contract of an embedder: texts to vectors, with the tokenizer that counts its tokens.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Turns texts into vectors whose cosine tells how alike they are.
#[async_trait]
pub trait Embedder: fmt::Debug + Send + Sync + 'static {
    /// The id, the dimension and the window. Constant.
    fn info(&self) -> EmbedderInfo;

    /// The tokenizer whose tokens `chunk_size` counts.
    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    /// One entry per text, in order: a vector of the dimension and of length 1, or `None` for a text that
    /// has no meaning to this embedder (an empty one, say).
    ///
    /// - The same text gives the same vector, alone or in a batch.
    /// - Text beyond the window is not read.
    /// - Either all texts are answered or the call fails.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>>;
}

/// What an index must know of its embedder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbedderInfo {
    /// Names model, tokenizer and weighting; another id means vectors that cannot be compared.
    pub id: String,
    /// How many components a vector has.
    pub dimension: usize,
    /// How many tokens of a text are read.
    pub window: usize,
    /// How it comes by its vectors.
    #[serde(default)]
    pub kind: EmbedderKind,
}

impl EmbedderInfo {
    /// An embedder that is a model.
    pub fn new(id: impl Into<String>, dimension: usize, window: usize) -> Self {
        Self { id: id.into(), dimension, window, kind: EmbedderKind::Model }
    }

    /// Sets how it comes by its vectors.
    #[must_use]
    pub fn with_kind(mut self, kind: EmbedderKind) -> Self {
        self.kind = kind;
        self
    }
}

/// How an embedder comes by its vectors, which says how far they may be trusted beside words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmbedderKind {
    /// It hashes words and parts of words: it knows no meaning.
    Hashing,
    /// It averages one fixed vector per token: it knows words that mean the same, but not their context.
    Static,
    /// It reads the whole text.
    #[default]
    Model,
}

/// Splits a text into the tokens of a model.
pub trait Tokenizer: fmt::Debug + Send + Sync + 'static {
    /// The tokenizer's id, kept with an index.
    fn id(&self) -> String;

    /// The byte range of each token in `text`, in order, not overlapping, on character boundaries; takes
    /// time linear in the text.
    fn spans(&self, text: &str) -> Vec<Range<usize>>;
}
