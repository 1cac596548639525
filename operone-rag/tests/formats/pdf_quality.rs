//! How much of a PDF's words is read and in which order, beside `pdftotext` of poppler.
//!
//! - F1: the words of both as bags; the harmonic mean of the share of ours that the other has too and of the share of
//!   its words that we have.
//! - Order: the longest common subsequence of the two sequences of words, as a share of the words that both have.
//!
//! Words are runs of letters and digits in compatibility form and small letters; words divided at a line's end are
//! whole in both. `pdftotext` is another reader and not the truth.

mod with_data {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use operone_rag::parse::parse_bytes;
    use unicode_normalization::UnicodeNormalization;

    /// The PDFs with text, and the least F1 and order they must reach, in percent.
    const LEAST: [(&str, u32, u32); 14] = [
        ("angles.pdf", 60, 68),
        ("backus-p21.pdf", 89, 97),
        ("code-and-formula.pdf", 98, 98),
        ("corrupt-page.pdf", 98, 76),
        ("extra-spaces.pdf", 82, 98),
        ("google-doc.pdf", 98, 86),
        ("multi-column.pdf", 97, 90),
        ("multi-page.pdf", 98, 98),
        ("optional-hyphen.pdf", 98, 98),
        ("paper-layoutparser-table.pdf", 96, 95),
        ("paper-layoutparser.pdf", 98, 97),
        ("rtl.pdf", 93, 97),
        ("scanned-with-ocr-layer.pdf", 73, 98),
        ("table-numbers.pdf", 98, 98),
    ];

    fn folder() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/docs"))
    }

    fn words(text: &str) -> Vec<String> {
        let text: String = text.nfkc().flat_map(char::to_lowercase).filter(|c| *c != '\u{ad}').collect();
        let text = text.replace("-\n", "").replace("\u{2010}\n", "");
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn common(ours: &[String], others: &[String]) -> usize {
        let mut bag: HashMap<&str, usize> = HashMap::new();
        others.iter().for_each(|word| *bag.entry(word).or_default() += 1);
        let mut take = |word: &str| match bag.get_mut(word) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        ours.iter().filter(|word| take(word)).count()
    }

    fn longest_common_subsequence(ours: &[String], others: &[String]) -> usize {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut number = |word| {
            let next = u32::try_from(ids.len()).unwrap();
            *ids.entry(word).or_insert(next)
        };
        let ours: Vec<u32> = ours.iter().map(|word| number(word.as_str())).collect();
        let others: Vec<u32> = others.iter().map(|word| number(word.as_str())).collect();
        let mut above = vec![0_u32; others.len() + 1];
        let mut row = above.clone();
        for word in ours {
            let (mut left, mut diagonal) = (0, 0);
            for ((other, above), cell) in others.iter().zip(&above[1..]).zip(&mut row[1..]) {
                left = if word == *other { diagonal + 1 } else { left.max(*above) };
                diagonal = *above;
                *cell = left;
            }
            std::mem::swap(&mut above, &mut row);
        }
        above.last().copied().unwrap_or_default() as usize
    }

    fn pdftotext(path: &Path) -> String {
        let output = Command::new("pdftotext").args(["-enc", "UTF-8"]).arg(path).arg("-").output();
        let output = output.expect("pdftotext of the package poppler-utils is needed");
        String::from_utf8(output.stdout).unwrap()
    }

    fn percent(part: usize, whole: usize) -> u32 {
        let thousandths = (part * 1000).checked_div(whole).unwrap_or(1000);
        u32::try_from(thousandths).unwrap().div_ceil(10)
    }

    #[test]
    #[ignore = "needs the data folder"]
    fn words_and_their_order_are_those_of_pdftotext() {
        println!("| file | pages | words | words of pdftotext | F1 | order |");
        println!("|---|---|---|---|---|---|");
        let mut problems = Vec::new();
        for (name, least_f1, least_order) in LEAST {
            let path = folder().join(name);
            let others = words(&pdftotext(&path));
            let parsed = parse_bytes(name, &std::fs::read(&path).unwrap());
            let (pages, ours) = match &parsed {
                Ok(parsed) => (parsed.pages.len(), words(&parsed.text)),
                Err(_) => (0, Vec::new()),
            };
            let common = common(&ours, &others);
            let f1 = percent(2 * common, ours.len() + others.len());
            let order = percent(longest_common_subsequence(&ours, &others), common);
            let (shown_f1, shown_order) = (f64::from(f1) / 100.0, f64::from(order) / 100.0);
            println!(
                "| {name} | {pages} | {} | {} | {shown_f1:.2} | {shown_order:.2} |",
                ours.len(),
                others.len()
            );
            if f1 < least_f1 || order < least_order {
                problems.push(format!("{name}: F1 {f1}, order {order}"));
            }
        }
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
