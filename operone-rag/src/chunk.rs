//! Cuts a parsed text into chunks: windows of tokens that end at the best place and overlap exactly.

use std::ops::Range;

use operone_core::embed::Tokenizer;
use operone_core::source::{Block, BlockKind, Heading, Parsed};
use operone_core::text::sentences;
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How long chunks are and how much neighbours share, in tokens of the embedder's tokenizer.
///
/// ```
/// use operone_rag::chunk::ChunkOptions;
/// let options = ChunkOptions::new(512, 50)?;
/// assert_eq!((options.size(), options.overlap()), (512, 50));
/// assert_eq!(ChunkOptions::new(50, 50).unwrap_err().code(), "invalid_chunk_options");
/// # operone_core::Result::<()>::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct ChunkOptions {
    size: usize,
    overlap: usize,
}

impl ChunkOptions {
    /// The size that suits embedders best where nothing else was asked for.
    const SIZE: usize = 240;

    /// Chunks of at most `size` tokens, each but the first beginning with the last `overlap` tokens of the one
    /// before. A size of 0, or an overlap that is not below the size, is `Invalid` with code
    /// `invalid_chunk_options`.
    pub fn new(size: usize, overlap: usize) -> Result<Self> {
        if size == 0 || overlap >= size {
            return Err(Error::invalid(format!(
                "a chunk size of {size} with an overlap of {overlap} is not possible: the size must be at \
                 least 1 and the overlap below the size"
            ))
            .with_code("invalid_chunk_options"));
        }
        Ok(Self { size, overlap })
    }

    /// 240 tokens, or the whole window of an embedder that reads fewer, and a sixth of that as overlap.
    pub fn for_window(window: usize) -> Self {
        let size = Self::SIZE.min(window.max(1));
        Self { size, overlap: size / 6 }
    }

    /// The most tokens of a chunk.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many tokens a chunk shares with the one before.
    pub fn overlap(&self) -> usize {
        self.overlap
    }
}

#[derive(Deserialize)]
struct Unchecked {
    size: usize,
    overlap: usize,
}

impl TryFrom<Unchecked> for ChunkOptions {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        Self::new(unchecked.size, unchecked.overlap)
    }
}

/// A chunk as a part of the text it was cut from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// The bytes of the text, without white space at either end.
    pub range: Range<usize>,
    /// The page of the first byte; `None` for a format without pages.
    pub page: Option<u32>,
    /// The headings above the first byte that is new, or that begin with it, the highest first: what is shared with the
    /// chunk before may be of the section before.
    pub heading: Vec<String>,
}

/// Names the rules of [`chunks`]; spans of another id cannot be compared.
pub(crate) const CHUNKER_ID: &str = "windows-2";

/// Cuts a text into windows of at most `options.size` tokens.
///
/// - A window ends at the best place: before a heading or a block in its second half, else before a sentence, a
///   row of a table, a line of code, a line, a word in its last third, in this order; of equals the last. Nothing
///   is cut off from the heading that stands right above it.
/// - A table or a piece of code that would be cut, but fits into the next window, begins that one as a whole, with the
///   heading above it.
/// - Every chunk but the first begins exactly `options.overlap` tokens before the end of the one before.
/// - Every byte that is not white space lies in at least one chunk; bytes that belong to no token go with the
///   token before them. A text of white space only has no chunks.
/// - The text is tokenized once; the time is linear in the text.
pub fn chunks(parsed: &Parsed, tokenizer: &dyn Tokenizer, options: &ChunkOptions) -> Vec<Span> {
    let text = parsed.text.as_str();
    let tokens = tokenizer.spans(text);
    let ranks = ranks(parsed, &tokens);
    let whole = kept_whole(parsed, &tokens);
    // Where the part of the text begins that goes with a token, and with it what stands before the first.
    let begin =
        |token: usize| if token == 0 { 0 } else { tokens.get(token).map_or(text.len(), |token| token.start) };
    let mut outline = Outline::new(&parsed.headings);
    let mut spans = Vec::new();
    let (mut first, mut new) = (0, 0);
    loop {
        let end = cut(&ranks, &whole, first, options);
        let is_last = end >= tokens.len();
        let stop = if is_last { text.len() } else { begin(end) };
        if let Some(range) = trim(text, begin(first)..stop) {
            let first_new = trim(text, begin(new)..stop).map_or(range.start, |new| new.start);
            let page = parsed.pages.partition_point(|page| page.start <= range.start);
            spans.push(Span {
                page: page.checked_sub(1).and_then(|page| parsed.pages.get(page)).map(|page| page.page),
                heading: outline.path_at(first_new),
                range,
            });
        }
        if is_last {
            return spans;
        }
        first = end - options.overlap;
        new = end;
    }
}

/// How good a place before a token is to cut at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    #[default]
    Inside,
    Word,
    Line,
    Sentence,
    Block,
    Heading,
}

/// The end of the window that begins with the token `first`: a token's index, or the number of tokens.
fn cut(ranks: &[Rank], whole: &[Range<usize>], first: usize, options: &ChunkOptions) -> usize {
    let full = first.saturating_add(options.size);
    if full >= ranks.len() {
        return ranks.len();
    }
    // One token more than the overlap, or the next window would begin where this one does.
    let least = first + options.overlap + 1;
    let across = whole.get(whole.partition_point(|block| block.end <= full));
    if let Some(block) = across.filter(|block| (least..full).contains(&block.start))
        && block.len() + options.overlap <= options.size
    {
        return block.start;
    }
    let best = |from: usize, worst: Rank| {
        let from = from.max(least);
        let places = ranks.get(from..=full).unwrap_or_default().iter().zip(from..);
        places.filter(|(rank, _)| **rank >= worst).max_by_key(|(rank, _)| **rank).map(|(_, place)| place)
    };
    best(first + options.size / 2, Rank::Block)
        .or_else(|| best(full - options.size / 3, Rank::Inside))
        .unwrap_or(full)
}

/// The tokens of each table and each piece of code, with the heading right above it.
fn kept_whole(parsed: &Parsed, tokens: &[Range<usize>]) -> Vec<Range<usize>> {
    let place = |at: usize| tokens.partition_point(|token| token.end <= at);
    let mut whole = Vec::new();
    let mut heading = None;
    for block in &parsed.blocks {
        match block.kind {
            BlockKind::Table | BlockKind::Code => {
                let tokens = place(heading.unwrap_or(block.start))..place(block.end);
                whole.extend((!tokens.is_empty()).then_some(tokens));
                heading = None;
            }
            BlockKind::Heading => heading = heading.or(Some(block.start)),
            _ => heading = None,
        }
    }
    whole
}

fn ranks(parsed: &Parsed, tokens: &[Range<usize>]) -> Vec<Rank> {
    let text = parsed.text.as_str();
    let mut ranks = vec![Rank::Inside; tokens.len()];
    for ((rank, before), token) in ranks.iter_mut().skip(1).zip(tokens).zip(tokens.iter().skip(1)) {
        *rank = rank_of_gap(text, before, token);
    }
    let place = |at: usize| tokens.partition_point(|token| token.end <= at);
    let mut raise = |at: usize, to: Rank| {
        if let Some(rank) = ranks.get_mut(place(at)) {
            *rank = to.max(*rank);
        }
    };
    sentences(text).into_iter().for_each(|sentence| raise(sentence.start, Rank::Sentence));
    for block in &parsed.blocks {
        raise(block.start, if block.kind == BlockKind::Heading { Rank::Heading } else { Rank::Block });
    }
    parsed.headings.iter().for_each(|heading| raise(heading.start, Rank::Heading));
    for block in parsed.blocks.iter().filter(|block| matches!(block.kind, BlockKind::Table | BlockKind::Code))
    {
        for at in place(block.start) + 1..place(block.end) {
            let (before, token) = (tokens.get(at - 1), tokens.get(at));
            if let (Some(before), Some(token), Some(rank)) = (before, token, ranks.get_mut(at)) {
                // A row or a line is whole; the marks of a sentence mean nothing here.
                *rank = match rank_of_gap(text, before, token) {
                    Rank::Line | Rank::Block => Rank::Sentence,
                    rank => rank,
                };
            }
        }
    }
    for pair in parsed.blocks.windows(2) {
        if let [Block { kind: BlockKind::Heading, .. }, next] = pair
            && next.kind != BlockKind::Heading
            && let Some(rank) = ranks.get_mut(place(next.start))
        {
            *rank = Rank::Word;
        }
    }
    ranks
}

/// What the white space between two tokens says.
fn rank_of_gap(text: &str, before: &Range<usize>, token: &Range<usize>) -> Rank {
    let part = |range: Range<usize>| text.get(range).unwrap_or_default();
    let (before_text, token_text) = (part(before.clone()), part(token.clone()));
    // Some tokenizers count the space before a word to the word.
    let from = before.start + before_text.trim_end().len();
    let to = token.end - token_text.trim_start().len();
    let gap = part(from..to.max(from));
    match gap.matches('\n').count() {
        0 if !gap.contains(char::is_whitespace) => Rank::Inside,
        0 => Rank::Word,
        1 => Rank::Line,
        _ => Rank::Block,
    }
}

fn trim(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = text.get(range.clone())?;
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    (start < end).then_some(start..end)
}

/// The headings that are open at rising places of a text.
struct Outline<'a> {
    ahead: &'a [Heading],
    open: Vec<&'a Heading>,
}

impl<'a> Outline<'a> {
    fn new(headings: &'a [Heading]) -> Self {
        Self { ahead: headings, open: Vec::new() }
    }

    fn path_at(&mut self, place: usize) -> Vec<String> {
        while let Some((heading, ahead)) =
            self.ahead.split_first().filter(|(heading, _)| heading.start <= place)
        {
            self.open.retain(|open| open.level < heading.level);
            self.open.push(heading);
            self.ahead = ahead;
        }
        self.open.iter().map(|heading| heading.title.clone()).collect()
    }
}
