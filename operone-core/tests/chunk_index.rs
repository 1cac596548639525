//! The search index gives the same answers after any coming and going of documents as one that was built anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::collections::BTreeMap;

use operone_core::chunk::{Chunk, CompleteQuery, DenseQuery, Document, Level, LexicalQuery, NewDocument};
use operone_core::filter::Filter;
use operone_core::id::DocId;
use operone_core::Result;
use operone_core::in_process::chunk_index::{
    ChunkIndex, CountedDocument, IndexSource, IndexedDocument, Terms, VectorPlace, VectorPrecision,
};

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn document(random: &mut Random) -> NewDocument {
    let name = format!("doc-{}", random.below(12));
    let mut document = Document::new(DocId::new(name.as_str()).unwrap(), name, "text/plain");
    document.metadata = [("year".to_owned(), (random.below(3) as i64).into())].into();
    let word = |random: &mut Random| format!("w{}", random.below(15));
    let chunks: Vec<Chunk> = (0..random.below(5) as u32)
        .map(|ordinal| {
            let terms: Vec<String> = (0..random.below(8)).map(|_| word(random)).collect();
            let vector = (0..9).map(|_| random.below(3) as f32 / 9.0).collect();
            Chunk::new(ordinal, 0, "", terms).with_vector((random.below(4) > 0).then_some(vector))
        })
        .collect();
    let terms = (0..random.below(30)).map(|_| word(random)).collect();
    NewDocument::new(document, chunks, terms, "test")
}

fn insert(index: &mut ChunkIndex, document: &NewDocument) {
    let counted = CountedDocument::new(document);
    let terms = counted.terms.iter().map(|(term, count)| (index.number(term), count)).collect();
    index.insert(&IndexedDocument::new(&document.document, terms, counted.chunks));
}

fn built(documents: &BTreeMap<DocId, NewDocument>) -> ChunkIndex {
    let mut index = ChunkIndex::default();
    documents.values().rev().for_each(|document| insert(&mut index, document));
    index
}

fn assert_same(index: &ChunkIndex, fresh: &ChunkIndex, random: &mut Random) {
    assert_eq!((index.len(), index.is_empty()), (fresh.len(), fresh.is_empty()));
    let vector: Vec<f32> = (0..9).map(|_| random.below(3) as f32 / 9.0).collect();
    let terms: Vec<String> = (0..5).map(|_| format!("w{}", random.below(17))).collect();
    let filter = Filter::eq("year", random.below(3) as i64);
    for filter in [None, Some(&filter)] {
        for limit in [0, 1, 7, 1_000] {
            let dense = DenseQuery { vector: &vector, filter, limit };
            let nearest = index.dense(&dense).unwrap();
            assert_eq!(nearest, fresh.dense(&dense).unwrap());
            for level in [Level::Chunk, Level::Document] {
                let lexical = LexicalQuery { terms: &terms, level, filter, limit };
                let worded = index.lexical(&lexical);
                assert_eq!(worded, fresh.lexical(&lexical));
                let keys: Vec<_> = nearest.iter().chain(&worded).map(|found| found.key.clone()).collect();
                let complete = CompleteQuery { keys: &keys, vector: Some(&vector), terms: &terms, level };
                let completed = index.complete(&complete).unwrap();
                assert_eq!(completed, fresh.complete(&complete).unwrap());
                let scores = completed.iter().take(nearest.len()).map(|scores| scores.dense);
                assert!(scores.eq(nearest.iter().map(|found| Some(found.score))));
                let scores = completed.iter().skip(nearest.len()).map(|scores| scores.lexical);
                assert!(scores.eq(worded.iter().map(|found| Some(found.score))));
            }
        }
    }
}

#[test]
fn a_changed_index_answers_as_one_built_anew() {
    let mut random = Random(7);
    let (mut index, mut documents) = (ChunkIndex::default(), BTreeMap::new());
    for _ in 0..400 {
        if random.below(3) == 0 {
            let id = DocId::new(format!("doc-{}", random.below(12))).unwrap();
            assert_eq!(index.remove(&id), documents.remove(&id).is_some());
        } else {
            let document = document(&mut random);
            insert(&mut index, &document);
            documents.insert(document.document.id.clone(), document);
        }
        assert_same(&index, &built(&documents), &mut random);
    }
    for id in documents.into_keys() {
        assert!(index.remove(&id));
    }
    assert_same(&index, &ChunkIndex::default(), &mut random);
}

#[test]
fn an_index_takes_another_dimension_once_it_is_empty() {
    let document = |dimension: usize| {
        let document = Document::new(DocId::new("a").unwrap(), "a", "text/plain");
        let chunk = Chunk::new(0, 0, "", Vec::new()).with_vector(Some(vec![0.5; dimension]));
        NewDocument::new(document, vec![chunk], Vec::new(), "test")
    };
    let mut index = ChunkIndex::default();
    insert(&mut index, &document(4));
    let query = |vector| DenseQuery { vector, filter: None, limit: 1 };
    assert_eq!(index.dense(&query(&[0.5; 2])).unwrap_err().code(), "embedder_mismatch");
    index.remove(&DocId::new("a").unwrap());
    insert(&mut index, &document(2));
    assert_eq!(index.dense(&query(&[0.5; 2])).unwrap()[0].score, 0.5);
}
