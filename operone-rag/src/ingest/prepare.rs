//! A parsed document to chunks with their terms, all but the vectors.

use std::sync::Arc;

use operone_core::cache::ContentHash;
use operone_core::chunk::{Chunk, Document};
use operone_core::embed::Tokenizer;
use operone_core::source::Parsed;
use operone_core::text::Analyser;
use operone_core::{Error, Result};

use crate::chunk::{ChunkOptions, Span, chunks};
use crate::language;

/// The most chunks of one document.
const MAX_CHUNKS: usize = 100_000;

/// A document cut into chunks that have no vectors yet.
pub(super) struct Prepared {
    /// The chunks in order.
    pub(super) chunks: Vec<Chunk>,
    /// What is embedded for each chunk.
    pub(super) texts: Vec<String>,
    /// The terms of the whole document.
    pub(super) terms: Vec<String>,
}

/// Cuts and analyses a text off the threads that serve others.
pub(super) async fn prepare(
    parsed: Parsed,
    tokenizer: Arc<dyn Tokenizer>,
    options: ChunkOptions,
) -> Result<Prepared> {
    let work = move || {
        let spans = chunks(&parsed, tokenizer.as_ref(), &options);
        if spans.len() > MAX_CHUNKS {
            return Err(Error::invalid(format!(
                "the document gives {} chunks; the most are {MAX_CHUNKS}, so ask for larger ones with less overlap",
                spans.len()
            ))
            .with_code("too_large"));
        }
        let language = language::of(&parsed.text);
        let mut prepared = Prepared { chunks: Vec::new(), texts: Vec::new(), terms: Vec::new() };
        for (ordinal, span) in (0..).zip(&spans) {
            let text = parsed.text.get(span.range.clone()).unwrap_or_default();
            let embedded = in_context(&parsed, span, text);
            let mut chunk =
                Chunk::new(ordinal, span.range.start as u64, text, Analyser.terms_in(language, &embedded));
            chunk.hash = ContentHash::of(&embedded);
            chunk.page = span.page;
            chunk.heading.clone_from(&span.heading);
            prepared.chunks.push(chunk);
            prepared.texts.push(embedded);
        }
        let title = parsed.title.as_deref().unwrap_or_default();
        prepared.terms = Analyser.terms_in(language, &format!("{title}\n{}", parsed.text));
        Ok(prepared)
    };
    let stopped = |error| Error::internal("cutting the document failed").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// A chunk's text below the document's title and the headings above it: what is embedded, and whose words count.
fn in_context(parsed: &Parsed, span: &Span, text: &str) -> String {
    let own = parsed.headings.binary_search_by_key(&span.range.start, |heading| heading.start).is_ok();
    below(parsed.title.as_deref(), &span.heading, own, text)
}

/// A text below its title and headings; its `own` heading is in the text itself.
fn below(title: Option<&str>, headings: &[String], own: bool, text: &str) -> String {
    let above = headings.len() - usize::from(own && !headings.is_empty());
    let above = headings.get(..above).unwrap_or_default();
    let title =
        title.filter(|title| !headings.iter().any(|heading| heading == title) && !text.starts_with(title));
    let mut lines: Vec<&str> = title.into_iter().chain(above.iter().map(String::as_str)).collect();
    lines.push(text);
    lines.join("\n")
}

/// What was embedded for a chunk that is stored: its hash tells whether its last heading is its own. `None` where the
/// chunk was made by other rules.
pub(super) fn embedded_text(document: &Document, chunk: &Chunk) -> Option<String> {
    [false, true]
        .into_iter()
        .map(|own| below(document.title.as_deref(), &chunk.heading, own, &chunk.text))
        .find(|text| ContentHash::of(text) == chunk.hash)
}

/// The terms of a whole document that is stored.
pub(super) fn document_terms(document: &Document, chunks: &[Chunk]) -> Vec<String> {
    let mut text = format!("{}\n", document.title.as_deref().unwrap_or_default());
    let mut end = 0;
    for chunk in chunks {
        if chunk.start > end {
            // Between two chunks there is white space only.
            text.push('\n');
        }
        let known = usize::try_from(end.saturating_sub(chunk.start)).unwrap_or(usize::MAX);
        text.push_str(chunk.text.get(known..).unwrap_or_default());
        end = end.max(chunk.end);
    }
    Analyser.terms(&text)
}
