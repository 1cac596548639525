//! Which format a document has: by its bytes, then by its text, and by its name only where both leave it open.

use operone_core::{Error, Result};

use super::code::{Language, language_of_content, language_of_ending};
use super::{csv, encoding, json, markdown};

/// A format as the bytes tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pdf,
    /// A zip archive; which document it holds is found by its entries.
    Zip,
    Html,
    Mail,
    Rtf,
    /// Some text; which one is found by [`kind_of_text`].
    Text,
}

/// What a text is.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Html,
    Markdown,
    /// Values between commas, or between whatever else is found.
    Csv,
    Json,
    JsonLines,
    Code(&'static Language),
    Plain,
}

/// The format of `bytes`, or why they cannot be read: code `unsupported_format` or `encrypted`.
pub(super) fn detect(name: &str, bytes: &[u8]) -> Result<Format> {
    let begin = bytes.get(..1024).unwrap_or(bytes);
    if begin.windows(5).any(|part| part == b"%PDF-") {
        return Ok(Format::Pdf);
    }
    if [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"].iter().any(|mark| begin.starts_with(*mark)) {
        return Ok(Format::Zip);
    }
    if begin.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
        return Err(refuse_ole(bytes));
    }
    if begin.starts_with(b"{\\rtf") {
        return Ok(Format::Rtf);
    }
    if !encoding::is_unicode(bytes) {
        if let Some(kind) = binary_kind(begin) {
            return Err(unsupported(kind));
        }
        if looks_binary(bytes) {
            return Err(unsupported("a binary file"));
        }
    }
    if is_html(bytes) {
        return Ok(Format::Html);
    }
    if is_mail(bytes.get(..16_384).unwrap_or(bytes), ending(name) == "eml") {
        return Ok(Format::Mail);
    }
    Ok(Format::Text)
}

/// What a text is, by its content; the ending of its name, or else its media type, decides where that says too little.
pub(super) fn kind_of_text(name: &str, media_type: Option<&str>, text: &str) -> Kind {
    if is_html(text.as_bytes()) {
        return Kind::Html;
    }
    let named = kind_of_name(name).or_else(|| media_type.and_then(kind_of_media_type));
    if json::is_json(text) {
        return if named == Some(Kind::JsonLines) && !text.trim().contains('\n') {
            Kind::JsonLines
        } else {
            Kind::Json
        };
    }
    if json::are_json_lines(text, if named == Some(Kind::JsonLines) { 1 } else { 2 }) {
        return Kind::JsonLines;
    }
    let marks = markdown::marks(text);
    let fits = match &named {
        Some(Kind::Html | Kind::Code(_)) => true,
        Some(Kind::Csv) => csv::separates(text, 1),
        Some(Kind::Markdown) => marks > 0,
        _ => false,
    };
    if let Some(named) = named.filter(|_| fits) {
        return named;
    }
    if csv::separates(text, 3) {
        return Kind::Csv;
    }
    if let Some(language) = language_of_content(text) {
        return Kind::Code(language);
    }
    if marks >= 3 {
        return Kind::Markdown;
    }
    match kind_of_name(name) {
        Some(named @ (Kind::Markdown | Kind::Csv)) => named,
        _ => Kind::Plain,
    }
}

/// The error for a format that cannot be read.
pub(super) fn unsupported(kind: &str) -> Error {
    Error::invalid(format!(
        "{kind} cannot be read; PDF, DOCX, PPTX, XLSX, ODT, ODS, ODP, EPUB, HTML, mail, RTF, Markdown, CSV, JSON, \
         source code and plain text can"
    ))
    .with_code("unsupported_format")
}

fn kind_of_name(name: &str) -> Option<Kind> {
    match ending(name).as_str() {
        "html" | "htm" | "xhtml" => Some(Kind::Html),
        "md" | "markdown" | "mdx" | "mkd" => Some(Kind::Markdown),
        "csv" | "tsv" | "tab" => Some(Kind::Csv),
        "jsonl" | "ndjson" => Some(Kind::JsonLines),
        ending => language_of_ending(ending).map(Kind::Code),
    }
}

fn kind_of_media_type(media_type: &str) -> Option<Kind> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        "text/markdown" | "text/x-markdown" => Some(Kind::Markdown),
        "text/csv" | "text/tab-separated-values" => Some(Kind::Csv),
        "application/x-ndjson" | "application/jsonl" => Some(Kind::JsonLines),
        _ => None,
    }
}

/// What follows the last point of a name, or the whole name of a file such as `Makefile`, in small letters.
fn ending(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

fn binary_kind(begin: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 20] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xFF\xD8\xFF", "a JPEG image"),
        (b"GIF8", "a GIF image"),
        (b"II*\0", "a TIFF image"),
        (b"MM\0*", "a TIFF image"),
        (b"RIFF", "a picture, a sound or a film"),
        (b"\0\0\0\x0CjP  ", "a JPEG image"),
        (b"ID3", "a sound"),
        (b"OggS", "a sound or a film"),
        (b"fLaC", "a sound"),
        (b"\x1A\x45\xDF\xA3", "a film"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"BZh", "a bzip2 archive"),
        (b"\xFD7zXZ\0", "an xz archive"),
        (b"\x28\xB5\x2F\xFD", "a zstd archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x7FELF", "a program"),
        (b"SQLite format 3\0", "a database"),
        (b"%!PS", "a PostScript file"),
    ];
    KINDS.iter().find(|(mark, _)| begin.starts_with(mark)).map(|(_, kind)| *kind)
}

/// Whether there are bytes among the first that no text has, in whichever encoding.
fn looks_binary(bytes: &[u8]) -> bool {
    let begin = bytes.get(..8192).unwrap_or(bytes);
    let is_control = |byte: &&u8| matches!(**byte, 1..=6 | 14..=26 | 28..=31 | 127);
    begin.contains(&0) || begin.iter().filter(is_control).count() * 50 > begin.len()
}

/// An OLE container holds an encrypted document of a new format or any document of an old one.
fn refuse_ole(bytes: &[u8]) -> Error {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    if bytes.windows(name.len()).any(|part| part == name) {
        Error::invalid("the document is encrypted and needs a password").with_code("encrypted")
    } else {
        unsupported("an Office document of the old binary format")
    }
}

fn is_html(bytes: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)).to_ascii_lowercase();
    let begin = begin.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let opens = |mark: &str| begin.contains(mark);
    if begin.starts_with("<!doctype html") || begin.starts_with("<html") {
        return true;
    }
    if begin.starts_with("<?xml") || begin.starts_with("<!--") {
        return opens("<html") || opens("<!doctype html");
    }
    // A part of a page, which is nothing but elements; Markdown may begin with one too.
    let is_element =
        ["<head", "<body", "<div", "<p>", "<p ", "<table", "<h1", "<ul", "<section", "<article", "<main"];
    let closed = ["</p>", "</div>", "</li>", "</td>", "</h1>", "</h2>", "</body>", "</head>"];
    let is_markdown = begin.lines().any(|line| {
        line.starts_with("# ") || line.starts_with("## ") || line.starts_with("```") || line.contains("](")
    });
    is_element.iter().any(|mark| begin.starts_with(mark))
        && closed.iter().any(|mark| opens(mark))
        && !is_markdown
}

/// A message as mail programs save it begins with fields that nobody writes by hand; where the name says that it is
/// one, fewer will do.
fn is_mail(begin: &[u8], is_named: bool) -> bool {
    let begin = String::from_utf8_lossy(begin).to_ascii_lowercase();
    let lines = begin.lines().skip_while(|line| line.starts_with("from "));
    let mut fields: Vec<&str> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        match line.split_once(':') {
            _ if line.starts_with([' ', '\t']) && !fields.is_empty() => {}
            Some((name, _))
                if !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                fields.push(name)
            }
            _ => return false,
        }
    }
    let has = |name: &str| fields.contains(&name);
    let is_message = has("mime-version") || has("message-id") || has("received") || has("return-path");
    (has("from") || has("subject")) && (is_message || is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(name: &str, text: &str) -> String {
        match kind_of_text(name, None, text) {
            Kind::Code(language) => language.media_type.to_owned(),
            kind => format!("{kind:?}"),
        }
    }

    #[test]
    fn bytes_come_before_the_name() {
        assert_eq!(detect("a.txt", b"\n%PDF-1.7 ...").unwrap(), Format::Pdf);
        assert_eq!(detect("a.pdf", b"plain words").unwrap(), Format::Text);
        assert_eq!(detect("a.txt", b"<!DOCTYPE HTML><p>x").unwrap(), Format::Html);
        assert_eq!(detect("a.txt", b"<div><p>x</p></div>").unwrap(), Format::Html);
        assert_eq!(detect("a.txt", b"{\\rtf1 x}").unwrap(), Format::Rtf);
        assert_eq!(detect("a.txt", b"Received: x\r\nFrom: a@b.c\r\n\r\nHello").unwrap(), Format::Mail);
        assert_eq!(detect("a.eml", b"Subject: x\r\nFrom: a@b.c\r\n\r\nHello").unwrap(), Format::Mail);
    }

    #[test]
    fn text_comes_before_the_name() {
        let table = "name,age,city\nAnn,3,Bonn\nBob,4,Rome\nCid,5,Oslo\n";
        let code = "use a;\n\nfn main() {\n    let x = 1;\n    println!(\"{x}\");\n}\n";
        let prose = "# Title\n\nSome text with a [link](x).\n\n- one\n- two\n\n```\ncode\n```\n";
        for name in ["a", "a.txt", "a.pdf", "a.md", "a.jsonl"] {
            assert_eq!(media(name, table), "Csv", "{name}");
            assert_eq!(
                media(name, "[1, {\"a\": 2}]"),
                if name == "a.jsonl" { "JsonLines" } else { "Json" },
                "{name}"
            );
            assert_eq!(media(name, "{\"a\": 1}\n{\"a\": 2}\n"), "JsonLines", "{name}");
        }
        for name in ["a", "a.txt", "a.pdf", "a.csv"] {
            assert_eq!(media(name, code), "text/x-rust", "{name}");
            assert_eq!(media(name, prose), "Markdown", "{name}");
            assert_eq!(
                media(name, "Dear Ann,\nhow are you?\nBob"),
                if name == "a.csv" { "Csv" } else { "Plain" },
                "{name}"
            );
        }
    }

    #[test]
    fn the_name_decides_what_the_text_leaves_open() {
        assert_eq!(media("README.MD", "# x"), "Markdown");
        assert_eq!(media("a.txt", "# x"), "Plain");
        assert_eq!(media("a.tsv", "a\tb"), "Csv");
        assert_eq!(media("main.rs", "x"), "text/x-rust");
        assert_eq!(media("dir.d/Makefile", "all:\n\techo"), "text/x-makefile");
        assert_eq!(media("a.xml", "<?xml version='1.0'?><feed/>"), "text/xml");
        assert_eq!(media("a.json", "{\"a\": 1, // comment\n}"), "text/x-json");
        assert_eq!(media("a.html", "<b>x"), "Html");
        assert_eq!(kind_of_text("a", Some("text/markdown; charset=utf-8"), "# x"), Kind::Markdown);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let code = |name: &str, bytes: &[u8]| detect(name, bytes).unwrap_err().code().to_owned();
        let mut ole = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
        assert_eq!(code("a.doc", &ole), "unsupported_format");
        ole.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(code("a.docx", &ole), "encrypted");
        assert_eq!(code("a.txt", b"\x89PNG\r\n\x1a\n"), "unsupported_format");
        assert_eq!(code("a.txt", b"abc\0\x01\x02\x03def"), "unsupported_format");
    }

    #[test]
    fn a_note_that_begins_with_from_is_no_mail() {
        assert_eq!(detect("a.txt", b"From: Ann\nSubject: lunch\n\nAt noon?").unwrap(), Format::Text);
        assert_eq!(detect("a.txt", b"To do: x\nFrom here on\n\nMessage-ID: no").unwrap(), Format::Text);
    }
}
