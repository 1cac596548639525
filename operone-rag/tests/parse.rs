//! The promises of the parser: within limits, with a code for whatever goes wrong.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

use std::time::Duration;

use operone_core::source::{BlockKind, Fetched, Parser};
use operone_rag::parse::{DocumentParser, ParseLimits, parse_bytes, parse_document};

fn code(name: &str, bytes: &[u8]) -> String {
    parse_bytes(name, bytes).unwrap_err().code().to_owned()
}

#[test]
fn a_text_without_text_is_empty() {
    assert_eq!(code("a.txt", b""), "empty");
    assert_eq!(code("a.txt", b" \r\n\t\xC2\xA0"), "empty");
    assert_eq!(code("a.md", b"<!-- nothing -->\n"), "empty");
    assert_eq!(code("a.csv", b",,\n,,\n"), "empty");
    #[cfg(feature = "html")]
    assert_eq!(code("a.html", b"<html><script>x()</script>"), "empty");
}

#[test]
fn a_document_beyond_the_limit_is_refused_unread() {
    let limits = ParseLimits::default().with_bytes(10);
    let error = parse_document(&Fetched::new("a.txt", vec![b'a'; 11]), &limits).unwrap_err();
    assert_eq!(error.code(), "too_large");
    assert!(parse_document(&Fetched::new("a.txt", vec![b'a'; 10]), &limits).is_ok());
}

#[test]
fn the_declared_character_set_counts_where_no_mark_stands() {
    let mut fetched = Fetched::new("a.txt", b"\xE4\xF6\xFC".to_vec());
    fetched.media_type = Some("text/plain; charset=\"iso-8859-5\"".into());
    let parsed = parse_document(&fetched, &ParseLimits::default()).unwrap();
    assert_eq!(parsed.text, "\u{444}\u{456}\u{45C}");
}

#[test]
fn source_code_is_text_in_blocks_of_code() {
    let parsed = parse_bytes("a.rs", b"fn a() {}\n\nfn b() {}\n").unwrap();
    assert_eq!(parsed.blocks.len(), 2);
    assert!(parsed.blocks.iter().all(|block| block.kind == BlockKind::Code));
    assert_eq!(parsed.media_type, "text/x-rust");
}

#[cfg(feature = "pdf")]
#[test]
fn only_a_password_that_is_needed_makes_a_pdf_encrypted() {
    let parsed = parse_bytes("a.pdf", include_bytes!("data/protected-against-changes.pdf")).unwrap();
    assert_eq!(parsed.text, "Protected against changes only.");
    assert_eq!(parsed.pages.len(), 1);
    assert_eq!(code("a.pdf", include_bytes!("data/needs-password.pdf")), "encrypted");
}

#[cfg(feature = "pdf")]
#[test]
fn a_damaged_pdf_is_corrupt_or_empty_but_never_a_panic() {
    let whole = include_bytes!("data/protected-against-changes.pdf");
    for length in [8, 100, 400, 700, 880] {
        let code = parse_bytes("a.pdf", &whole[..length]).err().map(|error| error.code().to_owned());
        assert!(
            matches!(code.as_deref(), None | Some("corrupt" | "empty" | "encrypted")),
            "{length}: {code:?}"
        );
    }
    assert_eq!(code("a.pdf", b"%PDF-1.4\nnothing else"), "corrupt");
}

#[tokio::test]
async fn a_document_that_takes_too_long_is_given_up_and_its_place_stays_taken() {
    let limits = ParseLimits::default().with_time(Duration::ZERO).with_parallel(1);
    let parser = DocumentParser::new(limits);
    let slow = Fetched::new("a.md", "# Heading\n\ntext `code` <b>bold</b>\n\n".repeat(100_000).into_bytes());
    let results = tokio::join!(parser.parse(slow.clone()), parser.parse(slow));
    for result in [results.0, results.1] {
        assert_eq!(result.unwrap_err().code(), "timeout");
    }
}

#[tokio::test]
async fn many_documents_are_parsed_by_few_threads() {
    let parser = DocumentParser::default();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..50 {
        let parser = parser.clone();
        tasks.spawn(async move {
            parser.parse(Fetched::new("a.txt", format!("text {index}").into_bytes())).await
        });
    }
    let parsed = tasks.join_all().await;
    assert!(parsed.into_iter().all(|parsed| parsed.is_ok()));
}
