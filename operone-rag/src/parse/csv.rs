//! Values between commas, semicolons, tabs or bars: one line for each record, each value with its column's name.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use operone_core::source::{BlockKind, Parsed};

use super::assemble::{Assembly, clean};

/// How many records are looked at to find the separator and the names of the columns.
const SAMPLE: usize = 20;

/// The most values of a record; what follows is one value more.
const MAX_VALUES: usize = 10_000;

/// Reads a table. No record is lost, however many values it has: what stands above the names of the columns is kept
/// as it is, and so is a value beyond the last name. Empty values are left out.
pub(super) fn parse(media_type: &str, text: &str) -> Parsed {
    let text = clean(text);
    let separator = separator(&text);
    let sample: Vec<Vec<String>> = Records::new(&text, separator).take(SAMPLE).collect();
    let names = names(&sample);
    let mut lines = String::new();
    for (index, record) in Records::new(&text, separator).enumerate() {
        let named = names.filter(|names| index > *names).and_then(|names| sample.get(names));
        let line = line(&record, named.map(Vec::as_slice).unwrap_or_default());
        if !line.is_empty() {
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    let mut assembly = Assembly::new(media_type);
    assembly.push(BlockKind::Table, &lines);
    assembly.finish()
}

fn line(record: &[String], names: &[String]) -> String {
    let values = record.iter().enumerate().filter_map(|(column, value)| {
        let value = one_line(value);
        match names.get(column).map(|name| one_line(name)) {
            _ if value.is_empty() => None,
            Some(name) if !name.is_empty() => Some(format!("{name}: {value}")),
            _ => Some(value),
        }
    });
    values.collect::<Vec<_>>().join(" | ")
}

fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
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

/// The record that names the columns: the first with as many values as most have, all of them different words. There
/// is none where the values below look no different, so that a table of nothing but numbers or words has no names.
fn names(sample: &[Vec<String>]) -> Option<usize> {
    let width = sample.iter().map(|record| filled(record)).max().filter(|width| *width > 1)?;
    let index = sample.iter().position(|record| filled(record) == width && record.len() == width)?;
    let names = sample.get(index)?;
    let words = names.iter().all(|name| name.trim().parse::<f64>().is_err());
    let different =
        names.iter().enumerate().all(|(at, name)| !names.iter().take(at).any(|other| other == name));
    (words && different && index + 1 < sample.len()).then_some(index)
}

fn filled(record: &[String]) -> usize {
    record.iter().filter(|value| !value.trim().is_empty()).count()
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
        parse("text/csv", text).text.lines().map(str::to_owned).collect()
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
