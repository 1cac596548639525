//! The contracts of reading: a URI to bytes, and bytes to text with pages and offsets.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;

/// Fetches what a URI names.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// The schemes it serves, for instance `file`.
    fn schemes(&self) -> &[&str];

    /// The URI in its one spelling: two spellings of one source become the same text. Touches nothing.
    fn normalize(&self, uri: &str) -> Result<String>;

    /// Reads the source.
    ///
    /// - Codes: `not_found`, `denied` (outside what may be read), `egress_denied` (outside what may be reached),
    ///   `too_large`, `not_a_file`, `unreadable`, `unreachable`, `timeout`, `too_many_redirects`.
    /// - Dropping the future stops the reading.
    async fn fetch(&self, uri: &str) -> Result<Fetched>;
}

/// The bytes of a source and what is known of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The source's name, for instance the file's name.
    pub name: String,
    /// When the source was last changed, if known.
    pub modified: Option<Timestamp>,
    /// The media type that the source declares, if any.
    pub media_type: Option<String>,
}

impl Fetched {
    /// Bytes of a named source.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { bytes, name: name.into(), modified: None, media_type: None }
    }

    /// Keeps when the source was last changed.
    #[must_use]
    pub fn with_modified(mut self, modified: Option<Timestamp>) -> Self {
        self.modified = modified;
        self
    }
}

/// Turns bytes into text.
#[async_trait]
pub trait Parser: fmt::Debug + Send + Sync + 'static {
    /// Reads a document of any supported format; the format is found by content first, by name second.
    ///
    /// - Codes: `unsupported_format`, `encrypted`, `corrupt`, `empty` (no text at all), `too_large`, `timeout`.
    /// - A parser may crash or hang on hostile input; the implementation keeps that from its caller.
    async fn parse(&self, document: Fetched) -> Result<Parsed>;
}

/// The text of a document with its structure, all offsets being bytes of [`Parsed::text`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parsed {
    /// The text; never only white space.
    pub text: String,
    /// What it was read from, for instance `application/pdf`.
    pub media_type: String,
    /// The document's own title.
    pub title: Option<String>,
    /// The document's own date.
    pub date: Option<Timestamp>,
    /// Where each page begins, the first page first; empty for formats without pages.
    pub pages: Vec<PageStart>,
    /// The headings in order.
    pub headings: Vec<Heading>,
    /// The parts in order, as good places to cut: none overlaps another.
    pub blocks: Vec<Block>,
}

impl Parsed {
    /// A text without structure.
    pub fn new(media_type: impl Into<String>, text: impl Into<String>) -> Self {
        Self { text: text.into(), media_type: media_type.into(), ..Self::default() }
    }
}

/// The begin of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageStart {
    /// The page's number, from 1.
    pub page: u32,
    /// Its first byte in the text.
    pub start: usize,
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 for the highest.
    pub level: u8,
    /// Its text, without marks.
    pub title: String,
    /// The first byte of its line in the text.
    pub start: usize,
}

/// A part of the text that reads as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// What it is.
    pub kind: BlockKind,
}

/// What a part of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockKind {
    /// A heading.
    Heading,
    /// Prose.
    Paragraph,
    /// A table or one of its rows; kept whole where it fits.
    Table,
    /// Code; kept whole where it fits.
    Code,
}
