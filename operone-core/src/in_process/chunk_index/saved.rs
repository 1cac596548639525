//! An index as bytes, from which it is read much faster than it is built.

use std::io::{Error, ErrorKind, Read, Result, Write};

use super::postings::Postings;
use super::vectors::{Codes, VectorPrecision, Vectors};
use super::{ChunkIndex, Entry};
use crate::clock::Timestamp;
use crate::id::DocId;
use crate::metadata::Metadata;

/// The form of the bytes; another number is another form.
const FORM: u64 = 1;

impl ChunkIndex {
    /// Writes the index as bytes, about as many as it takes in memory.
    pub fn save(&self, output: &mut dyn Write) -> Result<()> {
        put(output, FORM)?;
        put(output, precision_number(self.vectors.precision()))?;
        put(output, self.vectors.dimension.map_or(0, |dimension| dimension as u64))?;
        put(output, self.removed_chunks as u64)?;
        put_documents(output, &self.documents)?;
        put_words(output, &self.chunks, |slot| slot.to_le_bytes())?;
        put_words(output, &self.vectors.scales, |scale| scale.to_le_bytes())?;
        match &self.vectors.codes {
            Codes::F32(numbers) => put_words(output, numbers, |number| number.to_le_bytes())?,
            Codes::I8(codes) => put_bytes(output, codes)?,
            Codes::Bits(bits) => put_words(output, bits, |bits| bits.to_le_bytes())?,
        }
        put_postings(output, &self.by_chunk)?;
        put_postings(output, &self.by_document)
    }

    /// Reads what [`ChunkIndex::save`] wrote. `length` is that of the whole, so that a damaged number reserves no
    /// more than that.
    ///
    /// Bytes of another form or precision, and such as cannot be an index, are `InvalidData`. Others that were
    /// changed may give an index with wrong answers: a store that cannot rule that out keeps a check sum.
    pub fn load(input: &mut dyn Read, length: u64, precision: VectorPrecision) -> Result<Self> {
        let mut input = Input { input, length };
        if input.number()? != FORM || input.number()? != precision_number(precision) {
            return Err(invalid());
        }
        let mut index = Self::new(precision);
        let dimension = usize::try_from(input.number()?).map_err(|_| invalid())?;
        index.removed_chunks = usize::try_from(input.number()?).map_err(|_| invalid())?;
        index.documents = input.documents()?;
        index.chunks = input.words(u32::from_le_bytes)?;
        let scales = input.words(f32::from_le_bytes)?;
        let codes = match precision {
            VectorPrecision::F32 => Codes::F32(input.words(f32::from_le_bytes)?),
            VectorPrecision::I8 => Codes::I8(input.bytes()?),
            VectorPrecision::Bits => Codes::Bits(input.words(u64::from_le_bytes)?),
        };
        index.vectors = Vectors { dimension: (dimension > 0).then_some(dimension), codes, scales };
        index.by_chunk = input.postings()?;
        index.by_document = input.postings()?;
        let slots = (0..).zip(&index.documents);
        index.by_id = slots.filter_map(|(slot, entry)| Some((entry.as_ref()?.id.clone(), slot))).collect();
        if index.has_its_rows() { Ok(index) } else { Err(invalid()) }
    }

    /// Whether documents and rows name each other: every document has all its rows, and no row is another's.
    fn has_its_rows(&self) -> bool {
        let mut living = 0;
        let mut living_rows = 0;
        for (slot, entry) in (0..).zip(&self.documents) {
            let Some(entry) = entry else { continue };
            let first = entry.first_row as usize;
            let rows = self.chunks.get(first..first.saturating_add(entry.rows as usize));
            if rows.is_none_or(|rows| rows.iter().any(|owner| *owner != slot)) {
                return false;
            }
            living += 1;
            living_rows += entry.rows as usize;
        }
        let owned = self.chunks.iter().filter(|slot| self.entry(**slot).is_some()).count();
        living == self.by_id.len() && living_rows == owned && owned + self.removed_chunks == self.chunks.len()
    }
}

fn put(output: &mut dyn Write, number: u64) -> Result<()> {
    output.write_all(&number.to_le_bytes())
}

fn put_bytes(output: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    put(output, bytes.len() as u64)?;
    output.write_all(bytes)
}

fn put_words<T: Copy, const SIZE: usize>(
    output: &mut dyn Write,
    words: &[T],
    bytes: fn(T) -> [u8; SIZE],
) -> Result<()> {
    put(output, words.len() as u64)?;
    for words in words.chunks(8_192) {
        output.write_all(words.iter().map(|word| bytes(*word)).collect::<Vec<_>>().as_flattened())?;
    }
    Ok(())
}

fn put_documents(output: &mut dyn Write, documents: &[Option<Entry>]) -> Result<()> {
    put(output, documents.len() as u64)?;
    for entry in documents {
        let Some(entry) = entry else {
            output.write_all(&[0])?;
            continue;
        };
        output.write_all(&[1 + u8::from(entry.date.is_some()) + 2 * u8::from(!entry.metadata.is_empty())])?;
        put(output, entry.number as u64)?;
        put(output, u64::from(entry.first_row) << 32 | u64::from(entry.rows))?;
        put_bytes(output, entry.id.as_str().as_bytes())?;
        if let Some(date) = entry.date {
            put(output, date.as_millis() as u64)?;
        }
        if !entry.metadata.is_empty() {
            put_bytes(output, &serde_json::to_vec(&entry.metadata)?)?;
        }
    }
    Ok(())
}

fn put_postings(output: &mut dyn Write, postings: &Postings) -> Result<()> {
    put(output, postings.texts as u64)?;
    put(output, postings.total_length)?;
    put(output, postings.removed as u64)?;
    put_words(output, &postings.lengths, |length| length.to_le_bytes())?;
    let terms = 0..postings.terms() as u32;
    let mut end = 0;
    let end_of = |term| {
        end += postings.pieces(term).map(<[u8]>::len).into_iter().sum::<usize>() as u64;
        end
    };
    let ends: Vec<u64> = terms.clone().map(end_of).collect();
    put_words(output, &ends, |end| end.to_le_bytes())?;
    put(output, postings.size())?;
    for term in terms {
        for piece in postings.pieces(term) {
            output.write_all(piece)?;
        }
    }
    Ok(())
}

/// What is read, and how long it can be at most.
struct Input<'a> {
    input: &'a mut dyn Read,
    length: u64,
}

impl Input<'_> {
    fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A count of things of at least so many bytes each.
    fn count(&mut self, size: usize) -> Result<usize> {
        let count = self.number()?;
        match count.checked_mul(size as u64) {
            Some(bytes) if bytes <= self.length => usize::try_from(count).map_err(|_| invalid()),
            _ => Err(invalid()),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.count(1)?];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn words<T, const SIZE: usize>(&mut self, word: fn([u8; SIZE]) -> T) -> Result<Vec<T>> {
        let mut left = self.count(SIZE)?;
        let mut words = Vec::with_capacity(left);
        let mut bytes = vec![[0; SIZE]; left.min(8_192)];
        while left > 0 {
            let bytes = bytes.get_mut(..left.min(8_192)).unwrap_or_default();
            self.input.read_exact(bytes.as_flattened_mut())?;
            words.extend(bytes.iter().map(|bytes| word(*bytes)));
            left -= bytes.len();
        }
        Ok(words)
    }

    fn documents(&mut self) -> Result<Vec<Option<Entry>>> {
        let count = self.count(1)?;
        (0..count).map(|_| self.document()).collect()
    }

    fn document(&mut self) -> Result<Option<Entry>> {
        let mut kind = [0];
        self.input.read_exact(&mut kind)?;
        let Some(parts) = kind[0].checked_sub(1) else { return Ok(None) };
        let (number, rows) = (self.number()? as i64, self.number()?);
        let id = String::from_utf8(self.bytes()?).map_err(|_| invalid())?;
        let id = DocId::new(id).map_err(|_| invalid())?;
        let date = if parts & 1 == 0 { None } else { Some(Timestamp::from_millis(self.number()? as i64)) };
        let metadata = if parts & 2 == 0 { Metadata::new() } else { serde_json::from_slice(&self.bytes()?)? };
        Ok(Some(Entry { id, number, metadata, date, first_row: (rows >> 32) as u32, rows: rows as u32 }))
    }

    fn postings(&mut self) -> Result<Postings> {
        let texts = usize::try_from(self.number()?).map_err(|_| invalid())?;
        let (total_length, removed) = (self.number()?, self.number()?);
        let lengths: Vec<u32> = self.words(u32::from_le_bytes)?;
        let (ends, packed) = (self.words(u64::from_le_bytes)?, self.bytes()?);
        let whole = lengths.iter().map(|length| u64::from(*length)).sum::<u64>() == total_length;
        if !whole || texts > lengths.len() || removed > lengths.len() as u64 {
            return Err(invalid());
        }
        let mut postings = Postings::default();
        (postings.packed, postings.ends, postings.lengths) = (packed, ends, lengths);
        (postings.texts, postings.total_length, postings.removed) = (texts, total_length, removed as usize);
        Ok(postings)
    }
}

fn precision_number(precision: VectorPrecision) -> u64 {
    match precision {
        VectorPrecision::F32 => 1,
        VectorPrecision::I8 => 2,
        VectorPrecision::Bits => 3,
    }
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidData, "these bytes are no search index of this form")
}
