//! Chooses hits among ranked candidates: not too many of one document, nothing twice, unlike one another if asked.

use std::collections::{BTreeSet, HashMap};

use operone_core::chunk::{ChunkKey, StoredChunk};
use operone_core::retrieve::{NearDuplicates, RetrieveOptions};
use operone_core::text::{Analyser, Bm25};

/// A candidate with its text.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) chunk: StoredChunk,
    pub(super) score: f32,
}

/// How many words a shingle has.
const SHINGLE: usize = 5;
/// From which Jaccard similarity of their shingles on two texts say almost the same.
const SAME: f64 = 0.9;

/// Keeps at most `most` candidates of each document, the best ones.
pub(super) fn per_document(ranked: &mut Vec<(ChunkKey, f32)>, most: usize) {
    let mut counts = HashMap::new();
    ranked.retain(|(key, _)| {
        let count = counts.entry(key.doc.clone()).or_insert(0_usize);
        *count += 1;
        *count <= most
    });
}

/// How many candidates must be looked at for `top_k` hits.
pub(super) fn looked_at(options: &RetrieveOptions, top_k: usize) -> usize {
    let chooses =
        options.near_duplicates != NearDuplicates::Keep || options.mmr.is_some() || options.context.is_some();
    if chooses { 2 * top_k + 20 } else { top_k }
}

/// The candidates in the order in which they are to be hits. Those that say almost the same as a better one are gone
/// or, where they may fill up, behind the others.
pub(super) fn select(found: Vec<Found>, options: &RetrieveOptions, top_k: usize) -> Vec<Found> {
    let (first, rest) = match options.near_duplicates {
        NearDuplicates::Keep => (found, Vec::new()),
        NearDuplicates::Drop => (apart(found).0, Vec::new()),
        _ => apart(found),
    };
    let mut chosen = match options.mmr {
        Some(lambda) => maximal_marginal_relevance(first, lambda, top_k),
        None => first,
    };
    let lack = top_k.saturating_sub(chosen.len());
    if lack > 0 && !rest.is_empty() {
        chosen.extend(rest.into_iter().take(lack));
        if options.mmr.is_none() {
            chosen.sort_by(|one, other| {
                let scores = other.score.total_cmp(&one.score);
                scores.then_with(|| one.chunk.key.cmp(&other.chunk.key))
            });
        }
    }
    chosen
}

/// The candidates apart from those that say almost the same as one before, both in order.
fn apart(found: Vec<Found>) -> (Vec<Found>, Vec<Found>) {
    let mut kept = Fingerprints::default();
    found.into_iter().partition(|found| kept.is_new(&found.chunk.text))
}

/// The texts that were seen, by their shingles: runs of five words.
#[derive(Default)]
struct Fingerprints {
    /// By shingle, the texts that have it.
    holders: HashMap<u64, Vec<usize>>,
    texts: Vec<(usize, BTreeSet<String>)>,
}

impl Fingerprints {
    /// Whether no text before says almost the same. Texts with other numbers say something else.
    fn is_new(&mut self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let numbers = words.iter().filter(|word| word.contains(char::is_numeric));
        let numbers: BTreeSet<String> = numbers.map(|word| (*word).to_owned()).collect();
        let mut shingles: Vec<u64> = match words.len() {
            0..=SHINGLE => vec![hash(&words)],
            _ => words.windows(SHINGLE).map(hash).collect(),
        };
        shingles.sort_unstable();
        shingles.dedup();
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for holder in shingles.iter().filter_map(|shingle| self.holders.get(shingle)).flatten() {
            *shared.entry(*holder).or_default() += 1;
        }
        let same = shared.into_iter().any(|(text, shared)| {
            self.texts.get(text).is_some_and(|(count, its_numbers)| {
                shared as f64 >= SAME * (count + shingles.len() - shared) as f64 && *its_numbers == numbers
            })
        });
        if !same {
            for shingle in &shingles {
                self.holders.entry(*shingle).or_default().push(self.texts.len());
            }
            self.texts.push((shingles.len(), numbers));
        }
        !same
    }
}

fn hash(words: &[&str]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

/// Carbonell and Goldstein (1998): the next hit is the one with the most of `lambda` times its score less the rest
/// times its likeness to the hit before that is most like it, which is the cosine of their weighted words.
fn maximal_marginal_relevance(found: Vec<Found>, lambda: f32, top_k: usize) -> Vec<Found> {
    let vectors = word_vectors(&found);
    // A candidate, its words, and its greatest likeness to what is chosen.
    let mut left: Vec<(Found, HashMap<String, f32>, f32)> =
        found.into_iter().zip(vectors).map(|(found, vector)| (found, vector, 0.0)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < top_k {
        let worth = |(found, _, likeness): &(Found, HashMap<String, f32>, f32)| {
            lambda * found.score - (1.0 - lambda) * likeness
        };
        // Of equals the first, which is the better one.
        let next = (0..left.len()).rev().max_by(|one, other| {
            let worth = |at: &usize| left.get(*at).map_or(f32::NEG_INFINITY, worth);
            worth(one).total_cmp(&worth(other))
        });
        let Some(next) = next else { break };
        let (found, vector, _) = left.remove(next);
        for (_, other, likeness) in &mut left {
            *likeness = likeness.max(cosine(&vector, other));
        }
        chosen.push(found);
    }
    chosen
}

/// The words of each candidate, weighted by how often it has them and how few others do, as vectors of length 1.
fn word_vectors(found: &[Found]) -> Vec<HashMap<String, f32>> {
    let counts: Vec<HashMap<String, f32>> = found
        .iter()
        .map(|found| {
            let mut counts = HashMap::new();
            for term in Analyser.terms(&found.chunk.text) {
                *counts.entry(term).or_insert(0.0) += 1.0;
            }
            counts
        })
        .collect();
    let mut containing: HashMap<&str, usize> = HashMap::new();
    for term in counts.iter().flat_map(HashMap::keys) {
        *containing.entry(term).or_default() += 1;
    }
    let weight = |term: &str, count: f32| {
        let containing = containing.get(term).copied().unwrap_or(0);
        (1.0 + count.ln()) * Bm25::inverse_document_frequency(found.len(), containing)
    };
    let normal = |counts: &HashMap<String, f32>| {
        let mut weights: Vec<(&String, f32)> =
            counts.iter().map(|(term, count)| (term, weight(term, *count))).collect();
        // In the order of the terms, so that the sum is always rounded the same way.
        weights.sort_unstable_by_key(|(term, _)| *term);
        let length = weights.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        let length = length.max(f32::MIN_POSITIVE);
        weights.into_iter().map(|(term, weight)| (term.clone(), weight / length)).collect()
    };
    counts.iter().map(normal).collect()
}

fn cosine(one: &HashMap<String, f32>, other: &HashMap<String, f32>) -> f32 {
    let mut shared: Vec<f32> =
        one.iter().filter_map(|(term, weight)| Some(weight * other.get(term)?)).collect();
    // Sorted, so that the sum is always rounded the same way.
    shared.sort_unstable_by(f32::total_cmp);
    shared.into_iter().sum()
}
