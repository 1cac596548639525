//! Vectors in one piece of memory, and the product that compares them.

/// Vectors of one dimension by row. Rows need not have one.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    dimension: Option<usize>,
    numbers: Vec<f32>,
    present: Vec<bool>,
}

impl Vectors {
    pub(super) fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    pub(super) fn reserve(&mut self, rows: usize, dimension: usize) {
        self.numbers.reserve(rows.saturating_mul(dimension));
        self.present.reserve(rows);
    }

    /// Sets the vector of a row. The first decides the dimension.
    pub(super) fn set(&mut self, row: u32, vector: &[f32]) {
        let dimension = *self.dimension.get_or_insert(vector.len());
        let row = row as usize;
        if self.present.len() <= row {
            self.present.resize(row + 1, false);
            self.numbers.resize((row + 1) * dimension, 0.0);
        }
        if let Some(place) = self.numbers.get_mut(row * dimension..(row + 1) * dimension) {
            let (begin, rest) = place.split_at_mut(vector.len().min(dimension));
            begin.iter_mut().zip(vector).for_each(|(place, number)| *place = *number);
            rest.fill(0.0);
        }
        if let Some(present) = self.present.get_mut(row) {
            *present = true;
        }
    }

    pub(super) fn unset(&mut self, row: u32) {
        if let Some(present) = self.present.get_mut(row as usize) {
            *present = false;
        }
    }

    pub(super) fn get(&self, row: u32) -> Option<&[f32]> {
        let (row, dimension) = (row as usize, self.dimension?);
        self.present.get(row).filter(|present| **present)?;
        self.numbers.get(row * dimension..(row + 1) * dimension)
    }

    /// Each row that has a vector.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[f32])> {
        let rows = self.numbers.chunks_exact(self.dimension.unwrap_or(1));
        let present = self.present.iter().zip(rows).zip(0..);
        present.filter(|((present, _), _)| **present).map(|((_, vector), row)| (row, vector))
    }
}

/// The cosine of two vectors of length 1, kept within [-1, 1] where rounding left it.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    // Adding zero makes the negative zero positive, so that equal scores are equal in every order.
    (product(one, other) + 0.0).clamp(-1.0, 1.0)
}

/// Eight sums at once, which the compiler turns into vector instructions.
fn product(one: &[f32], other: &[f32]) -> f32 {
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
    fn rows_without_a_vector_are_passed_over() {
        let mut vectors = Vectors::default();
        assert_eq!(vectors.iter().count(), 0);
        vectors.set(2, &[1.0, 0.0]);
        vectors.set(4, &[0.0, 1.0]);
        vectors.unset(2);
        assert_eq!(vectors.iter().collect::<Vec<_>>(), [(4, [0.0, 1.0].as_slice())]);
        assert_eq!(
            (vectors.get(2), vectors.get(4), vectors.get(9)),
            (None, Some([0.0, 1.0].as_slice()), None)
        );
    }
}
