//! What reading a page leaves wrong in its words: hyphens of line ends, ligatures of Arabic, lost spaces.

use std::collections::HashSet;

/// Words after a hyphen that belong to another word: `pre- and postwar`.
const BETWEEN: [&str; 16] = [
    "and", "or", "to", "nor", "versus", "und", "oder", "bis", "sowie", "et", "ou", "y", "o", "e", "en", "of",
];

/// The words of a document, which tell whether a hyphen at a line's end belongs to its word.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: HashSet<String>,
}

impl Vocabulary {
    pub(super) fn add(&mut self, text: &str) {
        let is_part = |c: char| c.is_alphanumeric() || is_hyphen(c);
        for word in text.split(|c: char| !is_part(c)).filter(|word| !word.is_empty()) {
            // With `word-` at a line's end nothing is known.
            if !word.ends_with(is_hyphen) {
                self.words.insert(word.to_lowercase().replace('\u{2010}', "-"));
            }
        }
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word.to_lowercase())
    }

    /// The text with the words whole again that were divided at a line's end. The hyphen stays where the document
    /// writes the word with one elsewhere, or where both halves are words of it and the whole is not.
    pub(super) fn join(&self, text: &str) -> String {
        let mut joined = String::with_capacity(text.len());
        let mut done = 0;
        for (at, hyphen) in text.match_indices(is_hyphen) {
            let (before, after) =
                (text.get(done..at).unwrap_or_default(), text.get(at + hyphen.len()..).unwrap_or_default());
            let left = word_at_end(before);
            let Some(rest) = after.strip_prefix([' ', '\n']) else { continue };
            let right = word_at_begin(rest);
            let divides = left.chars().count() > 1
                && right.chars().count() > 1
                && left.chars().all(char::is_alphabetic)
                && right.starts_with(char::is_lowercase)
                && !BETWEEN.contains(&right);
            if !divides {
                continue;
            }
            joined.push_str(before);
            let (whole, compound) = (format!("{left}{right}"), format!("{left}-{right}"));
            if !self.has(&whole) && (self.has(&compound) || self.has(left) && self.has(right)) {
                joined.push('-');
            }
            done = at + hyphen.len() + 1;
        }
        joined.push_str(text.get(done..).unwrap_or_default());
        joined
    }
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}')
}

fn word_at_end(text: &str) -> &str {
    let begin = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric())
        .last()
        .map_or(text.len(), |(at, _)| at);
    text.get(begin..).unwrap_or_default()
}

fn word_at_begin(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}

/// Takes out soft hyphens together with the line's end after them; elsewhere they are left out as what is not seen.
pub(super) fn without_soft_hyphens(text: &str) -> String {
    text.replace("\u{ad}\n", "").replace("\u{ad} ", "")
}

/// Puts right what is lost when a line from right to left is turned round: the letters of the ligature of lam and alef,
/// where two alefs in a row, which no word has, tell that they are swapped; and the space after a word in Latin
/// letters.
pub(super) fn right_to_left(text: &str) -> String {
    const ALEFS: [char; 4] = ['\u{627}', '\u{623}', '\u{625}', '\u{622}'];
    if !text.contains(is_right_to_left) {
        return text.to_owned();
    }
    let mut repaired: Vec<char> = Vec::with_capacity(text.len() / 2);
    for c in text.chars() {
        match *repaired {
            [.., '\u{627}', alef] if c == '\u{644}' && ALEFS.contains(&alef) => {
                repaired.pop();
                repaired.extend([c, alef]);
            }
            [.., last] if last.is_ascii_alphabetic() && is_right_to_left(c) => repaired.extend([' ', c]),
            [.., before, ' '] if matches!(c, '.' | '،' | '؟') && is_right_to_left(before) => {
                repaired.pop();
                repaired.push(c);
            }
            _ => repaired.push(c),
        }
    }
    repaired.into_iter().collect()
}

/// Letters of Hebrew and Arabic.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{5d0}'..='\u{5f2}' | '\u{620}'..='\u{64a}' | '\u{66e}'..='\u{6d3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(text: &str) -> String {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add(text);
        vocabulary.join(text)
    }

    #[test]
    fn words_divided_at_line_ends_are_whole_again() {
        assert_eq!(join("an effi- cient and im-\nproved in\u{2010} dex"), "an efficient and improved index");
        assert_eq!(
            join("pre- and postwar, 5- fold, A- b, Jean- Paul, x - y"),
            "pre- and postwar, 5- fold, A- b, Jean- Paul, x - y"
        );
    }

    #[test]
    fn a_hyphen_of_the_word_itself_stays() {
        assert_eq!(join("a long-term plan, a long- term loan"), "a long-term plan, a long-term loan");
        assert_eq!(
            join("open data and a domain: open- domain questions"),
            "open data and a domain: open-domain questions"
        );
        assert_eq!(join("anyone, any one; any- one"), "anyone, any one; anyone");
    }

    #[test]
    fn soft_hyphens_end_lines_without_a_trace() {
        assert_eq!(
            without_soft_hyphens("op\u{ad}\ntional hy\u{ad} phen x\u{ad}y"),
            "optional hyphen x\u{ad}y"
        );
    }

    #[test]
    fn turned_ligatures_and_lost_spaces_of_lines_from_right_to_left() {
        assert_eq!(right_to_left("اإلنتاجية االستفادة"), "الإنتاجية الاستفادة");
        assert_eq!(right_to_left("لغة Pythonمن العمل ."), "لغة Python من العمل.");
        assert_eq!(right_to_left("plain text . ok"), "plain text . ok");
    }
}
