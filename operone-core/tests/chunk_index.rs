//! The search index gives the same answers after any coming and going of documents as a model,
//! as one that was built anew and as one that was saved and read back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::collections::BTreeMap;

use operone_core::Result;
use operone_core::chunk::{
    Candidate, Chunk, ChunkKey, CompleteQuery, DenseQuery, Document, Level, LexicalQuery, NewDocument,
};
use operone_core::filter::Filter;
use operone_core::id::DocId;
use operone_core::in_process::chunk_index::{
    ChunkIndex, CountedDocument, IndexSource, IndexedDocument, Terms, VectorPlace, VectorPrecision,
};
use operone_core::text::Bm25;

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

/// What a store knows: the truth that the index is compared with.
#[derive(Default)]
struct Model {
    documents: BTreeMap<DocId, NewDocument>,
    terms: Terms,
}

impl IndexSource for Model {
    fn term(&self, term: &str) -> Result<Option<u32>> {
        Ok(self.terms.get(term))
    }

    fn vectors(&self, chunks: &[VectorPlace<'_>], found: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        for (place, chunk) in chunks.iter().enumerate() {
            let vector = &self.documents[chunk.id].chunks[chunk.ordinal as usize].vector;
            found(place, vector.as_ref().unwrap());
        }
        Ok(())
    }
}

impl Model {
    fn insert(&mut self, index: &mut ChunkIndex, document: NewDocument) {
        index_one(&mut self.terms, index, &document);
        self.documents.insert(document.document.id.clone(), document);
    }

    fn built(&mut self, precision: VectorPrecision) -> ChunkIndex {
        let mut index = ChunkIndex::new(precision);
        for document in self.documents.values().rev() {
            index_one(&mut self.terms, &mut index, document);
        }
        index
    }

    fn passing(&self, filter: Option<&Filter>) -> impl Iterator<Item = &NewDocument> {
        let passes = move |document: &Document| {
            filter.is_none_or(|filter| filter.matches(&document.metadata, document.date))
        };
        self.documents.values().filter(move |document| passes(&document.document))
    }

    /// Every product, by the definition.
    fn dense(&self, query: &DenseQuery<'_>) -> Vec<Candidate> {
        let mut found = Vec::new();
        for document in self.passing(query.filter) {
            for chunk in document.chunks.iter() {
                let Some(vector) = &chunk.vector else { continue };
                let product: f32 = query.vector.iter().zip(vector).map(|(one, other)| one * other).sum();
                found.push(candidate(document, chunk.ordinal, product.clamp(-1.0, 1.0)));
            }
        }
        best(found, query.limit)
    }

    /// Every BM25 score, by the definition.
    fn lexical(&self, query: &LexicalQuery<'_>) -> Vec<Candidate> {
        let texts = |document: &NewDocument| match query.level {
            Level::Chunk => document.chunks.iter().map(|chunk| chunk.terms.clone()).collect(),
            _ => vec![document.terms.clone()],
        };
        let all: Vec<Vec<String>> = self.documents.values().flat_map(texts).collect();
        let mean = all.iter().map(Vec::len).sum::<usize>() as f32 / all.len().max(1) as f32;
        let mut found = Vec::new();
        for document in self.passing(query.filter).filter(|document| !document.chunks.is_empty()) {
            for (ordinal, text) in (0..).zip(texts(document)) {
                let mut score = 0.0;
                for term in query.terms {
                    let count = text.iter().filter(|other| *other == term).count() as f32;
                    let containing = all.iter().filter(|text| text.contains(term)).count();
                    let part = Bm25::default().term_weight(count, text.len() as f32, mean);
                    score += Bm25::inverse_document_frequency(all.len(), containing) * part;
                }
                if score > 0.0 {
                    found.push(candidate(document, ordinal, score));
                }
            }
        }
        best(found, query.limit)
    }
}

fn index_one(terms: &mut Terms, index: &mut ChunkIndex, document: &NewDocument) {
    let counted = CountedDocument::new(document);
    let numbered = counted.terms.iter().map(|(term, count)| (terms.number(term), count)).collect();
    index.insert(&IndexedDocument::new(&document.document, 1, numbered, counted.chunks));
}

fn candidate(document: &NewDocument, ordinal: u32, score: f32) -> Candidate {
    Candidate { key: ChunkKey { doc: document.document.id.clone(), ordinal }, score }
}

fn best(mut found: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
    found.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.key.cmp(&other.key)));
    found.truncate(limit);
    found
}

/// The scores are those of the model; the order of nearly equal ones may differ.
fn assert_near(found: &[Candidate], expected: &[Candidate]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found.score - expected.score).abs() <= 1e-4 * expected.score.abs().max(0.1),
            "{found:?} {expected:?}"
        );
    }
}

fn assert_same(model: &Model, index: &ChunkIndex, others: &[ChunkIndex], random: &mut Random) {
    let vector: Vec<f32> = (0..9).map(|_| random.below(3) as f32 / 9.0).collect();
    let terms: Vec<String> = (0..5).map(|_| format!("w{}", random.below(17))).collect();
    let filter = Filter::eq("year", random.below(3) as i64);
    for filter in [None, Some(&filter)] {
        for limit in [0, 1, 7, 1_000] {
            let dense = DenseQuery { vector: &vector, filter, limit };
            let nearest = index.dense(&dense, model).unwrap();
            assert_near(&nearest, &model.dense(&dense));
            for level in [Level::Chunk, Level::Document] {
                let lexical = LexicalQuery { terms: &terms, level, filter, limit };
                let worded = index.lexical(&lexical, model).unwrap();
                assert_near(&worded, &model.lexical(&lexical));
                let keys: Vec<_> = nearest.iter().chain(&worded).map(|found| found.key.clone()).collect();
                let complete = CompleteQuery { keys: &keys, vector: Some(&vector), terms: &terms, level };
                let completed = index.complete(&complete, model).unwrap();
                let scores = completed.iter().take(nearest.len()).map(|scores| scores.dense);
                assert!(scores.eq(nearest.iter().map(|found| Some(found.score))));
                let scores = completed.iter().skip(nearest.len()).map(|scores| scores.lexical);
                assert!(scores.eq(worded.iter().map(|found| Some(found.score))));
                for other in others {
                    assert_eq!((index.len(), index.chunks()), (other.len(), other.chunks()));
                    assert_eq!(nearest, other.dense(&dense, model).unwrap());
                    assert_eq!(worded, other.lexical(&lexical, model).unwrap());
                    assert_eq!(completed, other.complete(&complete, model).unwrap());
                }
            }
        }
    }
}

fn saved(index: &ChunkIndex) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.save(&mut bytes).unwrap();
    bytes
}

fn loaded(bytes: &[u8], precision: VectorPrecision) -> std::io::Result<ChunkIndex> {
    ChunkIndex::load(&mut &*bytes, bytes.len() as u64, precision)
}

#[test]
fn a_changed_index_answers_as_the_model_and_as_one_built_anew_or_read_back() {
    for precision in [VectorPrecision::F32, VectorPrecision::I8, VectorPrecision::Bits] {
        let mut random = Random(7);
        let (mut index, mut model) = (ChunkIndex::new(precision), Model::default());
        for round in 0..400 {
            if random.below(3) == 0 {
                let id = DocId::new(format!("doc-{}", random.below(12))).unwrap();
                assert_eq!(index.remove(&id), model.documents.remove(&id).is_some());
            } else {
                let document = document(&mut random);
                model.insert(&mut index, document);
            }
            if round % 40 == 0 {
                index.pack();
            }
            let mut read_back = loaded(&saved(&index), precision).unwrap();
            let same = model.built(precision);
            if round % 8 == 0 {
                assert_same(&model, &index, &[same, read_back], &mut random);
            } else if round % 50 == 1 {
                // From here on it is the one that was read back that changes.
                std::mem::swap(&mut index, &mut read_back);
            }
        }
        for id in std::mem::take(&mut model.documents).into_keys() {
            assert!(index.remove(&id));
        }
        assert!(index.is_empty() && index.chunks() == 0);
        assert_same(&model, &index, &[ChunkIndex::new(precision)], &mut random);
    }
}

/// Vectors in groups, as those of texts are, and vectors without any order, of which none is much nearer.
fn vectors(grouped: bool, count: usize, dimension: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let mut noise = |size: f32| -> Vec<f32> {
        (0..dimension)
            .map(|_| (0..4).map(|_| random.below(1_001) as f32 / 1_000.0 - 0.5).sum::<f32>() * size)
            .collect()
    };
    let centres: Vec<Vec<f32>> = (0..50).map(|_| noise(1.0)).collect();
    let vector = |number: usize| {
        let mut vector = noise(if grouped { 0.5 } else { 1.0 });
        if grouped {
            vector.iter_mut().zip(&centres[number % 50]).for_each(|(number, centre)| *number += centre);
        }
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        vector.into_iter().map(|number| number / length).collect()
    };
    (0..count).map(vector).collect()
}

#[test]
fn each_precision_finds_nearly_all_of_the_ten_nearest() {
    const QUERIES: usize = 40;
    for (precision, grouped, least) in [
        (VectorPrecision::F32, false, 1.0),
        (VectorPrecision::I8, false, 0.99),
        (VectorPrecision::I8, true, 0.99),
        (VectorPrecision::Bits, true, 0.95),
    ] {
        let mut random = Random(3);
        let mut all = vectors(grouped, 10_000 + QUERIES, 96, &mut random);
        let queries = all.split_off(10_000);
        let (mut index, mut model) = (ChunkIndex::new(precision), Model::default());
        for (number, vector) in all.into_iter().enumerate() {
            let document = Document::new(DocId::new(format!("{number}")).unwrap(), "", "text/plain");
            let chunk = Chunk::new(0, 0, "", Vec::new()).with_vector(Some(vector));
            model.insert(&mut index, NewDocument::new(document, vec![chunk], Vec::new(), "test"));
        }
        let mut hits = 0;
        for vector in &queries {
            let query = DenseQuery { vector, filter: None, limit: 10 };
            let (found, exact) = (index.dense(&query, &model).unwrap(), model.dense(&query));
            hits += exact.iter().filter(|exact| found.iter().any(|found| found.key == exact.key)).count();
        }
        let recall = hits as f64 / (10 * QUERIES) as f64;
        println!("{precision:?}, grouped {grouped}: recall@10 {recall}");
        assert!(recall >= least, "{precision:?}, grouped {grouped}: recall@10 {recall}");
    }
}

#[test]
fn a_chunk_whose_whole_vector_is_gone_is_still_found() {
    struct Gone;
    impl IndexSource for Gone {
        fn term(&self, _: &str) -> Result<Option<u32>> {
            Ok(None)
        }
        fn vectors(&self, _: &[VectorPlace<'_>], _: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
            Ok(())
        }
    }
    let (mut index, mut model) = (ChunkIndex::default(), Model::default());
    let document = Document::new(DocId::new("a").unwrap(), "a", "text/plain");
    let chunk = Chunk::new(0, 0, "", Vec::new()).with_vector(Some(vec![0.6, 0.8]));
    model.insert(&mut index, NewDocument::new(document, vec![chunk], Vec::new(), "test"));
    let query = DenseQuery { vector: &[1.0, 0.0], filter: None, limit: 1 };
    let found = index.dense(&query, &Gone).unwrap();
    assert!((found[0].score - 0.6).abs() < 0.01, "{found:?}");
}

#[test]
fn bytes_that_are_no_index_are_refused() {
    let (mut index, mut model, mut random) = (ChunkIndex::default(), Model::default(), Random(1));
    (0..20).for_each(|_| model.insert(&mut index, document(&mut random)));
    let bytes = saved(&index);
    assert!(loaded(&bytes, VectorPrecision::Bits).is_err());
    for end in 0..bytes.len() {
        assert!(loaded(&bytes[..end], VectorPrecision::I8).is_err(), "{end}");
    }
    // Whatever is changed, the answer is an error or an index that answers something.
    let terms = ["w1".to_owned(), "w2".to_owned()];
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        let Ok(index) = loaded(&bytes, VectorPrecision::I8) else { continue };
        let query = LexicalQuery { terms: &terms, level: Level::Chunk, filter: None, limit: 9 };
        index.lexical(&query, &model).unwrap();
    }
}

#[test]
fn an_index_takes_another_dimension_once_it_is_empty() {
    let document = |dimension: usize| {
        let document = Document::new(DocId::new("a").unwrap(), "a", "text/plain");
        let chunk = Chunk::new(0, 0, "", Vec::new()).with_vector(Some(vec![0.5; dimension]));
        NewDocument::new(document, vec![chunk], Vec::new(), "test")
    };
    let (mut index, mut model) = (ChunkIndex::default(), Model::default());
    model.insert(&mut index, document(4));
    let query = |vector| DenseQuery { vector, filter: None, limit: 1 };
    assert_eq!(index.dense(&query(&[0.5; 2]), &model).unwrap_err().code(), "embedder_mismatch");
    index.remove(&DocId::new("a").unwrap());
    model.insert(&mut index, document(2));
    assert_eq!(index.dense(&query(&[0.5; 2]), &model).unwrap()[0].score, 0.5);
}
