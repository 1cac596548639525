//! Which format a document has: by its bytes first, by its name second.

use operone_core::{Error, Result};

use super::encoding::is_marked;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pdf,
    /// A zip archive; which document it holds is found by its entries.
    Zip,
    Html,
    Markdown,
    /// Values between commas, or between whatever else is found.
    Csv,
    Text,
    Code,
}

/// The format of `bytes`, or why they cannot be read: code `unsupported_format` or `encrypted`.
pub(super) fn detect(name: &str, bytes: &[u8]) -> Result<Format> {
    let begin = bytes.get(..1024).unwrap_or(bytes);
    if begin.windows(5).any(|part| part == b"%PDF-") {
        return Ok(Format::Pdf);
    }
    if begin.starts_with(b"PK\x03\x04") || begin.starts_with(b"PK\x05\x06") {
        return Ok(Format::Zip);
    }
    if begin.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
        return Err(refuse_ole(bytes));
    }
    let extension = extension(name);
    if !is_marked(bytes) {
        if let Some(kind) = binary_kind(begin) {
            return Err(unsupported(kind));
        }
        if bytes.iter().take(8192).any(|byte| *byte == 0) {
            return Err(unsupported("a binary file"));
        }
    }
    if is_html(bytes) {
        return Ok(Format::Html);
    }
    if extension == "eml" || is_mail(begin) {
        return Err(unsupported("a mail message"));
    }
    Ok(match extension.as_str() {
        "html" | "htm" | "xhtml" => Format::Html,
        "md" | "markdown" | "mdx" | "mkd" => Format::Markdown,
        "csv" | "tsv" | "tab" => Format::Csv,
        _ if CODE.contains(&extension.as_str()) => Format::Code,
        _ => Format::Text,
    })
}

/// The error for a format that cannot be read.
pub(super) fn unsupported(kind: &str) -> Error {
    Error::invalid(format!("{kind} cannot be read; PDF, DOCX, HTML, Markdown, CSV and plain text can"))
        .with_code("unsupported_format")
}

const CODE: [&str; 44] = [
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "dart", "ex", "go", "h", "hpp", "hs", "ini", "java", "js",
    "json", "jsonl", "jsx", "kt", "lua", "m", "mjs", "ndjson", "php", "pl", "proto", "ps1", "py", "r", "rb",
    "rs", "scala", "sh", "sql", "svg", "swift", "tf", "toml", "ts", "tsx", "xml", "yaml", "yml",
];

fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

fn binary_kind(begin: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 10] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xFF\xD8\xFF", "a JPEG image"),
        (b"GIF8", "a GIF image"),
        (b"II*\0", "a TIFF image"),
        (b"MM\0*", "a TIFF image"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
        (b"\x7FELF", "a program"),
        (b"{\\rtf", "a rich text file"),
        (b"%!PS", "a PostScript file"),
    ];
    KINDS.iter().find(|(mark, _)| begin.starts_with(mark)).map(|(_, kind)| *kind)
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
    let begin = String::from_utf8_lossy(bytes.get(..2048).unwrap_or(bytes)).to_ascii_lowercase();
    let begin = begin.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let opens = |mark: &str| begin.contains(mark);
    begin.starts_with("<!doctype html")
        || begin.starts_with("<html")
        || (begin.starts_with("<?xml") || begin.starts_with("<!--"))
            && (opens("<html") || opens("<!doctype html"))
}

/// A message as mail programs save it begins with fields that nobody writes by hand.
fn is_mail(begin: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(begin).to_ascii_lowercase();
    let fields: Vec<&str> = begin
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let has = |name: &str| fields.contains(&name);
    has("from") && (has("mime-version") || has("message-id") || has("received"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_before_the_name() {
        assert_eq!(detect("a.txt", b"\n%PDF-1.7 ...").unwrap(), Format::Pdf);
        assert_eq!(detect("a.pdf", b"plain words").unwrap(), Format::Text);
        assert_eq!(detect("a.txt", b"<!DOCTYPE HTML><p>x").unwrap(), Format::Html);
        assert_eq!(detect("a.html", b"<p>x").unwrap(), Format::Html);
        assert_eq!(detect("a.xml", b"<?xml version='1.0'?><feed/>").unwrap(), Format::Code);
        assert_eq!(detect("README.MD", b"# x").unwrap(), Format::Markdown);
        assert_eq!(detect("a.tsv", b"a\tb").unwrap(), Format::Csv);
        assert_eq!(detect("main.rs", b"fn main() {}").unwrap(), Format::Code);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let code = |name: &str, bytes: &[u8]| detect(name, bytes).unwrap_err().code().to_owned();
        let mut ole = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
        assert_eq!(code("a.doc", &ole), "unsupported_format");
        ole.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(code("a.docx", &ole), "encrypted");
        assert_eq!(code("a.txt", b"\x89PNG\r\n\x1a\n"), "unsupported_format");
        assert_eq!(code("a.txt", b"abc\0def"), "unsupported_format");
        assert_eq!(code("a", b"Received: x\r\nFrom: a@b.c\r\n\r\nHello"), "unsupported_format");
    }

    #[test]
    fn a_note_that_begins_with_from_is_no_mail() {
        assert_eq!(detect("a.txt", b"From: Ann\nSubject: lunch\n\nAt noon?").unwrap(), Format::Text);
    }
}
