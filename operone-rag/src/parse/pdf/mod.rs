//! PDF: the text of each page with its headings, tables and code.

mod repair;

use operone_core::clock::Timestamp;
use operone_core::source::{BlockKind, Parsed};
use operone_core::{Error, Result};
use unpdf::model::{Block, Table};
use unpdf::{ErrorKind, ParseOptions};

use super::assemble::{Assembly, clean_shapes};
use super::{ParseLimits, empty};
use repair::{Vocabulary, right_to_left, without_soft_hyphens};

/// The deepest nesting of arrays and dictionaries.
const MAX_DEPTH: usize = 500;

/// Reads a PDF. One that is protected only against changes, that is with an empty user password, is read.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    if nests_too_deep(bytes) {
        return Err(Error::invalid(format!("the document nests values more than {MAX_DEPTH} deep"))
            .with_code("too_large"));
    }
    // On this thread, which has a stack for it and whose panics are caught.
    let options = ParseOptions::new().lenient().with_resources(false).sequential();
    let document = unpdf::parse_bytes_with_options(bytes, options).map_err(refuse)?;
    if document.pages.len() > limits.pages {
        return Err(Error::invalid(format!("the document has more than {} pages", limits.pages))
            .with_code("too_large"));
    }
    let mut assembly = Assembly::new("application/pdf", limits);
    let mut vocabulary = Vocabulary::default();
    for paragraph in document.pages.iter().flat_map(|page| &page.elements).filter_map(paragraph) {
        vocabulary.add(&clean_shapes(&paragraph));
    }
    for page in &document.pages {
        assembly.begin_page(page.number);
        for block in &page.elements {
            push(&mut assembly, &vocabulary, block);
        }
        if assembly.is_full() {
            break;
        }
    }
    let metadata = &document.metadata;
    assembly.set_title(metadata.title.as_deref().map(|title| right_to_left(&clean_shapes(title))).as_deref());
    let date = metadata.modified.or(metadata.created);
    assembly.set_date(date.map(|date| Timestamp::from_millis(with_zone(bytes, date.timestamp_millis()))));
    let parsed = assembly.finish()?;
    if parsed.text.trim().is_empty() {
        return Err(match document.pages.len() {
            0 => empty("the document has no pages"),
            pages => empty(&format!(
                "the document has {pages} page(s) without any text; they seem to be scanned images without a text \
                 layer, which need character recognition first"
            )),
        });
    }
    Ok(parsed)
}

/// Whether arrays or dictionaries outside streams are open deeper than is read; the reader calls itself for each.
fn nests_too_deep(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'[', _) => depth += 1,
            (b']', _) => depth = depth.saturating_sub(1),
            (b'<', [b'<', after @ ..]) => {
                depth += 1;
                rest = after;
            }
            (b'>', [b'>', after @ ..]) => {
                depth = depth.saturating_sub(1);
                rest = after;
            }
            (b'e', _) if after.starts_with(b"ndobj") => depth = 0,
            (b's', _) if after.starts_with(b"tream") => {
                let end = after.windows(9).position(|part| part == b"endstream");
                rest = end.and_then(|end| after.get(end + 9..)).unwrap_or_default();
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// The moment of a date whose zone was left unread, by the zone that follows it in the file.
fn with_zone(bytes: &[u8], milliseconds: i64) -> i64 {
    let Ok(moment) = jiff::Timestamp::from_millisecond(milliseconds) else { return milliseconds };
    let written = moment.strftime("D:%Y%m%d%H%M%S").to_string();
    let at = bytes.windows(written.len()).position(|part| part == written.as_bytes());
    let zone = at.and_then(|at| bytes.get(at + written.len()..)).unwrap_or_default();
    let number = |digits: Option<&[u8]>| -> Option<i64> { std::str::from_utf8(digits?).ok()?.parse().ok() };
    let minutes = number(zone.get(1..3)).map(|hours| {
        let rest = zone.get(3..).unwrap_or_default();
        hours * 60 + number(rest.strip_prefix(b"'").unwrap_or(rest).get(..2)).unwrap_or(0)
    });
    match (zone.first(), minutes) {
        (Some(b'+'), Some(minutes)) => milliseconds - minutes * 60_000,
        (Some(b'-'), Some(minutes)) => milliseconds + minutes * 60_000,
        _ => milliseconds,
    }
}

/// The text of a block that is prose.
fn paragraph(block: &Block) -> Option<String> {
    match block {
        Block::Paragraph(paragraph) => Some(paragraph.plain_text()),
        Block::Raw { content } => Some(content.clone()),
        _ => None,
    }
}

fn push(assembly: &mut Assembly, vocabulary: &Vocabulary, block: &Block) {
    let prose = |text: &str| {
        let text = vocabulary.join(&clean_shapes(&without_soft_hyphens(text)));
        right_to_left(text.trim())
    };
    match block {
        Block::Paragraph(paragraph) => {
            let text = prose(&paragraph.plain_text());
            match paragraph.heading_level() {
                Some(level) => assembly.push_heading(level, &text),
                None => assembly.push(BlockKind::Paragraph, &text),
            }
        }
        Block::Table(table) => assembly.push(BlockKind::Table, &right_to_left(&clean_shapes(&rows(table)))),
        Block::Code { content } => assembly.push(BlockKind::Code, &clean_shapes(content)),
        Block::Raw { content } => assembly.push(BlockKind::Paragraph, &prose(content)),
        _ => {}
    }
}

fn rows(table: &Table) -> String {
    let cells = |row: &unpdf::model::TableRow| {
        let cells =
            row.cells.iter().map(|cell| cell.plain_text().split_whitespace().collect::<Vec<_>>().join(" "));
        cells.collect::<Vec<_>>().join(" | ")
    };
    table.rows.iter().map(cells).collect::<Vec<_>>().join("\n")
}

fn refuse(error: unpdf::Error) -> Error {
    match error.kind() {
        ErrorKind::Encrypted | ErrorKind::InvalidPassword => {
            Error::invalid("the document is encrypted and needs a password").with_code("encrypted")
        }
        _ => Error::invalid("the document is not a PDF that can be read")
            .with_code("corrupt")
            .with_source(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_date_counts() {
        // 2024-11-01T15:36:20 as it is written.
        let written = 1_730_475_380_000;
        let at = |zone: &str| {
            with_zone(format!("<< /ModDate(D:20241101153620{zone}) >>").as_bytes(), written) - written
        };
        assert_eq!(at("+03'00'"), -3 * 3_600_000);
        assert_eq!(at("-0530"), (5 * 60 + 30) * 60_000);
        assert_eq!((at("Z"), at(""), with_zone(b"", written)), (0, 0, written));
    }
}
