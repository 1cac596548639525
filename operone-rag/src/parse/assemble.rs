//! Puts a document's text together from its parts, with the places of blocks, headings and pages.

use operone_core::clock::Timestamp;
use operone_core::source::{Block, BlockKind, Heading, PageStart, Parsed};
use operone_core::{Error, Result};
use unicode_normalization::UnicodeNormalization;

use super::ParseLimits;

/// The longest title of a document or a heading, in characters.
const MAX_TITLE: usize = 200;

/// A document that grows by one part after the other, up to the most text that is allowed.
#[derive(Debug)]
pub(super) struct Assembly {
    parsed: Parsed,
    page: Option<u32>,
    /// The most bytes of text.
    most: usize,
    is_full: bool,
}

#[cfg_attr(
    not(all(feature = "html", feature = "office", feature = "pdf")),
    allow(dead_code, reason = "some formats have no pages, headings or properties")
)]
impl Assembly {
    pub(super) fn new(media_type: &str, limits: &ParseLimits) -> Self {
        Self { parsed: Parsed::new(media_type, ""), page: None, most: limits.text, is_full: false }
    }

    pub(super) fn set_title(&mut self, text: Option<&str>) {
        self.parsed.title = text.and_then(title);
    }

    pub(super) fn set_date(&mut self, date: Option<Timestamp>) {
        self.parsed.date = date;
    }

    /// What follows is on this page.
    pub(super) fn begin_page(&mut self, page: u32) {
        self.page = Some(page);
    }

    /// Adds a part, with a blank line before it; one that is blank adds nothing.
    pub(super) fn push(&mut self, kind: BlockKind, text: &str) {
        let text = text.trim_matches('\n').trim_end();
        if text.trim().is_empty() || !self.has_room(text) {
            return;
        }
        let parsed = &mut self.parsed;
        if !parsed.text.is_empty() {
            parsed.text.push_str("\n\n");
        }
        let start = parsed.text.len();
        parsed.pages.extend(self.page.take().map(|page| PageStart { page, start }));
        parsed.text.push_str(text);
        parsed.blocks.push(Block { start, end: parsed.text.len(), kind });
    }

    /// Adds a line to the last part if that is of this kind and `joins`, else a part of its own.
    pub(super) fn push_line(&mut self, kind: BlockKind, line: &str, joins: bool) {
        let line = line.trim_matches('\n').trim_end();
        let parsed = &mut self.parsed;
        match parsed.blocks.last_mut().filter(|block| joins && block.kind == kind) {
            Some(_) if line.trim().is_empty() => {}
            Some(block) if parsed.text.len() + line.len() < self.most => {
                parsed.text.push('\n');
                parsed.text.push_str(line);
                block.end = parsed.text.len();
            }
            Some(_) => self.is_full = true,
            None => self.push(kind, line),
        }
    }

    /// Adds a heading; level 1 is the highest.
    pub(super) fn push_heading(&mut self, level: u8, text: &str) {
        let before = self.parsed.text.len();
        self.push(BlockKind::Heading, text);
        if self.parsed.text.len() > before
            && let (Some(title), Some(block)) = (title(text), self.parsed.blocks.last())
        {
            self.parsed.headings.push(Heading { level: level.max(1), title, start: block.start });
        }
    }

    /// Adds a whole document, without its pages; its headings go `deeper` by so many levels.
    pub(super) fn append(&mut self, document: &Parsed, deeper: u8) {
        if document.text.trim().is_empty() || !self.has_room(&document.text) {
            return;
        }
        let parsed = &mut self.parsed;
        if !parsed.text.is_empty() {
            parsed.text.push_str("\n\n");
        }
        let from = parsed.text.len();
        parsed.pages.extend(self.page.take().map(|page| PageStart { page, start: from }));
        parsed.text.push_str(document.text.trim_end());
        parsed.blocks.extend(document.blocks.iter().map(|block| Block {
            start: from + block.start,
            end: from + block.end,
            kind: block.kind,
        }));
        parsed.headings.extend(document.headings.iter().map(|heading| Heading {
            level: heading.level.saturating_add(deeper),
            title: heading.title.clone(),
            start: from + heading.start,
        }));
    }

    /// How many bytes of text may still be added.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.parsed.text.len())
    }

    /// Says that there is more text than may be added.
    pub(super) fn refuse(&mut self) {
        self.is_full = true;
    }

    /// Whether there was more text than is allowed; nothing more is taken then.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The document; its title is that of its first heading of level 1 where none was set. Code `too_large` if there
    /// was more text than is allowed.
    pub(super) fn finish(mut self) -> Result<Parsed> {
        if self.is_full {
            let detail = format!("the document gives more than {} bytes of text", self.most);
            return Err(Error::invalid(detail).with_code("too_large"));
        }
        if self.parsed.title.is_none() {
            self.parsed.title = self
                .parsed
                .headings
                .first()
                .filter(|heading| heading.level == 1)
                .map(|heading| heading.title.clone());
        }
        Ok(self.parsed)
    }

    fn has_room(&mut self, text: &str) -> bool {
        self.is_full |= self.parsed.text.len() + text.len() + 2 > self.most;
        !self.is_full
    }
}

/// White space of any kind and length as one space.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A title in one line, not too long; `None` if it is blank.
pub(super) fn title(text: &str) -> Option<String> {
    let title: String = one_line(text).chars().take(MAX_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

/// One spelling of a text: lines end with a line feed, letters with marks are composed, and what cannot be seen
/// (control characters, byte order marks, soft hyphens) is left out.
pub(super) fn clean(text: &str) -> String {
    keep_visible(text.nfc())
}

/// Like [`clean`], and ligatures and other shapes of a letter become the letter.
#[cfg(feature = "pdf")]
pub(super) fn clean_shapes(text: &str) -> String {
    keep_visible(text.nfkc())
}

fn keep_visible(chars: impl Iterator<Item = char>) -> String {
    let mut clean = String::new();
    let mut after_return = false;
    for c in chars {
        match c {
            '\n' if after_return => {}
            '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\t' => clean.push('\t'),
            '\u{ad}' | '\u{feff}' => {}
            _ if c.is_control() => {}
            _ => clean.push(c),
        }
        after_return = c == '\r';
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_headings_and_pages_are_where_they_say() {
        let mut assembly = Assembly::new("text/plain", &ParseLimits::default());
        assembly.begin_page(3);
        assembly.push(BlockKind::Paragraph, "  \n ");
        assembly.push_heading(1, "First\n part ");
        assembly.push(BlockKind::Paragraph, "\nOne.\n");
        assembly.begin_page(4);
        assembly.push(BlockKind::Paragraph, "Two.");
        let parsed = assembly.finish().unwrap();
        assert_eq!(parsed.text, "First\n part\n\nOne.\n\nTwo.");
        assert_eq!(parsed.title.as_deref(), Some("First part"));
        let texts: Vec<&str> =
            parsed.blocks.iter().map(|block| &parsed.text[block.start..block.end]).collect();
        assert_eq!(texts, ["First\n part", "One.", "Two."]);
        assert_eq!(parsed.pages, [PageStart { page: 3, start: 0 }, PageStart { page: 4, start: 19 }]);
    }

    #[test]
    fn text_beyond_the_limit_is_refused() {
        let limits = ParseLimits::default().with_text(10);
        let mut assembly = Assembly::new("text/plain", &limits);
        assembly.push_line(BlockKind::Table, "12345", true);
        assembly.push_line(BlockKind::Table, "123", true);
        assert!(!assembly.is_full());
        assembly.push_line(BlockKind::Table, "1", true);
        assert!(assembly.is_full());
        assert_eq!(assembly.finish().unwrap_err().code(), "too_large");
    }

    #[test]
    fn one_spelling() {
        assert_eq!(
            clean("a\r\nb\rc\u{ad}d\u{0}e\u{301}\u{feff}\u{2028}\tf"),
            "a\nb\ncde\u{301}\n\tf".replace("e\u{301}", "é")
        );
    }
}
