//! What the benchmarks of the search index and of its stores search: made-up words and vectors, the same in every run.

pub(crate) const CHUNKS_PER_DOCUMENT: usize = 10;
pub(crate) const TERMS_PER_CHUNK: usize = 120;
/// That of the bundled embedder.
pub(crate) const DIMENSION: usize = 256;
/// Vectors lie around so many centres, as those of texts do around their subjects.
const SUBJECTS: usize = 500;

/// Numbers that are the same in every run.
pub(crate) struct Random {
    state: u64,
    subjects: Vec<Vec<f32>>,
}

impl Random {
    pub(crate) fn new(state: u64) -> Self {
        let mut random = Self { state, subjects: Vec::new() };
        random.subjects = (0..SUBJECTS).map(|_| random.direction()).collect();
        random
    }

    /// One in [0, 1).
    pub(crate) fn next(&mut self) -> f32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// The number of a word of a vocabulary of 100,000 whose frequencies fall as those of a language do.
    pub(crate) fn term(&mut self) -> u32 {
        (f64::from(self.next()) * f64::ln(100_000.0)).exp() as u32
    }

    /// Near one of the subjects.
    pub(crate) fn vector(&mut self) -> Vec<f32> {
        let subject = (self.next() * SUBJECTS as f32) as usize;
        let own = self.direction();
        let subject = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        of_length_one(own.iter().zip(subject).map(|(own, subject)| own + 0.7 * subject).collect())
    }

    fn direction(&mut self) -> Vec<f32> {
        of_length_one((0..DIMENSION).map(|_| self.next() - 0.5).collect())
    }
}

fn of_length_one(numbers: Vec<f32>) -> Vec<f32> {
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}
