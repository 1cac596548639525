//! Candidates of a query: what each side of an index finds, with the scores of the other sides.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{try_join_all, try_join3};
use operone_core::Result;
use operone_core::chunk::{
    Candidate, ChunkKey, ChunkStore, Collection, CompleteQuery, DenseQuery, Level, LexicalQuery, Scores,
};
use operone_core::filter::Filter;
use operone_core::id::DocId;

/// The most chunks that are looked through for the place where a document speaks of a query.
const MOST_LOOKED_THROUGH: usize = 2048;

/// The raw scores of one chunk; `None` where a score is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Signals {
    /// The cosine.
    pub(super) dense: Option<f32>,
    /// BM25 of the chunk.
    pub(super) chunk: Option<f32>,
    /// BM25 of its document.
    pub(super) document: Option<f32>,
}

/// Candidates in the order of their keys.
pub(super) type Pool = BTreeMap<ChunkKey, Signals>;

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) collection: &'a Collection,
    /// Empty where words are not asked.
    pub(super) terms: &'a [String],
    /// `None` where vectors are not asked.
    pub(super) vector: Option<&'a [f32]>,
    pub(super) filter: Option<&'a Filter>,
    /// How many each side gives.
    pub(super) limit: usize,
}

impl Asked<'_> {
    /// The candidates of all sides with all their scores, as far as the store can complete them.
    pub(super) async fn candidates(&self, store: &dyn ChunkStore) -> Result<Pool> {
        let (near, chunks, whole) = try_join3(
            self.dense(store),
            self.lexical(store, Level::Chunk),
            self.lexical(store, Level::Document),
        )
        .await?;
        let mut pool = Pool::new();
        for found in near {
            pool.entry(found.key).or_default().dense = Some(found.score);
        }
        for found in chunks {
            pool.entry(found.key).or_default().chunk = Some(found.score);
        }
        let mut documents: BTreeMap<DocId, f32> = BTreeMap::new();
        let present: BTreeSet<DocId> = pool.keys().map(|key| key.doc.clone()).collect();
        let mut absent = Vec::new();
        for candidate in whole {
            documents.insert(candidate.key.doc.clone(), candidate.score);
            if !present.contains(&candidate.key.doc) {
                absent.push(candidate.key);
            }
        }
        for key in self.places(store, absent).await? {
            pool.entry(key).or_default();
        }
        for (key, signals) in &mut pool {
            signals.document = documents.get(&key.doc).copied();
        }
        if store.capabilities().complete {
            self.complete(store, &mut pool).await?;
        }
        Ok(pool)
    }

    async fn dense(&self, store: &dyn ChunkStore) -> Result<Vec<Candidate>> {
        let Some(vector) = self.vector else { return Ok(Vec::new()) };
        store.dense(self.collection, DenseQuery { vector, filter: self.filter, limit: self.limit }).await
    }

    async fn lexical(&self, store: &dyn ChunkStore, level: Level) -> Result<Vec<Candidate>> {
        if self.terms.is_empty() {
            return Ok(Vec::new());
        }
        let query = LexicalQuery { terms: self.terms, level, filter: self.filter, limit: self.limit };
        store.lexical(self.collection, query).await
    }

    /// The chunk of each document that has the query's words, for documents that were found as a whole and of which
    /// no chunk was. The first chunk where the store cannot tell, and where there would be too much to look through.
    async fn places(&self, store: &dyn ChunkStore, first: Vec<ChunkKey>) -> Result<Vec<ChunkKey>> {
        if !store.capabilities().complete {
            return Ok(first);
        }
        let mut keys = Vec::new();
        let mut best: BTreeMap<DocId, (u32, f32)> = BTreeMap::new();
        let documents = first.iter().map(|key| store.document(self.collection, &key.doc));
        let documents = try_join_all(documents).await?;
        for (ChunkKey { doc, .. }, document) in first.into_iter().zip(documents) {
            let left = MOST_LOOKED_THROUGH.saturating_sub(keys.len());
            if let Some(document) = document
                && document.chunks as usize <= left
            {
                keys.extend((0..document.chunks).map(|ordinal| ChunkKey { doc: doc.clone(), ordinal }));
            }
            best.insert(doc, (0, 0.0));
        }
        let query = CompleteQuery { keys: &keys, vector: None, terms: self.terms, level: Level::Chunk };
        let scores =
            if keys.is_empty() { Vec::new() } else { store.complete(self.collection, query).await? };
        for (key, scores) in keys.into_iter().zip(scores) {
            if let (Some(score), Some(best)) = (scores.lexical, best.get_mut(&key.doc))
                && score > best.1
            {
                *best = (key.ordinal, score);
            }
        }
        Ok(best.into_iter().map(|(doc, (ordinal, _))| ChunkKey { doc, ordinal }).collect())
    }

    /// Asks for the scores that candidates of one side lack of the others.
    async fn complete(&self, store: &dyn ChunkStore, pool: &mut Pool) -> Result<()> {
        let sides = [Side::Dense, Side::Chunk, Side::Document];
        let lacking: Vec<Vec<ChunkKey>> = sides
            .iter()
            .map(|side| {
                let lacks = |(key, signals): (&ChunkKey, &mut Signals)| {
                    side.score(signals).is_none().then(|| key.clone())
                };
                pool.iter_mut().filter_map(lacks).collect()
            })
            .collect();
        let asked = sides.iter().zip(&lacking).map(|(side, keys)| self.scores(store, *side, keys));
        for ((side, keys), found) in sides.iter().zip(&lacking).zip(try_join_all(asked).await?) {
            for (key, Scores { dense, lexical }) in keys.iter().zip(found) {
                if let Some(signals) = pool.get_mut(key) {
                    *side.score(signals) = if *side == Side::Dense { dense } else { lexical };
                }
            }
        }
        Ok(())
    }

    async fn scores(&self, store: &dyn ChunkStore, side: Side, keys: &[ChunkKey]) -> Result<Vec<Scores>> {
        let (vector, terms, level) = match side {
            Side::Dense => (self.vector, &[][..], Level::Chunk),
            Side::Chunk => (None, self.terms, Level::Chunk),
            Side::Document => (None, self.terms, Level::Document),
        };
        if keys.is_empty() || (vector.is_none() && terms.is_empty()) {
            return Ok(Vec::new());
        }
        store.complete(self.collection, CompleteQuery { keys, vector, terms, level }).await
    }
}

/// Where a score comes from.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Dense,
    Chunk,
    Document,
}

impl Side {
    fn score(self, signals: &mut Signals) -> &mut Option<f32> {
        match self {
            Self::Dense => &mut signals.dense,
            Self::Chunk => &mut signals.chunk,
            Self::Document => &mut signals.document,
        }
    }
}
