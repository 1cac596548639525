//! Turns text into terms: words in lower case, without stop words, reduced to their stems.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// Words so frequent in English that they tell nothing about a text.
const STOP_WORDS: [&str; 127] = [
    "a",
    "about",
    "above",
    "after",
    "again",
    "against",
    "all",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "below",
    "between",
    "both",
    "but",
    "by",
    "can",
    "did",
    "do",
    "does",
    "doing",
    "don",
    "down",
    "during",
    "each",
    "few",
    "for",
    "from",
    "further",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "here",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "me",
    "more",
    "most",
    "my",
    "myself",
    "no",
    "nor",
    "not",
    "now",
    "of",
    "off",
    "on",
    "once",
    "only",
    "or",
    "other",
    "our",
    "ours",
    "ourselves",
    "out",
    "over",
    "own",
    "s",
    "same",
    "she",
    "should",
    "so",
    "some",
    "such",
    "t",
    "than",
    "that",
    "the",
    "their",
    "theirs",
    "them",
    "themselves",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "to",
    "too",
    "under",
    "until",
    "up",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "why",
    "will",
    "with",
    "you",
    "your",
    "yours",
    "yourself",
    "yourselves",
];

/// The longest term in bytes; longer words are cut, so that no input makes endless terms.
const MAX_TERM: usize = 64;

/// Turns text into terms. The terms of texts and of queries come from the same analyser.
///
/// Words follow UAX #29. Scripts without spaces (Chinese, Japanese, Thai and their like) become pairs of
/// neighbouring characters. English words are reduced to their stems by Snowball's English stemmer, the others
/// are kept as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Analyser;

impl Analyser {
    /// Names the rules; terms of another id cannot be compared.
    pub const ID: &'static str = "words-en-1";

    /// The terms in order, repeated as often as they occur. A text of nothing but stop words keeps them, so
    /// that "to be or not to be" can be found.
    pub fn terms(&self, text: &str) -> Vec<String> {
        let words = words(text);
        let telling: Vec<&String> = words.iter().filter(|word| !is_stop_word(word)).collect();
        let kept = if telling.is_empty() { words.iter().collect() } else { telling };
        let stemmer = Stemmer::create(Algorithm::English);
        kept.into_iter().map(|word| stem(&stemmer, word)).collect()
    }
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

fn stem(stemmer: &Stemmer, word: &str) -> String {
    if word.is_ascii() { stemmer.stem(word).into_owned() } else { word.to_owned() }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut run: Vec<char> = Vec::new();
    for word in text.unicode_words() {
        let mut chars = word.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) if is_unspaced(only) => run.push(only),
            (Some(first), _) if is_unspaced(first) => run.extend(word.chars()),
            _ => {
                pairs(&mut run, &mut words);
                push_word(word, &mut words);
            }
        }
    }
    pairs(&mut run, &mut words);
    words
}

fn push_word(word: &str, words: &mut Vec<String>) {
    let mut lower = word.to_lowercase().replace('\u{2019}', "'");
    if let Some(end) = lower.strip_suffix("'s").map(str::len) {
        lower.truncate(end);
    }
    let mut end = lower.len().min(MAX_TERM);
    while !lower.is_char_boundary(end) {
        end -= 1;
    }
    lower.truncate(end);
    words.push(lower);
}

fn pairs(run: &mut Vec<char>, words: &mut Vec<String>) {
    match run.as_slice() {
        [] => {}
        [only] => words.push(only.to_string()),
        several => words.extend(several.windows(2).map(|pair| pair.iter().collect())),
    }
    run.clear();
}

/// Scripts written without spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        Analyser.terms(text)
    }

    #[test]
    fn stop_words_are_in_order() {
        assert!(STOP_WORDS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn words_are_stemmed_and_stop_words_dropped() {
        assert_eq!(terms("The user's preferences"), ["user", "prefer"]);
        assert_eq!(terms("He prefers dark mode."), ["prefer", "dark", "mode"]);
        assert_eq!(terms("to be or not to be").len(), 6);
        assert!(terms("?! … 🙂").is_empty());
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(terms("人人生而自由"), ["人人", "人生", "生而", "而自", "自由"]);
        assert_eq!(terms("Größe und Maß"), ["größe", "und", "maß"]);
    }

    #[test]
    fn a_word_without_end_is_cut() {
        assert!(terms(&"é".repeat(10_000)).iter().all(|term| term.len() <= MAX_TERM));
    }
}
