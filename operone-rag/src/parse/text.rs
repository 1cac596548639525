//! Plain text and source code: the text as it is, cut at blank lines.

use operone_core::source::{Block, BlockKind, Parsed};

use super::assemble::clean;

/// Reads plain text (`kind` is a paragraph) or source code.
pub(super) fn parse(media_type: &str, text: &str, kind: BlockKind) -> Parsed {
    let text = clean(text);
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if line.trim().is_empty() {
            open = false;
        } else {
            match blocks.last_mut() {
                Some(block) if open => block.end = end,
                _ => blocks.push(Block { start, end, kind }),
            }
            open = true;
        }
        start += line.len();
    }
    let mut parsed = Parsed::new(media_type, text);
    parsed.blocks = blocks;
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_part_blocks() {
        let parsed = parse("text/plain", "a\r\nb\r\n \r\n\r\n  c\r\n", BlockKind::Paragraph);
        let blocks: Vec<&str> =
            parsed.blocks.iter().map(|block| &parsed.text[block.start..block.end]).collect();
        assert_eq!(blocks, ["a\nb", "  c"]);
    }
}
