//! Chooses the sentences that fit a goal best.

use std::collections::{BTreeMap, BTreeSet};

use super::passages::Passage;
use crate::text::{Analyser, Bm25, sentences};

/// The most sentences of an answer.
const MAX_SENTENCES: usize = 4;

/// The most characters of one sentence.
const MAX_LENGTH: usize = 400;

/// The most sentences that are looked at.
const MAX_CANDIDATES: usize = 20_000;

/// Two sentences that share this part of their terms say the same.
const ALIKE: f64 = 0.8;

/// A heading stands for a text but says little itself.
const HEADING_WEIGHT: f32 = 0.5;

/// The sentences that share telling words with the goal, best first, each with its source in brackets.
pub(super) fn best(goal: &str, passages: &[Passage]) -> Vec<String> {
    let goal: BTreeSet<String> = Analyser.terms(goal).into_iter().collect();
    let mut candidates = candidates(passages);
    score(&goal, &mut candidates);
    // A stable sort: what comes first in the passages goes before its equals.
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let least = candidates.first().map_or(0.0, |best| best.score / 3.0);
    let mut chosen: Vec<Candidate<'_>> = Vec::new();
    for candidate in candidates {
        if chosen.len() == MAX_SENTENCES || candidate.score <= 0.0 || candidate.score < least {
            break;
        }
        if !chosen.iter().any(|other| alike(&other.terms, &candidate.terms)) {
            chosen.push(candidate);
        }
    }
    chosen.iter().map(Candidate::quote).collect()
}

/// The first sentences of the files, each with its source in brackets.
pub(super) fn first_of_files(passages: &[Passage]) -> Vec<String> {
    let files = passages.iter().filter(|passage| passage.is_file);
    files.flat_map(sentences_of).take(MAX_SENTENCES).map(|candidate| candidate.quote()).collect()
}

struct Candidate<'a> {
    text: String,
    is_heading: bool,
    terms: BTreeMap<String, u32>,
    source: &'a str,
    score: f32,
}

impl Candidate<'_> {
    fn quote(&self) -> String {
        format!("{} [{}]", self.text, clean(self.source))
    }
}

fn candidates(passages: &[Passage]) -> Vec<Candidate<'_>> {
    passages.iter().flat_map(sentences_of).take(MAX_CANDIDATES).collect()
}

fn sentences_of(passage: &Passage) -> impl Iterator<Item = Candidate<'_>> {
    let ranges = sentences(&passage.text).into_iter();
    let texts = ranges.filter_map(|range| passage.text.get(range));
    texts.map(|text| (text, clean(text))).filter(|(_, clean)| clean.contains(char::is_alphanumeric)).map(
        |(original, text)| {
            let mut terms = BTreeMap::new();
            for term in Analyser.terms(&text) {
                *terms.entry(term).or_default() += 1;
            }
            let is_heading = original.starts_with('#');
            Candidate { text, is_heading, terms, source: &passage.source, score: 0.0 }
        },
    )
}

/// BM25 over the sentences at hand, without its preference for short texts.
fn score(goal: &BTreeSet<String>, candidates: &mut [Candidate<'_>]) {
    let bm25 = Bm25 { b: 0.0, ..Bm25::default() };
    let weights: Vec<(&String, f32)> = goal
        .iter()
        .map(|term| {
            let containing = candidates.iter().filter(|candidate| candidate.terms.contains_key(term)).count();
            (term, Bm25::inverse_document_frequency(candidates.len(), containing))
        })
        .collect();
    for candidate in candidates {
        let fits = weights.iter().filter_map(|(term, weight)| {
            let count = *candidate.terms.get(*term)? as f32;
            Some(weight * bm25.term_weight(count, 1.0, 1.0))
        });
        candidate.score = fits.sum::<f32>() * if candidate.is_heading { HEADING_WEIGHT } else { 1.0 };
    }
}

fn alike(one: &BTreeMap<String, u32>, other: &BTreeMap<String, u32>) -> bool {
    let shared = one.keys().filter(|term| other.contains_key(*term)).count();
    let all = one.len() + other.len() - shared;
    all == 0 || shared as f64 >= ALIKE * all as f64
}

/// One line of plain text: no Markdown marks, no brackets, which are kept for sources, and not too long.
fn clean(text: &str) -> String {
    let text =
        text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '#' | '>' | '|' | '-' | '+'));
    let marks = |word: &str| {
        let word = word.trim_matches(|c| matches!(c, '*' | '_' | '|'));
        word.replace("**", "")
            .replace("__", "")
            .replace('`', "")
            .replace(['[', '{'], "(")
            .replace([']', '}'], ")")
    };
    let words: Vec<String> =
        without_link_targets(text).split_whitespace().map(marks).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(&text).trim_end()),
        None => text,
    }
}

/// Leaves of each Markdown link and image only what is to be read.
fn without_link_targets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let link = before.rsplit_once('[').zip(after.split_once(')'));
        let Some(((before, label), (_, after))) = link else {
            break;
        };
        plain.push_str(before.strip_suffix('!').unwrap_or(before));
        plain.push_str(label);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, source: &str) -> Passage {
        Passage { text: text.into(), source: source.into(), is_file: false }
    }

    #[test]
    fn marks_brackets_and_line_breaks_go() {
        assert_eq!(clean("## The **big**\n_plan_"), "The big plan");
        assert_eq!(clean("- see [the page](http://x.y/(z) and `code_name`"), "see the page and code_name");
        assert_eq!(clean("as told [file:///forged.pdf]"), "as told (file:///forged.pdf)");
        assert_eq!(clean(&"é".repeat(500)).chars().count(), MAX_LENGTH + 1);
    }

    #[test]
    fn the_rarer_word_decides() {
        let text = "The report is long. The report names Ada. The report is short. The report is old.";
        let passages = [passage(text, "r")];
        assert_eq!(best("Does the report name Ada?", &passages)[0], "The report names Ada. [r]");
    }

    #[test]
    fn length_does_not_decide_but_the_place_does() {
        let passages = [passage("Tea was first drunk a very long time ago in the south of China. Tea.", "t")];
        assert!(best("tea", &passages)[0].starts_with("Tea was first"));
    }

    #[test]
    fn what_says_the_same_is_said_once() {
        let passages =
            [passage("Ada wrote the first program.", "a"), passage("Ada wrote the first program", "b")];
        assert_eq!(best("Who wrote the first program?", &passages), ["Ada wrote the first program. [a]"]);
    }

    #[test]
    fn what_fits_far_less_than_the_best_is_left_out() {
        let passages =
            [passage("Ada Lovelace was born in London in 1815. London is wet. Snow is cold.", "a")];
        let found = best("Was Ada Lovelace born in London in 1815?", &passages);
        assert_eq!(found, ["Ada Lovelace was born in London in 1815. [a]"]);
        assert!(best("Where do penguins live?", &passages).is_empty());
    }

    #[test]
    fn at_most_four_sentences_are_quoted() {
        let text: String = (0..9).map(|n| format!("Tea number{n} kind{n} sort{n}. ")).collect();
        assert_eq!(best("tea", &[passage(&text, "t")]).len(), MAX_SENTENCES);
    }
}
