//! What BERT does to characters before it looks words up: drops, folds, decomposes, and tells words apart.

use unicode_normalization::char::decompose_canonical;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Which of the steps a vocabulary was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folding {
    /// Control characters are dropped, and white space of any kind is a space.
    pub(crate) clean: bool,
    /// Each ideograph is a word.
    pub(crate) ideographs: bool,
    /// Characters are decomposed and lose their accents.
    pub(crate) strip_accents: bool,
    /// Characters become lower case.
    pub(crate) lowercase: bool,
}

impl Folding {
    /// What the uncased English models do.
    pub(crate) const UNCASED: Self =
        Self { clean: true, ideographs: true, strip_accents: true, lowercase: true };

    /// Hands over what becomes of a character that is no white space: nothing, itself, or several.
    pub(crate) fn fold(self, character: char, mut each: impl FnMut(char)) {
        if character.is_ascii() {
            each(if self.lowercase { character.to_ascii_lowercase() } else { character });
            return;
        }
        let mut lower = |character: char| {
            if self.lowercase { character.to_lowercase().for_each(&mut each) } else { each(character) }
        };
        if self.strip_accents {
            decompose_canonical(character, |part| {
                if part.general_category() != GeneralCategory::NonspacingMark {
                    lower(part);
                }
            });
        } else {
            lower(character);
        }
    }

    /// What a character of the text is.
    pub(crate) fn kind(self, character: char) -> Kind {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => Kind::Part,
            ' ' | '\t' | '\n' | '\r' => Kind::Space,
            _ if character.is_ascii_punctuation() => Kind::Alone,
            _ if self.clean && is_dropped(character) => Kind::Dropped,
            _ if character.is_whitespace() => Kind::Space,
            _ if self.ideographs && is_ideograph(character) => Kind::Alone,
            _ if character.general_category_group() == GeneralCategoryGroup::Punctuation => Kind::Alone,
            _ => Kind::Part,
        }
    }
}

/// What a character is to the cutting of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It belongs to a word.
    Part,
    /// It is a word.
    Alone,
    /// It ends a word.
    Space,
    /// It is as if it were not there.
    Dropped,
}

fn is_dropped(character: char) -> bool {
    character == '\u{fffd}'
        || matches!(
            character.general_category(),
            GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse
        )
}

fn is_ideograph(character: char) -> bool {
    matches!(
        character,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}
