//! Excel workbooks: each sheet under its name, each row one line with the names of its columns.

mod number;
mod styles;

use operone_core::source::Parsed;
use operone_core::{Error, Result};
use quick_xml::events::BytesStart;

use super::ParseLimits;
use super::assemble::{Assembly, clean};
use super::encoding::decode_xml;
use super::opc::{set_properties, targets};
use super::table::{Row, Table};
use super::xml::{Met, attribute, relationship, try_walk, walk};
use super::zip_archive::Archive;

use styles::Styles;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The last column that a sheet can have, from 0.
const LAST_COLUMN: usize = 16_383;

/// Reads the sheets in the order of their tabs. Of a formula the value counts that was last computed. Numbers are as
/// they are stored, but for dates, times and shares of a hundred, which are as they are shown.
pub(super) fn parse(archive: &mut Archive<'_>, main: &str, limits: &ParseLimits) -> Result<Parsed> {
    let mut assembly = Assembly::new(MEDIA_TYPE, limits);
    let targets = targets(archive, main)?;
    let (sheets, from_1904) = sheets(&decode_xml(archive.read(main)?.unwrap_or_default()))?;
    let part = |kind: &str| targets.values().find(|target| target.kind == kind).map(|target| &target.entry);
    let strings = match part("sharedStrings") {
        Some(entry) => strings(archive, entry, limits)?,
        None => Vec::new(),
    };
    let mut styles = Styles::default();
    if let Some(entry) = part("styles") {
        styles = Styles::read(&decode_xml(archive.read(entry)?.unwrap_or_default()), from_1904)?;
    }
    for (name, id) in sheets {
        let Some(target) = targets.get(&id).filter(|target| target.kind == "worksheet") else { continue };
        let Some(xml) = archive.read(&target.entry)? else { continue };
        // Level 2, so that the name of the first sheet is not taken for the workbook's title.
        assembly.push_heading(2, &name);
        let mut sheet = Sheet {
            assembly: &mut assembly,
            strings: &strings,
            styles: &styles,
            table: Table::default(),
            row: Row::new(),
            waiting: 0,
            cell: None,
            text: String::new(),
            in_value: false,
        };
        try_walk(&decode_xml(xml), |met| sheet.event(met))?;
        sheet.table.finish(sheet.assembly);
    }
    set_properties(archive, "docProps/core.xml", &mut assembly)?;
    assembly.finish()
}

/// Names and relationships of the sheets, and whether dates are counted from 1904.
fn sheets(xml: &str) -> Result<(Vec<(String, String)>, bool)> {
    let mut sheets = Vec::new();
    let mut from_1904 = false;
    walk(xml, |met| match met {
        Met::Start("sheet", element) => {
            sheets.extend(attribute(element, "name").zip(relationship(element)));
        }
        Met::Start("workbookPr", element) => {
            from_1904 = matches!(attribute(element, "date1904").as_deref(), Some("1" | "true"));
        }
        _ => {}
    })?;
    Ok((sheets, from_1904))
}

/// The texts that cells point to.
fn strings(archive: &mut Archive<'_>, entry: &str, limits: &ParseLimits) -> Result<Vec<Box<str>>> {
    let mut strings = Vec::new();
    let mut text = String::new();
    let (mut in_text, mut phonetic) = (false, 0_usize);
    try_walk(&decode_xml(archive.read(entry)?.unwrap_or_default()), |met| {
        match met {
            Met::Start("rPh", _) => phonetic += 1,
            Met::End("rPh") => phonetic = phonetic.saturating_sub(1),
            Met::Start("t", _) => in_text = phonetic == 0,
            Met::End("t") => in_text = false,
            Met::Text(part) if in_text => text.push_str(part),
            Met::End("si") => {
                strings.push(clean(&std::mem::take(&mut text)).into_boxed_str());
                if strings.len() > limits.cells {
                    return Err(too_many(limits));
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(strings)
}

fn too_many(limits: &ParseLimits) -> Error {
    Error::invalid(format!("the workbook has more than {} values", limits.cells)).with_code("too_large")
}

fn too_much() -> Error {
    Error::invalid("the workbook gives more text than is allowed").with_code("too_large")
}

struct Sheet<'a> {
    assembly: &'a mut Assembly,
    strings: &'a [Box<str>],
    styles: &'a Styles,
    table: Table,
    row: Row,
    /// How many bytes the row has; many cells may point to one long text.
    waiting: usize,
    cell: Option<Cell>,
    text: String,
    in_value: bool,
}

struct Cell {
    column: usize,
    kind: String,
    style: usize,
}

impl Sheet<'_> {
    fn event(&mut self, met: Met<'_, '_>) -> Result<()> {
        match met {
            Met::Start("row", _) => {
                self.row.clear();
                self.waiting = 0;
            }
            Met::Start("c", element) => {
                self.text.clear();
                self.cell = self.begin(element);
            }
            Met::Start("v" | "t", _) => self.in_value = self.cell.is_some(),
            Met::End("v" | "t") => self.in_value = false,
            // The reading of a word in another script.
            Met::Start("rPh", _) => self.cell = None,
            Met::Text(text) if self.in_value => self.text.push_str(text),
            Met::End("c") => {
                if let Some(cell) = self.cell.take()
                    && let Some(value) = self.value(&cell)
                {
                    self.waiting += value.len();
                    if self.waiting > self.assembly.room() {
                        return Err(too_much());
                    }
                    self.row.push((cell.column, value));
                }
            }
            Met::End("row") => {
                // Columns rise in a row that a program wrote; a hostile one must not break the table.
                self.row.sort_by_key(|(column, _)| *column);
                if !self.table.row(self.assembly, std::mem::take(&mut self.row)) {
                    return Err(too_much());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&self, element: &BytesStart<'_>) -> Option<Cell> {
        let next = self.row.last().map_or(0, |(column, _)| column + 1);
        let column = attribute(element, "r").and_then(|reference| column(&reference)).unwrap_or(next);
        let kind = attribute(element, "t").unwrap_or_default();
        let style = attribute(element, "s").and_then(|style| style.parse().ok()).unwrap_or_default();
        (column <= LAST_COLUMN).then_some(Cell { column, kind, style })
    }

    fn value(&self, cell: &Cell) -> Option<String> {
        let text = self.text.trim();
        let value = match cell.kind.as_str() {
            "s" => self.strings.get(text.parse::<usize>().ok()?)?.to_string(),
            "b" => if text == "1" { "true" } else { "false" }.to_owned(),
            "" | "n" => self.styles.show(text, cell.style),
            _ => clean(text),
        };
        (!value.trim().is_empty()).then_some(value)
    }
}

/// The column of a reference such as `AB12`, from 0.
fn column(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let number =
        letters.fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::zip_archive::pack;
    use super::*;

    const STYLES: &str = "<styleSheet><numFmts><numFmt numFmtId='200' formatCode='[$-409]d\\-mmm\\-yyyy'/></numFmts>\
                          <cellStyleXfs><xf numFmtId='14'/></cellStyleXfs>\
                          <cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='200'/><xf numFmtId='9'/></cellXfs></styleSheet>";

    fn workbook(rows: &str, extra: &str) -> Vec<u8> {
        let book = format!(
            "<workbook xmlns:r='r'>{extra}<sheets><sheet name='Team' sheetId='1' r:id='rId1'/></sheets></workbook>"
        );
        let linked = "<Relationships><Relationship Id='rId1' Type='x/worksheet' Target='worksheets/sheet1.xml'/>\
                      <Relationship Id='rId2' Type='x/sharedStrings' Target='sharedStrings.xml'/>\
                      <Relationship Id='rId3' Type='x/styles' Target='styles.xml'/></Relationships>";
        let strings = "<sst><si><t>Name</t></si><si><r><t>Bo</t></r><r><t>rn</t></r><rPh><t>x</t></rPh></si><si><t>Share</t></si></sst>";
        pack(&[
            ("xl/workbook.xml", &book),
            ("xl/_rels/workbook.xml.rels", linked),
            ("xl/sharedStrings.xml", strings),
            ("xl/styles.xml", STYLES),
            ("xl/worksheets/sheet1.xml", &format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")),
        ])
    }

    fn read(rows: &str, extra: &str, limits: &ParseLimits) -> Result<Parsed> {
        let bytes = workbook(rows, extra);
        parse(&mut Archive::open(&bytes, limits)?, "xl/workbook.xml", limits)
    }

    #[test]
    fn values_are_as_they_are_shown() {
        let rows = "<row><c r='B1' t='s'><v>0</v></c><c r='C1' t='s'><v>1</v></c><c r='D1' t='s'><v>2</v></c></row>\
                    <row/><row><c r='B3' t='inlineStr'><is><t>Ann</t></is></c><c r='C3' s='1'><v>36526.5</v></c>\
                    <c r='D3' s='3'><v>0.255</v></c></row>\
                    <row><c r='B4' t='str'><f>A1&amp;B1</f><v>Bob</v></c><c r='C4' s='2'><v>1</v></c><c r='E4' t='b'><v>1</v></c></row>\
                    <row><c r='B5'><v>0.30000000000000004</v></c><c t='e'><v>#N/A</v></c></row>";
        let parsed = read(rows, "", &ParseLimits::default()).unwrap();
        assert_eq!(
            parsed.text.lines().collect::<Vec<_>>(),
            [
                "Team",
                "",
                "Name | Born | Share",
                "Name: Ann | Born: 2000-01-01T12:00:00 | Share: 25.5%",
                "Name: Bob | Born: 1900-01-01 | true",
                "Name: 0.3 | Born: #N/A",
            ]
        );
        assert_eq!((parsed.headings[0].level, parsed.title), (2, None));
        let parsed =
            read("<row><c s='1'><v>0</v></c></row>", "<workbookPr date1904='1'/>", &ParseLimits::default());
        assert!(parsed.unwrap().text.ends_with("1904-01-01"));
    }

    #[test]
    fn references_are_columns() {
        assert_eq!(
            [column("A1"), column("Z9"), column("AA1"), column("XFD1048576")],
            [Some(0), Some(25), Some(26), Some(16_383)]
        );
        assert_eq!(column("12"), None);
        assert!(column("ZZZZZZZZZZZZZZZZ1").unwrap() > LAST_COLUMN);
    }

    #[test]
    fn far_cells_cost_nothing_and_text_has_an_end() {
        let far = "<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>".repeat(100);
        assert!(read(&far, "", &ParseLimits::default()).is_ok());
        let small = ParseLimits::default().with_text(100);
        assert_eq!(read(&far, "", &small).unwrap_err().code(), "too_large");
        let few = ParseLimits::default().with_cells(2);
        assert_eq!(read("", "", &few).unwrap_err().code(), "too_large");
    }
}
