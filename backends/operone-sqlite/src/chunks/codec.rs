//! The bytes in which the search index of a document is kept: counts as variable-length numbers, vectors as floats.

use operone_core::in_process::chunk_index::{IndexedChunk, TermCounts};

use crate::error::{Failure, corrupt};

/// The columns of `document_indexes`.
#[derive(Debug)]
pub(super) struct EncodedIndex {
    pub(super) terms: Vec<u8>,
    pub(super) chunk_terms: Vec<u8>,
    pub(super) vectors: Vec<u8>,
}

pub(super) fn encode(terms: &TermCounts, chunks: &[IndexedChunk]) -> EncodedIndex {
    let mut encoded = EncodedIndex { terms: Vec::new(), chunk_terms: Vec::new(), vectors: Vec::new() };
    for (term, count) in terms.iter() {
        put_number(&mut encoded.terms, term.len() as u64);
        encoded.terms.extend_from_slice(term.as_bytes());
        put_number(&mut encoded.terms, u64::from(count));
    }
    for chunk in chunks {
        put_number(&mut encoded.chunk_terms, chunk.terms.len() as u64);
        // Places rise, so that the steps between them are short numbers.
        let mut last = 0;
        for (place, count) in &chunk.terms {
            put_number(&mut encoded.chunk_terms, u64::from(place.wrapping_sub(last)));
            put_number(&mut encoded.chunk_terms, u64::from(*count));
            last = *place;
        }
        encoded.vectors.push(u8::from(chunk.vector.is_some()));
        for number in chunk.vector.iter().flatten() {
            encoded.vectors.extend_from_slice(&number.to_le_bytes());
        }
    }
    encoded
}

pub(super) fn decode_terms(bytes: &[u8]) -> Result<TermCounts, Failure> {
    let mut rest = bytes;
    let mut terms = TermCounts::default();
    while !rest.is_empty() {
        let length = take_number(&mut rest)?;
        let term = take(&mut rest, length as usize)?;
        let term = std::str::from_utf8(term).map_err(|_| corrupt("a term"))?;
        terms.push(term, take_number(&mut rest)?);
    }
    Ok(terms)
}

/// The chunks of a document; `dimension` is that of the collection's vectors.
pub(super) fn decode_chunks(
    chunk_terms: &[u8],
    vectors: &[u8],
    dimension: usize,
) -> Result<Vec<IndexedChunk>, Failure> {
    let (mut rest, mut vectors) = (chunk_terms, vectors);
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let count = take_number(&mut rest)? as usize;
        // A damaged count must not reserve more than the bytes could hold.
        let mut terms = Vec::with_capacity(count.min(rest.len()));
        let mut place: u32 = 0;
        for _ in 0..count {
            place = place.wrapping_add(take_number(&mut rest)?);
            terms.push((place, take_number(&mut rest)?));
        }
        let vector = match take(&mut vectors, 1)? {
            [0] => None,
            _ => Some(floats(take(&mut vectors, dimension * 4)?)),
        };
        chunks.push(IndexedChunk { terms, vector });
    }
    Ok(chunks)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect()
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Failure> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(|| corrupt("an index that breaks off"))?;
    *bytes = rest;
    Ok(taken)
}

/// Seven bits to a byte, the lowest first; the high bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Result<u32, Failure> {
    let mut number: u64 = 0;
    for shift in (0..35).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).map_err(|_| corrupt("a number that is too great").into());
        }
    }
    Err(corrupt("an index that breaks off").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut terms = TermCounts::default();
        for number in 0..300_u32 {
            terms.push(&"é\n".repeat(number as usize % 90), number * 1_000);
        }
        terms.push("last", u32::MAX);
        let chunks = vec![
            IndexedChunk { terms: vec![(0, 1), (127, 128), (300, u32::MAX)], vector: Some(vec![1.5, -0.0]) },
            IndexedChunk::default(),
            IndexedChunk { terms: vec![(5, 2)], vector: Some(vec![f32::MIN_POSITIVE, f32::MAX]) },
        ];
        let encoded = encode(&terms, &chunks);
        assert_eq!(decode_terms(&encoded.terms).unwrap(), terms);
        assert_eq!(decode_chunks(&encoded.chunk_terms, &encoded.vectors, 2).unwrap(), chunks);
    }

    #[test]
    fn bytes_that_break_off_are_an_error() {
        let mut terms = TermCounts::default();
        terms.push("tide", 300);
        let chunks = [IndexedChunk { terms: vec![(0, 300)], vector: Some(vec![1.0]) }];
        let encoded = encode(&terms, &chunks);
        for end in 1..encoded.terms.len() {
            assert!(decode_terms(&encoded.terms[..end]).is_err());
        }
        for end in 1..encoded.chunk_terms.len() {
            assert!(decode_chunks(&encoded.chunk_terms[..end], &encoded.vectors, 1).is_err());
        }
        assert!(decode_chunks(&encoded.chunk_terms, &encoded.vectors, 2).is_err());
        assert!(decode_terms(&[0xff; 20]).is_err());
    }
}
