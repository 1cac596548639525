//! Word documents: paragraphs, headings, tables, formulas, notes, and headers and footers once.

mod body;

use std::collections::{BTreeSet, HashMap};

use operone_core::Result;
use operone_core::source::{BlockKind, Parsed};

use super::ParseLimits;
use super::assemble::Assembly;
use super::encoding::decode_xml;
use super::opc::set_properties;
use super::xml::{Met, attribute, walk};
use super::zip_archive::Archive;

use body::{Body, Part, named_level, outline_level};

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// Reads a Word document. Headers and footers come first, each text once; notes come last. What was deleted or
/// moved away under change tracking is left out.
pub(super) fn parse(archive: &mut Archive<'_>, main: &str, limits: &ParseLimits) -> Result<Parsed> {
    let names = archive.names();
    let styles = match archive.read("word/styles.xml")? {
        Some(styles) => heading_styles(&decode_xml(styles))?,
        None => HashMap::new(),
    };
    let mut assembly = Assembly::new(MEDIA_TYPE, limits);
    let mut seen = BTreeSet::new();
    for name in parts(&names, &["word/header", "word/footer"]) {
        for (_, text) in read_part(archive, name, &HashMap::new())? {
            if seen.insert(text.clone()) {
                assembly.push(BlockKind::Paragraph, &text);
            }
        }
    }
    for name in std::iter::once(main).chain(parts(&names, &["word/footnotes", "word/endnotes"])) {
        for (part, text) in read_part(archive, name, &styles)? {
            match part {
                Part::Heading(level) => assembly.push_heading(level, &text),
                Part::Paragraph => assembly.push(BlockKind::Paragraph, &text),
                Part::Table => assembly.push(BlockKind::Table, &text),
            }
        }
    }
    set_properties(archive, "docProps/core.xml", &mut assembly)?;
    assembly.finish()
}

fn parts<'a>(names: &'a [String], begins: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let part = |name: &&String| name.ends_with(".xml") && begins.iter().any(|begin| name.starts_with(begin));
    names.iter().filter(part).map(String::as_str)
}

fn read_part(
    archive: &mut Archive<'_>,
    name: &str,
    styles: &HashMap<String, u8>,
) -> Result<Vec<(Part, String)>> {
    let xml = archive.read(name)?.unwrap_or_default();
    let mut body = Body::new(styles);
    walk(&decode_xml(xml), |event| body.event(event))?;
    Ok(body.done)
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

#[cfg(test)]
mod tests {
    use super::super::zip_archive::pack as archive;
    use super::*;

    fn read(parts: &[(&str, &str)]) -> Result<Parsed> {
        let (bytes, limits) = (archive(parts), ParseLimits::default());
        parse(&mut Archive::open(&bytes, &limits)?, "word/document.xml", &limits)
    }

    fn document(body: &str) -> String {
        format!("<?xml version='1.0'?><w:document xmlns:w='w'><w:body>{body}</w:body></w:document>")
    }

    fn text_of(body: &str) -> String {
        read(&[("word/document.xml", &document(body))]).unwrap().text
    }

    #[test]
    fn headings_come_from_styles_of_any_language() {
        let styles = "<w:styles><w:style w:styleId='berschrift1'><w:name w:val='heading 1'/></w:style>\
                      <w:style w:styleId='X'><w:pPr><w:outlineLvl w:val='1'/></w:pPr></w:style></w:styles>";
        let body = document(
            "<w:p><w:pPr><w:pStyle w:val='berschrift1'/></w:pPr><w:r><w:t>Umsatz</w:t></w:r></w:p>\
             <w:p><w:r><w:t>Text &amp; mehr&#8217;</w:t></w:r></w:p>\
             <w:p><w:pPr><w:pStyle w:val='X'/></w:pPr><w:r><w:t>Quartal</w:t></w:r></w:p>\
             <w:p><w:pPr><w:pStyle w:val='Heading3'/></w:pPr><w:r><w:t>Monat</w:t></w:r></w:p>",
        );
        let parsed = read(&[("word/document.xml", &body), ("word/styles.xml", styles)]).unwrap();
        assert_eq!(parsed.text, "Umsatz\n\nText & mehr\u{2019}\n\nQuartal\n\nMonat");
        let levels: Vec<(u8, &str)> =
            parsed.headings.iter().map(|heading| (heading.level, heading.title.as_str())).collect();
        assert_eq!(levels, [(1, "Umsatz"), (2, "Quartal"), (3, "Monat")]);
        assert_eq!(parsed.title.as_deref(), Some("Umsatz"));
    }

    #[test]
    fn tables_are_rows_and_may_nest() {
        let cell = |text: &str| format!("<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>");
        let inner = format!("<w:tc><w:tbl><w:tr>{}{}</w:tr></w:tbl><w:p/></w:tc>", cell("x"), cell("y"));
        let rows = format!("<w:tr>{}{}</w:tr><w:tr>{inner}{}</w:tr>", cell("a"), cell("b"), cell("c"));
        let parsed = read(&[("word/document.xml", &document(&format!("<w:tbl>{rows}</w:tbl>")))]).unwrap();
        assert_eq!(parsed.text, "a | b\nx | y | c");
        assert_eq!(parsed.blocks.iter().map(|block| block.kind).collect::<Vec<_>>(), [BlockKind::Table]);
    }

    #[test]
    fn what_is_said_twice_or_was_deleted_is_read_once_or_not() {
        let twice = "<mc:AlternateContent><mc:Choice><w:t>once</w:t></mc:Choice><mc:Fallback><w:t>once</w:t>\
                     </mc:Fallback></mc:AlternateContent>";
        assert_eq!(text_of(&format!("<w:p><w:r>{twice}</w:r></w:p>")), "once");
        let moved = "<w:moveFrom><w:r><w:t>gone</w:t></w:r></w:moveFrom><w:del><w:r><w:delText>no</w:delText></w:r></w:del>";
        assert_eq!(
            text_of(&format!(
                "<w:p>{moved}<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
            )),
            "a\tb\nc"
        );
        let boxed = "<w:p><w:r><w:t>outer</w:t><w:txbxContent><w:p><w:r><w:t>inner</w:t></w:r></w:p></w:txbxContent></w:r></w:p>";
        assert_eq!(text_of(boxed), "inner\n\nouter");
        let formula = "<w:p><m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath></w:p>";
        assert_eq!(text_of(formula), "x^2");
    }

    #[test]
    fn headers_and_footers_come_once_and_properties_count() {
        let part = |text: &str| format!("<w:hdr xmlns:w='w'><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:hdr>");
        let core = "<cp:coreProperties><dc:title>Report</dc:title><dcterms:created>2020-01-01T00:00:00Z\
                    </dcterms:created><dcterms:modified>2021-01-01T00:00:00Z</dcterms:modified></cp:coreProperties>";
        let parsed = read(&[
            ("word/document.xml", &document("<w:p><w:r><w:t>Body</w:t></w:r></w:p>")),
            ("word/header1.xml", &part("Head")),
            ("word/header2.xml", &part("Head")),
            ("word/footer1.xml", &part("Foot")),
            ("word/footnotes.xml", &part("Note")),
            ("docProps/core.xml", core),
        ])
        .unwrap();
        assert_eq!(parsed.text, "Head\n\nFoot\n\nBody\n\nNote");
        assert_eq!(parsed.title.as_deref(), Some("Report"));
        assert_eq!(parsed.date.unwrap().to_string(), "2021-01-01T00:00:00Z");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let code = |parts: &[(&str, &str)]| read(parts).unwrap_err().code().to_owned();
        assert_eq!(code(&[("word/document.xml", "<w:document><w:p>")]), "corrupt");
        assert_eq!(code(&[("word/document.xml", &document(&"<w:p>".repeat(100)))]), "corrupt");
        let deep = document(&("<w:p>".repeat(1000) + &"</w:p>".repeat(1000)));
        assert_eq!(code(&[("word/document.xml", &deep)]), "too_large");
        assert_eq!(code(&[("word/document.xml", &" ".repeat(64 << 20))]), "too_large");
        let entities = "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY f SYSTEM 'file:///etc/passwd'>]>\
                        <w:document><w:p><w:r><w:t>x&a;&f;y</w:t></w:r></w:p></w:document>";
        assert_eq!(read(&[("word/document.xml", entities)]).unwrap().text, "xy");
        let few = ParseLimits::default().with_entries(1);
        let error = Archive::open(&archive(&[("a", ""), ("b", "")]), &few).unwrap_err();
        assert_eq!(error.code(), "too_large");
        assert_eq!(Archive::open(b"PK\x03\x04 and nothing", &few).unwrap_err().code(), "corrupt");
    }
}
