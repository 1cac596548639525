//! What a document is called does not matter: the bytes tell what it is. And each way of being unreadable has its code.

use operone_core::source::Fetched;
use operone_rag::parse::{ParseLimits, parse_bytes, parse_document};

fn code(name: &str, bytes: &[u8]) -> String {
    parse_bytes(name, bytes).unwrap_err().code().to_owned()
}

#[test]
fn text_in_any_encoding_is_found_to_be_what_it_is() {
    let table = "Name\tOrt\tJahr\nJörg\tKöln\t1999\nÄnne\tMünchen\t2001\n";
    let wide: Vec<u8> = table.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [[&[0xFF, 0xFE][..], &wide].concat(), wide] {
        let parsed = parse_bytes("export.txt", &bytes).unwrap();
        assert_eq!(parsed.media_type, "text/tab-separated-values");
        assert_eq!(
            parsed.text,
            "Name | Ort | Jahr\nName: Jörg | Ort: Köln | Jahr: 1999\nName: Änne | Ort: München | Jahr: 2001"
        );
    }
    let json: Vec<u8> = "{\"größe\": 7}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(parse_bytes("a.bin", &json).unwrap().text, "größe: 7");
}

#[test]
fn source_code_has_its_language_and_its_functions_whole() {
    let code = "import os\n\n\ndef one(x):\n    y = x\n\n    return y\n\n\ndef two():\n    return None\n";
    for name in ["a.py", "a.txt", "a"] {
        let parsed = parse_bytes(name, code.as_bytes()).unwrap();
        assert_eq!(parsed.media_type, "text/x-python", "{name}");
        assert_eq!(parsed.blocks.len(), 3);
        assert_eq!(parsed.text, code);
    }
}

#[test]
fn a_declared_media_type_decides_what_the_text_leaves_open() {
    let mut document = Fetched::new("readme", b"# Title\n\ntext".to_vec());
    assert_eq!(parse_document(&document, &ParseLimits::default()).unwrap().media_type, "text/plain");
    document.media_type = Some("text/markdown; charset=utf-8".into());
    assert_eq!(parse_document(&document, &ParseLimits::default()).unwrap().media_type, "text/markdown");
}

#[test]
fn each_way_of_being_unreadable_has_its_code() {
    for (name, bytes, expected) in [
        ("a.txt", &b""[..], "empty"),
        ("a.json", b"{}", "empty"),
        ("a.eml", b"From: \r\nMIME-Version: 1.0\r\n\r\n", "empty"),
        ("a.rtf", b"{\\rtf1 {\\fonttbl x}}", "empty"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", "unsupported_format"),
        ("a.doc", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0", "unsupported_format"),
        ("a.gz", b"\x1F\x8B\x08\0", "unsupported_format"),
        ("a.bin", b"\0\x01\x02\x03\x04\x05\xFF\xFE\xFD\0\0\0", "unsupported_format"),
    ] {
        assert_eq!(code(name, bytes), expected, "{name}");
    }
}

#[cfg(feature = "office")]
#[test]
fn archives_are_told_apart_by_their_entries() {
    use crate::archive::pack;

    let word = b"<w:document><w:p><w:r><w:t>words</w:t></w:r></w:p></w:document>";
    let types = "<Types><Override PartName='/x/main.xml' ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>";
    let elsewhere = pack(&[("[Content_Types].xml", types.as_bytes()), ("x/main.xml", word)]);
    for name in ["a.docx", "a.xlsx", "a.pdf", "a"] {
        assert_eq!(parse_bytes(name, &pack(&[("word/document.xml", word)])).unwrap().text, "words", "{name}");
        assert_eq!(parse_bytes(name, &elsewhere).unwrap().text, "words", "{name}");
    }
    assert_eq!(code("a.docx", &pack(&[("readme.txt", b"words")])), "unsupported_format");
    assert_eq!(code("a.docx", &pack(&[("word/document.xml", b"<w:document><w:p>")])), "corrupt");
    assert_eq!(
        code("a.docx", &pack(&[("[Content_Types].xml", b"<Types/>"), ("word/styles.xml", b"<a/>")])),
        "corrupt"
    );
    assert_eq!(code("a.xlsx", &pack(&[("xl/workbook.xml", b"<workbook/>")])), "empty");
    let whole = pack(&[("word/document.xml", word)]);
    assert_eq!(code("a.docx", &whole[..whole.len() / 2]), "corrupt");
    // The mark of an entry that is encrypted.
    let mut locked = pack(&[("word/document.xml", word)]);
    for mark in [&b"PK\x03\x04"[..], b"PK\x01\x02"] {
        let at = locked.windows(4).position(|part| part == mark).unwrap();
        locked[at + if mark[2] == 3 { 6 } else { 8 }] |= 1;
    }
    assert_eq!(code("a.docx", &locked), "encrypted");
}

mod with_data {
    use std::path::PathBuf;

    use super::*;

    #[test]
    #[ignore = "needs the data folder"]
    fn every_file_is_read_the_same_under_any_name() {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/docs"));
        let mut problems = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let outcome = |name: &str| {
                parse_bytes(name, &bytes)
                    .map(|parsed| (parsed.media_type, parsed.text))
                    .map_err(|error| error.code().to_owned())
            };
            let right = outcome(name);
            for wrong in ["document", "document.txt", "document.pdf", "document.docx", "document.bin"] {
                if outcome(wrong) != right {
                    let kind = |outcome: Result<(String, String), String>| outcome.map(|(kind, _)| kind);
                    problems.push(format!(
                        "{name} as {wrong}: {:?} instead of {:?}",
                        kind(outcome(wrong)),
                        kind(right.clone())
                    ));
                }
            }
        }
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
