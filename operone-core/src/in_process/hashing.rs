//! An embedder without a model: it hashes words and parts of words into a fixed number of components.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use unicode_segmentation::UnicodeSegmentation;

use crate::embed::{Embedder, EmbedderInfo, EmbedderKind, Tokenizer};
use crate::error::Result;
use crate::text::{Analyser, floor_char_boundary, normalize};

/// How many tokens of a text are read.
const WINDOW: usize = 8192;

/// What a part of a word counts against a whole one.
const GRAM_WEIGHT: f32 = 0.35;

/// Texts that share words, or words that share parts, get vectors that point the same way.
///
/// Signed feature hashing of the analysed terms and of their character 3- and 4-grams; what occurs often counts
/// by the square root of its number. It knows nothing of meaning: "car" and "automobile" have nothing in common.
/// The same text gives the same vector on every platform. A text without any word is `None`.
#[derive(Clone, Debug)]
pub struct HashingEmbedder {
    dimension: usize,
}

impl HashingEmbedder {
    /// An embedder whose vectors have `dimension` components, one at least.
    pub fn new(dimension: usize) -> Self {
        Self { dimension: dimension.max(1) }
    }

    fn vector(&self, text: &str) -> Option<Vec<f32>> {
        let text = WordTokenizer.up_to(text, WINDOW);
        // In the order of their hashes, so that sums are rounded the same way everywhere.
        let mut features: BTreeMap<u64, (u32, f32)> = BTreeMap::new();
        let mut add = |kind: u8, feature: &str, weight: f32| {
            features.entry(hash(kind, feature)).or_insert((0, weight)).0 += 1;
        };
        for term in Analyser.terms(text) {
            add(b'w', &term, 1.0);
            let bounded: Vec<char> = std::iter::once('<').chain(term.chars()).chain(['>']).collect();
            for size in [3, 4] {
                for gram in bounded.windows(size) {
                    add(b'g', &gram.iter().collect::<String>(), GRAM_WEIGHT);
                }
            }
        }
        let mut vector = vec![0.0_f32; self.dimension];
        for (hash, (count, weight)) in features {
            let place = usize::try_from((hash >> 1) % self.dimension as u64).unwrap_or_default();
            if let Some(component) = vector.get_mut(place) {
                let value = weight * (count as f32).sqrt();
                *component += if hash & 1 == 0 { value } else { -value };
            }
        }
        normalize(vector)
    }
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn info(&self) -> EmbedderInfo {
        EmbedderInfo::new(format!("hashing-v1-{}", self.dimension), self.dimension, WINDOW)
            .with_kind(EmbedderKind::Hashing)
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::new(WordTokenizer)
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

/// Cuts a text into Unicode words and single marks; white space belongs to no token.
///
/// A word of more than 12 bytes is cut into tokens of at most 12, on character boundaries, so that a text
/// without spaces has tokens in proportion to its length.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordTokenizer;

impl WordTokenizer {
    const MAX_TOKEN: usize = 12;

    /// The begin of `text` that has at most `tokens` tokens.
    fn up_to<'a>(&self, text: &'a str, tokens: usize) -> &'a str {
        match self.tokens(text).nth(tokens) {
            Some(next) => text.get(..next.start).unwrap_or(text),
            None => text,
        }
    }

    fn tokens<'a>(&self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        text.split_word_bound_indices()
            .filter(|(_, word)| !word.chars().all(char::is_whitespace))
            .flat_map(|(start, word)| pieces(start, word))
    }
}

impl Tokenizer for WordTokenizer {
    fn id(&self) -> String {
        "words-12-v1".into()
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        self.tokens(text).collect()
    }
}

/// Cuts a word that starts at `start` into pieces of at most [`WordTokenizer::MAX_TOKEN`] bytes.
fn pieces(start: usize, word: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut begin = 0;
    std::iter::from_fn(move || {
        if begin == word.len() {
            return None;
        }
        let end = floor_char_boundary(word, begin + WordTokenizer::MAX_TOKEN);
        let piece = start + begin..start + end;
        begin = end;
        Some(piece)
    })
}

/// FNV-1a of the kind and the text, its bits mixed so that each depends on all.
fn hash(kind: u8, text: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in std::iter::once(kind).chain(text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        WordTokenizer.spans(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn tokens_are_words_marks_and_pieces_of_long_words() {
        assert_eq!(tokens(" It's 3.5%, ok?! "), ["It's", "3.5", "%", ",", "ok", "?", "!"]);
        assert_eq!(tokens("internationalisation"), ["internationa", "lisation"]);
        assert_eq!(tokens(&"é".repeat(7)), ["éééééé", "é"]);
        assert_eq!(tokens(" \n\u{a0} "), Vec::<&str>::new());
    }

    #[test]
    fn vectors_are_the_same_on_every_platform() {
        let vector = HashingEmbedder::new(4).vector("dark mode").unwrap();
        let rounded: Vec<i32> = vector.iter().map(|x| (x * 1e4).round() as i32).collect();
        assert_eq!(rounded, GOLDEN, "a change of these numbers needs a new id");
    }

    const GOLDEN: [i32; 4] = [-2121, 3181, 0, 9240];

    #[test]
    fn texts_without_a_word_have_no_vector() {
        let embedder = HashingEmbedder::new(64);
        assert_eq!(embedder.vector(""), None);
        assert_eq!(embedder.vector(" …?! "), None);
    }

    #[test]
    fn shared_words_and_parts_of_words_bring_texts_together() {
        let embedder = HashingEmbedder::new(256);
        let cosine = |a: &str, b: &str| -> f32 {
            let (a, b) = (embedder.vector(a).unwrap(), embedder.vector(b).unwrap());
            a.iter().zip(&b).map(|(x, y)| x * y).sum()
        };
        assert!(cosine("quarterly revenue", "revenue of the quarter") > 0.5);
        assert!(cosine("electrification", "electrified") > 0.3);
        assert!(cosine("quarterly revenue", "a cat on the sofa").abs() < 0.3);
    }
}
