//! OpenDocument files: texts, spreadsheets and presentations.

mod content;
mod sheet;

use operone_core::source::{BlockKind, Parsed};
use operone_core::{Error, Result};

use super::ParseLimits;
use super::assemble::Assembly;
use super::encoding::decode_xml;
use super::opc::set_properties;
use super::xml::{Met, try_walk, walk};
use super::zip_archive::Archive;

use content::{Content, Part};
use sheet::Sheets;

const MEDIA_TYPE: &str = "application/vnd.oasis.opendocument.";

/// Reads a file that holds `content.xml`. Comments, and what was deleted while changes were tracked, are left out.
pub(super) fn parse(archive: &mut Archive<'_>, limits: &ParseLimits) -> Result<Parsed> {
    if is_encrypted(archive)? {
        return Err(Error::invalid("the document is encrypted and needs a password").with_code("encrypted"));
    }
    let xml = decode_xml(archive.read("content.xml")?.unwrap_or_default());
    let kind = kind(&xml)?;
    let mut assembly = Assembly::new(&format!("{MEDIA_TYPE}{kind}"), limits);
    if kind == "spreadsheet" {
        let mut sheets = Sheets::new(&mut assembly);
        try_walk(&xml, |met| sheets.event(met))?;
    } else {
        let mut content = Content::default();
        walk(&xml, |met| content.event(met))?;
        let pages = content.done.iter().filter(|(part, _)| *part == Part::Page).count();
        if pages > limits.pages {
            let detail = format!("the presentation has more than {} slides", limits.pages);
            return Err(Error::invalid(detail).with_code("too_large"));
        }
        let mut page = 0;
        for (part, text) in content.done {
            match part {
                Part::Page => {
                    page += 1;
                    assembly.begin_page(page);
                }
                Part::Heading(level) => assembly.push_heading(level, &text),
                Part::Paragraph => assembly.push(BlockKind::Paragraph, &text),
                Part::Table => assembly.push(BlockKind::Table, &text),
            }
        }
    }
    set_properties(archive, "meta.xml", &mut assembly)?;
    assembly.finish()
}

fn is_encrypted(archive: &mut Archive<'_>) -> Result<bool> {
    let Some(xml) = archive.read("META-INF/manifest.xml")? else { return Ok(false) };
    let mut found = false;
    walk(&decode_xml(xml), |met| found |= matches!(met, Met::Start("encryption-data", _)))?;
    Ok(found)
}

/// What the body holds: `text`, `spreadsheet`, `presentation` or another word.
fn kind(xml: &str) -> Result<&'static str> {
    let mut kind = None;
    let mut in_body = false;
    walk(xml, |met| match met {
        Met::Start("body", _) => in_body = true,
        Met::Start(name, _) if in_body && kind.is_none() => {
            kind =
                ["text", "spreadsheet", "presentation", "graphics"].into_iter().find(|known| *known == name);
            in_body = false;
        }
        _ => {}
    })?;
    kind.ok_or_else(|| Error::invalid("the OpenDocument file has no body").with_code("corrupt"))
}

#[cfg(test)]
mod tests {
    use operone_core::source::PageStart;

    use super::super::zip_archive::pack;
    use super::*;

    fn read(body: &str, extra: &[(&str, &str)], limits: &ParseLimits) -> Result<Parsed> {
        let content =
            format!("<office:document-content><office:body>{body}</office:body></office:document-content>");
        let entries = [&[("content.xml", content.as_str())], extra].concat();
        let bytes = pack(&entries);
        parse(&mut Archive::open(&bytes, limits)?, limits)
    }

    fn text_of(body: &str) -> Parsed {
        read(body, &[], &ParseLimits::default()).unwrap()
    }

    #[test]
    fn texts_have_headings_lists_tables_and_notes() {
        let cell = |text: &str| format!("<table:table-cell><text:p>{text}</text:p></table:table-cell>");
        let meta =
            "<office:meta><dc:title>Plan</dc:title><dc:date>2024-05-06T07:08:09.1</dc:date></office:meta>";
        let body = format!(
            "<office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>\
             <text:h text:outline-level='2'>Head</text:h><text:p>One<text:s text:c='2'/>two<text:tab/>x<text:line-break/>y\
             <text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Note.</text:p></text:note-body></text:note>\
             <office:annotation><text:p>comment</text:p></office:annotation>!</text:p>\
             <text:list><text:list-item><text:p>a</text:p></text:list-item><text:list-item><text:p>b</text:p></text:list-item></text:list>\
             <table:table><table:table-row>{}{}</table:table-row><table:table-row>{}{}</table:table-row></table:table></office:text>",
            cell("k"),
            cell("v"),
            cell("1"),
            cell("2")
        );
        let parsed = read(&body, &[("meta.xml", meta)], &ParseLimits::default()).unwrap();
        assert_eq!(parsed.text, "Head\n\nOne  two\tx\ny!\n\nNote.\n\n- a\n- b\n\nk | v\n1 | 2");
        assert_eq!((parsed.headings[0].level, parsed.title.as_deref()), (2, Some("Plan")));
        assert_eq!(parsed.date.unwrap().to_string(), "2024-05-06T07:08:09.1Z");
        assert_eq!(parsed.media_type, "application/vnd.oasis.opendocument.text");
    }

    #[test]
    fn slides_are_pages() {
        let body = "<office:presentation><draw:page><draw:frame presentation:class='title'><draw:text-box><text:p>Start</text:p>\
                    </draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>Body</text:p></draw:text-box></draw:frame>\
                    <presentation:notes><draw:frame><draw:text-box><text:p>Say it</text:p></draw:text-box></draw:frame></presentation:notes>\
                    </draw:page><draw:page><draw:frame><draw:text-box><text:p>End</text:p></draw:text-box></draw:frame></draw:page></office:presentation>";
        let parsed = text_of(body);
        assert_eq!(parsed.text, "Start\n\nBody\n\nNotes: Say it\n\nEnd");
        assert_eq!(parsed.pages, [PageStart { page: 1, start: 0 }, PageStart { page: 2, start: 28 }]);
        assert_eq!(parsed.headings[0].title, "Start");
    }

    #[test]
    fn sheets_are_rows_with_names() {
        let cell = |text: &str| format!("<table:table-cell><text:p>{text}</text:p></table:table-cell>");
        let date = "<table:table-cell office:value-type='date' office:date-value='2020-02-03'><text:p>3. Feb</text:p></table:table-cell>";
        let empty = "<table:table-cell table:number-columns-repeated='16380'/>";
        let body = format!(
            "<office:spreadsheet><table:table table:name='T'><table:table-row>{}{}{}{empty}</table:table-row>\
             <table:table-row>{}{date}<table:table-cell table:number-columns-repeated='2'><text:p>z</text:p></table:table-cell></table:table-row>\
             <table:table-row table:number-rows-repeated='1048570'>{empty}</table:table-row>\
             <table:table-row table:number-rows-repeated='2'>{}</table:table-row></table:table></office:spreadsheet>",
            cell("Name"),
            cell("Day"),
            cell("x"),
            cell("Ann"),
            cell("end")
        );
        assert_eq!(
            text_of(&body).text,
            "T\n\nName | Day | x\nName: Ann | Day: 2020-02-03 | x: z | z\nName: end\nName: end"
        );
    }

    #[test]
    fn repetition_without_end_is_refused() {
        let sheet =
            |row: &str| format!("<office:spreadsheet><table:table>{row}</table:table></office:spreadsheet>");
        let cell = "<table:table-cell table:number-columns-repeated='2147483647'><text:p>x</text:p></table:table-cell>";
        let wide = sheet(&format!("<table:table-row>{cell}</table:table-row>"));
        let long = sheet(
            "<table:table-row table:number-rows-repeated='2147483647'><table:table-cell><text:p>x</text:p></table:table-cell></table:table-row>",
        );
        for body in [wide, long] {
            assert_eq!(read(&body, &[], &ParseLimits::default()).unwrap_err().code(), "too_large");
        }
    }

    #[test]
    fn encrypted_and_damaged_files_are_told_apart() {
        let manifest = "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
        let code = |body: &str, extra: &[(&str, &str)]| {
            read(body, extra, &ParseLimits::default()).unwrap_err().code().to_owned()
        };
        assert_eq!(code("", &[("META-INF/manifest.xml", manifest)]), "encrypted");
        assert_eq!(code("", &[]), "corrupt");
    }
}
