//! PowerPoint presentations: each slide a page with its title as heading, its text, tables and notes.

use operone_core::source::{BlockKind, Parsed};
use operone_core::{Error, Result};

use super::ParseLimits;
use super::assemble::{Assembly, clean, one_line};
use super::encoding::decode_xml;
use super::opc::{set_properties, targets};
use super::xml::{Met, attribute, relationship, walk};
use super::zip_archive::Archive;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// Reads the slides in the order in which they are shown. Slide numbers, dates and footers of the layout are left out.
pub(super) fn parse(archive: &mut Archive<'_>, main: &str, limits: &ParseLimits) -> Result<Parsed> {
    let mut assembly = Assembly::new(MEDIA_TYPE, limits);
    let slides = slides(archive, main)?;
    if slides.len() > limits.pages {
        let detail = format!("the presentation has more than {} slides", limits.pages);
        return Err(Error::invalid(detail).with_code("too_large"));
    }
    for (slide, page) in slides.iter().zip(1..) {
        assembly.begin_page(page);
        let mut parts = read(archive, slide)?;
        // The title comes first, wherever it stands in the file.
        parts.sort_by_key(|(part, _)| *part != Part::Title);
        parts.iter().for_each(|(part, text)| push(&mut assembly, *part, text));
        let mut linked: Vec<_> = targets(archive, slide)?.into_values().collect();
        linked.sort_by(|one, other| one.entry.cmp(&other.entry));
        for target in linked {
            match target.kind.as_str() {
                "diagramData" => {
                    let parts = read(archive, &target.entry)?;
                    let text = parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
                    assembly.push(BlockKind::Paragraph, &text);
                }
                "notesSlide" => {
                    let parts = read(archive, &target.entry)?.into_iter();
                    let notes = parts.filter(|(part, _)| *part == Part::Body).map(|(_, text)| text);
                    let notes = notes.collect::<Vec<_>>().join("\n");
                    if !notes.trim().is_empty() {
                        assembly.push(BlockKind::Paragraph, &format!("Notes: {notes}"));
                    }
                }
                _ => {}
            }
        }
    }
    set_properties(archive, "docProps/core.xml", &mut assembly)?;
    assembly.finish()
}

/// The slides' entries in order.
fn slides(archive: &mut Archive<'_>, main: &str) -> Result<Vec<String>> {
    let targets = targets(archive, main)?;
    let mut slides = Vec::new();
    walk(&decode_xml(archive.read(main)?.unwrap_or_default()), |met| {
        if let Met::Start("sldId", element) = met {
            let target = relationship(element).and_then(|id| targets.get(&id));
            slides.extend(target.map(|target| target.entry.clone()));
        }
    })?;
    Ok(slides)
}

fn push(assembly: &mut Assembly, part: Part, text: &str) {
    match part {
        Part::Title => assembly.push_heading(1, text),
        Part::Table => assembly.push(BlockKind::Table, text),
        Part::Body | Part::Other => assembly.push(BlockKind::Paragraph, text),
        Part::Skipped => {}
    }
}

fn read(archive: &mut Archive<'_>, entry: &str) -> Result<Vec<(Part, String)>> {
    let mut slide = Slide::default();
    walk(&decode_xml(archive.read(entry)?.unwrap_or_default()), |met| slide.event(met))?;
    slide.end_shape();
    Ok(slide.done)
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Part {
    Title,
    /// The text that a layout makes room for.
    Body,
    Table,
    /// Text of a shape that is in no layout.
    #[default]
    Other,
    Skipped,
}

#[derive(Debug, Default)]
struct Slide {
    done: Vec<(Part, String)>,
    part: Part,
    shape: String,
    row: Vec<String>,
    rows: Vec<String>,
    in_text: bool,
    in_table: bool,
    skipped: usize,
}

impl Slide {
    fn event(&mut self, met: Met<'_, '_>) {
        match met {
            // The second half of an alternative says again what the first has said.
            Met::Start("Fallback", _) => self.skipped += 1,
            Met::End("Fallback") => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Met::Start("sp", _) => self.end_shape(),
            Met::Start("ph", element) => {
                self.part = match attribute(element, "type").as_deref() {
                    Some("title" | "ctrTitle") => Part::Title,
                    Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Part::Skipped,
                    _ => Part::Body,
                };
            }
            Met::Start("t", _) => self.in_text = true,
            Met::End("t") => self.in_text = false,
            Met::Text(text) if self.in_text => self.shape.push_str(text),
            Met::Start("br", _) | Met::End("p") => self.shape.push('\n'),
            Met::Start("tab", _) => self.shape.push('\t'),
            Met::Start("tbl", _) => {
                self.end_shape();
                self.in_table = true;
            }
            Met::End("tc") => {
                let cell = std::mem::take(&mut self.shape);
                self.row.push(one_line(&clean(&cell)));
            }
            Met::End("tr") => {
                let row = std::mem::take(&mut self.row);
                if row.iter().any(|cell| !cell.is_empty()) {
                    self.rows.push(row.join(" | "));
                }
            }
            Met::End("tbl") => {
                self.in_table = false;
                let rows = std::mem::take(&mut self.rows);
                self.done.push((Part::Table, rows.join("\n")));
            }
            Met::End("sp") => self.end_shape(),
            _ => {}
        }
    }

    fn end_shape(&mut self) {
        let part = std::mem::take(&mut self.part);
        let text = std::mem::take(&mut self.shape);
        if part != Part::Skipped && !text.trim().is_empty() {
            self.done.push((part, clean(&text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use operone_core::source::PageStart;

    use super::super::zip_archive::pack;
    use super::*;

    const PRESENTATION: &str = "<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst><p:sldId id='1' r:id='rId2'/>\
                                <p:sldId id='2' r:id='rId1'/></p:sldIdLst></p:presentation>";
    const SLIDES: &str = "<Relationships><Relationship Id='rId1' Type='http://x/slide' Target='slides/slide1.xml'/>\
                          <Relationship Id='rId2' Type='http://x/slide' Target='slides/slide2.xml'/></Relationships>";

    fn shape(kind: &str, text: &str) -> String {
        let holder = if kind.is_empty() { String::new() } else { format!("<p:ph type='{kind}'/>") };
        format!(
            "<p:sp><p:nvPr>{holder}</p:nvPr><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )
    }

    fn slide(shapes: &str) -> String {
        format!("<p:sld xmlns:p='p' xmlns:a='a'><p:spTree>{shapes}</p:spTree></p:sld>")
    }

    #[test]
    fn slides_are_pages_in_the_order_of_the_show() {
        let cell =
            |text: &str| format!("<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>");
        let table = format!(
            "<a:tbl><a:tr>{}{}</a:tr><a:tr>{}{}</a:tr></a:tbl>",
            cell("Team"),
            cell("Cups"),
            cell("Blues"),
            cell("1")
        );
        let first = slide(&format!(
            "{}{}{}{table}",
            shape("body", "Second slide"),
            shape("title", "Numbers"),
            shape("sldNum", "7")
        ));
        let second = slide(&shape("", "Opening"));
        let notes =
            format!("<p:notes xmlns:p='p'>{}{}</p:notes>", shape("body", "Say hello"), shape("sldNum", "1"));
        let linked = "<Relationships><Relationship Id='r' Type='http://x/notesSlide' Target='../notesSlides/n.xml'/></Relationships>";
        let bytes = pack(&[
            ("ppt/presentation.xml", PRESENTATION),
            ("ppt/_rels/presentation.xml.rels", SLIDES),
            ("ppt/slides/slide1.xml", &first),
            ("ppt/slides/slide2.xml", &second),
            ("ppt/slides/_rels/slide2.xml.rels", linked),
            ("ppt/notesSlides/n.xml", &notes),
        ]);
        let limits = ParseLimits::default();
        let mut archive = Archive::open(&bytes, &limits).unwrap();
        let parsed = parse(&mut archive, "ppt/presentation.xml", &limits).unwrap();
        assert_eq!(
            parsed.text,
            "Opening\n\nNotes: Say hello\n\nNumbers\n\nSecond slide\n\nTeam | Cups\nBlues | 1"
        );
        assert_eq!(parsed.pages, [PageStart { page: 1, start: 0 }, PageStart { page: 2, start: 27 }]);
        assert_eq!(parsed.headings[0].title, "Numbers");
        assert_eq!(parsed.blocks.last().unwrap().kind, BlockKind::Table);
        let few = limits.with_pages(1);
        assert_eq!(parse(&mut archive, "ppt/presentation.xml", &few).unwrap_err().code(), "too_large");
    }
}
