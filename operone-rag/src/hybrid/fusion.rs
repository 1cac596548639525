//! Fuses the scores of candidates into one order.

use operone_core::chunk::ChunkKey;
use operone_core::text::min_max;

use super::HybridConfig;
use super::candidates::{Pool, Signals};

/// The candidates with their fused scores in [0, 1], best first, without those that have nothing to do with the query.
///
/// `least_cosine` is what a candidate needs that holds no word of the query.
pub(super) fn fuse(pool: Pool, config: &HybridConfig, least_cosine: f32) -> Vec<(ChunkKey, f32)> {
    let dense = on_one_scale(pool.values().map(|signals| signals.dense.filter(|score| score.is_finite())));
    let words = on_one_scale(pool.values().map(|signals| words(signals, config.document_weight)));
    // Where no candidate holds a word all are equal, and equally nothing.
    let words = words.filter(|_| pool.values().any(holds_word));
    let (dense_weight, words_weight) = match (&dense, &words) {
        (Some(_), None) => (1.0, 0.0),
        (None, Some(_)) => (0.0, 1.0),
        _ => (config.dense_weight, 1.0 - config.dense_weight),
    };
    let score = |side: &Option<Vec<f32>>, at: usize| {
        side.as_ref().and_then(|side| side.get(at)).copied().unwrap_or(0.0)
    };
    let mut ranked: Vec<(ChunkKey, f32)> = pool
        .into_iter()
        .enumerate()
        .filter(|(_, (_, signals))| {
            holds_word(signals) || signals.dense.is_some_and(|cosine| cosine >= least_cosine)
        })
        .map(|(at, (key, _))| {
            let fused = dense_weight * score(&dense, at) + words_weight * score(&words, at);
            (key, fused.clamp(0.0, 1.0))
        })
        .collect();
    best_first(&mut ranked);
    ranked
}

/// Sorts by falling score; equal scores are in the order of their keys.
pub(super) fn best_first(ranked: &mut [(ChunkKey, f32)]) {
    ranked.sort_by(|(key, score), (other, other_score)| {
        other_score.total_cmp(score).then_with(|| key.cmp(other))
    });
}

/// What the words of a chunk and of its document say together; `None` where words were not asked.
fn words(signals: &Signals, document_weight: f32) -> Option<f32> {
    if signals.chunk.is_none() && signals.document.is_none() {
        return None;
    }
    let known = |score: Option<f32>| score.filter(|score| score.is_finite()).unwrap_or(0.0);
    Some(document_weight * known(signals.document) + (1.0 - document_weight) * known(signals.chunk))
}

fn holds_word(signals: &Signals) -> bool {
    // A store that cannot complete scores may know of the document only that it holds a word.
    signals.chunk.or(signals.document).is_some_and(|score| score > 0.0)
}

/// Scores moved onto [0, 1]; one that is missing counts as the least. `None` if all are missing.
fn on_one_scale(scores: impl Iterator<Item = Option<f32>>) -> Option<Vec<f32>> {
    let mut scores: Vec<f32> = scores.map(|score| score.unwrap_or(f32::NAN)).collect();
    if scores.iter().all(|score| score.is_nan()) {
        return None;
    }
    min_max(&mut scores);
    Some(scores)
}
