//! The parts of the network that are no matrix product, in the widest instructions that the processor has.

/// A function whose body is compiled for several kinds of processors and chosen while the program runs. The closures
/// that the crate takes would be compiled for the least of them wherever the compiler does not inline them.
macro_rules! in_the_widest {
    ($(#[$note:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $kind:ty),+ $(,)?) $body:block) => {
        $(#[$note])*
        pub(super) fn $name<$life>($($argument: $kind),+) {
            struct Work<$life> {
                $($argument: $kind),+
            }
            impl<$life> pulp::WithSimd for Work<$life> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) {
                    let Self { $($argument),+ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work { $($argument),+ })
        }
    };
}

in_the_widest! {
    /// Adds a bias to each row.
    fn add_bias<'a>(rows: &'a mut [f32], bias: &'a [f32]) {
        for row in rows.chunks_exact_mut(bias.len().max(1)) {
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
    }
}

in_the_widest! {
    /// Adds a bias to each row and applies the activation.
    fn activate<'a>(rows: &'a mut [f32], bias: &'a [f32], activation: Activation) {
        for row in rows.chunks_exact_mut(bias.len().max(1)) {
            let biased = row.iter_mut().zip(bias);
            match activation {
                Activation::Gelu => biased.for_each(|(value, bias)| *value = gelu(*value + bias)),
                Activation::GeluTanh => biased.for_each(|(value, bias)| *value = gelu_tanh(*value + bias)),
                Activation::Relu => biased.for_each(|(value, bias)| *value = (*value + bias).max(0.0)),
            }
        }
    }
}

in_the_widest! {
    /// Adds `added` and a bias to `rows` and brings each row to mean 0 and variance 1, then to scale and shift.
    fn add_and_norm<'a>(rows: &'a mut [f32], added: &'a [f32], bias: &'a [f32], norm: &'a Norm) {
        let width = norm.scale.len().max(1);
        for (row, added) in rows.chunks_exact_mut(width).zip(added.chunks_exact(width)) {
            for ((value, added), bias) in row.iter_mut().zip(added).zip(bias) {
                *value += added + bias;
            }
            normalize(row, norm);
        }
    }
}

in_the_widest! {
    /// Brings each row to mean 0 and variance 1, then to scale and shift.
    fn norm<'a>(rows: &'a mut [f32], norm: &'a Norm) {
        rows.chunks_exact_mut(norm.scale.len().max(1)).for_each(|row| normalize(row, norm));
    }
}

in_the_widest! {
    /// Brings each row of so many values to weights that add up to 1.
    fn softmax<'a>(rows: &'a mut [f32], length: usize) {
        for weights in rows.chunks_exact_mut(length.max(1)) {
            let greatest = greatest(weights);
            weights.iter_mut().for_each(|weight| *weight = exp(*weight - greatest));
            let factor = 1.0 / sum(weights, |weight| weight);
            weights.iter_mut().for_each(|weight| *weight *= factor);
        }
    }
}

/// What the wide layer does to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
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

/// The greatest value, found as [`sum`] adds.
#[inline(always)]
fn greatest(values: &[f32]) -> f32 {
    let (sixteens, rest) = values.as_chunks::<16>();
    let mut most = [f32::NEG_INFINITY; 16];
    for sixteen in sixteens {
        most.iter_mut()
            .zip(sixteen)
            .for_each(|(most, value)| *most = if *value > *most { *value } else { *most });
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
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
    /// Adding it leaves a whole number in the lowest bits, and subtracting it again gives that number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let power = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (0.166_666_55
                                + rest * (0.041_665_796 + rest * (0.008_333_452 + rest * 0.001_398_2)))));
    power * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
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
}
