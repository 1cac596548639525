//! Word documents: paragraphs, headings, tables, formulas, notes, and headers and footers once.

use std::collections::{BTreeSet, HashMap};

use operone_core::clock::Period;
use operone_core::source::{BlockKind, Parsed};
use operone_core::{Error, Result};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::ParseLimits;
use super::assemble::{Assembly, clean};
use super::detect::unsupported;
use super::encoding::decode;
use super::zip_archive::Archive;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// The deepest nesting of elements.
const MAX_DEPTH: usize = 256;

/// Reads a Word document. Headers and footers come first, each text once; notes come last. What was deleted or
/// moved away under change tracking is left out.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    let mut archive = Archive::open(bytes, limits)?;
    let names = archive.names();
    let main = main_part(&names)?;
    let styles = match archive.read("word/styles.xml")? {
        Some(styles) => heading_styles(&decode(&styles, None))?,
        None => HashMap::new(),
    };
    let mut assembly = Assembly::new(MEDIA_TYPE);
    let mut seen = BTreeSet::new();
    for name in parts(&names, &["word/header", "word/footer"]) {
        for (_, text) in read_part(&mut archive, name, &HashMap::new())? {
            if seen.insert(text.clone()) {
                assembly.push(BlockKind::Paragraph, &text);
            }
        }
    }
    for name in std::iter::once(main).chain(parts(&names, &["word/footnotes", "word/endnotes"])) {
        for (part, text) in read_part(&mut archive, name, &styles)? {
            match part {
                Part::Heading(level) => assembly.push_heading(level, &text),
                Part::Paragraph => assembly.push(BlockKind::Paragraph, &text),
                Part::Table => assembly.push(BlockKind::Table, &text),
            }
        }
    }
    if let Some(properties) = archive.read("docProps/core.xml")? {
        let properties = properties_of(&decode(&properties, None))?;
        let property = |name: &str| properties.get(name).map(String::as_str);
        assembly.set_title(property("title"));
        let date = property("modified").or_else(|| property("created"));
        assembly.set_date(date.and_then(|date| Period::parse(date).ok()).map(|period| period.first));
    }
    Ok(assembly.finish())
}

fn main_part(names: &[String]) -> Result<&str> {
    let has = |begin: &str| names.iter().any(|name| name.starts_with(begin));
    let main = names.iter().find(|name| name.as_str() == "word/document.xml");
    let other = || names.iter().find(|name| name.starts_with("word/document") && name.ends_with(".xml"));
    main.or_else(other).map(String::as_str).ok_or_else(|| {
        unsupported(if has("ppt/") {
            "a PowerPoint presentation"
        } else if has("xl/") {
            "an Excel workbook"
        } else if has("META-INF/container.xml") {
            "an EPUB book"
        } else if has("mimetype") && has("content.xml") {
            "an OpenDocument file"
        } else {
            "a zip archive"
        })
    })
}

fn parts<'a>(names: &'a [String], begins: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let part = |name: &&String| name.ends_with(".xml") && begins.iter().any(|begin| name.starts_with(begin));
    names.iter().filter(part).map(String::as_str)
}

/// What a run of text is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Heading(u8),
    Paragraph,
    Table,
}

fn read_part(
    archive: &mut Archive<'_>,
    name: &str,
    styles: &HashMap<String, u8>,
) -> Result<Vec<(Part, String)>> {
    let xml = archive.read(name)?.unwrap_or_default();
    let mut body = Body::new(styles);
    walk(&decode(&xml, None), |event| body.event(event))?;
    Ok(body.done)
}

/// What is met in an XML text.
enum Met<'a, 'b> {
    Start(&'a str, &'a BytesStart<'b>),
    Text(&'a str),
    End(&'a str),
}

/// Reads an XML text in one pass; names come without their prefix. Entities other than XML's own are left out, so
/// nothing expands and nothing outside is read.
fn walk(xml: &str, mut meet: impl FnMut(Met<'_, '_>)) -> Result<()> {
    let mut reader = Reader::from_str(xml);
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(corrupt)? {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let detail = format!("the document nests elements more than {MAX_DEPTH} deep");
                    return Err(Error::invalid(detail).with_code("too_large"));
                }
                meet(Met::Start(element.local_name().as_ref(), &element));
            }
            Event::Empty(element) => {
                meet(Met::Start(element.local_name().as_ref(), &element));
                meet(Met::End(element.local_name().as_ref()));
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                meet(Met::End(element.local_name().as_ref()));
            }
            Event::Text(text) => meet(Met::Text(&text.xml10_content())),
            Event::CData(text) => meet(Met::Text(&text.xml10_content())),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(corrupt)? {
                Some(c) => meet(Met::Text(c.encode_utf8(&mut [0; 4]))),
                None => resolve_predefined_entity(&entity).into_iter().for_each(|text| meet(Met::Text(text))),
            },
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn corrupt(error: quick_xml::Error) -> Error {
    Error::invalid("the document's XML is damaged").with_code("corrupt").with_source(error)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|one| one.key.local_name().as_ref() == name)?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

/// The level of each style of headings, by the style's id.
fn heading_styles(xml: &str) -> Result<HashMap<String, u8>> {
    let mut levels = HashMap::new();
    let mut style = String::new();
    walk(xml, |met| {
        if let Met::Start(name, element) = met {
            let level = match name {
                "style" => {
                    style = attribute(element, "styleId").unwrap_or_default();
                    None
                }
                "name" => attribute(element, "val").and_then(|name| named_level(&name)),
                "outlineLvl" => outline_level(element),
                _ => None,
            };
            levels.extend(level.map(|level| (style.clone(), level)));
        }
    })?;
    Ok(levels)
}

/// Word's own names of these styles are English in every language.
fn named_level(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(1);
    }
    name.strip_prefix("heading")?.trim().parse().ok().filter(|level| (1..=9).contains(level))
}

fn outline_level(element: &BytesStart<'_>) -> Option<u8> {
    let level: u8 = attribute(element, "val")?.parse().ok()?;
    (level < 9).then_some(level + 1)
}

fn properties_of(xml: &str) -> Result<HashMap<String, String>> {
    let mut properties: HashMap<String, String> = HashMap::new();
    let mut open = String::new();
    walk(xml, |met| match met {
        Met::Start(name, _) => open = name.to_owned(),
        Met::Text(text) => properties.entry(open.clone()).or_default().push_str(text.trim()),
        Met::End(_) => open.clear(),
    })?;
    properties.retain(|_, value| !value.is_empty());
    Ok(properties)
}

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    level: Option<u8>,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<String>,
    row: Vec<String>,
    cell: String,
}

/// The body of a part while it is read. Paragraphs nest by text boxes, tables by cells.
#[derive(Debug)]
struct Body<'a> {
    styles: &'a HashMap<String, u8>,
    done: Vec<(Part, String)>,
    paragraphs: Vec<Paragraph>,
    tables: Vec<Table>,
    /// How many elements are open whose content does not count.
    skipped: usize,
    in_text: bool,
    in_properties: bool,
}

impl<'a> Body<'a> {
    fn new(styles: &'a HashMap<String, u8>) -> Self {
        Self {
            styles,
            done: Vec::new(),
            paragraphs: Vec::new(),
            tables: Vec::new(),
            skipped: 0,
            in_text: false,
            in_properties: false,
        }
    }

    fn event(&mut self, met: Met<'_, '_>) {
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
            "tbl" => self.tables.push(Table::default()),
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
            "tc" => self.tables.last_mut().into_iter().for_each(|table| {
                let cell = std::mem::take(&mut table.cell);
                table.row.push(cell.split_whitespace().collect::<Vec<_>>().join(" "));
            }),
            "tr" => self.tables.last_mut().into_iter().for_each(|table| {
                let row = std::mem::take(&mut table.row);
                if row.iter().any(|cell| !cell.is_empty()) {
                    table.rows.push(row.join(" | "));
                }
            }),
            "tbl" => {
                let rows = self.tables.pop().unwrap_or_default().rows;
                match self.tables.last_mut() {
                    Some(outer) => outer.cell.push_str(&rows.join("; ")),
                    None => self.done.push((Part::Table, rows.join("\n"))),
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        self.paragraphs.last_mut().into_iter().for_each(|paragraph| paragraph.text.push_str(text));
    }

    fn end_paragraph(&mut self) {
        let Some(Paragraph { text, level }) = self.paragraphs.pop() else { return };
        if let Some(table) = self.tables.last_mut() {
            table.cell.push_str(&clean(&text));
            table.cell.push('\n');
        } else if !text.trim().is_empty() {
            self.done.push((level.map_or(Part::Paragraph, Part::Heading), clean(&text)));
        }
    }
}
