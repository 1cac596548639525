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

/// Reads a PDF. One that is protected only against changes, that is with an empty user password, is read.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
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
    assembly.set_date(date.map(|date| Timestamp::from_millis(date.timestamp_millis())));
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
