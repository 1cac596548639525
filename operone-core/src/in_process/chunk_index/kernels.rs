//! The loops over numbers that a search spends its time in, in the widest instructions that the processor has.
//!
//! With the feature `simd` they are compiled for several kinds of processors and chosen while the program runs;
//! without it they are compiled once, for the target. Both give the same results, bit for bit.

/// The query in bits: for each 64 components four planes of a 4-bit number each, the lowest first, and a mask of
/// the components that are there.
pub(super) type Planes = [u64; 5];

/// A function whose body is compiled for each kind of processor. The closures that `pulp` takes would be compiled for the
/// least of them wherever the compiler does not inline them.
#[cfg(feature = "simd")]
macro_rules! in_the_widest {
    ($(#[$note:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $kind:ty),+) -> $output:ty $body:block) => {
        $(#[$note])*
        pub(super) fn $name<$life>($($argument: $kind),+) -> $output {
            struct Work<$life> {
                $($argument: $kind),+
            }
            impl<$life> pulp::WithSimd for Work<$life> {
                type Output = $output;
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $output {
                    let Self { $($argument),+ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work { $($argument),+ })
        }
    };
}

#[cfg(not(feature = "simd"))]
macro_rules! in_the_widest {
    ($(#[$note:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $kind:ty),+) -> $output:ty $body:block) => {
        $(#[$note])*
        pub(super) fn $name<$life>($($argument: $kind),+) -> $output $body
    };
}

in_the_widest! {
    /// The product of two vectors.
    fn product<'a>(one: &'a [f32], other: &'a [f32]) -> f32 {
        product_f32(one, other)
    }
}

in_the_widest! {
    /// Puts the product of each row with the query into `products`.
    fn products_f32<'a>(query: &'a [f32], rows: &'a [f32], products: &'a mut [f32]) -> () {
        for (place, row) in products.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
            *place = product_f32(query, row);
        }
    }
}

in_the_widest! {
    /// Puts the product of each row with the query into `products`. A row's bytes are numbers from -127 to 127; 127
    /// times the sum of the query's sizes must not go beyond an `i32`.
    fn products_i8<'a>(query: &'a [i16], rows: &'a [u8], products: &'a mut [f32]) -> () {
        for (place, row) in products.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
            // This plain form becomes the instruction that multiplies and adds pairs; cut into blocks it does not.
            let product: i32 =
                query.iter().zip(row).map(|(query, code)| i32::from(*query) * i32::from(*code as i8)).sum();
            *place = product as f32;
        }
    }
}

in_the_widest! {
    /// For each row the sum of the query's 4-bit numbers at its ones, and the count of these ones.
    fn products_bits<'a>(query: &'a [Planes], rows: &'a [u64], products: &'a mut [(u32, u32)]) -> () {
        for (place, row) in products.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
            let mut sums = [0_u32; 5];
            for (planes, bits) in query.iter().zip(row) {
                for (sum, plane) in sums.iter_mut().zip(planes) {
                    *sum += (plane & bits).count_ones();
                }
            }
            let [first, second, third, fourth, ones] = sums;
            *place = (first + 2 * second + 4 * third + 8 * fourth, ones);
        }
    }
}

/// Eight sums at once, always in the same order.
#[inline(always)]
fn product_f32(one: &[f32], other: &[f32]) -> f32 {
    let (ones, one_rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (one, other) in ones.iter().zip(others) {
        for lane in 0..8 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_that_of_the_definition() {
        for length in [0, 1, 7, 8, 9, 384] {
            let one: Vec<f32> = (0..length).map(|number| number as f32 * 0.5 - 3.0).collect();
            let other: Vec<f32> = (0..length).map(|number| 2.0 - number as f32 * 0.25).collect();
            let expected: f64 =
                one.iter().zip(&other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            let error = (f64::from(product(&one, &other)) - expected).abs();
            assert!(error <= expected.abs() * 1e-5, "{length}: off by {error}");
        }
    }

    #[test]
    fn each_row_has_the_product_of_the_definition() {
        for length in [1, 15, 16, 31, 384, 1_000] {
            let query: Vec<i16> = (0..length).map(|number| (number * 977 % 3_001 - 1_500) as i16).collect();
            let codes: Vec<u8> =
                (0..3 * length).map(|number| ((number * 31 % 255) as i16 - 127) as i8 as u8).collect();
            let mut products = [0.0; 3];
            products_i8(&query, &codes, &mut products);
            for (row, product) in codes.chunks_exact(length as usize).zip(products) {
                let expected: i64 =
                    query.iter().zip(row).map(|(q, c)| i64::from(*q) * i64::from(*c as i8)).sum();
                assert_eq!(product, expected as i32 as f32);
            }
        }
    }

    #[test]
    fn bits_are_summed_by_their_planes() {
        let query = [[0b1011, 0b0110, 0b0001, 0b1000, 0b1111]];
        let mut products = [(0, 0); 3];
        products_bits(&query, &[0b1111, 0b0001, 0], &mut products);
        assert_eq!(products, [(3 + 2 * 2 + 4 + 8, 4), (1 + 4, 1), (0, 0)]);
    }
}
