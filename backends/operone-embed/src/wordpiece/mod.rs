//! WordPiece, the tokenizer of the BERT family: words, and where the vocabulary lacks a word its longest parts.

mod characters;
mod vocabulary;

use std::ops::{ControlFlow, Range};

use characters::Kind;

pub(crate) use characters::Folding;
pub(crate) use vocabulary::Vocabulary;

/// Longer words are not looked up.
const LONGEST_WORD: usize = 100;
/// How many characters of a word that is too long count as a token.
const CHARACTERS_PER_TOKEN: usize = 4;

/// A vocabulary and how texts are folded before they are looked up in it.
#[derive(Clone, Debug)]
pub(crate) struct WordPiece {
    vocabulary: Vocabulary,
    folding: Folding,
}

/// A token and where in the text it stands; an empty place if it shares its character with the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) id: u32,
    pub(crate) span: Range<usize>,
}

impl WordPiece {
    pub(crate) fn new(vocabulary: Vocabulary, folding: Folding) -> Self {
        Self { vocabulary, folding }
    }

    pub(crate) fn unknown(&self) -> u32 {
        self.vocabulary.unknown()
    }

    /// The places of the tokens that have one. A word that is too long to be looked up counts by its length, so
    /// that a text has tokens in proportion to its length.
    pub(crate) fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        self.pieces(text, |Piece { id, span }| {
            if id == self.unknown() && span.len() > LONGEST_WORD {
                cut(text, span, &mut spans);
            } else if !span.is_empty() {
                spans.push(span);
            }
            ControlFlow::Continue(())
        });
        spans
    }

    /// Hands over the tokens of `text` in order, until `each` breaks.
    pub(crate) fn pieces(&self, text: &str, mut each: impl FnMut(Piece) -> ControlFlow<()>) {
        let mut word = Word::default();
        for (start, character) in text.char_indices() {
            let place = start..start + character.len_utf8();
            let kind = self.folding.kind(character);
            if kind == Kind::Dropped {
                continue;
            }
            if kind != Kind::Part && self.end(&mut word, &mut each).is_break() {
                return;
            }
            if kind != Kind::Space {
                self.folding.fold(character, |folded| word.push(folded, &place));
            }
            if kind == Kind::Alone && self.end(&mut word, &mut each).is_break() {
                return;
            }
        }
        let _ = self.end(&mut word, &mut each);
    }

    /// Looks up a word that ended, and empties it.
    fn end(&self, word: &mut Word, each: &mut impl FnMut(Piece) -> ControlFlow<()>) -> ControlFlow<()> {
        let flow = self.look_up(word, each);
        word.clear();
        flow
    }

    fn look_up(&self, word: &mut Word, each: &mut impl FnMut(Piece) -> ControlFlow<()>) -> ControlFlow<()> {
        let (Some(first), Some(last)) = (word.characters.first(), word.characters.last()) else {
            return ControlFlow::Continue(());
        };
        let whole = first.place.start..last.place.end;
        if word.characters.len() > LONGEST_WORD || !self.split(word) {
            return each(Piece { id: self.unknown(), span: whole });
        }
        let mut end = whole.start;
        for (id, characters) in word.found.drain(..) {
            let places = word.characters.get(characters).unwrap_or_default();
            let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
            let start = first.place.start.max(end);
            end = last.place.end.max(end);
            each(Piece { id, span: start..end })?;
        }
        ControlFlow::Continue(())
    }

    /// Finds the longest parts from the left, or that there are none.
    fn split(&self, word: &mut Word) -> bool {
        word.found.clear();
        let count = word.characters.len();
        let mut from = 0;
        while let Some(start) = word.characters.get(from).map(|character| character.at) {
            let most = count.min(from + self.vocabulary.longest());
            let longest = (from + 1..=most).rev().find_map(|to| {
                let end = word.characters.get(to).map_or(word.text.len(), |character| character.at);
                let part = word.text.get(start..end)?;
                let found = match from {
                    0 => self.vocabulary.begin(part),
                    _ => self.vocabulary.continued(part),
                };
                found.map(|id| (id, to))
            });
            let Some((id, to)) = longest else { return false };
            word.found.push((id, from..to));
            from = to;
        }
        true
    }
}

/// A folded word and where each of its characters comes from.
#[derive(Debug, Default)]
struct Word {
    text: String,
    characters: Vec<Character>,
    found: Vec<(u32, Range<usize>)>,
}

#[derive(Debug)]
struct Character {
    /// Where it begins in the folded word.
    at: usize,
    /// The character of the text that it comes from.
    place: Range<usize>,
}

impl Word {
    fn push(&mut self, character: char, place: &Range<usize>) {
        // What is too long to be looked up need not be kept, only where it ends.
        if self.characters.len() > LONGEST_WORD
            && let Some(last) = self.characters.last_mut()
        {
            last.place.end = place.end;
            return;
        }
        self.characters.push(Character { at: self.text.len(), place: place.clone() });
        self.text.push(character);
    }

    fn clear(&mut self) {
        self.text.clear();
        self.characters.clear();
        self.found.clear();
    }
}

/// Cuts a long word into tokens of a few characters.
fn cut(text: &str, word: Range<usize>, spans: &mut Vec<Range<usize>>) {
    let start = word.start;
    let mut from = start;
    let characters = text.get(word.clone()).unwrap_or_default().char_indices();
    for (at, _) in characters.skip(CHARACTERS_PER_TOKEN).step_by(CHARACTERS_PER_TOKEN) {
        spans.push(from..start + at);
        from = start + at;
    }
    spans.push(from..word.end);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a broken promise fails the test")]
mod tests {
    use std::borrow::Cow;

    use serde_json::Value;

    use super::*;

    fn uncased() -> WordPiece {
        let tokens = include_str!("../../table/vocabulary.txt").lines().map(Cow::Borrowed).zip(0..);
        WordPiece::new(Vocabulary::new(tokens, "##", 100), Folding::UNCASED)
    }

    fn pieces(text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        uncased().pieces(text, |piece| {
            pieces.push(piece);
            ControlFlow::Continue(())
        });
        pieces
    }

    fn recorded() -> Vec<Value> {
        serde_json::from_str(include_str!("../../tests/embed/tokens.json")).unwrap()
    }

    #[test]
    fn the_tokens_are_those_of_the_python_tokenizer() {
        for entry in recorded() {
            let text = entry["text"].as_str().unwrap();
            let ids: Vec<Value> = pieces(text).iter().map(|piece| piece.id.into()).collect();
            assert_eq!(Value::from(ids), entry["ids"], "{text:?}");
        }
    }

    #[test]
    fn the_places_are_those_of_the_python_tokenizer() {
        for entry in recorded() {
            let text = entry["text"].as_str().unwrap();
            let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            bytes.push(text.len());
            let mut end = 0;
            let places = entry["characters"].as_array().unwrap().iter().map(|place| {
                let at = |side: usize| bytes[usize::try_from(place[side].as_u64().unwrap()).unwrap()];
                // Several tokens from one character: only the first has a place of its own.
                let start = at(0).max(end);
                end = at(1);
                start..end
            });
            let places: Vec<Range<usize>> = places.collect();
            let ours: Vec<Range<usize>> = pieces(text).into_iter().map(|piece| piece.span).collect();
            assert_eq!(ours, places, "{text:?}");
        }
    }

    #[test]
    fn a_reader_stops_where_it_wants() {
        let mut read = 0;
        uncased().pieces("one two three, four", |_| {
            read += 1;
            if read == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(read, 2);
    }

    #[test]
    fn a_word_too_long_to_be_looked_up_counts_by_its_length() {
        let text = format!("a {} b", "é".repeat(1001));
        let spans = uncased().spans(&text);
        assert_eq!(spans.len(), 2 + 251);
        assert_eq!(spans.iter().map(|span| span.len()).sum::<usize>(), text.len() - 2);
        assert_eq!(pieces(&text).len(), 3);
    }
}
