//! The chunk store: a database file that is the truth, and search indexes in memory that follow it.

mod codec;
mod loaded;
mod rows;
mod terms;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::chunk::{
    Candidate, Chunk, ChunkKey, ChunkStore, ChunkStoreCapabilities, Collection, CompleteQuery, DenseQuery,
    Document, Generation, LexicalQuery, NewDocument, Scores, StoredChunk,
};
use operone_core::id::{DocId, WorkId};
use operone_core::in_process::chunk_index::{ChunkIndex, CountedDocument, IndexedDocument};
use operone_core::{Error, Result};

use crate::database::Database;
use crate::schema::Schema;
use codec::{EncodedChunks, encode_chunks};
use loaded::Indexes;

const SCHEMA: Schema = Schema {
    migrations: &[include_str!("../../migrations/chunks-1.sql")],
    page_size: 16384,
    durable: true,
    secure_delete: false,
};

/// A chunk store in one file, with a search index in memory for each collection that is searched. Clones share
/// both.
///
/// What was acknowledged survives the end of the process and a loss of power. The first query of a collection
/// loads its index, one to two seconds for a hundred thousand chunks; its other searches wait meanwhile, and so does a
/// write to it with all writes behind it.
#[derive(Clone, Debug)]
pub struct SqliteChunkStore {
    database: Database,
    indexes: Arc<Indexes>,
}

impl SqliteChunkStore {
    /// Opens the file and creates it where it is missing. No index is loaded yet.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, one of a newer version `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let database = Database::open(path.as_ref(), SCHEMA, |_| Ok(()))?;
        Ok(Self { database, indexes: Arc::default() })
    }

    /// Searches the index of a collection on a thread for blocking work.
    async fn search<T: Send + 'static>(
        &self,
        operation: &'static str,
        collection: &Collection,
        search: impl FnOnce(&ChunkIndex) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = self.indexes.slot(collection);
        let search = move |db: &_| Ok(slot.read(db, |loaded| search(&loaded.index))??);
        self.database.read(operation, search).await
    }
}

#[async_trait]
impl ChunkStore for SqliteChunkStore {
    fn capabilities(&self) -> ChunkStoreCapabilities {
        ChunkStoreCapabilities::default().with_complete(true)
    }

    async fn replace(&self, collection: &Collection, mut document: NewDocument) -> Result<Generation> {
        document.document.chunks = u32::try_from(document.chunks.len()).unwrap_or(u32::MAX);
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(document)).await;
        let prepared = prepared.map_err(|error| {
            Error::internal("the document was not prepared")
                .with_operation("chunks.replace")
                .with_source(error)
        })?;
        let (slot, collection) = (self.indexes.slot(collection), collection.clone());
        let replace = move |db: &_| {
            let Prepared { document, counted, encoded } = &prepared;
            let stored = rows::replace(db, &collection, document, &counted.terms, encoded)?;
            Ok((stored, prepared))
        };
        let follow = move |((generation, terms), prepared): ((Generation, Vec<(u32, u32)>), Prepared)| {
            let Prepared { document, counted, .. } = prepared;
            slot.follow(generation, |index| {
                for ((number, _), (term, _)) in terms.iter().zip(counted.terms.iter()) {
                    index.learn(*number, term);
                }
                index.insert(&IndexedDocument::new(&document.document, terms, counted.chunks));
            });
            generation
        };
        self.database.write_then("chunks.replace", replace, follow).await
    }

    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<Generation> {
        let (slot, collection, ids) = (self.indexes.slot(collection), collection.clone(), ids.to_vec());
        let remove = move |db: &_| {
            let generation = rows::remove(db, &collection, &ids)?;
            Ok((generation, ids))
        };
        let follow = move |(generation, ids): (Generation, Vec<DocId>)| {
            slot.follow(generation, |index| {
                for id in &ids {
                    index.remove(id);
                }
            });
            generation
        };
        self.database.write_then("chunks.remove", remove, follow).await
    }

    async fn generation(&self, collection: &Collection) -> Result<Generation> {
        let (slot, collection) = (self.indexes.slot(collection), collection.clone());
        // That of the index, where there is one: a commit counts once searches see it.
        let generation = move |db: &_| match slot.generation() {
            Some(generation) => Ok(generation),
            None => Ok(rows::find(db, &collection)?.map(|found| found.generation).unwrap_or_default()),
        };
        self.database.read("chunks.generation", generation).await
    }

    async fn embedder(&self, collection: &Collection) -> Result<Option<String>> {
        let collection = collection.clone();
        let embedder = move |db: &_| {
            Ok(rows::find(db, &collection)?.and_then(|found| found.space).map(|space| space.embedder))
        };
        self.database.read("chunks.embedder", embedder).await
    }

    async fn document(&self, collection: &Collection, id: &DocId) -> Result<Option<Document>> {
        let (collection, id) = (collection.clone(), id.clone());
        self.database.read("chunks.document", move |db| rows::document(db, &collection, &id)).await
    }

    async fn documents(
        &self,
        collection: &Collection,
        after: Option<&DocId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        let (collection, after) = (collection.clone(), after.cloned());
        let page = move |db: &_| rows::documents(db, &collection, after.as_ref(), limit);
        self.database.read("chunks.documents", page).await
    }

    async fn outcomes(&self, collection: &Collection, job: &WorkId) -> Result<Vec<(u32, DocId)>> {
        let (collection, job) = (collection.clone(), job.clone());
        self.database.read("chunks.outcomes", move |db| rows::outcomes(db, &collection, &job)).await
    }

    async fn dense(&self, collection: &Collection, query: DenseQuery<'_>) -> Result<Vec<Candidate>> {
        let (vector, filter, limit) = (query.vector.to_vec(), query.filter.cloned(), query.limit);
        let dense = move |index: &ChunkIndex| {
            index.dense(&DenseQuery { vector: &vector, filter: filter.as_ref(), limit })
        };
        self.search("chunks.dense", collection, dense).await
    }

    async fn lexical(&self, collection: &Collection, query: LexicalQuery<'_>) -> Result<Vec<Candidate>> {
        let (terms, filter) = (query.terms.to_vec(), query.filter.cloned());
        let (level, limit) = (query.level, query.limit);
        let lexical = move |index: &ChunkIndex| {
            Ok(index.lexical(&LexicalQuery { terms: &terms, level, filter: filter.as_ref(), limit }))
        };
        self.search("chunks.lexical", collection, lexical).await
    }

    async fn complete(&self, collection: &Collection, query: CompleteQuery<'_>) -> Result<Vec<Scores>> {
        let (keys, vector) = (query.keys.to_vec(), query.vector.map(<[f32]>::to_vec));
        let (terms, level) = (query.terms.to_vec(), query.level);
        let complete = move |index: &ChunkIndex| {
            index.complete(&CompleteQuery { keys: &keys, vector: vector.as_deref(), terms: &terms, level })
        };
        self.search("chunks.complete", collection, complete).await
    }

    async fn chunks(&self, collection: &Collection, keys: &[ChunkKey]) -> Result<Vec<Option<StoredChunk>>> {
        let (collection, keys) = (collection.clone(), keys.to_vec());
        self.database.read("chunks.chunks", move |db| rows::chunks(db, &collection, &keys)).await
    }

    async fn document_chunks(&self, collection: &Collection, id: &DocId) -> Result<Vec<Chunk>> {
        let (collection, id) = (collection.clone(), id.clone());
        let chunks = move |db: &_| rows::document_chunks(db, &collection, &id);
        self.database.read("chunks.document_chunks", chunks).await
    }
}

/// A document with everything that can be computed before the transaction begins.
struct Prepared {
    document: NewDocument,
    counted: CountedDocument,
    encoded: EncodedChunks,
}

impl Prepared {
    fn new(document: NewDocument) -> Self {
        let counted = CountedDocument::new(&document);
        let encoded = encode_chunks(&counted.chunks);
        Self { document, counted, encoded }
    }
}
