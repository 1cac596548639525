//! Markdown: the text as it is, with its headings, code, tables and paragraphs.

use operone_core::clock::{Period, Timestamp};
use operone_core::source::{Block, BlockKind, Heading, Parsed};

use super::assemble::{clean, title};
use super::inline_html;

/// Reads Markdown. Front matter and HTML comments are left out, and of HTML elements only their content is kept.
pub(super) fn parse(text: &str) -> Parsed {
    let text = clean(text);
    let (front, body) = front_matter(&text);
    let mut parsed = structured("text/markdown", inline_html::strip(body));
    parsed.title = front.title.or(parsed.title);
    parsed.date = front.date;
    parsed
}

/// A text in Markdown with its structure; its title is that of its first heading, if that is of level 1.
pub(super) fn structured(media_type: &str, text: String) -> Parsed {
    let mut scan = Scan { text: &text, ..Scan::default() };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        scan.line(start, line);
        start += line.len();
    }
    scan.close();
    let Scan { blocks, headings, .. } = scan;
    let first = headings.first().filter(|heading| heading.level == 1);
    let title = first.map(|heading| heading.title.clone());
    let mut parsed = Parsed::new(media_type, text);
    (parsed.title, parsed.headings, parsed.blocks) = (title, headings, blocks);
    parsed
}

/// How many kinds of marks the first lines of a text have that Markdown means something by.
pub(super) fn marks(text: &str) -> usize {
    let mut found = [false; 8];
    let [headings, fences, lists, links, emphasis, delimiters, quotes, underlines] = &mut found;
    let mut above = "";
    for line in text.lines().map(str::trim).take(400) {
        *headings |= atx_heading(line).is_some();
        *fences |= line.starts_with("```") || line.starts_with("~~~");
        *lists |= ["- ", "* ", "+ ", "1. "].iter().any(|mark| line.starts_with(mark));
        *links |= line.contains("](");
        *emphasis |= line.matches("**").count() > 1 || line.matches('`').count() > 1;
        *delimiters |= is_delimiter_row(line);
        *quotes |= line.starts_with("> ");
        *underlines |= line.len() > 2 && line.bytes().all(|byte| byte == b'=') && !above.is_empty();
        above = line;
    }
    found.into_iter().filter(|found| *found).count()
}

#[derive(Default)]
struct FrontMatter {
    title: Option<String>,
    date: Option<Timestamp>,
}

fn front_matter(text: &str) -> (FrontMatter, &str) {
    let none = (FrontMatter::default(), text);
    let Some(rest) = text.strip_prefix("---\n") else { return none };
    let mut front = FrontMatter::default();
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        length += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return (front, rest.get(length..).unwrap_or_default());
        }
        let is_entry = line.starts_with([' ', '\t', '-', '#']) || line.trim().is_empty();
        match line.split_once(':') {
            Some((key, value)) => {
                let value = value.trim().trim_matches(['"', '\'']);
                match key {
                    "title" => front.title = title(value),
                    "date" => front.date = Period::parse(value).ok().map(|period| period.first),
                    _ => {}
                }
            }
            None if is_entry => {}
            // A rule and a paragraph, not front matter.
            None => return none,
        }
    }
    none
}

#[derive(Default)]
struct Scan<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    headings: Vec<Heading>,
    open: Option<Block>,
    /// How many lines the open block has.
    lines: usize,
    /// The mark that ends the open block of code.
    fence: Option<&'a str>,
}

impl<'a> Scan<'a> {
    fn line(&mut self, start: usize, line: &'a str) {
        let content = line.trim();
        let end = start + line.trim_end().len();
        if let Some(fence) = self.fence {
            self.extend(end.max(start));
            if content.starts_with(fence)
                && content.trim_start_matches(fence).trim_matches(['`', '~']).is_empty()
            {
                self.fence = None;
                self.close();
            }
            return;
        }
        let at = start + (line.len() - line.trim_start().len());
        if content.is_empty() {
            self.close();
        } else if let Some(fence) = fence(content) {
            self.begin(at, end, BlockKind::Code);
            self.fence = Some(fence);
        } else if let Some((level, text)) = atx_heading(content) {
            self.begin(at, end, BlockKind::Heading);
            self.heading(level, text);
            self.close();
        } else if let Some(level) = self.underlined(content) {
            self.extend(end);
            self.underline(level);
        } else if content.starts_with('|') || self.is_open(BlockKind::Table) && content.contains('|') {
            self.continue_as(BlockKind::Table, at, end);
        } else if is_delimiter_row(content) && self.lines == 1 && self.open_text().contains('|') {
            self.extend(end);
            self.open.iter_mut().for_each(|open| open.kind = BlockKind::Table);
        } else {
            self.continue_as(BlockKind::Paragraph, at, end);
        }
    }

    fn is_open(&self, kind: BlockKind) -> bool {
        self.open.is_some_and(|open| open.kind == kind)
    }

    fn open_text(&self) -> &'a str {
        self.open.and_then(|open| self.text.get(open.start..open.end)).unwrap_or_default()
    }

    fn continue_as(&mut self, kind: BlockKind, start: usize, end: usize) {
        if self.is_open(kind) { self.extend(end) } else { self.begin(start, end, kind) }
    }

    fn begin(&mut self, start: usize, end: usize, kind: BlockKind) {
        self.close();
        self.open = Some(Block { start, end, kind });
        self.lines = 1;
    }

    fn extend(&mut self, end: usize) {
        self.open.iter_mut().for_each(|open| open.end = end.max(open.end));
        self.lines += 1;
    }

    fn close(&mut self) {
        self.blocks.extend(self.open.take());
        self.lines = 0;
    }

    /// The level of a heading that the open line becomes by the line below it.
    fn underlined(&self, content: &str) -> Option<u8> {
        let level = match content.as_bytes().first()? {
            b'=' => 1,
            b'-' => 2,
            _ => return None,
        };
        let whole =
            content.len() >= 2 && content.bytes().all(|byte| Some(&byte) == content.as_bytes().first());
        let is_list = self.open_text().starts_with(['-', '*', '+', '>']);
        (whole && self.lines == 1 && self.is_open(BlockKind::Paragraph) && !is_list).then_some(level)
    }

    fn underline(&mut self, level: u8) {
        let line = self.open_text().lines().next().unwrap_or_default();
        self.open.iter_mut().for_each(|open| open.kind = BlockKind::Heading);
        self.heading(level, line);
        self.close();
    }

    fn heading(&mut self, level: u8, text: &str) {
        let text = text.trim_matches(['*', '_', '`', ' ']);
        if let (Some(open), Some(title)) = (self.open, title(text)) {
            self.headings.push(Heading { level, title, start: open.start });
        }
    }
}

fn fence(content: &str) -> Option<&str> {
    let mark = content.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let length = content.len() - content.trim_start_matches(mark).len();
    let info = content.get(length..)?;
    (length >= 3 && !info.contains('`')).then(|| content.get(..length)).flatten()
}

fn atx_heading(content: &str) -> Option<(u8, &str)> {
    let text = content.trim_start_matches('#');
    let level = u8::try_from(content.len() - text.len()).ok().filter(|level| (1..=6).contains(level))?;
    let text = text.strip_prefix([' ', '\t'])?.trim();
    Some((level, text.trim_end_matches('#').trim_end()))
}

fn is_delimiter_row(content: &str) -> bool {
    content.contains('|')
        && content.contains('-')
        && content.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(parsed: &Parsed) -> Vec<(BlockKind, &str)> {
        parsed.blocks.iter().map(|block| (block.kind, &parsed.text[block.start..block.end])).collect()
    }

    #[test]
    fn headings_code_tables_and_paragraphs() {
        let parsed = parse(
            "# One #\nfirst\nline\n\n```sh\n# no heading\n\nls\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n\n## Two\n\
             Three\n=====\n- item\n---\nx | y\n-|-\n1 | 2\n~~~\nend",
        );
        use BlockKind::{Code, Heading, Paragraph, Table};
        assert_eq!(
            blocks(&parsed),
            [
                (Heading, "# One #"),
                (Paragraph, "first\nline"),
                (Code, "```sh\n# no heading\n\nls\n```"),
                (Table, "| a | b |\n|---|---|\n| 1 | 2 |"),
                (Heading, "## Two"),
                (Heading, "Three\n====="),
                (Paragraph, "- item\n---\nx | y\n-|-\n1 | 2"),
                (Code, "~~~\nend"),
            ]
        );
        let headings: Vec<(u8, &str)> =
            parsed.headings.iter().map(|heading| (heading.level, heading.title.as_str())).collect();
        assert_eq!(headings, [(1, "One"), (2, "Two"), (1, "Three")]);
        assert_eq!(parsed.title.as_deref(), Some("One"));
    }

    #[test]
    fn a_table_without_outer_marks() {
        let parsed = parse("Name | Age\n---- | ---\nAnn | 30\n\nText");
        assert_eq!(blocks(&parsed)[0], (BlockKind::Table, "Name | Age\n---- | ---\nAnn | 30"));
    }

    #[test]
    fn front_matter_gives_title_and_date() {
        let parsed = parse("---\ntitle: \"Q3 report\"\ndate: 2023-10-01\ntags:\n  - a\n---\n# Sales\n");
        assert_eq!(parsed.title.as_deref(), Some("Q3 report"));
        assert_eq!(parsed.date.unwrap().to_string(), "2023-10-01T00:00:00Z");
        assert_eq!(parsed.text.trim(), "# Sales");
        assert!(parse("---\nno front matter\n---\ntext").text.starts_with("---"));
        assert!(parse("---\ntitle: never closed\n").text.starts_with("---"));
    }
}
