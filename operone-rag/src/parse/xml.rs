//! XML in one pass: elements by their names without prefix, and text.

use operone_core::{Error, Result};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// The deepest nesting of elements.
const MAX_DEPTH: usize = 256;

/// What is met in an XML text.
pub(super) enum Met<'a, 'b> {
    Start(&'a str, &'a BytesStart<'b>),
    Text(&'a str),
    End(&'a str),
}

/// Reads an XML text in one pass; names come without their prefix. Entities other than XML's own are left out, so
/// nothing expands and nothing outside is read.
pub(super) fn walk(xml: &str, mut meet: impl FnMut(Met<'_, '_>)) -> Result<()> {
    try_walk(xml, |met| {
        meet(met);
        Ok(())
    })
}

/// Like [`walk`], and ends with the first error of `meet`.
pub(super) fn try_walk(xml: &str, mut meet: impl FnMut(Met<'_, '_>) -> Result<()>) -> Result<()> {
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
                meet(Met::Start(element.local_name().as_ref(), &element))?;
            }
            Event::Empty(element) => {
                meet(Met::Start(element.local_name().as_ref(), &element))?;
                meet(Met::End(element.local_name().as_ref()))?;
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                meet(Met::End(element.local_name().as_ref()))?;
            }
            Event::Text(text) => meet(Met::Text(&text.xml10_content()))?,
            Event::CData(text) => meet(Met::Text(&text.xml10_content()))?,
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(corrupt)? {
                Some(c) => meet(Met::Text(c.encode_utf8(&mut [0; 4])))?,
                None => {
                    if let Some(text) = resolve_predefined_entity(&entity) {
                        meet(Met::Text(text))?;
                    }
                }
            },
            Event::Eof if depth > 0 => return Err(damaged()),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn corrupt(error: quick_xml::Error) -> Error {
    damaged().with_source(error)
}

fn damaged() -> Error {
    Error::invalid("the document's XML is damaged").with_code("corrupt")
}

/// The value of an attribute by its name without prefix.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|one| one.key.local_name().as_ref() == name)?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

/// The id by which an element points to a part of an Office document; it has an `id` of its own beside it.
pub(super) fn relationship(element: &BytesStart<'_>) -> Option<String> {
    let is_id = |key: &str| key.split_once(':').is_some_and(|(_, local)| local == "id");
    let attribute = element.attributes().with_checks(false).flatten().find(|one| is_id(one.key.as_ref()))?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}
