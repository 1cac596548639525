//! Matrix products with the matrix laid out for the processor's registers.

use pulp::{Arch, Simd, WithSimd};

/// A matrix of `inputs` by `outputs` in panels: as many columns as two registers hold stand together, input by input. A
/// last panel is filled up with zeros.
#[derive(Debug)]
pub(super) struct Panels {
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

/// The columns of a panel in registers.
const REGISTERS: usize = 2;

impl Panels {
    /// Lays out a matrix that is given by columns: for each output as many values as there are inputs.
    pub(super) fn of_columns<'a>(inputs: usize, columns: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let (outputs, width) = (columns.len(), width());
        let mut values = vec![0.0; outputs.div_ceil(width) * width * inputs];
        for (number, column) in columns.enumerate() {
            let start = number / width * width * inputs + number % width;
            let places = values.iter_mut().skip(start).step_by(width);
            places.zip(column.iter().take(inputs)).for_each(|(place, value)| *place = *value);
        }
        Self { values, inputs, outputs }
    }

    /// Lays out a matrix that is given by rows: for each input as many values as there are outputs.
    pub(super) fn of_rows<'a>(outputs: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let (inputs, width) = (rows.len(), width());
        let mut values = vec![0.0; outputs.div_ceil(width) * width * inputs];
        for (number, row) in rows.enumerate() {
            let panels = values.chunks_exact_mut((width * inputs).max(1));
            for (panel, columns) in panels.zip(row.chunks(width)) {
                if let Some(place) = panel.get_mut(number * width..number * width + columns.len()) {
                    place.copy_from_slice(columns);
                }
            }
        }
        Self { values, inputs, outputs }
    }

    /// Sets `products` to `rows` times the matrix: each row has as many values as there are inputs, and gives as many
    /// as there are outputs.
    pub(super) fn multiply(&self, rows: &[f32], products: &mut [f32]) {
        Arch::new().dispatch(Multiply { panels: self, rows, products });
    }
}

/// The columns of a panel.
fn width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES * REGISTERS
        }
    }
    Arch::new().dispatch(Width)
}

struct Multiply<'a> {
    panels: &'a Panels,
    rows: &'a [f32],
    products: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    /// As many rows at once as leave each register in use: two sums for each row, two of the matrix, one of the row.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { multiply::<S, 12>(simd, self) } else { multiply::<S, 6>(simd, self) }
    }
}

#[inline(always)]
fn multiply<S: Simd, const ROWS: usize>(simd: S, work: Multiply<'_>) {
    let Panels { values, inputs, outputs } = work.panels;
    let (inputs, outputs, width) = ((*inputs).max(1), (*outputs).max(1), S::F32_LANES * REGISTERS);
    let blocks: Vec<Vec<[f32; ROWS]>> =
        work.rows.chunks(inputs * ROWS).map(|rows| side_by_side(rows, inputs)).collect();
    // A panel stays in the cache while all rows go over it.
    for (number, panel) in values.chunks_exact(width * inputs).enumerate() {
        let panel = S::as_simd_f32s(panel).0.as_chunks::<REGISTERS>().0;
        let start = number * width;
        let end = outputs.min(start + width);
        for (block, products) in blocks.iter().zip(work.products.chunks_mut(outputs * ROWS)) {
            let sums = tile(simd, block, panel);
            for (sums, products) in sums.iter().zip(products.chunks_exact_mut(outputs)) {
                let Some(columns) = products.get_mut(start..end) else { continue };
                for (sum, columns) in sums.iter().zip(columns.chunks_mut(S::F32_LANES)) {
                    simd.partial_store_f32s(columns, *sum);
                }
            }
        }
    }
}

/// The first values of some rows, then their second ones, and so on; zeros stand in for rows that are missing.
#[inline(always)]
fn side_by_side<const ROWS: usize>(rows: &[f32], inputs: usize) -> Vec<[f32; ROWS]> {
    let mut block = vec![[0.0; ROWS]; inputs];
    for (number, row) in rows.chunks_exact(inputs).enumerate() {
        for (values, value) in block.iter_mut().zip(row) {
            if let Some(place) = values.get_mut(number) {
                *place = *value;
            }
        }
    }
    block
}

/// The products of some rows with the columns of one panel, kept in registers to the end.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    block: &[[f32; ROWS]],
    panel: &[[S::f32s; REGISTERS]],
) -> [[S::f32s; REGISTERS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
    for (values, columns) in block.iter().zip(panel) {
        for (sums, value) in sums.iter_mut().zip(values) {
            let value = simd.splat_f32s(*value);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = simd.mul_add_e_f32s(value, *column, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 3), (12, 32, 32), (13, 33, 65), (40, 64, 31)] {
            let value = |number: usize| ((number * 37 + 11) % 29) as f32 / 29.0 - 0.5;
            let left: Vec<f32> = (0..rows * inputs).map(value).collect();
            let by_rows: Vec<f32> = (0..inputs * outputs).map(|number| value(number + 5)).collect();
            let by_columns: Vec<f32> = (0..outputs)
                .flat_map(|column| by_rows.iter().skip(column).step_by(outputs).copied())
                .collect();
            for panels in [
                Panels::of_rows(outputs, by_rows.chunks(outputs)),
                Panels::of_columns(inputs, by_columns.chunks(inputs)),
            ] {
                let mut products = vec![f32::NAN; rows * outputs];
                panels.multiply(&left, &mut products);
                for (place, product) in products.iter().enumerate() {
                    let row = &left[place / outputs * inputs..][..inputs];
                    let column = by_rows.iter().skip(place % outputs).step_by(outputs);
                    let expected: f32 = row.iter().zip(column).map(|(one, other)| one * other).sum();
                    assert!(
                        (product - expected).abs() < 1e-4,
                        "{rows} {inputs} {outputs} {place}: {product} {expected}"
                    );
                }
            }
        }
    }
}
