//! The languages whose words are reduced to stems.

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};

/// A language whose words Snowball's stemmers reduce to stems, or another one, whose words stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is named as in English")]
pub enum Language {
    Arabic,
    Danish,
    Dutch,
    #[default]
    English,
    Finnish,
    French,
    German,
    Greek,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Tamil,
    Turkish,
    Other,
}

impl Language {
    /// Every language, English first.
    pub const ALL: [Self; 19] = [
        Self::English,
        Self::Arabic,
        Self::Danish,
        Self::Dutch,
        Self::Finnish,
        Self::French,
        Self::German,
        Self::Greek,
        Self::Hungarian,
        Self::Italian,
        Self::Norwegian,
        Self::Portuguese,
        Self::Romanian,
        Self::Russian,
        Self::Spanish,
        Self::Swedish,
        Self::Tamil,
        Self::Turkish,
        Self::Other,
    ];

    /// What stems of this language end with; `None` where their letters tell them from those of English.
    fn tag(self) -> Option<&'static str> {
        Some(match self {
            Self::English | Self::Arabic | Self::Greek | Self::Russian | Self::Tamil => return None,
            Self::Danish => "da",
            Self::Dutch => "nl",
            Self::Finnish => "fi",
            Self::French => "fr",
            Self::German => "de",
            Self::Hungarian => "hu",
            Self::Italian => "it",
            Self::Norwegian => "no",
            Self::Portuguese => "pt",
            Self::Romanian => "ro",
            Self::Spanish => "es",
            Self::Swedish => "sv",
            Self::Turkish => "tr",
            Self::Other => "",
        })
    }

    fn algorithm(self) -> Option<Algorithm> {
        Some(match self {
            Self::Arabic => Algorithm::Arabic,
            Self::Danish => Algorithm::Danish,
            Self::Dutch => Algorithm::Dutch,
            Self::English => Algorithm::English,
            Self::Finnish => Algorithm::Finnish,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Greek => Algorithm::Greek,
            Self::Hungarian => Algorithm::Hungarian,
            Self::Italian => Algorithm::Italian,
            Self::Norwegian => Algorithm::Norwegian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Romanian => Algorithm::Romanian,
            Self::Russian => Algorithm::Russian,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::Tamil => Algorithm::Tamil,
            Self::Turkish => Algorithm::Turkish,
            Self::Other => return None,
        })
    }
}

/// Reduces words in lower case to the stems of texts in a language.
pub(super) struct Stems {
    language: Language,
    own: Option<Stemmer>,
    english: Stemmer,
}

impl Stems {
    pub(super) fn of(language: Language) -> Self {
        let own = language.algorithm().map(Stemmer::create);
        Self { language, own, english: Stemmer::create(Algorithm::English) }
    }

    /// The stem of a word. Those of languages that share their letters with English tell which they are of: what is a
    /// word in one of them may be a stem in the other.
    pub(super) fn stem<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let own = |word: &'a str| match &self.own {
            Some(stemmer) => stemmer.stem(word),
            None => Cow::Borrowed(word),
        };
        match self.language.tag() {
            Some(tag) => Cow::Owned(format!("{}@{tag}", own(word))),
            None if word.is_ascii() => self.english.stem(word),
            None if self.language == Language::English => Cow::Borrowed(word),
            None => own(word),
        }
    }
}
