//! Cutting text into sentences.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// The byte range of each sentence by UAX #29, trimmed, blank ones left out.
///
/// A line break inside a paragraph does not end a sentence; a blank line does, and so does the begin or end of
/// a heading, a list item or a table row.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for paragraph in paragraphs(text) {
        // UAX #29 ends a sentence at every line break: one byte for one byte keeps the offsets.
        let flowing = text[paragraph.clone()].replace(['\n', '\r'], " ");
        for (at, sentence) in flowing.split_sentence_bound_indices() {
            let trimmed = sentence.trim();
            if !trimmed.is_empty() {
                let start = paragraph.start + at + (sentence.len() - sentence.trim_start().len());
                found.push(start..start + trimmed.len());
            }
        }
    }
    found
}

fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut paragraphs: Vec<Range<usize>> = Vec::new();
    let mut open = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let alone = stands_alone(line);
        match paragraphs.last_mut() {
            Some(last) if open && !alone && !line.trim().is_empty() => last.end = end,
            _ if line.trim().is_empty() => {}
            _ => paragraphs.push(start..end),
        }
        open = !alone && !line.trim().is_empty();
        start = end;
    }
    paragraphs
}

fn stands_alone(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['#', '|', '>'])
        || line.contains(" | ")
        || ["- ", "* ", "+ ", "• "].iter().any(|mark| line.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_trimmed_and_in_place() {
        let text =
            "# Title\n\nIt costs\n$1.5M.  Is it so? Yes.\n- item one\n- item two\nrest\na | b\nc | d\n\n";
        let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(
            found,
            [
                "# Title",
                "It costs\n$1.5M.",
                "Is it so?",
                "Yes.",
                "- item one",
                "- item two",
                "rest",
                "a | b",
                "c | d"
            ]
        );
    }
}
