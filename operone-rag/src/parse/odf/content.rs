//! The body of an OpenDocument text or presentation: its paragraphs, headings, lists, tables and slides in order.

use quick_xml::events::BytesStart;

use super::super::assemble::clean;
use super::super::nested_table::NestedTables;
use super::super::xml::{Met, attribute};

/// The most spaces that one mark may stand for.
const MAX_SPACES: usize = 100;

/// What a run of text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// A slide begins; no text.
    Page,
    Heading(u8),
    Paragraph,
    Table,
}

/// The body while it is read.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The runs of text that have ended.
    pub(super) done: Vec<(Part, String)>,
    /// The open paragraphs; a note's lie in another.
    paragraphs: Vec<(Part, String)>,
    /// What lies in the open paragraph and comes after it.
    inner: Vec<(Part, String)>,
    tables: NestedTables,
    /// How many elements are open whose content does not count.
    skipped: usize,
    lists: usize,
    /// Whether the next paragraph begins an item of a list.
    is_item: bool,
    is_title: bool,
    in_notes: bool,
}

impl Content {
    pub(super) fn event(&mut self, met: Met<'_, '_>) {
        const SKIPPED: [&str; 6] = [
            "tracked-changes",
            "annotation",
            "note-citation",
            "sequence-decls",
            "user-field-decls",
            "variable-decls",
        ];
        match met {
            Met::Start(name, _) if SKIPPED.contains(&name) => self.skipped += 1,
            Met::End(name) if SKIPPED.contains(&name) => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Met::Start(name, element) => self.start(name, element),
            Met::Text(text) => self.add(text),
            Met::End(name) => self.end(name),
        }
    }

    fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "page" => self.done.push((Part::Page, String::new())),
            "notes" => self.in_notes = true,
            "frame" => {
                let class = attribute(element, "class");
                self.is_title = class.as_deref() == Some("title");
            }
            "h" => {
                let level =
                    attribute(element, "outline-level").and_then(|level| level.parse().ok()).unwrap_or(1);
                self.paragraphs.push((Part::Heading(level), String::new()));
            }
            "p" => {
                let part = if self.is_title { Part::Heading(1) } else { Part::Paragraph };
                self.paragraphs.push((part, String::new()));
            }
            "list" => self.lists += 1,
            "list-item" => self.is_item = true,
            "s" => {
                let count = attribute(element, "c").and_then(|count| count.parse().ok()).unwrap_or(1);
                self.add(&" ".repeat(MAX_SPACES.min(count)));
            }
            "tab" => self.add("\t"),
            "line-break" => self.add("\n"),
            "table" => self.tables.begin(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" => self.end_paragraph(),
            "notes" => self.in_notes = false,
            "frame" => self.is_title = false,
            "list" => self.lists = self.lists.saturating_sub(1),
            "table-cell" | "covered-table-cell" => self.tables.end_cell(),
            "table-row" => self.tables.end_row(),
            "table" => self.done.extend(self.tables.end().map(|text| (Part::Table, text))),
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        self.paragraphs.last_mut().into_iter().for_each(|(_, paragraph)| paragraph.push_str(text));
    }

    fn end_paragraph(&mut self) {
        let Some((part, text)) = self.paragraphs.pop() else { return };
        let text = clean(&text);
        if text.trim().is_empty() {
            return;
        }
        if !self.paragraphs.is_empty() && self.tables.is_empty() {
            // A note ends before the paragraph that it belongs to.
            self.inner.push((part, text));
            return;
        }
        if self.tables.add(&text) {
            return;
        }
        let is_item = std::mem::take(&mut self.is_item);
        if self.in_notes {
            self.done.push((Part::Paragraph, format!("Notes: {text}")));
        } else if self.lists > 0 && part == Part::Paragraph {
            let indent = "  ".repeat(self.lists.min(8) - 1);
            let line = if is_item { format!("{indent}- {text}") } else { format!("{indent}  {text}") };
            match self.done.last_mut() {
                // One list is one part.
                Some((Part::Paragraph, list)) if list.trim_start().starts_with("- ") => {
                    list.push('\n');
                    list.push_str(&line);
                }
                _ => self.done.push((Part::Paragraph, line)),
            }
        } else {
            self.done.push((part, text));
        }
        self.done.append(&mut self.inner);
    }
}
