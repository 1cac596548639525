//! Documents that are zip archives: which one it is, by its entries.

use operone_core::source::Parsed;
use operone_core::{Error, Result};

use super::ParseLimits;
use super::detect::unsupported;
use super::encoding::decode_xml;
use super::opc::targets;
use super::xml::{Met, attribute, walk};
use super::zip_archive::Archive;
use super::{docx, odf, pptx, xlsx};

/// Reads the document that an archive holds.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    let mut archive = Archive::open(bytes, limits)?;
    let names = archive.names();
    let has = |name: &str| names.iter().any(|other| other == name);
    match office_part(&mut archive, &names)? {
        Some((Office::Word, main)) => return docx::parse(&mut archive, &main, limits),
        Some((Office::PowerPoint, main)) => return pptx::parse(&mut archive, &main, limits),
        Some((Office::Excel, main)) => return xlsx::parse(&mut archive, &main, limits),
        None => {}
    }
    if has("META-INF/container.xml") && !has("content.xml") {
        return read_epub(&mut archive, limits);
    }
    if has("content.xml") {
        return odf::parse(&mut archive, limits);
    }
    Err(unsupported("a zip archive that holds no document"))
}

#[cfg(feature = "html")]
fn read_epub(archive: &mut Archive<'_>, limits: &ParseLimits) -> Result<Parsed> {
    super::epub::parse(archive, limits)
}

#[cfg(not(feature = "html"))]
fn read_epub(_: &mut Archive<'_>, _: &ParseLimits) -> Result<Parsed> {
    Err(unsupported("an EPUB book, in a build without HTML,"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Office {
    Word,
    PowerPoint,
    Excel,
}

/// The main part of an Office document and its kind: by the parts' content types, else by the folder.
fn office_part(archive: &mut Archive<'_>, names: &[String]) -> Result<Option<(Office, String)>> {
    let mut main = None;
    if let Some(xml) = archive.read("[Content_Types].xml")? {
        let named = targets(archive, "")?.into_values().find(|target| target.kind == "officeDocument");
        walk(&decode_xml(xml), |met| {
            let Met::Start("Override", element) = met else { return };
            let get = |name: &str| attribute(element, name).unwrap_or_default();
            let (part, kind) = (get("PartName"), get("ContentType"));
            let part = part.trim_start_matches('/');
            let is_main =
                kind.contains("main+xml") || named.as_ref().is_some_and(|named| named.entry == part);
            if let Some(office) = office(&kind).filter(|_| is_main) {
                main.get_or_insert((office, part.to_owned()));
            }
        })?;
    }
    let exists = |part: &str| names.iter().any(|name| name == part);
    let usual = [
        (Office::Word, "word/document.xml"),
        (Office::PowerPoint, "ppt/presentation.xml"),
        (Office::Excel, "xl/workbook.xml"),
    ];
    let usual =
        || usual.into_iter().find(|(_, part)| exists(part)).map(|(office, part)| (office, part.to_owned()));
    let main = main.filter(|(_, part)| exists(part)).or_else(usual);
    let folders = ["word/", "ppt/", "xl/"];
    if main.is_none()
        && exists("[Content_Types].xml")
        && names.iter().any(|name| folders.iter().any(|folder| name.starts_with(folder)))
    {
        return Err(Error::invalid("the Office document lacks its main part").with_code("corrupt"));
    }
    Ok(main)
}

fn office(content_type: &str) -> Option<Office> {
    [
        ("wordprocessingml", Office::Word),
        ("ms-word", Office::Word),
        ("presentationml", Office::PowerPoint),
        ("ms-powerpoint", Office::PowerPoint),
        ("spreadsheetml", Office::Excel),
        ("ms-excel.sheet.macro", Office::Excel),
        ("ms-excel.template.macro", Office::Excel),
    ]
    .into_iter()
    .find(|(mark, _)| content_type.contains(mark))
    .map(|(_, office)| office)
}
