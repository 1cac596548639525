//! Tables of office documents: a row is a line, and a table within a cell is part of its text.

use super::assemble::one_line;

/// The tables that are open, the outermost first.
#[derive(Debug, Default)]
pub(super) struct NestedTables(Vec<Table>);

#[derive(Debug, Default)]
struct Table {
    rows: Vec<String>,
    row: Vec<String>,
    cell: String,
}

impl NestedTables {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn begin(&mut self) {
        self.0.push(Table::default());
    }

    /// Adds a paragraph to the cell that is open; false outside of tables.
    pub(super) fn add(&mut self, text: &str) -> bool {
        let Some(table) = self.0.last_mut() else { return false };
        table.cell.push_str(text);
        table.cell.push('\n');
        true
    }

    pub(super) fn end_cell(&mut self) {
        if let Some(table) = self.0.last_mut() {
            table.row.push(one_line(&std::mem::take(&mut table.cell)));
        }
    }

    pub(super) fn end_row(&mut self) {
        if let Some(table) = self.0.last_mut() {
            let row = std::mem::take(&mut table.row);
            if row.iter().any(|cell| !cell.is_empty()) {
                table.rows.push(row.join(" | "));
            }
        }
    }

    /// Ends the innermost table; gives the text of the outermost.
    pub(super) fn end(&mut self) -> Option<String> {
        let Table { rows, .. } = self.0.pop()?;
        match self.0.last_mut() {
            Some(outer) => {
                outer.cell.push_str(&rows.join("; "));
                None
            }
            None => Some(rows.join("\n")),
        }
    }
}
