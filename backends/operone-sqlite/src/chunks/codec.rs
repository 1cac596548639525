//! The bytes in which the search index of a document is kept: counts as variable-length numbers, vectors as floats.

use operone_core::in_process::chunk_index::IndexedChunk;

use crate::error::{Failure, corrupt};

/// What is kept of the chunks of a document, but for their texts.
#[derive(Debug)]
pub(super) struct EncodedChunks {
    pub(super) terms: Vec<u8>,
    /// For each chunk the bytes of its vector, if it has one.
    pub(super) vectors: Vec<Option<Vec<u8>>>,
}

pub(super) fn encode_chunks(chunks: &[IndexedChunk]) -> EncodedChunks {
    let mut encoded = EncodedChunks { terms: Vec::new(), vectors: Vec::new() };
    for chunk in chunks {
        put_number(&mut encoded.terms, chunk.terms.len() as u64);
        // Places rise, so that the steps between them are short numbers.
        let mut last = 0;
        for (place, count) in &chunk.terms {
            put_number(&mut encoded.terms, u64::from(place.wrapping_sub(last)));
            put_number(&mut encoded.terms, u64::from(*count));
            last = *place;
        }
        let bytes = |vector: &Vec<f32>| vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        encoded.vectors.push(chunk.vector.as_ref().map(bytes));
    }
    encoded
}

/// The numbers of a document's terms with their counts.
pub(super) fn encode_terms(terms: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, count) in terms {
        put_number(&mut bytes, u64::from(*number));
        put_number(&mut bytes, u64::from(*count));
    }
    bytes
}

pub(super) fn decode_terms(bytes: &[u8]) -> Result<Vec<(u32, u32)>, Failure> {
    let mut rest = bytes;
    let mut terms = Vec::new();
    while !rest.is_empty() {
        terms.push((take_number(&mut rest)?, take_number(&mut rest)?));
    }
    Ok(terms)
}

/// The chunks of a document without their vectors.
pub(super) fn decode_chunks(chunk_terms: &[u8]) -> Result<Vec<IndexedChunk>, Failure> {
    let mut rest = chunk_terms;
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
        chunks.push(IndexedChunk { terms, vector: None });
    }
    Ok(chunks)
}

/// The numbers of a vector.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number))
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
        let terms = [(0, 1), (127, 0), (128, 300), (u32::MAX, u32::MAX)];
        assert_eq!(decode_terms(&encode_terms(&terms)).unwrap(), terms);
        let chunks = [
            IndexedChunk { terms: vec![(0, 1), (127, 128), (300, u32::MAX)], vector: None },
            IndexedChunk::default(),
            IndexedChunk { terms: vec![(5, 2)], vector: Some(vec![f32::MIN_POSITIVE, -0.0]) },
        ];
        let encoded = encode_chunks(&chunks);
        let terms = decode_chunks(&encoded.terms).unwrap();
        assert!(terms.iter().map(|chunk| &chunk.terms).eq(chunks.iter().map(|chunk| &chunk.terms)));
        let vectors: Vec<Option<Vec<f32>>> =
            encoded.vectors.iter().map(|bytes| bytes.as_ref().map(|bytes| floats(bytes).collect())).collect();
        assert_eq!(vectors, [None, None, chunks[2].vector.clone()]);
    }

    #[test]
    fn bytes_that_break_off_are_an_error() {
        let terms = encode_terms(&[(300, 300)]);
        for end in 1..terms.len() {
            assert!(decode_terms(&terms[..end]).is_err());
        }
        assert!(decode_terms(&[0xff; 20]).is_err());
        let encoded = encode_chunks(&[IndexedChunk { terms: vec![(0, 300)], vector: None }]);
        for end in 1..encoded.terms.len() {
            assert!(decode_chunks(&encoded.terms[..end]).is_err());
        }
    }
}
