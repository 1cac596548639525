//! The promises of chunking, on texts made by a small generator.
#![allow(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken promise fails the test"
)]

use operone_core::embed::Tokenizer;
use operone_core::in_process::WordTokenizer;
use operone_core::source::{Block, BlockKind, Heading, PageStart, Parsed};
use operone_rag::chunk::{ChunkOptions, Span, chunks};
use operone_rag::parse::parse_bytes;

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const PARTS: [&str; 20] = [
    "word",
    "two words",
    "Größe",
    "人人生而自由",
    "🙂",
    "a_very_long_identifier_without_spaces",
    ". ",
    "! ",
    ", ",
    " ",
    " ",
    "\n",
    "\n\n",
    "\n# Heading\n",
    "\n```\ncode();\n\nmore();\n```\n",
    "\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    "e\u{301}",
    "\t",
    "3.5%",
    "\u{a0}",
];

fn random_document(random: &mut Random) -> Parsed {
    let parts = 1 + random.below(300);
    let text: String = (0..parts).map(|_| random.pick(&PARTS)).collect();
    // The generator may make nothing but white space, which no parser accepts.
    parse_bytes("a.md", format!("begin {text}").as_bytes()).unwrap()
}

/// Any characters whatever, of all planes, with a white space now and then.
fn random_characters(random: &mut Random) -> Parsed {
    let count = 1 + random.below(400);
    let character = |random: &mut Random| match random.below(8) {
        0 => ' ',
        1 => '\n',
        2 => char::from_u32(random.below(0x250) as u32).unwrap(),
        _ => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{301}'),
    };
    let text: String = (0..count).map(|_| character(random)).collect();
    Parsed::new("text/plain", text)
}

fn texts<'a>(parsed: &'a Parsed, spans: &[Span]) -> Vec<&'a str> {
    spans.iter().map(|span| &parsed.text[span.range.clone()]).collect()
}

fn cut(text: &str, size: usize, overlap: usize) -> Vec<String> {
    let parsed = Parsed::new("text/plain", text);
    let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(size, overlap).unwrap());
    texts(&parsed, &spans).into_iter().map(str::to_owned).collect()
}

/// The tokens of the text that lie in a span: first, and the one after the last.
fn tokens_in(tokens: &[std::ops::Range<usize>], span: &Span) -> (usize, usize) {
    (
        tokens.partition_point(|token| token.end <= span.range.start),
        tokens.partition_point(|token| token.start < span.range.end),
    )
}

#[test]
fn every_promise_holds_for_random_documents() {
    let mut random = Random(42);
    for round in 0..800 {
        let parsed =
            if round % 2 == 0 { random_document(&mut random) } else { random_characters(&mut random) };
        let size = 1 + random.below(40);
        let options = ChunkOptions::new(size, random.below(size)).unwrap();
        let spans = chunks(&parsed, &WordTokenizer, &options);
        let tokens = WordTokenizer.spans(&parsed.text);
        let mut covered = 0;
        let mut rebuilt = String::new();
        for (index, span) in spans.iter().enumerate() {
            let text = &parsed.text[span.range.clone()];
            assert_eq!(text.trim(), text, "round {round}: a span has no white space at its ends");
            assert!(!text.is_empty());
            let (first, end) = tokens_in(&tokens, span);
            assert!(end - first <= size, "round {round}: {} tokens in a chunk of {size}", end - first);
            if index > 0 {
                let (_, previous_end) = tokens_in(&tokens, &spans[index - 1]);
                assert_eq!(first + options.overlap(), previous_end, "round {round}: the overlap is exact");
            }
            let gap = &parsed.text[covered.min(span.range.start)..span.range.start];
            assert!(gap.trim().is_empty(), "round {round}: {gap:?} is in no chunk");
            rebuilt.push_str(&parsed.text[covered.max(span.range.start)..span.range.end]);
            covered = span.range.end;
        }
        assert!(parsed.text[covered..].trim().is_empty());
        let dense = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(
            dense(&rebuilt),
            dense(&parsed.text),
            "round {round}: without overlaps the text comes back"
        );
    }
}

#[test]
fn bytes_that_belong_to_no_token_are_covered_too() {
    /// Counts only words in ASCII letters.
    #[derive(Debug)]
    struct Letters;
    impl Tokenizer for Letters {
        fn id(&self) -> String {
            "letters".into()
        }
        fn spans(&self, text: &str) -> Vec<std::ops::Range<usize>> {
            let mut spans: Vec<std::ops::Range<usize>> = Vec::new();
            for (at, c) in text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
                match spans.last_mut() {
                    Some(last) if last.end == at => last.end += c.len_utf8(),
                    _ => spans.push(at..at + c.len_utf8()),
                }
            }
            spans
        }
    }
    let parsed = Parsed::new("text/plain", "12 a 34 b 56 c 78");
    let spans = chunks(&parsed, &Letters, &ChunkOptions::new(1, 0).unwrap());
    assert_eq!(texts(&parsed, &spans), ["12 a 34", "b 56", "c 78"]);
    let parsed = Parsed::new("text/plain", " 12 34 ");
    assert_eq!(texts(&parsed, &chunks(&parsed, &Letters, &ChunkOptions::new(5, 0).unwrap())), ["12 34"]);
    assert!(
        chunks(&Parsed::new("text/plain", " \n "), &Letters, &ChunkOptions::new(5, 0).unwrap()).is_empty()
    );
}

#[test]
fn cuts_are_at_the_best_place() {
    // A block before a sentence.
    assert_eq!(cut("a b c d e.\n\nF g h. I j k l", 10, 0), ["a b c d e.", "F g h. I j k l"]);
    // A sentence before a line, a line before a word.
    assert_eq!(cut("a b c d e f g. H\ni j k l m n o", 10, 0), ["a b c d e f g.", "H\ni j k l m n o"]);
    assert_eq!(cut("a b c d e f g\nh i j k l m n o", 9, 0), ["a b c d e f g", "h i j k l m n o"]);
    // A word is cut only where there is no other way.
    assert_eq!(
        cut("aaaaaaaaaaaabbbbbbbbbbbbcccccccccccc d", 2, 0),
        ["aaaaaaaaaaaabbbbbbbbbbbb", "cccccccccccc d"]
    );
}

#[test]
fn a_heading_stays_with_what_follows_it() {
    let parsed = parse_bytes("a.md", b"a b c d e f\n\n# H\n\ng h i j k l m n").unwrap();
    let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(9, 0).unwrap());
    assert_eq!(texts(&parsed, &spans), ["a b c d e f", "# H\n\ng h i j k l m", "n"]);
    assert_eq!(spans[0].heading, Vec::<String>::new());
    assert_eq!(spans[1].heading, ["H"]);
    assert_eq!(spans[2].heading, ["H"]);
}

#[test]
fn a_row_is_not_cut() {
    let parsed = parse_bytes("a.csv", b"name,note\nann,is it so? yes\nbob,no. never. ever\ncid,x\n").unwrap();
    let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(16, 0).unwrap());
    let whole = texts(&parsed, &spans)
        .iter()
        .flat_map(|text| text.lines())
        .all(|line| parsed.text.lines().any(|row| row == line));
    assert!(whole, "{:?}", texts(&parsed, &spans));
}

#[test]
fn what_fits_is_kept_whole() {
    let prose = "One two three four. ".repeat(3);
    let code = "```\nlet a = 1;\nlet b = 2;\n```";
    let table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |";
    for (block, heading) in [(code, ""), (table, ""), (code, "# H\n\n"), (table, "# H\n\n")] {
        let text = format!("{prose}\n\n{heading}{block}\n\n{prose}");
        let parsed = parse_bytes("a.md", text.as_bytes()).unwrap();
        let inside: Vec<&Block> = parsed
            .blocks
            .iter()
            .filter(|block| matches!(block.kind, BlockKind::Code | BlockKind::Table))
            .collect();
        let range = inside[0].start..inside[inside.len() - 1].end;
        let size = 8 + WordTokenizer.spans(&parsed.text[range.clone()]).len();
        for overlap in [0, 3] {
            let options = ChunkOptions::new(size, overlap).unwrap();
            let spans = chunks(&parsed, &WordTokenizer, &options);
            let holds = |span: &Span| span.range.start <= range.start && range.end <= span.range.end;
            let holder = spans.iter().find(|span| holds(span));
            let holder = holder.unwrap_or_else(|| panic!("cut: {:?}", texts(&parsed, &spans)));
            assert_eq!(holder.heading.last().is_some(), !heading.is_empty());
            assert_eq!(parsed.text[holder.range.clone()].contains("H\n"), !heading.is_empty());
        }
        // One that fits nowhere is cut.
        let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(9, 0).unwrap());
        assert!(!spans.iter().any(|span| span.range.start <= range.start && range.end <= span.range.end));
    }
}

#[test]
fn pages_are_those_of_the_first_byte_and_headings_of_the_first_new_one() {
    let mut parsed = Parsed::new("application/pdf", "One two three four. Five six seven eight. Nine ten.");
    parsed.pages = vec![PageStart { page: 1, start: 0 }, PageStart { page: 2, start: 20 }];
    parsed.headings = vec![
        Heading { level: 1, title: "A".into(), start: 0 },
        Heading { level: 2, title: "B".into(), start: 20 },
        Heading { level: 1, title: "C".into(), start: 42 },
    ];
    parsed.blocks = vec![Block { start: 0, end: parsed.text.len(), kind: BlockKind::Paragraph }];
    let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(5, 0).unwrap());
    let found: Vec<(Option<u32>, Vec<&str>)> =
        spans.iter().map(|span| (span.page, span.heading.iter().map(String::as_str).collect())).collect();
    assert_eq!(found, [(Some(1), vec!["A"]), (Some(2), vec!["A", "B"]), (Some(2), vec!["C"])]);
    // With an overlap of two the second chunk begins on the first page.
    let spans = chunks(&parsed, &WordTokenizer, &ChunkOptions::new(5, 2).unwrap());
    assert_eq!((spans[1].range.start, spans[1].page), (14, Some(1)));
    assert_eq!(spans[1].heading, ["A", "B"], "what is new in it is below both");
}

#[test]
fn impossible_options_are_refused() {
    for (size, overlap) in [(0, 0), (5, 5), (5, 6)] {
        assert_eq!(ChunkOptions::new(size, overlap).unwrap_err().code(), "invalid_chunk_options");
    }
    assert!(serde_json::from_str::<ChunkOptions>(r#"{"size": 5, "overlap": 5}"#).is_err());
    let default = ChunkOptions::for_window(8192);
    assert_eq!((default.size(), default.overlap()), (240, 40));
    assert_eq!(ChunkOptions::for_window(1), ChunkOptions::new(1, 0).unwrap());
}

#[test]
fn time_is_linear_without_a_blank_line() {
    let seconds = |repeats: usize| {
        let parsed = Parsed::new("text/plain", "abcdefghi ".repeat(repeats));
        let options = ChunkOptions::new(240, 40).unwrap();
        let start = std::time::Instant::now();
        let spans = chunks(&parsed, &WordTokenizer, &options);
        assert!(spans.len() >= repeats / 240);
        start.elapsed().as_secs_f64()
    };
    let (small, large) = (seconds(125_000), seconds(1_000_000));
    assert!(large < small * 20.0 + 1.0, "10 MB took {large} s, an eighth of it {small} s");
}
