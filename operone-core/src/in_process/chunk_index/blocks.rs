//! Lists of postings in bytes: blocks that can be passed over, each with what bounds the scores in it.

use std::ops::Range;

/// The most postings of a block.
const MOST: u8 = 128;
/// The bytes before a block's postings.
const HEAD: usize = 10;

/// A text that holds a term, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Posting {
    pub(super) text: u32,
    pub(super) count: u32,
}

/// What a block says of its postings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) last: u32,
    pub(super) postings: u8,
    /// The highest count, or 255 for all above.
    most: u8,
    /// The length of the shortest text, or 65,535 for all above.
    shortest: u16,
    size: u16,
}

impl Head {
    /// The highest count and the length of the shortest text, which bound what the block adds to a score.
    pub(super) fn bounds(&self) -> (f32, f32) {
        let most = if self.most == u8::MAX { u32::MAX as f32 } else { f32::from(self.most) };
        (most, f32::from(self.shortest))
    }

    fn write(&self, bytes: &mut [u8]) {
        let Some(head) = bytes.first_chunk_mut::<HEAD>() else { return };
        let (last, shortest, size) =
            (self.last.to_le_bytes(), self.shortest.to_le_bytes(), self.size.to_le_bytes());
        *head = [
            last[0],
            last[1],
            last[2],
            last[3],
            self.postings,
            self.most,
            shortest[0],
            shortest[1],
            size[0],
            size[1],
        ];
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, postings, most, e, f, g, h] = *bytes.first_chunk::<HEAD>()?;
        let last = u32::from_le_bytes([a, b, c, d]);
        let (shortest, size) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
        Some(Self { last, postings, most, shortest, size })
    }
}

/// Puts a posting at the end of a list whose last block begins at `open`; its text must be behind all others. Gives
/// where the last block begins now.
///
/// Each block stands by itself, so that lists are joined by joining their bytes.
pub(super) fn push(bytes: &mut Vec<u8>, open: usize, posting: Posting, length: u32) -> usize {
    let (most, shortest) = (posting.count.min(255) as u8, length.min(65_535) as u16);
    let head = bytes.get(open..).and_then(Head::read).filter(|head| head.postings < MOST);
    let (open, before, head) = match head {
        Some(head) => (open, head.last, Head { postings: head.postings + 1, ..head }),
        None => {
            let begin = bytes.len();
            bytes.extend_from_slice(&[0; HEAD]);
            (begin, 0, Head { last: 0, postings: 1, most, shortest, size: 0 })
        }
    };
    let step = u64::from(posting.text.wrapping_sub(before)) << 1;
    if posting.count == 1 {
        put_number(bytes, step);
    } else {
        put_number(bytes, step | 1);
        put_number(bytes, u64::from(posting.count));
    }
    let head = Head {
        last: posting.text,
        most: head.most.max(most),
        shortest: head.shortest.min(shortest),
        size: (bytes.len() - open - HEAD) as u16,
        ..head
    };
    if let Some(place) = bytes.get_mut(open..) {
        head.write(place);
    }
    open
}

/// The blocks of a list, the first ones first.
pub(super) fn blocks(bytes: &[u8]) -> Blocks<'_> {
    Blocks { rest: bytes }
}

/// See [`blocks`].
#[derive(Clone, Debug)]
pub(super) struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Blocks<'a> {
    type Item = (Head, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = Head::read(self.rest)?;
        let Range { start, end } = HEAD..HEAD + usize::from(head.size);
        let body = self.rest.get(start..end)?;
        self.rest = self.rest.get(end..)?;
        Some((head, body))
    }
}

/// Calls `found` for each posting of a block.
#[inline]
pub(super) fn for_each(head: Head, mut body: &[u8], mut found: impl FnMut(Posting)) {
    let mut text: u32 = 0;
    for _ in 0..head.postings {
        let step = take_number(&mut body);
        text = text.wrapping_add((step >> 1) as u32);
        let count = if step & 1 == 0 { 1 } else { take_number(&mut body) as u32 };
        found(Posting { text, count });
    }
}

/// Seven bits to a byte, the lowest first; the high bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
fn take_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0_u64, 0_u32);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (shift & 63);
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<Posting> {
        let mut found = Vec::new();
        blocks(bytes).for_each(|(head, body)| for_each(head, body, |posting| found.push(posting)));
        found
    }

    #[test]
    fn what_was_put_comes_back() {
        let postings: Vec<Posting> = (0..1_000)
            .map(|place: u32| Posting {
                text: place * place * 3,
                count: [1, 2, 300, u32::MAX][place as usize % 4],
            })
            .chain([Posting { text: u32::MAX, count: 1 }])
            .collect();
        let (mut bytes, mut open) = (Vec::new(), 0);
        for posting in &postings {
            open = push(&mut bytes, open, *posting, posting.text % 70_000);
        }
        assert_eq!(decoded(&bytes), postings);
        let counted: usize = blocks(&bytes).map(|(head, _)| usize::from(head.postings)).sum();
        assert_eq!(counted, postings.len());
        for ((head, _), postings) in blocks(&bytes).zip(postings.chunks(128)) {
            let (most, shortest) = head.bounds();
            assert_eq!(head.last, postings.last().unwrap().text);
            assert!(postings.iter().all(|posting| posting.count as f32 <= most));
            assert!(postings.iter().all(|posting| (posting.text % 70_000) as f32 >= shortest));
        }
    }

    #[test]
    fn lists_are_joined_by_their_bytes() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        push(&mut one, 0, Posting { text: 7, count: 2 }, 9);
        push(&mut other, 0, Posting { text: 900, count: 1 }, 9);
        one.extend_from_slice(&other);
        assert_eq!(decoded(&one), [Posting { text: 7, count: 2 }, Posting { text: 900, count: 1 }]);
    }

    #[test]
    fn bytes_that_break_off_end_the_list() {
        let (mut bytes, mut open) = (Vec::new(), 0);
        for text in 0..300 {
            open = push(&mut bytes, open, Posting { text, count: 500 }, 9);
        }
        for end in 0..bytes.len() {
            assert!(decoded(&bytes[..end]).len() <= 300);
        }
    }
}
