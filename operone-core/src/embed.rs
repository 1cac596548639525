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
}

impl EmbedderInfo {
    /// The three facts.
    pub fn new(id: impl Into<String>, dimension: usize, window: usize) -> Self {
        Self { id: id.into(), dimension, window }
    }
}

/// Splits a text into the tokens of a model.
pub trait Tokenizer: fmt::Debug + Send + Sync + 'static {
    /// The tokenizer's id, kept with an index.
    fn id(&self) -> String;

    /// The byte range of each token in `text`, in order, not overlapping, on character boundaries; takes
    /// time linear in the text.
    fn spans(&self, text: &str) -> Vec<Range<usize>>;
}
