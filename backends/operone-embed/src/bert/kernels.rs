//! The parts of the network that are no matrix product, in the widest instructions that the processor has.

use pulp::Arch;

/// Adds a bias to each row.
pub(super) fn add_bias(rows: &mut [f32], bias: &[f32]) {
    Arch::new().dispatch(|| {
        for row in rows.chunks_exact_mut(bias.len().max(1)) {
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
    });
}

/// Adds a bias to each row and applies the activation.
pub(super) fn activate(rows: &mut [f32], bias: &[f32], activation: Activation) {
    add_bias(rows, bias);
    Arch::new().dispatch(|| match activation {
        Activation::Gelu => rows.iter_mut().for_each(|value| *value = gelu(*value)),
        Activation::GeluTanh => rows.iter_mut().for_each(|value| *value = gelu_tanh(*value)),
        Activation::Relu => rows.iter_mut().for_each(|value| *value = value.max(0.0)),
    });
}

/// What the wide layer does to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

/// Adds `added` and a bias to `rows` and brings each row to mean 0 and variance 1, then to scale and shift.
pub(super) fn add_and_norm(rows: &mut [f32], added: &[f32], bias: &[f32], norm: &Norm) {
    let width = norm.scale.len().max(1);
    Arch::new().dispatch(|| {
        for (row, added) in rows.chunks_exact_mut(width).zip(added.chunks_exact(width)) {
            for ((value, added), bias) in row.iter_mut().zip(added).zip(bias) {
                *value += added + bias;
            }
            normalize(row, norm);
        }
    });
}

/// Brings each row to mean 0 and variance 1, then to scale and shift.
pub(super) fn norm(rows: &mut [f32], norm: &Norm) {
    Arch::new().dispatch(|| {
        rows.chunks_exact_mut(norm.scale.len().max(1)).for_each(|row| normalize(row, norm));
    });
}

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

/// Attention within one text. A row of `mixed` is a token's query, key and value, one after the other, each
/// `heads` vectors; a row of `context` takes what its token gathers.
pub(super) fn attend(mixed: &[f32], context: &mut [f32], width: usize, heads: usize) {
    let depth = width / heads.max(1);
    let length = context.len() / width.max(1);
    if depth == 0 || length == 0 {
        return;
    }
    Arch::new().dispatch(|| {
        let scale = 1.0 / (depth as f32).sqrt();
        let mut keys = vec![0.0_f32; depth * length];
        let mut weights = vec![0.0_f32; length];
        for head in 0..heads {
            let part = |row: &'_ [f32], which: usize| -> std::ops::Range<usize> {
                let start = (which * width + head * depth).min(row.len());
                start..(start + depth).min(row.len())
            };
            for (at, row) in mixed.chunks_exact(3 * width).enumerate() {
                let key = row.get(part(row, 1)).unwrap_or_default();
                for (line, value) in keys.chunks_exact_mut(length).zip(key) {
                    if let Some(place) = line.get_mut(at) {
                        *place = *value;
                    }
                }
            }
            for (row, gathered) in mixed.chunks_exact(3 * width).zip(context.chunks_exact_mut(width)) {
                let query = row.get(part(row, 0)).unwrap_or_default();
                weights.fill(0.0);
                for (value, line) in query.iter().zip(keys.chunks_exact(length)) {
                    let value = value * scale;
                    weights.iter_mut().zip(line).for_each(|(weight, key)| *weight += value * key);
                }
                softmax(&mut weights);
                let Some(gathered) = gathered.get_mut(head * depth..(head + 1) * depth) else { continue };
                gathered.fill(0.0);
                for (weight, row) in weights.iter().zip(mixed.chunks_exact(3 * width)) {
                    let value = row.get(part(row, 2)).unwrap_or_default();
                    gathered.iter_mut().zip(value).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
    });
}

#[inline(always)]
fn normalize(row: &mut [f32], norm: &Norm) {
    let width = row.len() as f32;
    let mean = sum(row, |value| value) / width;
    let variance = sum(row, |value| (value - mean) * (value - mean)) / width;
    let factor = 1.0 / (variance + norm.epsilon).sqrt();
    for ((value, scale), shift) in row.iter_mut().zip(&norm.scale).zip(&norm.shift) {
        *value = (*value - mean) * factor * scale + shift;
    }
}

#[inline(always)]
fn softmax(weights: &mut [f32]) {
    let greatest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    weights.iter_mut().for_each(|weight| *weight = exp(*weight - greatest));
    let total = sum(weights, |weight| weight);
    weights.iter_mut().for_each(|weight| *weight /= total);
}

/// The sum of `of` over all values, in sixteen sums side by side that the compiler can keep in one register.
#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (sixteens, rest) = values.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for sixteen in sixteens {
        sums.iter_mut().zip(sixteen).for_each(|(sum, value)| *sum += of(*value));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    // tanh(y) = 1 - 2 / (e^2y + 1)
    x * (1.0 - 1.0 / (exp((2.0 * inner).min(80.0)) + 1.0))
}

/// The error function within 2e-7, by Abramowitz and Stegun 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let positive = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * positive);
    let series =
        t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_8 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - series * exp(-positive * positive)).copysign(x)
}

/// e to the power of `x` for `x` up to 80, within 2e-7 of itself: 2^n times a polynomial of what is left.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding and subtracting it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let power = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (0.166_666_55
                                + rest * (0.041_665_796 + rest * (0.008_333_452 + rest * 0.001_398_2)))));
    power * f32::from_bits(((whole as i32 + 127) << 23).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_enough() {
        for step in -8000..=8000 {
            let x = step as f32 * 0.01;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 1e-6, "{x}: {ours} {exact}");
        }
    }

    #[test]
    fn activations_have_known_values() {
        for (x, gelu_x, tanh_x) in [
            (-3.0, -0.004_049_694, -0.003_637_392),
            (-1.0, -0.158_655_25, -0.158_808),
            (0.0, 0.0, 0.0),
            (0.5, 0.345_731_23, 0.345_714),
            (2.0, 1.954_499_7, 1.954_597_7),
        ] {
            assert!((gelu(x) - gelu_x).abs() < 1e-6, "{x}: {}", gelu(x));
            assert!((gelu_tanh(x) - tanh_x).abs() < 1e-6, "{x}: {}", gelu_tanh(x));
        }
    }

    #[test]
    fn a_token_gathers_from_those_it_looks_for() {
        // One head of width 2: the first token looks for the second one's key, the second for neither.
        let mixed = [100.0, 0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 3.0, 4.0];
        let mut context = [0.0; 4];
        attend(&mixed, &mut context, 2, 1);
        for (ours, expected) in context.iter().zip([3.0, 4.0, 2.0, 3.0]) {
            assert!((ours - expected).abs() < 1e-5, "{context:?}");
        }
    }
}
