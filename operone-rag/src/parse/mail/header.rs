//! Parts of a message: their fields, their parameters, and the parts in them.

use percent_encoding::percent_decode_str;

use super::super::encoding::decode;
use super::transfer::encoded_words;

/// The longest head of a part, in bytes; what follows is content.
const MAX_HEAD: usize = 256 << 10;

/// A message or a part of one.
#[derive(Debug)]
pub(super) struct Part<'a> {
    head: Vec<(String, String)>,
    pub(super) body: &'a [u8],
}

/// A value with parameters, such as a content type.
#[derive(Debug, Default)]
pub(super) struct Value {
    /// What stands before the parameters, in small letters.
    pub(super) essence: String,
    parameters: Vec<(String, String)>,
}

impl Value {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<'a> Part<'a> {
    /// Reads the fields up to the first blank line.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut head: Vec<(String, String)> = Vec::new();
        let mut at = 0;
        for line in bytes.get(..MAX_HEAD).unwrap_or(bytes).split_inclusive(|byte| *byte == b'\n') {
            at += line.len();
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            let text = decode(line, None);
            match (text.starts_with([' ', '\t']), head.last_mut()) {
                (true, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(text.trim());
                }
                _ => head.extend(
                    text.split_once(':')
                        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())),
                ),
            }
        }
        Self { head, body: bytes.get(at..).unwrap_or_default() }
    }

    /// A field's value with its encoded words decoded.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.raw(name).map(encoded_words)
    }

    /// The content type, `text/plain` where none is given.
    pub(super) fn content_type(&self) -> Value {
        let mut value = self.raw("content-type").map(value).unwrap_or_default();
        if !value.essence.contains('/') {
            value.essence = "text/plain".into();
        }
        value
    }

    /// Whether and under which name it is attached.
    pub(super) fn disposition(&self) -> Value {
        self.raw("content-disposition").map(value).unwrap_or_default()
    }

    /// The parts in it; none without a boundary.
    pub(super) fn children(&self) -> Vec<Part<'a>> {
        let kind = self.content_type();
        let Some(boundary) = kind.get("boundary").filter(|boundary| !boundary.is_empty()) else {
            return Vec::new();
        };
        let delimiter = format!("--{boundary}");
        let mut children = Vec::new();
        let mut begin = None;
        let mut at = 0;
        for line in self.body.split_inclusive(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(delimiter.as_bytes()) {
                let rest = rest.trim_ascii_end();
                if rest.is_empty() || rest == b"--" {
                    children.extend(begin.and_then(|begin| self.body.get(begin..at)).map(content));
                    begin = rest.is_empty().then_some(at + line.len());
                    if rest == b"--" {
                        return children;
                    }
                }
            }
            at += line.len();
        }
        // A message that was cut off.
        children.extend(begin.and_then(|begin| self.body.get(begin..)).map(content));
        children
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A part without the line break that belongs to the delimiter after it.
fn content(bytes: &[u8]) -> Part<'_> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Part::read(bytes.strip_suffix(b"\r").unwrap_or(bytes))
}

/// Reads a value with its parameters, those in several pieces or with a character set of their own included.
fn value(text: &str) -> Value {
    let mut pieces = pieces(text).into_iter();
    let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut extended: Vec<(String, usize, bool, String)> = Vec::new();
    for piece in pieces {
        let Some((name, value)) = piece.split_once('=') else { continue };
        let name = name.trim().to_ascii_lowercase();
        let value = unquoted(value.trim());
        match name.split_once('*') {
            None => parameters.push((name, encoded_words(&value))),
            Some((name, rest)) => {
                let is_encoded = rest.is_empty() || rest.ends_with('*');
                let index = rest.trim_end_matches('*').parse().unwrap_or(0);
                extended.push((name.to_owned(), index, is_encoded, value));
            }
        }
    }
    extended.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    for of_one in extended.chunk_by(|one, other| one.0 == other.0) {
        let mut bytes = Vec::new();
        let mut charset = None;
        for (at, (_, _, is_encoded, value)) in of_one.iter().enumerate() {
            let mut value = value.as_str();
            if at == 0
                && *is_encoded
                && let Some((declared, rest)) = value.split_once('\'')
            {
                charset = Some(declared.to_owned());
                value = rest.split_once('\'').map_or(rest, |(_, rest)| rest);
            }
            if *is_encoded { bytes.extend(percent_decode_str(value)) } else { bytes.extend(value.bytes()) }
        }
        if let Some((name, ..)) = of_one.first() {
            // Before the plain form, which is for older programs.
            parameters.insert(0, (name.clone(), decode(&bytes, charset.as_deref())));
        }
    }
    Value { essence, parameters }
}

/// The text between semicolons that are not quoted.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                pieces.extend(text.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.extend(text.get(begin..));
    pieces
}

fn unquoted(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"') else { return value.to_owned() };
    let inside = inside.strip_suffix('"').unwrap_or(inside);
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}
