//! The network of the BERT family: token ids in, one vector per token out.

use rayon::prelude::*;

use super::attention::attend;
use super::kernels::{Norm, activate, add_and_norm, add_bias, norm};
use super::panels::Panels;
use super::settings::Shape;

/// The most tokens that one thread takes through the products together, so that what it computes stays in its cache.
const TOGETHER: usize = 96;

/// A model's weights.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) shape: Shape,
    pub(super) words: Vec<f32>,
    pub(super) places: Vec<f32>,
    pub(super) kind: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values in one product.
    pub(super) mixed: Linear,
    pub(super) gathered: Linear,
    pub(super) gathered_norm: Norm,
    pub(super) wide: Linear,
    pub(super) narrow: Linear,
    pub(super) narrow_norm: Norm,
}

#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Panels,
    pub(super) bias: Vec<f32>,
}

impl Network {
    /// The last layer's vectors of all tokens of all texts, one text after the other. The threads of the pool share
    /// the tokens.
    ///
    /// The texts stand together without padding: products run over all tokens at once, attention within each text.
    /// A text has at most as many tokens as the model has positions, and each id is one of its vocabulary.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Vec<f32> {
        let width = self.shape.width;
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let tokens = lengths.iter().sum();
        let share = share(tokens);
        let mut hidden = self.embed(texts);
        let mut mixed = vec![0.0; tokens * 3 * width];
        for layer in &self.layers {
            let shares = mixed.par_chunks_mut(share * 3 * width).zip(hidden.par_chunks(share * width));
            shares.for_each(|(mixed, hidden)| {
                layer.mixed.weight.multiply(hidden, mixed);
                add_bias(mixed, &layer.mixed.bias);
            });
            let context = attend(&mixed, &lengths, width, self.shape.heads);
            let shares = hidden.par_chunks_mut(share * width).zip(context.par_chunks(share * width));
            shares.for_each(|(hidden, context)| self.finish(layer, hidden, context));
        }
        hidden
    }

    /// The rest of a layer, for some tokens.
    fn finish(&self, layer: &Layer, hidden: &mut [f32], context: &[f32]) {
        let mut added = vec![0.0; hidden.len()];
        layer.gathered.weight.multiply(context, &mut added);
        add_and_norm(hidden, &added, &layer.gathered.bias, &layer.gathered_norm);
        let mut wide = vec![0.0; hidden.len() / self.shape.width * self.shape.wide];
        layer.wide.weight.multiply(hidden, &mut wide);
        activate(&mut wide, &layer.wide.bias, self.shape.activation);
        layer.narrow.weight.multiply(&wide, &mut added);
        add_and_norm(hidden, &added, &layer.narrow.bias, &layer.narrow_norm);
    }

    fn embed(&self, texts: &[&[u32]]) -> Vec<f32> {
        let width = self.shape.width;
        let tokens: usize = texts.iter().map(|text| text.len()).sum();
        let mut hidden = Vec::with_capacity(tokens * width);
        for text in texts {
            for (id, place) in text.iter().zip(self.places.chunks_exact(width)) {
                let start = usize::try_from(*id).unwrap_or(usize::MAX).saturating_mul(width);
                let word = self.words.get(start..start.saturating_add(width)).unwrap_or(&self.kind);
                let parts = word.iter().zip(place).zip(&self.kind);
                hidden.extend(parts.map(|((word, place), kind)| word + place + kind));
            }
        }
        norm(&mut hidden, &self.norm);
        hidden
    }
}

/// How many tokens each thread takes at a time: about the same number for all of them.
fn share(tokens: usize) -> usize {
    let threads = rayon::current_num_threads();
    let shares = tokens.div_ceil(TOGETHER).next_multiple_of(threads);
    tokens.div_ceil(shares.max(1)).max(1)
}
