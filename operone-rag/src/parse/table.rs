//! Rows of values to lines of text, each value with its column's name.

use std::collections::BTreeMap;

use operone_core::source::BlockKind;

use super::assemble::{Assembly, one_line};

/// How many rows are looked at to find the names of the columns.
const SAMPLE: usize = 20;

/// The longest name of a column, in characters; it is repeated with each of its values.
const MAX_NAME: usize = 100;

/// The values of a row by their column, rising, without blank ones.
pub(super) type Row = Vec<(usize, String)>;

/// Writes the rows of one table into a document. No row is lost: what stands above the names of the columns is kept as
/// it is, and so is a value in a column without a name. Blank values are left out.
#[derive(Debug, Default)]
pub(super) struct Table {
    sample: Vec<Row>,
    /// How many bytes the sample has.
    waiting: usize,
    names: BTreeMap<usize, String>,
    is_sampled: bool,
    /// Whether a row was written.
    is_begun: bool,
}

impl Table {
    /// For rows whose values have their names already.
    pub(super) fn without_names() -> Self {
        Self { is_sampled: true, ..Self::default() }
    }

    /// Adds a row; false once the document is full.
    pub(super) fn row(&mut self, assembly: &mut Assembly, row: Row) -> bool {
        if self.is_sampled {
            self.write(assembly, &row);
        } else if !row.is_empty() {
            self.waiting += row.iter().map(|(_, value)| value.len()).sum::<usize>();
            if self.waiting > assembly.room() {
                assembly.refuse();
            }
            self.sample.push(row);
            if self.sample.len() == SAMPLE {
                self.flush(assembly);
            }
        }
        !assembly.is_full()
    }

    /// Writes what is left.
    pub(super) fn finish(mut self, assembly: &mut Assembly) {
        self.flush(assembly);
    }

    fn flush(&mut self, assembly: &mut Assembly) {
        let sample = std::mem::take(&mut self.sample);
        let names = names(&sample);
        for (index, row) in sample.iter().enumerate() {
            self.write(assembly, row);
            if Some(index) == names {
                self.names = row.iter().map(|(column, value)| (*column, name_of(value))).collect();
            }
        }
        self.is_sampled = true;
    }

    fn write(&mut self, assembly: &mut Assembly, row: &[(usize, String)]) {
        let mut line = String::new();
        let is_head = row.len() == self.names.len()
            && row
                .iter()
                .all(|(column, value)| self.names.get(column).is_some_and(|name| *name == name_of(value)));
        for (column, value) in row {
            let value = one_line(value);
            if value.is_empty() {
                continue;
            }
            if !line.is_empty() {
                line.push_str(" | ");
            }
            if let Some(name) = self.names.get(column).filter(|_| !is_head) {
                line.push_str(name);
                line.push_str(": ");
            }
            line.push_str(&value);
        }
        assembly.push_line(BlockKind::Table, &line, self.is_begun);
        self.is_begun |= !line.is_empty();
    }
}

fn name_of(value: &str) -> String {
    one_line(value).chars().take(MAX_NAME).collect()
}

/// The row that names the columns: the first that has a value wherever most rows have one, but for the first column,
/// all of them different words. There is none where the values below look no different, so that a table of nothing but
/// numbers or words has no names.
fn names(sample: &[Row]) -> Option<usize> {
    let rows = || sample.iter().filter(|row| row.len() > 1);
    let mut filled: BTreeMap<usize, usize> = BTreeMap::new();
    rows().flatten().for_each(|(column, _)| *filled.entry(*column).or_default() += 1);
    let most = rows().count();
    let needed: Vec<usize> =
        filled.iter().skip(1).filter(|(_, count)| **count * 2 > most).map(|(column, _)| *column).collect();
    let is_whole =
        |row: &Row| row.len() > 1 && needed.iter().all(|column| row.iter().any(|(other, _)| other == column));
    let index = sample.iter().position(is_whole)?;
    let names = sample.get(index)?;
    let words = names.iter().all(|(_, name)| !is_number(name));
    let different = names
        .iter()
        .enumerate()
        .all(|(at, (_, name))| !names.iter().take(at).any(|(_, other)| other == name));
    (words && different && index + 1 < sample.len()).then_some(index)
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use operone_core::source::Parsed;

    use super::super::ParseLimits;
    use super::*;

    fn write(rows: &[&[(usize, &str)]]) -> Parsed {
        let mut assembly = Assembly::new("text/csv", &ParseLimits::default());
        let mut table = Table::default();
        for row in rows {
            assert!(table.row(
                &mut assembly,
                row.iter().map(|(column, value)| (*column, (*value).to_owned())).collect()
            ));
        }
        table.finish(&mut assembly);
        assembly.finish().unwrap()
    }

    #[test]
    fn a_first_column_needs_no_name_and_a_repeated_head_is_a_head() {
        let parsed = write(&[
            &[(0, "In millions")],
            &[(1, "Sales"), (2, "Profit")],
            &[(0, "North"), (1, "5"), (2, "1")],
            &[(1, "Sales"), (2, "Profit")],
            &[(0, "South"), (1, "7"), (3, "note")],
        ]);
        assert_eq!(
            parsed.text,
            "In millions\nSales | Profit\nNorth | Sales: 5 | Profit: 1\nSales | Profit\nSouth | Sales: 7 | note"
        );
        assert_eq!(parsed.blocks.len(), 1);
    }

    #[test]
    fn words_above_words_are_no_names_of_a_narrower_table() {
        assert_eq!(write(&[&[(0, "a"), (1, "a")], &[(0, "b"), (1, "c")]]).text, "a | a\nb | c");
    }
}
