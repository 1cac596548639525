//! EPUB books: the chapters in reading order, each with its headings.

use std::collections::{HashMap, HashSet};

use operone_core::clock::Period;
use operone_core::source::Parsed;
use operone_core::{Error, Result};

use super::ParseLimits;
use super::assemble::{Assembly, one_line};
use super::encoding::decode_xml;
use super::html;
use super::opc::resolve;
use super::xml::{Met, attribute, walk};
use super::zip_archive::Archive;

/// Reads a book in the order of its spine. A chapter without a heading of its own has that of the table of contents.
/// Codes: `encrypted` for a book under digital rights management, `corrupt`, `too_large`.
pub(super) fn parse(archive: &mut Archive<'_>, limits: &ParseLimits) -> Result<Parsed> {
    let package = package_entry(archive)?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let book = Book::read(archive, &package, &folder)?;
    refuse_encrypted(archive, &book)?;
    if book.spine.len() > limits.pages {
        let detail = format!("the book has more than {} chapters", limits.pages);
        return Err(Error::invalid(detail).with_code("too_large"));
    }
    let names = match &book.contents {
        Some(contents) => chapter_names(archive, contents)?,
        None => HashMap::new(),
    };
    let mut assembly = Assembly::new("application/epub+zip", limits);
    let mut read = HashSet::new();
    // A chapter is read once, however often it is named.
    for entry in book.spine.iter().filter(|entry| read.insert(entry.as_str())) {
        // A chapter that is missing is missing; the others are there.
        let Some(page) = archive.read(entry)? else { continue };
        let chapter = html::parse(&with_end_tags(&decode_xml(page)))?;
        if chapter.headings.is_empty()
            && !chapter.text.trim().is_empty()
            && let Some(name) = names.get(entry)
        {
            assembly.push_heading(1, name);
        }
        assembly.append(&chapter, 0);
    }
    assembly.set_title(book.title.as_deref());
    assembly
        .set_date(book.date.as_deref().and_then(|date| Period::parse(date).ok()).map(|period| period.first));
    assembly.finish()
}

fn package_entry(archive: &mut Archive<'_>) -> Result<String> {
    let mut entry = None;
    walk(&decode_xml(archive.read("META-INF/container.xml")?.unwrap_or_default()), |met| {
        if let Met::Start("rootfile", element) = met
            && entry.is_none()
        {
            entry = attribute(element, "full-path").map(|path| resolve("", &unescaped(&path)));
        }
    })?;
    entry.ok_or_else(|| Error::invalid("the book names no package").with_code("corrupt"))
}

#[derive(Debug, Default)]
struct Book {
    title: Option<String>,
    date: Option<String>,
    /// The chapters' entries.
    spine: Vec<String>,
    /// The entry of the table of contents.
    contents: Option<String>,
}

impl Book {
    fn read(archive: &mut Archive<'_>, package: &str, folder: &str) -> Result<Self> {
        let Some(xml) = archive.read(package)? else {
            return Err(Error::invalid("the book lacks its package").with_code("corrupt"));
        };
        let mut book = Self::default();
        let mut items: HashMap<String, String> = HashMap::new();
        let (mut open, mut text) = (String::new(), String::new());
        let mut old_contents = None;
        walk(&decode_xml(xml), |met| match met {
            Met::Start("item", element) => {
                let get = |name: &str| attribute(element, name).unwrap_or_default();
                let entry = resolve(folder, &unescaped(&get("href")));
                if get("properties").split(' ').any(|property| property == "nav") {
                    book.contents = Some(entry.clone());
                } else if get("media-type") == "application/x-dtbncx+xml" {
                    old_contents = Some(entry.clone());
                }
                items.insert(get("id"), entry);
            }
            Met::Start("itemref", element) => {
                let entry = attribute(element, "idref").and_then(|id| items.get(&id).cloned());
                book.spine.extend(entry);
            }
            Met::Start(name, _) => {
                open = name.to_owned();
                text.clear();
            }
            Met::Text(part) => text.push_str(part),
            Met::End(name) if name == open => {
                let value = || Some(one_line(&text)).filter(|value| !value.is_empty());
                match name {
                    "title" if book.title.is_none() => book.title = value(),
                    "date" if book.date.is_none() => book.date = value(),
                    _ => {}
                }
            }
            Met::End(_) => {}
        })?;
        book.contents = book.contents.or(old_contents);
        // The table of contents is no chapter.
        book.spine.retain(|entry| Some(entry) != book.contents.as_ref());
        Ok(book)
    }
}

/// Fonts may be obfuscated in any book; a chapter that is encrypted cannot be read.
fn refuse_encrypted(archive: &mut Archive<'_>, book: &Book) -> Result<()> {
    let Some(xml) = archive.read("META-INF/encryption.xml")? else { return Ok(()) };
    let mut is_encrypted = false;
    walk(&decode_xml(xml), |met| {
        if let Met::Start("CipherReference", element) = met {
            let entry = attribute(element, "URI").map(|path| resolve("", &unescaped(&path)));
            is_encrypted |= entry.is_some_and(|entry| book.spine.contains(&entry));
        }
    })?;
    if is_encrypted {
        return Err(Error::invalid("the book is encrypted: it is under digital rights management")
            .with_code("encrypted"));
    }
    Ok(())
}

/// The names of the chapters in the table of contents, in its new or its old form.
fn chapter_names(archive: &mut Archive<'_>, contents: &str) -> Result<HashMap<String, String>> {
    let folder = contents.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(xml) = archive.read(contents)? else { return Ok(HashMap::new()) };
    let mut names: HashMap<String, String> = HashMap::new();
    let mut text = String::new();
    let mut target = None;
    let walked = walk(&decode_xml(xml), |met| match met {
        Met::Start("a", element) => {
            target = attribute(element, "href");
            text.clear();
        }
        Met::Start("navLabel", _) => text.clear(),
        Met::Text(part) => text.push_str(part),
        Met::Start("content", element) => keep(&mut names, folder, attribute(element, "src"), &text),
        Met::End("a") => keep(&mut names, folder, target.take(), &text),
        _ => {}
    });
    // A damaged table of contents costs only the names.
    Ok(walked.map(|()| names).unwrap_or_default())
}

fn keep(names: &mut HashMap<String, String>, folder: &str, target: Option<String>, text: &str) {
    let (Some(target), name) = (target, one_line(text)) else { return };
    // Of several places in one chapter the first names it.
    let path = target.split('#').next().unwrap_or_default();
    if !name.is_empty() {
        names.entry(resolve(folder, &unescaped(path))).or_insert(name);
    }
}

/// A path without its percent signs.
fn unescaped(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// The elements that HTML has no end tags for.
const VOID: [&str; 10] = ["area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"];

/// XHTML may close any element in its start tag; HTML would take `<title/>` for the begin of a title without end.
fn with_end_tags(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut rest = page;
    while let Some(at) = rest.find("/>") {
        let (before, after) = rest.split_at(at);
        let tag = before.rfind('<').and_then(|begin| before.get(begin + 1..)).unwrap_or_default();
        let name = tag.split(|c: char| c.is_whitespace() || c == '>').next().unwrap_or_default();
        text.push_str(before);
        if name.is_empty()
            || tag.contains('>')
            || VOID.contains(&name)
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            text.push_str("/>");
        } else {
            text.push_str("></");
            text.push_str(name);
            text.push('>');
        }
        rest = after.get(2..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::super::zip_archive::pack;
    use super::*;

    const CONTAINER: &str =
        "<container><rootfiles><rootfile full-path='OPS/book.opf'/></rootfiles></container>";
    const PACKAGE: &str = "<package><metadata><dc:title>The Book</dc:title><dc:date>2001-02-03</dc:date></metadata><manifest>\
                           <item id='n' href='nav.xhtml' properties='nav'/><item id='a' href='text/a%20b.xhtml'/><item id='b' href='text/b.xhtml'/>\
                           </manifest><spine><itemref idref='n'/><itemref idref='b'/><itemref idref='a'/><itemref idref='missing'/></spine></package>";
    const NAV: &str = "<html><nav><ol><li><a href='text/b.xhtml'>First</a></li><li><a href='text/a%20b.xhtml#x'>Second</a></li></ol></nav></html>";

    fn read(extra: &[(&str, &str)]) -> Result<Parsed> {
        let entries = [
            &[
                ("META-INF/container.xml", CONTAINER),
                ("OPS/book.opf", PACKAGE),
                ("OPS/nav.xhtml", NAV),
                (
                    "OPS/text/a b.xhtml",
                    "<html><head><title/></head><body><h2>Own</h2><p>Two.</p></body></html>",
                ),
                ("OPS/text/b.xhtml", "<html><head><title/></head><body><p>One.<a id='x'/></p></body></html>"),
            ],
            extra,
        ]
        .concat();
        let (bytes, limits) = (pack(&entries), ParseLimits::default());
        parse(&mut Archive::open(&bytes, &limits)?, &limits)
    }

    #[test]
    fn chapters_come_in_the_order_of_the_spine() {
        let parsed = read(&[]).unwrap();
        assert_eq!(parsed.text, "First\n\nOne.\n\n## Own\n\nTwo.");
        let headings: Vec<(u8, &str)> =
            parsed.headings.iter().map(|one| (one.level, one.title.as_str())).collect();
        assert_eq!(headings, [(1, "First"), (2, "Own")]);
        assert_eq!(parsed.title.as_deref(), Some("The Book"));
        assert_eq!(parsed.date.unwrap().to_string(), "2001-02-03T00:00:00Z");
    }

    #[test]
    fn encrypted_chapters_are_refused_and_obfuscated_fonts_are_not() {
        let encryption = |uri: &str| {
            format!(
                "<encryption><EncryptedData><CipherData><CipherReference URI='{uri}'/></CipherData></EncryptedData></encryption>"
            )
        };
        let font = encryption("OPS/font.otf");
        assert!(read(&[("META-INF/encryption.xml", &font)]).is_ok());
        let chapter = encryption("OPS/text/b.xhtml");
        assert_eq!(read(&[("META-INF/encryption.xml", &chapter)]).unwrap_err().code(), "encrypted");
    }

    #[test]
    fn elements_closed_in_their_start_tag_are_closed() {
        assert_eq!(with_end_tags("<p a='1'/><br/>x /> <i/>"), "<p a='1'></p><br/>x /> <i></i>");
    }
}
