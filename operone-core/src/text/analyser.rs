//! Turns text into terms: words in lower case, without stop words, reduced to their stems.

use unicode_segmentation::UnicodeSegmentation;

use super::boundary::floor_char_boundary;
use super::language::{Language, Stems};

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
/// neighbouring characters. Words are reduced to their stems by Snowball's stemmer of the language.
#[derive(Clone, Copy, Debug, Default)]
pub struct Analyser;

impl Analyser {
    /// Names the rules; terms of another id cannot be compared.
    pub const ID: &'static str = "words-2";

    /// The terms of an English text in order, repeated as often as they occur. A text of nothing but stop words keeps
    /// them, so that "to be or not to be" can be found. Words that are not of ASCII letters are kept as they are.
    pub fn terms(&self, text: &str) -> Vec<String> {
        let stems = Stems::of(Language::English);
        let mut terms = Vec::new();
        for_each_word(text, |word| {
            if !is_stop_word(word) {
                terms.push(stems.stem(word).into_owned());
            }
        });
        if terms.is_empty() {
            for_each_word(text, |word| terms.push(stems.stem(word).into_owned()));
        }
        terms
    }

    /// As [`Analyser::terms`], for a text in a language. Only of English are stop words known.
    pub fn terms_in(&self, language: Language, text: &str) -> Vec<String> {
        if language == Language::English {
            return self.terms(text);
        }
        let stems = Stems::of(language);
        let mut terms = Vec::new();
        for_each_word(text, |word| terms.push(stems.stem(word).into_owned()));
        terms
    }

    /// The terms by which a query finds texts of every language: for each word its different stems, that of English
    /// first. A text has the stems of its own language alone, so that no word counts twice there, and languages that
    /// share their letters do not share their stems.
    pub fn query_terms(&self, query: &str) -> Vec<String> {
        let stems = Language::ALL.map(Stems::of);
        let mut words = Vec::new();
        for_each_word(query, |word| words.push(word.to_owned()));
        if words.iter().any(|word| !is_stop_word(word)) {
            words.retain(|word| !is_stop_word(word));
        }
        let mut terms = Vec::new();
        for word in &words {
            let begin = terms.len();
            for stem in stems.iter().map(|stems| stems.stem(word)) {
                if terms.iter().skip(begin).all(|term| *term != stem) {
                    terms.push(stem.into_owned());
                }
            }
        }
        terms
    }

    /// Tells for each place in [`Analyser::terms`] of a text that holds one of `terms` the place and the index in
    /// `terms`, and gives the number of places. Much faster than looking through the terms.
    pub fn find(&self, text: &str, terms: &[String], mut found: impl FnMut(usize, usize)) -> usize {
        let stems = Stems::of(Language::English);
        let mut look = |place: usize, word: &str| {
            if !terms.iter().any(|term| may_become(word, term)) {
                return;
            }
            let stem = stems.stem(word);
            if let Some(term) = terms.iter().position(|term| *term == stem) {
                found(place, term);
            }
        };
        let mut places = 0;
        for_each_word(text, |word| {
            if !is_stop_word(word) {
                look(places, word);
                places += 1;
            }
        });
        if places == 0 {
            for_each_word(text, |word| {
                look(places, word);
                places += 1;
            });
        }
        places
    }
}

/// Whether a word may have this stem: stems begin as their words do, but for "dying", "lying" and "tying".
fn may_become(word: &str, stem: &str) -> bool {
    let (word, stem) = (word.as_bytes(), stem.as_bytes());
    word.first() == stem.first() && (word.get(1) == stem.get(1) || word.ends_with(b"ying"))
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Calls `found` with each word in lower case.
fn for_each_word(text: &str, mut found: impl FnMut(&str)) {
    let mut run: Vec<char> = Vec::new();
    let mut lower = String::new();
    for_each_unicode_word(text, |word| {
        let mut chars = word.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) if is_unspaced(only) => run.push(only),
            (Some(first), _) if is_unspaced(first) => run.extend(word.chars()),
            _ => {
                pairs(&mut run, &mut found);
                set_lower(word, &mut lower);
                found(&lower);
            }
        }
    });
    pairs(&mut run, &mut found);
}

/// The words by UAX #29. It breaks at every white space, and of ASCII little is left of it.
fn for_each_unicode_word<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    for token in text.split_ascii_whitespace() {
        if token.is_ascii() {
            for_each_ascii_word(token, &mut found);
        } else {
            token.unicode_words().for_each(&mut found);
        }
    }
}

/// Letters, digits and underscores, and between two letters or two digits some punctuation.
fn for_each_ascii_word<'a>(text: &'a str, found: &mut impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let joins = |place: usize| {
        let (before, after) = (at(place.wrapping_sub(1)), at(place + 1));
        match at(place) {
            b'.' | b'\'' if before.is_ascii_digit() && after.is_ascii_digit() => true,
            b'.' | b'\'' | b':' => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
            b',' | b';' => before.is_ascii_digit() && after.is_ascii_digit(),
            _ => false,
        }
    };
    let mut end = 0;
    while let Some(skipped) = bytes.get(end..).and_then(|rest| rest.iter().position(|byte| is_part(*byte))) {
        let begin = end + skipped;
        end = begin;
        while is_part(at(end)) || joins(end) {
            end += 1;
        }
        let word = text.get(begin..end).unwrap_or_default();
        if word.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            found(word);
        }
    }
}

fn set_lower(word: &str, lower: &mut String) {
    lower.clear();
    if word.is_ascii() {
        lower.push_str(word);
        lower.make_ascii_lowercase();
    } else {
        // The whole of it: what a letter becomes may depend on its neighbours.
        lower.push_str(&word.to_lowercase().replace('\u{2019}', "'"));
    }
    if let Some(end) = lower.strip_suffix("'s").map(str::len) {
        lower.truncate(end);
    }
    lower.truncate(floor_char_boundary(lower, MAX_TERM));
}

fn pairs(run: &mut Vec<char>, found: &mut impl FnMut(&str)) {
    match run.as_slice() {
        [] => return,
        [only] => found(only.encode_utf8(&mut [0; 4])),
        several => {
            for pair in several.windows(2) {
                found(&pair.iter().collect::<String>());
            }
        }
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
    fn a_query_finds_texts_of_every_language() {
        for (language, text, query) in [
            (Language::German, "Die Wärmeübertragungen der Flügel", "Wärmeübertragung"),
            (Language::French, "les chevaux généralement", "cheval général"),
            (Language::Russian, "важнейшие решения", "решение"),
            (Language::Other, "najważniejsze decyzje", "decyzje"),
            (Language::English, "The user's preferences", "prefers"),
        ] {
            let terms = Analyser.terms_in(language, text);
            let asked = Analyser.query_terms(query);
            assert!(asked.iter().any(|term| terms.contains(term)), "{terms:?} {asked:?}");
        }
        assert_eq!(Analyser.query_terms("to be or not to be")[0], "to");
        let wing = Analyser.query_terms("the wing");
        assert!(
            wing[0] == "wing"
                && wing.contains(&"wing@de".to_owned())
                && wing.iter().all(|term| term != "the")
        );
        assert!(Analyser.query_terms("?!").is_empty());
    }

    #[test]
    fn scripts_without_spaces_become_pairs() {
        assert_eq!(terms("人人生而自由"), ["人人", "人生", "生而", "而自", "自由"]);
        assert_eq!(terms("Größe und Maß"), ["größe", "und", "maß"]);
    }

    /// Texts of letters, digits and what may stand between them.
    fn random_texts() -> impl Iterator<Item = String> {
        const CHARACTERS: [&str; 20] = [
            "a", "B", "s", "7", "0", "_", ".", "'", ":", ",", ";", "-", " ", "\n", "é", "\u{308}",
            "\u{2019}", "人", "ป", "\u{200d}",
        ];
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        (0..20_000).map(move |round| {
            let kinds = if round % 2 == 0 { 14 } else { CHARACTERS.len() };
            (0..next() % 12).map(|_| CHARACTERS[next() % kinds]).collect()
        })
    }

    #[test]
    fn words_are_those_of_the_standard() {
        for text in random_texts() {
            let mut found = Vec::new();
            for_each_unicode_word(&text, |word| found.push(word));
            assert_eq!(found, text.unicode_words().collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn what_is_found_is_what_stands_in_the_terms() {
        let words = "dying lying tying skies news happy hopping conflated agreed cities dies only to be or not \
                     generalization communism inning early ugliest proceed by cry's flies user's ends";
        let mut texts: Vec<String> = random_texts().take(500).collect();
        for suffix in ["", "s", "ed", "ing", "ly", "ational", "fulness", "y", "ies", "'s", "eed", "izer"] {
            texts.push(words.split(' ').map(|word| format!("{word}{suffix} ")).collect());
        }
        texts.push("to be or not to be".into());
        let every: Vec<String> = texts.iter().flat_map(|text| terms(text)).collect();
        for text in &texts {
            let mut found = Vec::new();
            let places = Analyser.find(text, &every, |place, term| found.push((place, every[term].clone())));
            let expected: Vec<(usize, String)> = terms(text).into_iter().enumerate().collect();
            assert_eq!((places, found), (expected.len(), expected), "{text:?}");
        }
    }

    #[test]
    fn a_word_without_end_is_cut() {
        assert!(terms(&"é".repeat(10_000)).iter().all(|term| term.len() <= MAX_TERM));
    }
}
