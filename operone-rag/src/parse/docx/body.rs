//! The body of a part of a Word document: its paragraphs, headings and tables in order.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::super::assemble::clean;
use super::super::nested_table::NestedTables;
use super::super::xml::{Met, attribute};

/// What a run of text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Heading(u8),
    Paragraph,
    Table,
}

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    level: Option<u8>,
}

/// The body of a part while it is read. Paragraphs nest by text boxes, tables by cells.
#[derive(Debug)]
pub(super) struct Body<'a> {
    styles: &'a HashMap<String, u8>,
    /// The runs of text that have ended.
    pub(super) done: Vec<(Part, String)>,
    paragraphs: Vec<Paragraph>,
    tables: NestedTables,
    /// How many elements are open whose content does not count.
    skipped: usize,
    in_text: bool,
    in_properties: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(styles: &'a HashMap<String, u8>) -> Self {
        Self {
            styles,
            done: Vec::new(),
            paragraphs: Vec::new(),
            tables: NestedTables::default(),
            skipped: 0,
            in_text: false,
            in_properties: false,
        }
    }

    pub(super) fn event(&mut self, met: Met<'_, '_>) {
        match met {
            // The second half of an alternative says again what the first has said.
            Met::Start("Fallback" | "del" | "moveFrom", _) => self.skipped += 1,
            Met::End("Fallback" | "del" | "moveFrom") => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Met::Start(name, element) => self.start(name, element),
            Met::Text(text) if self.in_text => self.add(text),
            Met::Text(_) => {}
            Met::End(name) => self.end(name),
        }
    }

    fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "p" => self.paragraphs.push(Paragraph::default()),
            "pPr" => self.in_properties = true,
            "pStyle" => {
                let style = attribute(element, "val").unwrap_or_default();
                let level = self.styles.get(&style).copied().or_else(|| named_level(&style));
                self.paragraphs.last_mut().into_iter().for_each(|paragraph| paragraph.level = level);
            }
            "outlineLvl" => {
                let level = outline_level(element);
                self.paragraphs.last_mut().into_iter().for_each(|paragraph| paragraph.level = level);
            }
            "tbl" => self.tables.begin(),
            "t" => self.in_text = true,
            "tab" if !self.in_properties => self.add("\t"),
            "br" | "cr" => self.add("\n"),
            "noBreakHyphen" => self.add("-"),
            // Formulas in one line.
            "sup" => self.add("^"),
            "sub" => self.add("_"),
            "den" => self.add("/"),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "pPr" => self.in_properties = false,
            "p" => self.end_paragraph(),
            "tc" => self.tables.end_cell(),
            "tr" => self.tables.end_row(),
            "tbl" => self.done.extend(self.tables.end().map(|text| (Part::Table, text))),
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        self.paragraphs.last_mut().into_iter().for_each(|paragraph| paragraph.text.push_str(text));
    }

    fn end_paragraph(&mut self) {
        let Some(Paragraph { text, level }) = self.paragraphs.pop() else { return };
        let text = clean(&text);
        if !self.tables.add(&text) && !text.trim().is_empty() {
            self.done.push((level.map_or(Part::Paragraph, Part::Heading), text));
        }
    }
}

/// Word's own names of these styles are English in every language.
pub(super) fn named_level(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(1);
    }
    name.strip_prefix("heading")?.trim().parse().ok().filter(|level| (1..=9).contains(level))
}

pub(super) fn outline_level(element: &BytesStart<'_>) -> Option<u8> {
    let level: u8 = attribute(element, "val")?.parse().ok()?;
    (level < 9).then_some(level + 1)
}
