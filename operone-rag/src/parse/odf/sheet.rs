//! The sheets of an OpenDocument spreadsheet: each row one line with the names of its columns.

use operone_core::{Error, Result};
use quick_xml::events::BytesStart;

use super::super::assemble::{Assembly, clean};
use super::super::table::{Row, Table};
use super::super::xml::{Met, attribute};

/// The most columns of a row.
const MAX_COLUMNS: usize = 16_384;

/// The sheets while they are read.
#[derive(Debug)]
pub(super) struct Sheets<'a> {
    assembly: &'a mut Assembly,
    table: Table,
    row: Row,
    /// How many times the row is there.
    repeated: usize,
    /// How many bytes the row has.
    waiting: usize,
    column: usize,
    cell: Option<Cell>,
    /// How many paragraphs of the cell are open.
    in_text: usize,
    tables: usize,
    skipped: usize,
}

#[derive(Debug)]
struct Cell {
    repeated: usize,
    /// Says the value better than the text that is shown.
    value: Option<String>,
    text: String,
}

impl<'a> Sheets<'a> {
    pub(super) fn new(assembly: &'a mut Assembly) -> Self {
        Self {
            assembly,
            table: Table::default(),
            row: Row::new(),
            repeated: 1,
            waiting: 0,
            column: 0,
            cell: None,
            in_text: 0,
            tables: 0,
            skipped: 0,
        }
    }

    pub(super) fn event(&mut self, met: Met<'_, '_>) -> Result<()> {
        match met {
            Met::Start("annotation" | "shapes" | "tracked-changes", _) => self.skipped += 1,
            Met::End("annotation" | "shapes" | "tracked-changes") => {
                self.skipped = self.skipped.saturating_sub(1)
            }
            _ if self.skipped > 0 => {}
            Met::Start("table", element) => {
                self.tables += 1;
                if self.tables == 1 {
                    // Level 2, so that the name of the first sheet is not taken for the document's title.
                    self.assembly.push_heading(2, &attribute(element, "name").unwrap_or_default());
                }
            }
            Met::End("table") => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    std::mem::take(&mut self.table).finish(self.assembly);
                }
            }
            Met::Start("table-row", element) => {
                self.repeated = repeated(element, "number-rows-repeated");
                self.column = 0;
                self.waiting = 0;
                self.row.clear();
            }
            Met::End("table-row") => {
                return self.end_row();
            }
            Met::Start("table-cell" | "covered-table-cell", element) => self.cell = Some(cell(element)),
            Met::End("table-cell" | "covered-table-cell") => return self.end_cell(),
            Met::Start("p", _) => {
                self.in_text += 1;
                self.add("\n");
            }
            Met::End("p") => self.in_text = self.in_text.saturating_sub(1),
            Met::Start("s" | "tab" | "line-break", _) => self.add(" "),
            Met::Text(text) if self.in_text > 0 => self.add(text),
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, text: &str) {
        self.cell.iter_mut().for_each(|cell| cell.text.push_str(text));
    }

    fn end_cell(&mut self) -> Result<()> {
        let Some(Cell { repeated, value, text }) = self.cell.take() else { return Ok(()) };
        let value = value.unwrap_or_else(|| clean(&text));
        if !value.trim().is_empty() {
            if self.column.saturating_add(repeated) > MAX_COLUMNS {
                return Err(Error::invalid(format!("a row has more than {MAX_COLUMNS} values"))
                    .with_code("too_large"));
            }
            self.waiting = self.waiting.saturating_add(value.len().saturating_mul(repeated));
            if self.waiting > self.assembly.room() {
                return Err(too_much());
            }
            self.row.extend((self.column..self.column + repeated).map(|column| (column, value.clone())));
        }
        self.column = self.column.saturating_add(repeated);
        Ok(())
    }

    fn end_row(&mut self) -> Result<()> {
        let row = std::mem::take(&mut self.row);
        if row.is_empty() {
            return Ok(());
        }
        let length: usize = row.iter().map(|(_, value)| value.len() + 1).sum();
        if length.saturating_mul(self.repeated) > self.assembly.room() {
            return Err(too_much());
        }
        for _ in 0..self.repeated {
            if !self.table.row(self.assembly, row.clone()) {
                return Err(too_much());
            }
        }
        Ok(())
    }
}

fn too_much() -> Error {
    Error::invalid("the document gives more text than is allowed").with_code("too_large")
}

fn cell(element: &BytesStart<'_>) -> Cell {
    let value = match attribute(element, "value-type").as_deref() {
        Some("date") => attribute(element, "date-value"),
        Some("boolean") => attribute(element, "boolean-value"),
        _ => None,
    };
    Cell { repeated: repeated(element, "number-columns-repeated"), value, text: String::new() }
}

fn repeated(element: &BytesStart<'_>, name: &str) -> usize {
    attribute(element, name).and_then(|count| count.parse().ok()).unwrap_or(1)
}
