//! The vectors of a collection in memory, in the precision that was chosen, and the scan that compares them all.

use serde::{Deserialize, Serialize};

use super::kernels::{self, Planes};

/// In what form the vectors lie in memory. A query compares all of them in this form, and the best ones once more
/// with their whole vectors from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VectorPrecision {
    /// Whole: four bytes per component. The store is never asked.
    F32,
    /// One byte per component and four for the vector's scale. Finds what the whole vectors find.
    #[default]
    I8,
    /// One bit per component and four bytes for the vector's scale. Needs the least memory; in collections whose
    /// vectors have no groups it misses some of the nearest.
    Bits,
}

impl VectorPrecision {
    /// The bytes that a vector of this dimension takes in memory.
    pub fn bytes(self, dimension: usize) -> usize {
        4 + match self {
            Self::F32 => 4 * dimension,
            Self::I8 => dimension,
            Self::Bits => 8 * dimension.div_ceil(64),
        }
    }

    /// How many candidates are compared by their whole vectors, where so many are asked for.
    pub(super) fn rescored(self, limit: usize) -> usize {
        match self {
            Self::F32 => limit,
            Self::I8 => limit.saturating_add(limit / 4).saturating_add(16),
            Self::Bits => limit.saturating_mul(4).saturating_add(200),
        }
    }
}

/// What stands in the place of a scale where a row has no vector.
const ABSENT: f32 = -1.0;

/// Vectors of one dimension by row. Rows need not have one.
#[derive(Clone, Debug)]
pub(super) struct Vectors {
    pub(super) dimension: Option<usize>,
    pub(super) codes: Codes,
    /// By row: what a code is multiplied by, or [`ABSENT`].
    pub(super) scales: Vec<f32>,
}

/// The components of all rows, one row after the other.
#[derive(Clone, Debug)]
pub(super) enum Codes {
    F32(Vec<f32>),
    /// The bytes of numbers from -127 to 127.
    I8(Vec<u8>),
    /// A one for each component that is not negative.
    Bits(Vec<u64>),
}

#[cfg(feature = "approximate")]
impl Codes {
    /// None of the same type.
    fn none(&self) -> Self {
        match self {
            Self::F32(_) => Self::F32(Vec::new()),
            Self::I8(_) => Self::I8(Vec::new()),
            Self::Bits(_) => Self::Bits(Vec::new()),
        }
    }

    fn clear(&mut self) {
        match self {
            Self::F32(numbers) => numbers.clear(),
            Self::I8(codes) => codes.clear(),
            Self::Bits(bits) => bits.clear(),
        }
    }

    /// Adds a row of others of the same type, or zeros where it is not there; tells whether it is.
    fn extend_from(&mut self, others: &Self, place: std::ops::Range<usize>, width: usize) -> bool {
        fn extend<T: Copy + Default>(to: &mut Vec<T>, from: Option<&[T]>, width: usize) -> bool {
            match from {
                Some(row) => to.extend_from_slice(row),
                None => to.resize(to.len() + width, T::default()),
            }
            from.is_some()
        }
        match (self, others) {
            (Self::F32(to), Self::F32(from)) => extend(to, from.get(place), width),
            (Self::I8(to), Self::I8(from)) => extend(to, from.get(place), width),
            (Self::Bits(to), Self::Bits(from)) => extend(to, from.get(place), width),
            _ => false,
        }
    }
}

/// A query in the form in which the codes are compared with it.
#[derive(Debug)]
pub(super) enum Prepared {
    F32(Vec<f32>),
    I8 { codes: Vec<i16>, scale: f32 },
    Bits { planes: Vec<Planes>, lowest: f32, step: f32, sum: f32 },
}

impl Vectors {
    pub(super) fn new(precision: VectorPrecision) -> Self {
        let codes = match precision {
            VectorPrecision::F32 => Codes::F32(Vec::new()),
            VectorPrecision::I8 => Codes::I8(Vec::new()),
            VectorPrecision::Bits => Codes::Bits(Vec::new()),
        };
        Self { dimension: None, codes, scales: Vec::new() }
    }

    pub(super) fn precision(&self) -> VectorPrecision {
        match self.codes {
            Codes::F32(_) => VectorPrecision::F32,
            Codes::I8(_) => VectorPrecision::I8,
            Codes::Bits(_) => VectorPrecision::Bits,
        }
    }

    pub(super) fn reserve(&mut self, rows: usize, dimension: usize) {
        let width = self.width(dimension);
        match &mut self.codes {
            Codes::F32(numbers) => numbers.reserve_exact(rows.saturating_mul(width)),
            Codes::I8(codes) => codes.reserve_exact(rows.saturating_mul(width)),
            Codes::Bits(bits) => bits.reserve_exact(rows.saturating_mul(width)),
        }
        self.scales.reserve_exact(rows);
    }

    /// How many numbers of its type a row has.
    pub(super) fn width(&self, dimension: usize) -> usize {
        match self.codes {
            Codes::F32(_) | Codes::I8(_) => dimension,
            Codes::Bits(_) => dimension.div_ceil(64),
        }
    }

    /// Sets the vector of a row. The first decides the dimension; a longer one is cut, a shorter one filled up
    /// with zeros.
    pub(super) fn set(&mut self, row: u32, vector: &[f32]) {
        let dimension = *self.dimension.get_or_insert(vector.len());
        let width = self.width(dimension);
        let (row, vector) = (row as usize, vector.get(..dimension).unwrap_or(vector));
        if self.scales.len() <= row {
            self.scales.resize(row + 1, ABSENT);
        }
        let scale = match &mut self.codes {
            Codes::F32(numbers) => {
                let place = row_mut(numbers, row, width);
                place.iter_mut().zip(vector).for_each(|(place, number)| *place = *number);
                1.0
            }
            Codes::I8(codes) => quantise(vector, row_mut(codes, row, width)),
            Codes::Bits(bits) => signs(vector, row_mut(bits, row, width)),
        };
        if let Some(place) = self.scales.get_mut(row) {
            *place = scale;
        }
    }

    pub(super) fn unset(&mut self, row: u32) {
        if let Some(scale) = self.scales.get_mut(row as usize) {
            *scale = ABSENT;
        }
    }

    pub(super) fn has(&self, row: u32) -> bool {
        self.scales.get(row as usize).is_some_and(|scale| *scale != ABSENT)
    }

    /// The number of rows that may have a vector.
    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// The whole vector of a row, where it lies in memory.
    pub(super) fn whole(&self, row: u32) -> Option<&[f32]> {
        let Codes::F32(numbers) = &self.codes else { return None };
        let (row, dimension) = (row as usize, self.dimension?);
        numbers.get(row * dimension..(row + 1) * dimension)
    }

    pub(super) fn prepare(&self, query: &[f32]) -> Prepared {
        match self.codes {
            Codes::F32(_) => Prepared::F32(query.to_vec()),
            Codes::I8(_) => prepare_i8(query),
            Codes::Bits(_) => prepare_bits(query),
        }
    }

    /// About the vector of a row, at length one but for rounding.
    #[cfg(feature = "approximate")]
    pub(super) fn unpacked(&self, row: u32, dimension: usize) -> Vec<f32> {
        let (row, width) = (row as usize, self.width(dimension));
        let place = row * width..(row + 1) * width;
        let scale = self.scales.get(row).copied().unwrap_or(0.0);
        match &self.codes {
            Codes::F32(numbers) => numbers.get(place).unwrap_or_default().to_vec(),
            Codes::I8(codes) => codes
                .get(place)
                .unwrap_or_default()
                .iter()
                .map(|code| f32::from(*code as i8) * scale)
                .collect(),
            Codes::Bits(bits) => {
                let bits = bits.get(place).unwrap_or_default();
                let sign =
                    |place: usize| bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1);
                (0..dimension).map(|place| if sign(place) { scale } else { -scale }).collect()
            }
        }
    }

    /// As [`Vectors::scan`], for rows that lie anywhere.
    #[cfg(feature = "approximate")]
    pub(super) fn scan_rows(&self, query: &Prepared, rows: &[u32], mut found: impl FnMut(u32, f32)) {
        let width = self.width(self.dimension.unwrap_or(0));
        let mut gathered = Self { dimension: self.dimension, codes: self.codes.none(), scales: Vec::new() };
        for rows in rows.chunks(64) {
            gathered.scales.clear();
            gathered.codes.clear();
            for row in rows {
                let place = *row as usize * width..(*row as usize + 1) * width;
                let is_there = gathered.codes.extend_from(&self.codes, place, width);
                let scale = self.scales.get(*row as usize).copied().filter(|_| is_there);
                gathered.scales.push(scale.unwrap_or(ABSENT));
            }
            gathered.scan(query, 0, rows.len(), |place, score| {
                if let Some(row) = rows.get(place as usize) {
                    found(*row, score);
                }
            });
        }
    }

    /// Calls `found` with each row from `begin` to before `end` that has a vector, and about its product with the
    /// query.
    pub(super) fn scan(&self, query: &Prepared, begin: usize, end: usize, mut found: impl FnMut(u32, f32)) {
        const BLOCK: usize = 256;
        let width = self.width(self.dimension.unwrap_or(0));
        let (mut products, mut sums) = ([0.0_f32; BLOCK], [(0, 0); BLOCK]);
        for begin in (begin..end.min(self.scales.len())).step_by(BLOCK) {
            let end = (begin + BLOCK).min(end).min(self.scales.len());
            match (query, &self.codes) {
                (Prepared::F32(query), Codes::F32(numbers)) => {
                    kernels::products_f32(query, rows(numbers, begin, end, width), &mut products);
                }
                (Prepared::I8 { codes: query, scale }, Codes::I8(codes)) => {
                    kernels::products_i8(query, rows(codes, begin, end, width), &mut products);
                    products.iter_mut().for_each(|product| *product *= scale);
                }
                (Prepared::Bits { planes, lowest, step, sum }, Codes::Bits(bits)) => {
                    kernels::products_bits(planes, rows(bits, begin, end, width), &mut sums);
                    for (product, (weighted, ones)) in products.iter_mut().zip(sums) {
                        *product = 2.0 * (lowest * ones as f32 + step * weighted as f32) - sum;
                    }
                }
                _ => return,
            }
            let scales = self.scales.get(begin..end).unwrap_or_default();
            for ((row, scale), product) in (begin as u32..).zip(scales).zip(products) {
                if *scale != ABSENT {
                    found(row, product * scale);
                }
            }
        }
    }

    /// Moves each row to its new place, which must not be behind the old one; those without one are dropped.
    pub(super) fn renumber(&mut self, places: &[Option<u32>]) {
        let width = self.width(self.dimension.unwrap_or(0));
        let mut end = 0;
        for (row, place) in places.iter().enumerate().take(self.scales.len()) {
            let Some(place) = place.map(|place| place as usize) else { continue };
            let from = row * width..(row + 1) * width;
            match &mut self.codes {
                Codes::F32(numbers) if from.end <= numbers.len() => numbers.copy_within(from, place * width),
                Codes::I8(codes) if from.end <= codes.len() => codes.copy_within(from, place * width),
                Codes::Bits(bits) if from.end <= bits.len() => bits.copy_within(from, place * width),
                _ => {}
            }
            self.scales.swap(row, place);
            end = place + 1;
        }
        self.scales.truncate(end);
        self.scales.shrink_to_fit();
        match &mut self.codes {
            Codes::F32(numbers) => cut(numbers, end * width),
            Codes::I8(codes) => cut(codes, end * width),
            Codes::Bits(bits) => cut(bits, end * width),
        }
    }

    /// The bytes that are allocated.
    pub(super) fn memory(&self) -> usize {
        let codes = match &self.codes {
            Codes::F32(numbers) => 4 * numbers.capacity(),
            Codes::I8(codes) => codes.capacity(),
            Codes::Bits(bits) => 8 * bits.capacity(),
        };
        codes + 4 * self.scales.capacity()
    }
}

/// The cosine of two vectors of length 1, kept within [-1, 1] where rounding left it.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    within(kernels::product(one, other))
}

/// A product as a score.
pub(super) fn within(product: f32) -> f32 {
    // Adding zero makes the negative zero positive, so that equal scores are equal in every order.
    (product + 0.0).clamp(-1.0, 1.0)
}

fn cut<T>(numbers: &mut Vec<T>, length: usize) {
    numbers.truncate(length);
    numbers.shrink_to_fit();
}

fn rows<T>(numbers: &[T], begin: usize, end: usize, width: usize) -> &[T] {
    // The last rows may have no vector and so no place yet.
    numbers.get(begin * width..(end * width).min(numbers.len())).unwrap_or_default()
}

/// The zeroed place of a row, which is made where it is missing.
fn row_mut<T: Clone + Default>(numbers: &mut Vec<T>, row: usize, width: usize) -> &mut [T] {
    if numbers.len() < (row + 1) * width {
        numbers.resize((row + 1) * width, T::default());
    }
    let place = numbers.get_mut(row * width..(row + 1) * width).unwrap_or_default();
    place.fill(T::default());
    place
}

/// Each component as a share of the largest one, in steps of a 127th; gives the step.
fn quantise(vector: &[f32], codes: &mut [u8]) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let scale = largest / 127.0;
    for (code, number) in codes.iter_mut().zip(vector) {
        *code = (number / scale).round().clamp(-127.0, 127.0) as i8 as u8;
    }
    scale
}

/// The signs of the components; gives what makes the product of the signs with the vector its length squared.
fn signs(vector: &[f32], bits: &mut [u64]) -> f32 {
    for (word, numbers) in bits.iter_mut().zip(vector.chunks(64)) {
        for (place, number) in numbers.iter().enumerate() {
            *word |= u64::from(*number >= 0.0) << place;
        }
    }
    let (mut squares, mut sizes) = (0.0, 0.0);
    for number in vector {
        squares += number * number;
        sizes += number.abs();
    }
    if sizes == 0.0 { 0.0 } else { squares / sizes }
}

fn prepare_i8(query: &[f32]) -> Prepared {
    let largest = query.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let sizes: f32 = query.iter().map(|number| number.abs()).sum();
    // The sum of products must not go beyond an i32, whatever the row.
    let fine = (32_000.0 / largest).min(16_000_000.0 / sizes);
    if !fine.is_finite() || fine <= 0.0 {
        return Prepared::I8 { codes: vec![0; query.len()], scale: 0.0 };
    }
    let codes = query.iter().map(|number| (number * fine).round() as i16).collect();
    Prepared::I8 { codes, scale: 1.0 / fine }
}

fn prepare_bits(query: &[f32]) -> Prepared {
    let lowest = query.iter().copied().fold(f32::INFINITY, f32::min);
    let highest = query.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (highest - lowest) / 15.0;
    let code =
        |number: f32| if step > 0.0 { ((number - lowest) / step).round().clamp(0.0, 15.0) as u64 } else { 0 };
    let planes = query.chunks(64).map(|numbers| {
        let mut planes = Planes::default();
        for (place, number) in numbers.iter().enumerate() {
            let code = code(*number);
            for (bit, plane) in planes.iter_mut().take(4).enumerate() {
                *plane |= (code >> bit & 1) << place;
            }
            planes[4] |= 1 << place;
        }
        planes
    });
    Prepared::Bits { planes: planes.collect(), lowest, step, sum: query.iter().sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [VectorPrecision; 3] = [VectorPrecision::F32, VectorPrecision::I8, VectorPrecision::Bits];

    fn vector(seed: usize, dimension: usize) -> Vec<f32> {
        let numbers: Vec<f32> = (0..dimension).map(|place| ((place * 7 + seed * 31) as f32).sin()).collect();
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        numbers.into_iter().map(|number| number / length).collect()
    }

    #[test]
    fn a_scan_comes_near_the_product_in_every_precision() {
        for precision in ALL {
            let error = [0.0001, 0.01, 0.35][precision as usize];
            for dimension in [1, 63, 64, 100, 384] {
                let mut vectors = Vectors::new(precision);
                (0..600).for_each(|row| vectors.set(row, &vector(row as usize, dimension)));
                let query = vector(1_000, dimension);
                let prepared = vectors.prepare(&query);
                let mut seen = 0;
                vectors.scan(&prepared, 100, 500, |row, score| {
                    let exact = cosine(&query, &vector(row as usize, dimension));
                    assert!((score - exact).abs() <= error, "{precision:?} {dimension}: {score} for {exact}");
                    assert_eq!(row, 100 + seen);
                    seen += 1;
                });
                assert_eq!(seen, 400);
                assert_eq!(vectors.memory() / vectors.scales.capacity(), precision.bytes(dimension));
            }
        }
    }

    #[test]
    fn rows_without_a_vector_are_passed_over() {
        for precision in ALL {
            let mut vectors = Vectors::new(precision);
            let found = |vectors: &Vectors| {
                let mut found = Vec::new();
                vectors.scan(&vectors.prepare(&[1.0, 0.0]), 0, 99, |row, _| found.push(row));
                found
            };
            assert!(found(&vectors).is_empty());
            vectors.set(2, &[1.0, 0.0]);
            vectors.set(4, &[0.0, 1.0]);
            assert_eq!(found(&vectors), [2, 4]);
            vectors.unset(2);
            assert_eq!((found(&vectors), vectors.has(2), vectors.has(4)), (vec![4], false, true));
            vectors.renumber(&[None, None, None, Some(0), Some(1)]);
            assert_eq!(found(&vectors), [1]);
        }
    }

    #[test]
    fn extreme_vectors_neither_overflow_nor_vanish() {
        for precision in ALL {
            let mut vectors = Vectors::new(precision);
            vectors.set(0, &[1.0; 4_000]);
            vectors.set(1, &[0.0; 4_000]);
            let prepared = vectors.prepare(&[1.0; 4_000]);
            let mut found = Vec::new();
            vectors.scan(&prepared, 0, 2, |_, score| found.push(score));
            assert!((found[0] - 4_000.0).abs() < 1.0 && found[1] == 0.0, "{precision:?}: {found:?}");
            let nothing = vectors.prepare(&[0.0; 4_000]);
            vectors.scan(&nothing, 0, 2, |_, score| assert_eq!(score, 0.0));
        }
    }
}
