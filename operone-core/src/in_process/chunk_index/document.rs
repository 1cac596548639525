//! What of a document the index needs, in the form in which a store can keep it.

use std::collections::HashMap;

use crate::chunk::{Document, NewDocument};
use crate::clock::Timestamp;
use crate::id::DocId;
use crate::metadata::Metadata;

/// The words of a document, counted: each term once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CountedDocument {
    /// Every term of the document and of its chunks, with its count in the document as a whole, which is zero
    /// where only a chunk has it.
    pub terms: TermCounts,
    /// Its chunks in order.
    pub chunks: Vec<IndexedChunk>,
}

/// A document as the index takes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IndexedDocument {
    /// The document's id.
    pub id: DocId,
    /// The number under which the store knows this version of the document.
    pub number: i64,
    /// What filters compare with.
    pub metadata: Metadata,
    /// What `date_range` compares with.
    pub date: Option<Timestamp>,
    /// The numbers of its terms in the collection, in the order of [`CountedDocument::terms`], with their counts.
    pub terms: Vec<(u32, u32)>,
    /// Its chunks in order.
    pub chunks: Vec<IndexedChunk>,
}

/// A chunk as the index takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexedChunk {
    /// Places among the terms of the document, rising, each with its count in the chunk.
    pub terms: Vec<(u32, u32)>,
    /// The vector, if there is one.
    pub vector: Option<Vec<f32>>,
}

impl CountedDocument {
    /// Counts the words of `document`.
    pub fn new(document: &NewDocument) -> Self {
        let mut places = HashMap::new();
        let mut terms = TermCounts::default();
        for term in &document.terms {
            let place = place_of(term, &mut places, &mut terms);
            terms.add(place);
        }
        let chunks = document.chunks.iter().map(|chunk| {
            let mut counts: HashMap<u32, u32> = HashMap::new();
            for term in &chunk.terms {
                *counts.entry(place_of(term, &mut places, &mut terms)).or_default() += 1;
            }
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_unstable();
            IndexedChunk { terms: counts, vector: chunk.vector.clone() }
        });
        let chunks = chunks.collect();
        Self { terms, chunks }
    }
}

impl IndexedDocument {
    /// What the index needs of `document`, whose terms have numbers by now.
    ///
    /// `number` is the store's own for this version of the document; a later version has another one.
    pub fn new(document: &Document, number: i64, terms: Vec<(u32, u32)>, chunks: Vec<IndexedChunk>) -> Self {
        Self {
            id: document.id.clone(),
            number,
            metadata: document.metadata.clone(),
            date: document.date,
            terms,
            chunks,
        }
    }
}

fn place_of<'a>(term: &'a str, places: &mut HashMap<&'a str, u32>, terms: &mut TermCounts) -> u32 {
    *places.entry(term).or_insert_with(|| {
        terms.push(term, 0);
        terms.len() as u32 - 1
    })
}

/// Distinct terms with a count each, without an allocation per term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermCounts {
    text: String,
    /// Where in `text` each term ends, and its count.
    ends: Vec<(u32, u32)>,
}

impl TermCounts {
    /// Puts a term at the end. The terms together may have 4 GiB.
    pub fn push(&mut self, term: &str, count: u32) {
        self.text.push_str(term);
        self.ends.push((self.text.len() as u32, count));
    }

    /// How many terms there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Each term with its count, in the order in which they were put.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        begins.zip(&self.ends).map(|(begin, (end, count))| {
            (self.text.get(begin as usize..*end as usize).unwrap_or_default(), *count)
        })
    }

    fn add(&mut self, place: u32) {
        if let Some((_, count)) = self.ends.get_mut(place as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{Chunk, Document};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn terms_are_counted_in_the_document_and_in_each_chunk() {
        let document = Document::new(DocId::new("d").unwrap(), "file:///d", "text/plain");
        let chunks =
            vec![Chunk::new(0, 0, "b a b", words("b a b")), Chunk::new(1, 6, "title a", words("title a"))];
        let counted = CountedDocument::new(&NewDocument::new(document, chunks, words("a b b a"), "e"));
        assert_eq!(counted.terms.iter().collect::<Vec<_>>(), [("a", 2), ("b", 2), ("title", 0)]);
        assert_eq!(counted.chunks[0].terms, [(0, 1), (1, 2)]);
        assert_eq!(counted.chunks[1].terms, [(0, 1), (2, 1)]);
    }
}
