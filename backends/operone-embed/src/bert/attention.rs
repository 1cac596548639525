//! Attention: each token of a text gathers from the others what it looks for.

use rayon::prelude::*;

use super::kernels::softmax;
use super::panels::Panels;

/// How many tokens are computed together, so that their weights stay in the cache.
const TOGETHER: usize = 48;

/// What each token gathers within its text. The texts stand one after the other and have so many tokens each; a row of
/// `mixed` is a token's query, key and value, one after the other, each `width` values in `heads` vectors, and a row of
/// the result has `width` values. The heads of all texts share the threads of the pool.
pub(super) fn attend(mixed: &[f32], lengths: &[usize], width: usize, heads: usize) -> Vec<f32> {
    let depth = width / heads.max(1);
    let tokens: usize = lengths.iter().sum();
    let mut by_heads = vec![0.0; tokens * width];
    let mut work = Vec::with_capacity(lengths.len() * heads);
    let (mut rows, mut places) = (mixed, by_heads.as_mut_slice());
    for length in lengths {
        let (text, later) = rows.split_at(rows.len().min(length * 3 * width));
        let (gathered, after) = std::mem::take(&mut places).split_at_mut(length * width);
        (rows, places) = (later, after);
        let gathered = gathered.chunks_exact_mut((length * depth).max(1));
        work.extend(gathered.enumerate().map(|(head, gathered)| (text, head, gathered)));
    }
    work.into_par_iter().for_each(|(text, head, gathered)| {
        let part = |which: usize| {
            let start = which * width + head * depth;
            text.chunks_exact(3 * width).map(move |row| row.get(start..start + depth).unwrap_or_default())
        };
        attend_with_head(part(0), part(1), part(2), depth, gathered);
    });
    let mut by_tokens = Vec::with_capacity(by_heads.len());
    let mut texts = by_heads.as_slice();
    for length in lengths {
        let (text, later) = texts.split_at(length * width);
        texts = later;
        for token in 0..*length {
            for head in text.chunks_exact((length * depth).max(1)) {
                by_tokens.extend_from_slice(&head[token * depth..(token + 1) * depth]);
            }
        }
    }
    by_tokens
}

/// What the tokens of one text gather with one head, each `depth` values.
fn attend_with_head<'a>(
    queries: impl Iterator<Item = &'a [f32]>,
    keys: impl ExactSizeIterator<Item = &'a [f32]>,
    values: impl ExactSizeIterator<Item = &'a [f32]>,
    depth: usize,
    gathered: &mut [f32],
) {
    let length = keys.len();
    let (keys, values) = (Panels::of_columns(depth, keys), Panels::of_rows(depth, values));
    let scale = 1.0 / (depth as f32).sqrt();
    let mut scaled = Vec::with_capacity(length * depth);
    queries.for_each(|query| scaled.extend(query.iter().map(|value| value * scale)));
    let mut weights = vec![0.0; length * TOGETHER.min(length)];
    for (queries, gathered) in scaled.chunks(depth * TOGETHER).zip(gathered.chunks_mut(depth * TOGETHER)) {
        let weights = &mut weights[..queries.len() / depth * length];
        keys.multiply(queries, weights);
        softmax(weights, length);
        values.multiply(weights, gathered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gathers_from_those_it_looks_for() {
        // One head of width 2: the first token looks for the second one's key, the second for neither.
        let text = [100.0, 0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 3.0, 4.0];
        // A text of one token gathers its own value.
        let other = [1.0, 1.0, 1.0, 1.0, 7.0, 8.0];
        let gathered = attend(&[text.as_slice(), &other].concat(), &[2, 1], 2, 1);
        for (ours, expected) in gathered.iter().zip([3.0, 4.0, 2.0, 3.0, 7.0, 8.0]) {
            assert!((ours - expected).abs() < 1e-5, "{gathered:?}");
        }
    }

    #[test]
    fn each_head_gathers_for_itself() {
        // Two heads of width 1: the same keys everywhere, so each takes the mean of its own values.
        let tokens = [[0.0, 0.0, 1.0, 1.0, 2.0, 10.0], [0.0, 0.0, 1.0, 1.0, 4.0, 30.0]];
        let gathered = attend(tokens.as_flattened(), &[2], 2, 2);
        assert_eq!(gathered, [3.0, 20.0, 3.0, 20.0]);
    }
}
