//! An embedder with one fixed vector per token: a text's vector is the sum of those of its tokens.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::embed::{Embedder, EmbedderInfo, EmbedderKind, Tokenizer};
use operone_core::error::Result;
use operone_core::text::normalize;

use crate::wordpiece::{Folding, Vocabulary, WordPiece};

/// Names the table, its tokenizer and its weighting. A new table is a new id.
const ID: &str = "static-minilm-256-1";
/// How many components a vector has.
pub(crate) const DIMENSION: usize = 256;
/// The token of the vocabulary that stands for what is not in it.
const UNKNOWN: u32 = 100;
/// How many tokens of a text are read.
const WINDOW: usize = 8192;

/// One token per line; the number of the line is its id.
const VOCABULARY: &str = include_str!("../table/vocabulary.txt");
/// By how much the components of a token are multiplied, as little-endian `f32`.
const SCALES: &[u8] = include_bytes!("../table/scales.f32");
/// The components of the tokens as `i8`, one token after the other.
const COMPONENTS: &[u8] = include_bytes!("../table/components.i8");

/// The bundled table, distilled from all-MiniLM-L6-v2. Clones share it.
///
/// Each token has one vector, whatever stands beside it: "car" is near "automobile", but a "bank" of money and
/// one of a river are the same. Function words count little. A text without a known token is `None`. The same
/// text gives the same vector on every platform. English only: what the vocabulary lacks is not read.
#[derive(Clone, Debug)]
pub struct StaticEmbedder {
    pieces: Arc<WordPiece>,
}

impl StaticEmbedder {
    /// Reads the vocabulary, which takes a few milliseconds. The vectors stay where the program has them.
    pub fn bundled() -> Self {
        let tokens = VOCABULARY.lines().zip(0..).map(|(token, id)| (Cow::Borrowed(token), id));
        let vocabulary = Vocabulary::new(tokens, "##", UNKNOWN);
        Self { pieces: Arc::new(WordPiece::new(vocabulary, Folding::UNCASED)) }
    }

    fn vector(&self, text: &str) -> Option<Vec<f32>> {
        let mut sum = [0.0_f32; DIMENSION];
        let mut read = 0;
        self.pieces.pieces(text, |piece| {
            add(piece.id, &mut sum);
            read += 1;
            if read < WINDOW { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        normalize(sum.to_vec())
    }
}

#[async_trait]
impl Embedder for StaticEmbedder {
    fn info(&self) -> EmbedderInfo {
        EmbedderInfo::new(ID, DIMENSION, WINDOW).with_kind(EmbedderKind::Static)
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(self.clone())
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for text in texts {
            vectors.push(self.vector(text));
            tokio::task::yield_now().await;
        }
        Ok(vectors)
    }
}

impl Tokenizer for StaticEmbedder {
    fn id(&self) -> String {
        "wordpiece-uncased-30522".into()
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        self.pieces.spans(text)
    }
}

/// Adds the vector of a token; one that the table does not have, or what is unknown, adds nothing.
fn add(token: u32, sum: &mut [f32; DIMENSION]) {
    let Ok(token) = usize::try_from(token) else { return };
    let (scales, _) = SCALES.as_chunks::<4>();
    let (rows, _) = COMPONENTS.as_chunks::<DIMENSION>();
    let (Some(scale), Some(row)) = (scales.get(token), rows.get(token)) else { return };
    let scale = f32::from_le_bytes(*scale);
    for (component, value) in sum.iter_mut().zip(row) {
        *component += scale * f32::from(value.cast_signed());
    }
}
