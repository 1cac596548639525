//! Values between commas, semicolons, tabs or bars: one line for each record, each value with its column's name.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use operone_core::Result;
use operone_core::source::Parsed;

use super::ParseLimits;
use super::assemble::{Assembly, clean};
use super::table::Table;

/// How many records are looked at to find the separator.
const SAMPLE: usize = 20;

/// The most values of a record; what follows is one value more.
const MAX_VALUES: usize = 10_000;

/// Reads a table; see [`Table`].
pub(super) fn parse(text: &str, limits: &ParseLimits) -> Result<Parsed> {
    let text = clean(text);
    let separator = separator(&text);
    let media_type = if separator == '\t' { "text/tab-separated-values" } else { "text/csv" };
    let mut assembly = Assembly::new(media_type, limits);
    let mut table = Table::default();
    for record in Records::new(&text, separator) {
        let values = record.into_iter().enumerate().filter(|(_, value)| !value.trim().is_empty());
        if !table.row(&mut assembly, values.collect()) {
            break;
        }
    }
    table.finish(&mut assembly);
    assembly.finish()
}

/// The separator that gives the most records the same number of values, and of equals the most values.
fn separator(text: &str) -> char {
    let score = |separator: char| {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in Records::new(text, separator).take(SAMPLE) {
            *counts.entry(record.len()).or_default() += 1;
        }
        counts.into_iter().filter(|(values, _)| *values > 1).map(|(values, records)| (records, values)).max()
    };
    // The first of equals wins.
    [',', ';', '\t', '|'].into_iter().rev().max_by_key(|separator| score(*separator)).unwrap_or(',')
}

/// Whether most of the first records have the same number of values, more than one, and there are `least` of them. From
/// three records on this stands against any other text, so that the values must look like values too.
pub(super) fn separates(text: &str, least: usize) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    [',', ';', '\t', '|'].into_iter().any(|separator| {
        let records: Vec<Vec<String>> = Records::new(text, separator).take(SAMPLE).collect();
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in records.iter().filter(|record| record.len() > 1) {
            *counts.entry(record.len()).or_default() += 1;
        }
        let Some((same, width)) = counts.into_iter().map(|(width, same)| (same, width)).max() else {
            return false;
        };
        if least < 3 {
            return same >= least && !looks_like_code(text);
        }
        let values: Vec<&str> = records.iter().flatten().map(|value| value.trim()).collect();
        let filled = values.iter().filter(|value| !value.is_empty()).count();
        let letters: usize = values.iter().map(|value| value.len()).sum();
        // A table of Markdown, lines that end with the sign, and sentences with commas are no records.
        let is_framed = separator == '|' && text.trim_start().starts_with('|');
        let is_told =
            same * 5 >= records.len() * 4 && filled * 3 >= records.len() * 4 && letters < filled * 40;
        let is_wide = width > 2 || separator == '\t' || records.len() >= 5 && letters < filled * 20;
        same >= least && is_told && is_wide && !is_framed && !looks_like_code(text)
    })
}

/// Lines that end so are statements.
fn looks_like_code(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(SAMPLE).collect();
    lines.iter().filter(|line| line.ends_with(['{', '}', ';', '(', ':', '>'])).count() * 4 > lines.len()
}

/// The records of RFC 4180, read leniently: a quote inside an unquoted value is a character like any other, and a
/// value that is never closed ends with the text.
struct Records<'a> {
    chars: Peekable<Chars<'a>>,
    separator: char,
}

impl<'a> Records<'a> {
    fn new(text: &'a str, separator: char) -> Self {
        Self { chars: text.chars().peekable(), separator }
    }
}

impl Iterator for Records<'_> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        self.chars.peek()?;
        let mut record: Vec<String> = Vec::new();
        let mut value = String::new();
        let mut quoted = false;
        while let Some(c) = self.chars.next() {
            match c {
                '"' if quoted && self.chars.peek() == Some(&'"') => {
                    self.chars.next();
                    value.push('"');
                }
                '"' if quoted => quoted = false,
                _ if quoted => value.push(c),
                '"' if value.trim().is_empty() => {
                    value.clear();
                    quoted = true;
                }
                '\n' => break,
                _ if c == self.separator && record.len() < MAX_VALUES => {
                    record.push(std::mem::take(&mut value))
                }
                _ => value.push(c),
            }
        }
        record.push(value);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        parse(text, &ParseLimits::default()).unwrap().text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_value_has_its_name_and_no_record_is_lost() {
        assert_eq!(
            lines("Stanley Cups,,\nTeam,Location,Cups\nBlues,STL,1\nMaple Leafs,,13,extra\n"),
            [
                "Stanley Cups",
                "Team | Location | Cups",
                "Team: Blues | Location: STL | Cups: 1",
                "Team: Maple Leafs | Cups: 13 | extra"
            ]
        );
    }

    #[test]
    fn numbers_are_no_names() {
        assert_eq!(lines("1,2,3\na,b,c\na,b,c,d"), ["1 | 2 | 3", "a | b | c", "a | b | c | d"]);
    }

    #[test]
    fn quotes_and_separators() {
        assert_eq!(
            lines("name;note\n\"Ann; B\";\"two\nlines, \"\"so\"\"\"\nBob;5\" nail\n"),
            ["name | note", "name: Ann; B | note: two lines, \"so\"", "name: Bob | note: 5\" nail",]
        );
        assert_eq!(lines("a\tb\n1\t2"), ["a | b", "a: 1 | b: 2"]);
        assert_eq!(lines("only\none\ncolumn"), ["only", "one", "column"]);
        assert_eq!(lines("a,b\n\"never closed,1\n2,3"), ["a | b", "a: never closed,1 2,3"]);
    }
}
