//! JSON: values as lines with their names, objects in objects under headings, arrays of records as rows.

mod value;

use operone_core::Result;
use operone_core::source::{BlockKind, Parsed};

use super::ParseLimits;
use super::assemble::{Assembly, clean, one_line};
use super::table::{Row, Table};
use value::{Value, parse_value};

/// The deepest nesting that gives headings; what lies deeper is named by its path.
const HEADINGS: usize = 3;

/// Records whose values are longer than this, in bytes, or have several lines are no rows of a table.
const LONG: usize = 300;

/// The longest name of a member, in characters, and the longest path, in bytes; they are repeated with each value.
const MAX_NAME: usize = 100;
const MAX_PATH: usize = 300;

/// Reads one value.
pub(super) fn parse(text: &str, limits: &ParseLimits) -> Result<Parsed> {
    let value = parse_value(text, limits.cells)?;
    let mut assembly = Assembly::new("application/json", limits);
    assembly.set_title(value.member("title").and_then(Value::text));
    write(&mut assembly, &value, "", 0);
    assembly.finish()
}

/// Reads one record on each line. A line that is no value is kept as it is.
pub(super) fn parse_lines(text: &str, limits: &ParseLimits) -> Result<Parsed> {
    let mut assembly = Assembly::new("application/x-ndjson", limits);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match parse_value(line, limits.cells) {
            Ok(value) => write_record(&mut assembly, &value),
            Err(error) if error.code() == "too_large" => return Err(error),
            Err(_) => assembly.push(BlockKind::Code, &clean(line)),
        }
        if assembly.is_full() {
            break;
        }
    }
    assembly.finish()
}

/// Whether a text is one value of JSON that is worth being read as such, and not a word or a number.
pub(super) fn is_json(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim();
    let closes = text.starts_with('{') && text.ends_with('}') || text.starts_with('[') && text.ends_with(']');
    // What nests too deep is JSON too, and refused as such.
    closes && (serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() || nests_too_deep(text))
}

/// Whether a text has one value of JSON on each of its first lines.
pub(super) fn are_json_lines(text: &str, least: usize) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(5).collect();
    lines.len() >= least && lines.iter().all(|line| is_json(line))
}

/// Whether brackets are open deeper than is read.
pub(super) fn nests_too_deep(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > value::MAX_DEPTH {
            return true;
        }
    }
    false
}

fn write(assembly: &mut Assembly, value: &Value, path: &str, depth: usize) {
    match value {
        Value::Object(members) => {
            let is_nested = |value: &Value| depth < HEADINGS && value.is_nested();
            let plain = members
                .iter()
                .filter(|(_, value)| !is_nested(value))
                .map(|(name, value)| (name.as_str(), value));
            let plain = lines(plain, assembly.room());
            assembly.push(BlockKind::Paragraph, &plain.join("\n"));
            for (name, value) in members.iter().filter(|(_, value)| is_nested(value)) {
                let path = join(path, name);
                // Below the title, so that a member's name is not taken for it.
                assembly.push_heading(u8::try_from(depth + 2).unwrap_or(u8::MAX), &path);
                write(assembly, value, &path, depth + 1);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_container) => {
            if items.iter().any(|item| item.is_long() || matches!(item, Value::Array(_))) {
                items.iter().for_each(|item| write_record(assembly, item));
            } else {
                write_rows(assembly, items);
            }
        }
        value => {
            let lines = lines([("", value)], assembly.room());
            assembly.push(BlockKind::Paragraph, &lines.join("\n"));
        }
    }
}

/// A record as a part of its own.
fn write_record(assembly: &mut Assembly, value: &Value) {
    let lines = lines([("", value)], assembly.room());
    let text = if value.is_long() { lines.join("\n") } else { lines.join(" | ") };
    assembly.push(BlockKind::Table, &text);
}

/// Records as the rows of one table, each value with its path.
fn write_rows(assembly: &mut Assembly, items: &[Value]) {
    let room = assembly.room();
    let mut table = Table::without_names();
    for item in items {
        let row: Row = lines([("", item)], room).into_iter().enumerate().collect();
        if !table.row(assembly, row) {
            break;
        }
    }
    table.finish(assembly);
}

/// The values of members, each with its path, until they are more than `room` bytes.
fn lines<'a>(members: impl IntoIterator<Item = (&'a str, &'a Value)>, room: usize) -> Vec<String> {
    let mut lines = Lines { lines: Vec::new(), room };
    for (name, value) in members {
        lines.collect(&join("", name), value);
    }
    lines.lines
}

fn join(path: &str, name: &str) -> String {
    let name: String = one_line(&clean(name)).chars().take(MAX_NAME).collect();
    match path {
        "" => name,
        path if path.len() + name.len() > MAX_PATH => path.to_owned(),
        path => format!("{path}.{name}"),
    }
}

struct Lines {
    lines: Vec<String>,
    room: usize,
}

impl Lines {
    fn collect(&mut self, path: &str, value: &Value) {
        match value {
            _ if self.room == 0 => {}
            Value::Null => {}
            Value::Text(text) => self.push(path, clean(text).trim()),
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.collect(&join(path, name), value));
            }
            Value::Array(items) if items.iter().any(Value::is_container) => {
                items.iter().for_each(|item| self.collect(path, item));
            }
            Value::Array(items) => {
                let items = items.iter().filter_map(Value::text).map(|text| one_line(&clean(text)));
                self.push(path, &items.collect::<Vec<_>>().join(", "));
            }
        }
    }

    fn push(&mut self, path: &str, text: &str) {
        let line = match path {
            _ if text.is_empty() => return,
            "" => text.to_owned(),
            path => format!("{path}: {text}"),
        };
        self.room = self.room.saturating_sub(line.len());
        self.lines.push(line);
    }
}

impl Value {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    fn is_container(&self) -> bool {
        matches!(self, Self::Object(_) | Self::Array(_))
    }

    /// Whether it holds more than one line tells well.
    fn is_nested(&self) -> bool {
        match self {
            Self::Object(members) => {
                members.len() > 3 || members.iter().any(|(_, value)| value.is_container())
            }
            Self::Array(items) => items.iter().any(Self::is_container),
            _ => false,
        }
    }

    fn is_long(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Text(text) => text.len() > LONG || text.trim().contains('\n'),
            Self::Array(items) => items.iter().any(Self::is_long),
            Self::Object(members) => members.iter().any(|(_, value)| value.is_long()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text, &ParseLimits::default()).unwrap()
    }

    #[test]
    fn objects_are_lines_and_headings() {
        let parsed = read(
            r#"{"title": "Plan", "n": 1.50, "tags": ["a", "b"], "ok": true, "none": null, "place": {"city": "Köln", "zip": "5"},
               "build": {"a": 1, "b": 2, "c": 3, "d": {"e": {"f": {"g": 4}}}}}"#,
        );
        assert_eq!(
            parsed.text,
            "title: Plan\nn: 1.5\ntags: a, b\nok: true\nplace.city: Köln\nplace.zip: 5\n\nbuild\n\na: 1\nb: 2\nc: 3\n\nbuild.d\n\n\
             build.d.e\n\nf.g: 4"
        );
        assert_eq!(parsed.title.as_deref(), Some("Plan"));
        let levels: Vec<(u8, &str)> =
            parsed.headings.iter().map(|one| (one.level, one.title.as_str())).collect();
        assert_eq!(levels, [(2, "build"), (3, "build.d"), (4, "build.d.e")]);
    }

    #[test]
    fn records_are_rows() {
        let parsed = read(r#"[{"name": "Ann", "home": {"city": "Bonn"}}, {"name": "Bob", "age": 3}, 7]"#);
        assert_eq!(parsed.text, "name: Ann | home.city: Bonn\nname: Bob | age: 3\n7");
        assert_eq!(parsed.blocks.len(), 1);
        let parsed = read(r#"{"notes": [{"id": 1, "text": "one\ntwo"}, {"id": 2, "text": "three"}]}"#);
        assert_eq!(parsed.text, "notes\n\nid: 1\ntext: one\ntwo\n\nid: 2 | text: three");
    }

    #[test]
    fn lines_are_records_of_their_own() {
        let parsed =
            parse_lines("{\"a\": 1}\n\nnot json\n{\"a\": 2, \"b\": \"x\"}\n", &ParseLimits::default())
                .unwrap();
        assert_eq!(parsed.text, "a: 1\n\nnot json\n\na: 2 | b: x");
        assert_eq!(parsed.blocks.len(), 3);
    }

    #[test]
    fn json_is_found_and_bombs_are_refused() {
        assert!(is_json(" {\"a\": [1]} ") && is_json("[]") && !is_json("{a}") && !is_json("[1] and [2]"));
        assert!(are_json_lines("{}\n[1]\n", 2) && !are_json_lines("{}\nx\n", 2));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(is_json(&deep));
        assert_eq!(parse(&deep, &ParseLimits::default()).unwrap_err().code(), "too_large");
        let many = format!("[{}0]", "0,".repeat(1000));
        assert_eq!(parse(&many, &ParseLimits::default().with_cells(100)).unwrap_err().code(), "too_large");
    }
}
