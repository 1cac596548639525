//! Rich text: its words, without what describes them.

use encoding_rs::Encoding;
use operone_core::Error;
use operone_core::Result;
use operone_core::source::{BlockKind, Parsed};

use super::ParseLimits;
use super::assemble::{Assembly, clean, one_line};
use super::encoding::decode;

/// The deepest nesting of groups.
const MAX_DEPTH: usize = 1000;

/// Groups that hold no text of the document.
const SKIPPED: [&str; 20] = [
    "fonttbl",
    "colortbl",
    "stylesheet",
    "info",
    "pict",
    "object",
    "themedata",
    "datastore",
    "listtable",
    "listoverridetable",
    "rsidtbl",
    "generator",
    "xmlnstbl",
    "fldinst",
    "latentstyles",
    "filetbl",
    "revtbl",
    "header",
    "footer",
    "bkmkstart",
];

/// Reads rich text: its paragraphs, and the rows of its tables.
pub(super) fn parse(bytes: &[u8], limits: &ParseLimits) -> Result<Parsed> {
    let mut reader = Reader {
        assembly: Assembly::new("application/rtf", limits),
        groups: vec![Group { is_skipped: false, unicode_skip: 1 }],
        page: None,
        raw: Vec::new(),
        text: String::new(),
        row: Vec::new(),
        in_table: false,
        rows: false,
        pending_skip: 0,
    };
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = reader.token(*first, after)?;
        if reader.assembly.is_full() {
            break;
        }
    }
    reader.end_paragraph();
    reader.assembly.finish()
}

#[derive(Clone, Copy)]
struct Group {
    is_skipped: bool,
    /// How many characters stand for an older reader after one in Unicode.
    unicode_skip: usize,
}

struct Reader {
    assembly: Assembly,
    groups: Vec<Group>,
    page: Option<&'static Encoding>,
    /// Bytes in the document's code page that were not decoded yet.
    raw: Vec<u8>,
    text: String,
    row: Vec<String>,
    in_table: bool,
    /// Whether the last part is a row of the table.
    rows: bool,
    pending_skip: usize,
}

impl Reader {
    fn token<'a>(&mut self, first: u8, after: &'a [u8]) -> Result<&'a [u8]> {
        match first {
            b'{' => {
                let group = self.group();
                if self.groups.len() > MAX_DEPTH {
                    let detail = format!("the document nests groups more than {MAX_DEPTH} deep");
                    return Err(Error::invalid(detail).with_code("too_large"));
                }
                self.groups.push(group);
                Ok(after)
            }
            b'}' => {
                if self.groups.len() > 1 {
                    self.groups.pop();
                }
                Ok(after)
            }
            b'\\' => Ok(self.control(after)),
            b'\r' | b'\n' => Ok(after),
            byte => {
                self.byte(byte);
                Ok(after)
            }
        }
    }

    fn control<'a>(&mut self, after: &'a [u8]) -> &'a [u8] {
        let Some((first, rest)) = after.split_first() else { return after };
        if !first.is_ascii_alphabetic() {
            match (first, rest) {
                (b'\'', [high, low, rest @ ..]) => {
                    let digits = [*high, *low];
                    let byte = std::str::from_utf8(&digits)
                        .ok()
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    byte.into_iter().for_each(|byte| self.byte(byte));
                    return rest;
                }
                (b'*', _) => self.skip(),
                (b'~', _) => self.character('\u{a0}'),
                (b'_', _) => self.character('-'),
                (b'\\' | b'{' | b'}', _) => self.byte(*first),
                (b'\r' | b'\n', _) => self.end_paragraph(),
                _ => {}
            }
            return rest;
        }
        let length = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (word, rest) = after.split_at(length);
        let digits = rest
            .iter()
            .enumerate()
            .take_while(|(at, byte)| byte.is_ascii_digit() || *at == 0 && **byte == b'-')
            .count();
        let (number, rest) = rest.split_at(digits);
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok());
        let mut rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let word = std::str::from_utf8(word).unwrap_or_default();
        match word {
            "ansicpg" => self.page = number.and_then(code_page),
            "bin" => rest = rest.get(usize::try_from(number.unwrap_or(0)).unwrap_or(0)..).unwrap_or_default(),
            "uc" => {
                let skip = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
                self.groups.last_mut().into_iter().for_each(|group| group.unicode_skip = skip);
            }
            "u" => {
                // Written as a signed number of 16 bits.
                let unit = number.map(|number| (number & 0xFFFF) as u16).unwrap_or(0xFFFD);
                self.flush();
                self.unit(unit);
                self.pending_skip = self.group().unicode_skip;
            }
            "par" | "sect" | "page" => self.end_paragraph(),
            "line" => self.character('\n'),
            "tab" => self.character('\t'),
            "emdash" => self.character('\u{2014}'),
            "endash" => self.character('\u{2013}'),
            "lquote" => self.character('\u{2018}'),
            "rquote" => self.character('\u{2019}'),
            "ldblquote" => self.character('\u{201c}'),
            "rdblquote" => self.character('\u{201d}'),
            "bullet" => self.character('\u{2022}'),
            "intbl" => self.in_table = true,
            "pard" => self.in_table = false,
            "cell" => {
                let cell = self.take();
                self.row.push(one_line(&cell));
            }
            "row" => self.end_row(),
            word if SKIPPED.contains(&word) => self.skip(),
            _ => {}
        }
        rest
    }

    fn group(&self) -> Group {
        self.groups.last().copied().unwrap_or(Group { is_skipped: false, unicode_skip: 1 })
    }

    fn skip(&mut self) {
        self.groups.last_mut().into_iter().for_each(|group| group.is_skipped = true);
    }

    fn byte(&mut self, byte: u8) {
        if self.pending_skip > 0 {
            self.pending_skip -= 1;
        } else if !self.group().is_skipped {
            self.raw.push(byte);
        }
    }

    fn character(&mut self, c: char) {
        if !self.group().is_skipped {
            self.flush();
            self.text.push(c);
        }
    }

    /// Half of a character beyond the first 65,536 is kept as its number until the other half comes.
    fn unit(&mut self, unit: u16) {
        if self.group().is_skipped {
            return;
        }
        let high = self.text.chars().next_back().filter(|c| ('\u{f0000}'..='\u{f03ff}').contains(c));
        match (high, unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                self.text.pop();
                let units = [0xD800 + ((u32::from(high) - 0xF0000) & 0x3FF) as u16, unit];
                self.text.extend(char::decode_utf16(units).flatten());
            }
            (_, 0xD800..=0xDBFF) => self.text.extend(char::from_u32(0xF0000 + u32::from(unit - 0xD800))),
            (_, unit) => self.text.push(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    fn flush(&mut self) {
        if !self.raw.is_empty() {
            let raw = std::mem::take(&mut self.raw);
            match self.page {
                Some(page) => self.text.push_str(&page.decode_without_bom_handling(&raw).0),
                None => self.text.push_str(&decode(&raw, Some("windows-1252"))),
            }
        }
    }

    fn take(&mut self) -> String {
        self.flush();
        clean(&std::mem::take(&mut self.text))
    }

    fn end_paragraph(&mut self) {
        if self.in_table && !self.row.is_empty() {
            return self.character(' ');
        }
        let text = self.take();
        if !text.trim().is_empty() {
            self.assembly.push(BlockKind::Paragraph, &text);
            self.rows = false;
        }
    }

    fn end_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        if row.iter().any(|cell| !cell.is_empty()) {
            self.assembly.push_line(BlockKind::Table, &row.join(" | "), self.rows);
            self.rows = true;
        }
        self.in_table = false;
    }
}

fn code_page(number: i64) -> Option<&'static Encoding> {
    let label = match number {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        65001 => "utf-8".to_owned(),
        number => format!("windows-{number}"),
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text.as_bytes(), &ParseLimits::default()).unwrap()
    }

    #[test]
    fn words_tables_and_characters() {
        let parsed = read(
            "{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0 Arial;}}{\\*\\generator X;}{\\info{\\title T}}\
             \\pard Hello {\\b bold} \\u8364?5\\~\\'e0\\'e1 \\{x\\}\\par\n\\u-10179?\\u-8694? smile\\line next\\par\
             \\trowd\\intbl a\\cell b\\cell\\row\\trowd\\intbl c\\cell d\\cell\\row\\pard End}",
        );
        assert_eq!(parsed.text, "Hello bold €5\u{a0}аб {x}\n\n😊 smile\nnext\n\na | b\nc | d\n\nEnd");
        assert_eq!(parsed.blocks.iter().filter(|block| block.kind == BlockKind::Table).count(), 1);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let error = parse("{".repeat(100_000).as_bytes(), &ParseLimits::default()).unwrap_err();
        assert_eq!(error.code(), "too_large");
    }
}
