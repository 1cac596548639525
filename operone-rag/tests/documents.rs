//! Every file of the data folder is read, or refused with the code that fits it.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

use std::path::PathBuf;
use std::time::Instant;

use operone_core::embed::Tokenizer;
use operone_core::in_process::WordTokenizer;
use operone_core::source::{BlockKind, Parsed};
use operone_rag::chunk::{ChunkOptions, chunks};
use operone_rag::parse::parse_bytes;

/// What is expected of each file: a code, or words that its text must hold.
const EXPECTED: [(&str, Result<&[&str], &str>); 40] = [
    ("angles.pdf", Ok(&[])),
    ("backus-p21.pdf", Ok(&["functional forms", "metacomposition"])),
    ("code-and-formula.pdf", Ok(&["function"])),
    ("corrupt-page.pdf", Ok(&["the"])),
    ("csv-ragged.csv", Ok(&["a | b | c | d | e"])),
    ("docling-rtx.md", Ok(&["docling", "pip install"])),
    ("docx-encrypted.docx", Err("encrypted")),
    ("docx-hdrftr.docx", Ok(&["First header para", "para2", "Table cell1 | Table cell2"])),
    ("docx-tables.docx", Ok(&[" | "])),
    ("encrypted-password.pdf", Err("encrypted")),
    ("equations.docx", Ok(&["A=πr^2", "Pythagorean theorem"])),
    ("extra-spaces.pdf", Ok(&[])),
    ("google-doc.pdf", Ok(&["Beautiful is better than ugly", "Vienna"])),
    ("half-year.xlsx", Ok(&["Zone NA | Sales (a): 12553", "OS-Rev.and results 30 06 2023"])),
    ("handbook-1p.docx", Ok(&["copyright"])),
    ("hebrew-iso8859-8.txt", Ok(&["8uPr5e8"])),
    ("html-10k.html", Ok(&["Galaxy Gaming, Inc.", "6480 Cameron Street"])),
    ("html-cp1252.html", Ok(&["köstlich", "15,50 €", "My First Heading"])),
    ("html-ideas.html", Ok(&["The way to get new ideas is to notice anomalies"])),
    ("html-scripts.html", Ok(&["Belarusian forces remain unlikely to attack"])),
    ("mail.eml", Ok(&["Roses are red", "From: Matthew Robinson"])),
    ("multi-column.pdf", Ok(&["efficient passage retrieval"])),
    ("multi-page.pdf", Ok(&["word processor"])),
    ("optional-hyphen.pdf", Ok(&["optionalhyphen"])),
    ("paper-layoutparser-table.pdf", Ok(&["Layout"])),
    ("paper-layoutparser.pdf", Ok(&["classification"])),
    ("powerpoint-sample.pptx", Ok(&["Second slide title", "Notes: Some notes", "A merged with B"])),
    ("pptx-table.pptx", Ok(&["Column 1 | Column 2", "Tangerine | Pink | Aqua"])),
    ("rtl.pdf", Ok(&["الإنتاجية", "Python من"])),
    ("scanned-flat.pdf", Err("empty")),
    ("scanned-with-ocr-layer.pdf", Ok(&[])),
    ("stanley-cups.csv", Ok(&["Team: Maple Leafs | Location: TOR | Stanley Cups: 13"])),
    (
        "stanley-cups.xlsx",
        Ok(&["Team: Maple Leafs | Location: TOR | Stanley Cups: 13", "Stanley Cups Since 67"]),
    ),
    ("table-multirow.pdf", Err("empty")),
    ("table-numbers.pdf", Ok(&[])),
    ("tika-epub.epub", Ok(&["This is the text for chapter One", "Subchapter 2.1"])),
    ("udhr-all.txt", Ok(&["是人都生而自由", "All human beings are born free"])),
    ("unstructured-readme.md", Ok(&["unstructured", "docker"])),
    ("utf32.txt", Ok(&["This is a test document to use for unit tests."])),
    ("v4.pdf", Err("empty")),
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/docs"))
}

fn check_offsets(name: &str, parsed: &Parsed) {
    let mut end = 0;
    for block in &parsed.blocks {
        assert!(
            end <= block.start && block.start < block.end,
            "{name}: blocks are in order and do not overlap"
        );
        assert!(!parsed.text[block.start..block.end].trim().is_empty(), "{name}: a block is not blank");
        end = block.end;
    }
    assert!(end <= parsed.text.len());
    let outside: usize = parsed
        .blocks
        .iter()
        .scan(0, |at, block| {
            let gap = parsed.text[*at..block.start].trim().len();
            *at = block.end;
            Some(gap)
        })
        .sum();
    assert_eq!(outside, 0, "{name}: all text is in blocks");
    for heading in &parsed.headings {
        assert!(parsed.text.is_char_boundary(heading.start), "{name}");
        assert!(
            parsed
                .blocks
                .iter()
                .any(|block| block.start == heading.start && block.kind == BlockKind::Heading),
            "{name}: a heading is a block"
        );
    }
    assert!(
        parsed.pages.windows(2).all(|pair| pair[0].start < pair[1].start && pair[0].page < pair[1].page),
        "{name}"
    );
}

mod with_data {
    use super::*;

    #[test]
    #[ignore = "needs the data folder"]
    fn chunks_of_every_file_cover_it_and_know_their_pages() {
        for (name, _) in EXPECTED {
            let Ok(parsed) = parse_bytes(name, &std::fs::read(folder().join(name)).unwrap()) else {
                continue;
            };
            let tokens = WordTokenizer.spans(&parsed.text);
            for (size, overlap) in [(240, 40), (512, 50), (20, 19)] {
                let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(size, overlap).unwrap());
                let mut covered = 0;
                for span in &spans {
                    let gap = &parsed.text[covered.min(span.range.start)..span.range.start];
                    assert!(gap.trim().is_empty(), "{name}: {gap:?} is in no chunk");
                    let first = tokens.partition_point(|token| token.start < span.range.start);
                    let end = tokens.partition_point(|token| token.end <= span.range.end);
                    assert!(end - first <= size, "{name}");
                    let page = parsed.pages.iter().rev().find(|page| page.start <= span.range.start);
                    assert_eq!(span.page, page.map(|page| page.page), "{name}");
                    covered = span.range.end;
                }
                assert!(parsed.text[covered..].trim().is_empty(), "{name}");
            }
        }
    }

    #[test]
    #[ignore = "needs the data folder"]
    fn every_file_is_read_or_refused_as_it_should_be() {
        println!(
            "{:30} {:>8} {:>8} {:>5} {:>5} {:>5} {:>8}  outcome",
            "file", "bytes", "text", "pages", "heads", "parts", "ms"
        );
        let mut problems = Vec::new();
        for (name, expected) in EXPECTED {
            let bytes = std::fs::read(folder().join(name)).unwrap();
            let start = Instant::now();
            let result = parse_bytes(name, &bytes);
            let ms = start.elapsed().as_millis();
            match &result {
                Ok(parsed) => println!(
                    "{name:30} {:>8} {:>8} {:>5} {:>5} {:>5} {ms:>8}  {} {:?} {:?}",
                    bytes.len(),
                    parsed.text.len(),
                    parsed.pages.len(),
                    parsed.headings.len(),
                    parsed.blocks.len(),
                    parsed.media_type.rsplit('/').next().unwrap_or_default(),
                    parsed.title.as_deref().unwrap_or_default(),
                    parsed.date.map(|date| date.to_string()).unwrap_or_default(),
                ),
                Err(error) => {
                    println!("{name:30} {:>8} {:>33} {ms:>8}  {}: {error}", bytes.len(), "", error.code())
                }
            }
            match (result, expected) {
                (Ok(parsed), Ok(words)) => {
                    check_offsets(name, &parsed);
                    let text = parsed.text.to_lowercase();
                    for word in words {
                        if !text.contains(&word.to_lowercase()) {
                            problems.push(format!("{name}: {word:?} is missing"));
                        }
                    }
                    let wrong: &[&str] = match parsed.media_type.as_str() {
                        "text/html" => &["<script", "function(", "\u{0}", "\u{ad}"],
                        "application/pdf" => &["\u{fb01}", "\u{fb02}", "\u{0}", "\u{ad}"],
                        _ => &["\u{0}", "\u{ad}"],
                    };
                    for wrong in wrong {
                        if text.contains(wrong) {
                            problems.push(format!("{name}: {wrong:?} is left"));
                        }
                    }
                }
                (Err(error), Err(code)) if error.code() == code => {}
                (result, expected) => {
                    problems.push(format!("{name}: {result:?}, but {expected:?} was expected"))
                }
            }
        }
        assert!(problems.is_empty(), "{problems:#?}");
        let files = std::fs::read_dir(folder()).unwrap().count();
        assert_eq!(files, EXPECTED.len(), "each file is looked at");
    }
}
