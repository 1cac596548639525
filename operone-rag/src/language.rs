//! The language of a document, told from its letters and their neighbours.

use operone_core::text::{Language, floor_char_boundary};
use whatlang::{Detector, Lang};

/// How many bytes of a text are looked at.
const SAMPLE: usize = 4_000;

/// English where nothing speaks clearly for another language: short texts, tables, code.
pub(crate) fn of(text: &str) -> Language {
    let sample = text.get(..floor_char_boundary(text, SAMPLE)).unwrap_or(text);
    let Some(info) = Detector::new().detect(sample).filter(whatlang::Info::is_reliable) else {
        return Language::English;
    };
    match info.lang() {
        Lang::Ara => Language::Arabic,
        Lang::Dan => Language::Danish,
        Lang::Deu => Language::German,
        Lang::Ell => Language::Greek,
        Lang::Eng => Language::English,
        Lang::Fin => Language::Finnish,
        Lang::Fra => Language::French,
        Lang::Hun => Language::Hungarian,
        Lang::Ita => Language::Italian,
        Lang::Nld => Language::Dutch,
        Lang::Nob => Language::Norwegian,
        Lang::Por => Language::Portuguese,
        Lang::Ron => Language::Romanian,
        Lang::Rus => Language::Russian,
        Lang::Spa => Language::Spanish,
        Lang::Swe => Language::Swedish,
        Lang::Tam => Language::Tamil,
        Lang::Tur => Language::Turkish,
        _ => Language::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_where_it_is_plain() {
        let german =
            "Die Übertragung der Wärme von einem Flügel an die Luft hängt davon ab, wie schnell sie strömt.";
        let english = "The transfer of heat from a wing to the air depends on how fast the air is flowing.";
        assert_eq!((of(german), of(english)), (Language::German, Language::English));
        for unclear in ["", "42; 17; 99", "x = f(y)", "Wing"] {
            assert_eq!(of(unclear), Language::English, "{unclear}");
        }
    }
}
