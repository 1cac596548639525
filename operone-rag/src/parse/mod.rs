//! Documents to text: the format is found, the text is read within limits, and whatever goes wrong has a code.

#[cfg(feature = "office")]
mod archive;
mod assemble;
mod code;
mod csv;
mod detect;
#[cfg(feature = "office")]
mod docx;
mod encoding;
#[cfg(all(feature = "html", feature = "office"))]
mod epub;
#[cfg(feature = "html")]
mod html;
mod inline_html;
mod json;
mod limits;
mod mail;
mod markdown;
#[cfg(feature = "office")]
mod nested_table;
#[cfg(feature = "office")]
mod odf;
#[cfg(feature = "office")]
mod opc;
#[cfg(feature = "pdf")]
mod pdf;
#[cfg(feature = "office")]
mod pptx;
mod rtf;
mod table;
mod text;
#[cfg(feature = "office")]
mod xlsx;
#[cfg(feature = "office")]
mod xml;
#[cfg(feature = "office")]
mod zip_archive;

use std::sync::Arc;

use async_trait::async_trait;
use operone_core::source::{BlockKind, Fetched, Parsed, Parser};
use operone_core::{Error, Result};
use tokio::sync::{Semaphore, oneshot};

use detect::{Format, Kind};

pub use limits::ParseLimits;

/// The stack of a thread that parses; documents nest.
const STACK: usize = 64 * 1024 * 1024;

/// Reads the formats of `docs/formats.md` in this process. Clones share the limit of how
/// many are parsed at once.
///
/// Each document is parsed on a thread of its own. A panic there is an error with code `corrupt`. A thread cannot be
/// killed: one that runs beyond the time limit gives an error with code `timeout` to the caller, goes on in the
/// background until it ends, and counts as one of those that parse at once until then. Memory is limited only by
/// the limits on size. Where documents come from strangers, call [`parse_bytes`] in a child process that can be
/// killed.
#[derive(Clone, Debug)]
pub struct DocumentParser {
    limits: ParseLimits,
    slots: Arc<Semaphore>,
}

impl DocumentParser {
    /// Names the rules by which text is read; texts of another id may differ.
    pub const ID: &'static str = "parse-2";

    /// A parser within `limits`.
    pub fn new(limits: ParseLimits) -> Self {
        Self { limits, slots: Arc::new(Semaphore::new(limits.parallel.max(1))) }
    }
}

impl Default for DocumentParser {
    fn default() -> Self {
        Self::new(ParseLimits::default())
    }
}

#[async_trait]
impl Parser for DocumentParser {
    /// Dropping the future lets the thread run on to its end.
    async fn parse(&self, document: Fetched) -> Result<Parsed> {
        let limits = self.limits;
        let late = || {
            Error::invalid(format!("the document was not read within {} s", limits.time.as_secs_f32()))
                .with_code("timeout")
        };
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = tokio::time::timeout(limits.time, slot).await.map_err(|_| late())?;
        let (sender, receiver) = oneshot::channel();
        let run = move || {
            // A receiver that is gone has given up waiting.
            let _ = sender.send(catch(|| read(&document, &limits, 0)));
            drop(slot);
        };
        std::thread::Builder::new().name("parse".into()).stack_size(STACK).spawn(run).map_err(|error| {
            Error::internal("no thread could be started to parse").with_retryable(true).with_source(error)
        })?;
        match tokio::time::timeout(limits.time, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(late()),
        }
    }
}

/// Reads a document by its name and bytes alone, within the default limits; see [`parse_document`].
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Parsed> {
    parse_document(&Fetched::new(name, bytes.to_vec()), &ParseLimits::default())
}

/// Reads a document and waits for it, however long it takes: what a child process does. Codes are those of
/// [`Parser::parse`] without `timeout`. Blocks the calling thread; a panic inside is an error with code `corrupt`.
pub fn parse_document(document: &Fetched, limits: &ParseLimits) -> Result<Parsed> {
    std::thread::scope(|scope| {
        let run = || catch(|| read(document, limits, 0));
        let thread =
            std::thread::Builder::new().name("parse".into()).stack_size(STACK).spawn_scoped(scope, run);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(broken()),
            Err(error) => Err(Error::internal("no thread could be started to parse").with_source(error)),
        }
    })
}

fn catch(parse: impl FnOnce() -> Result<Parsed>) -> Result<Parsed> {
    // Nothing outlives the closure that a panic could leave half changed.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(parse)).unwrap_or_else(|_| Err(broken()))
}

fn broken() -> Error {
    Error::invalid("the document is damaged: reading it failed").with_code("corrupt")
}

/// Reads a document that lies `inside` so many messages.
fn read(document: &Fetched, limits: &ParseLimits, inside: usize) -> Result<Parsed> {
    let (name, bytes) = (document.name.as_str(), document.bytes.as_slice());
    if bytes.len() > limits.bytes {
        return Err(Error::invalid(format!(
            "the document has {} bytes; the most that is read is {}",
            bytes.len(),
            limits.bytes
        ))
        .with_code("too_large"));
    }
    if bytes.is_empty() {
        return Err(empty("the document has no bytes"));
    }
    let media_type = document.media_type.as_deref();
    let declared = media_type.and_then(declared_charset);
    let parsed = match detect::detect(name, bytes)? {
        Format::Pdf => read_pdf(bytes, limits)?,
        Format::Zip => read_zip(bytes, limits)?,
        Format::Html => {
            let declared = declared.map(str::to_owned).or_else(|| encoding::declared_in_page(bytes));
            read_html(&encoding::decode(bytes, declared.as_deref()), limits)?
        }
        Format::Mail => mail::parse(bytes, limits, inside)?,
        Format::Rtf => rtf::parse(bytes, limits)?,
        Format::Text => read_text(name, media_type, &encoding::decode(bytes, declared), limits)?,
    };
    if parsed.text.trim().is_empty() {
        return Err(empty("the document has no text"));
    }
    if parsed.text.len() > limits.text {
        return Err(Error::invalid(format!("the document gives more than {} bytes of text", limits.text))
            .with_code("too_large"));
    }
    Ok(parsed)
}

fn read_text(name: &str, media_type: Option<&str>, text: &str, limits: &ParseLimits) -> Result<Parsed> {
    match detect::kind_of_text(name, media_type, text) {
        Kind::Html => read_html(text, limits),
        Kind::Markdown => Ok(markdown::parse(text)),
        Kind::Csv => csv::parse(text, limits),
        Kind::Json => json::parse(text, limits),
        Kind::JsonLines => json::parse_lines(text, limits),
        Kind::Code(language) => Ok(code::parse(language.media_type, text)),
        Kind::Plain => Ok(text::parse("text/plain", text, BlockKind::Paragraph)),
    }
}

fn empty(detail: &str) -> Error {
    Error::invalid(detail).with_code("empty")
}

/// The character set of a media type such as `text/html; charset=utf-8`.
fn declared_charset(media_type: &str) -> Option<&str> {
    let (_, charset) = media_type.split_once("charset=")?;
    charset.split(';').next().map(|charset| charset.trim().trim_matches('"'))
}

#[cfg(feature = "pdf")]
fn read_pdf(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    pdf::parse(bytes, limits)
}

#[cfg(not(feature = "pdf"))]
fn read_pdf(_: &[u8], _: &ParseLimits) -> Result<Parsed> {
    Err(detect::unsupported("PDF, in a build without it,"))
}

#[cfg(feature = "office")]
fn read_zip(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    archive::parse(bytes, limits)
}

#[cfg(not(feature = "office"))]
fn read_zip(_: &[u8], _: &ParseLimits) -> Result<Parsed> {
    Err(detect::unsupported("a zip archive or an Office document, in a build without them,"))
}

#[cfg(feature = "html")]
fn read_html(text: &str, _: &ParseLimits) -> Result<Parsed> {
    html::parse(text)
}

#[cfg(not(feature = "html"))]
fn read_html(_: &str, _: &ParseLimits) -> Result<Parsed> {
    Err(detect::unsupported("HTML, in a build without it,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(catch(|| panic!("as hostile input makes parsers do")).unwrap_err().code(), "corrupt");
    }
}
