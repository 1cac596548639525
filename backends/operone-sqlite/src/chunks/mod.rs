//! The chunk store: a database file that is the truth, and search indexes in memory that follow it.

mod codec;
mod config;
mod loaded;
mod purge;
mod rows;
mod saved;
mod terms;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::chunk::{
    Candidate, Chunk, ChunkKey, ChunkStore, ChunkStoreCapabilities, Collection, CollectionSummary,
    CompleteQuery, DenseQuery, Document, Generation, LexicalQuery, NewDocument, Scores, StoredChunk,
};
use operone_core::id::{DocId, TenantId, WorkId};
use operone_core::in_process::chunk_index::{ChunkIndex, CountedDocument, IndexSource, IndexedDocument};
use operone_core::{Error, Result};

use crate::database::Database;
use crate::error::Failure;
use crate::schema::Schema;
use codec::{EncodedChunks, encode_chunks};
use loaded::{Indexes, Slot};
use rows::Replaced;

pub use config::ChunkIndexConfig;

const SCHEMA: Schema = Schema {
    migrations: &[
        include_str!("../../migrations/chunks-1.sql"),
        include_str!("../../migrations/chunks-2.sql"),
        include_str!("../../migrations/chunks-3.sql"),
    ],
    page_size: 16384,
    durable: true,
    secure_delete: true,
};

/// How many commits may come between two looks at a collection's generation before the second look is taken.
const COMMITS_BETWEEN: usize = 100;

/// A chunk store in one file, with a search index in memory for each collection that is searched. Clones share
/// both.
///
/// What was acknowledged survives the end of the process and a loss of power. The first query of a collection
/// loads its index; its other searches wait meanwhile, and so does a write to it with all writes behind it. An index
/// is saved in the file now and then, by a task beside the others, and when the last handle is dropped: it then loads
/// in about a tenth of a second for a hundred thousand chunks, and is otherwise built in one to two.
#[derive(Clone, Debug)]
pub struct SqliteChunkStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    indexes: Indexes,
}

impl SqliteChunkStore {
    /// Opens the file and creates it where it is missing. No index is loaded yet.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, one of a newer version `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, ChunkIndexConfig::default())
    }

    /// As [`SqliteChunkStore::open`], with a choice of how the indexes lie in memory. Another precision than before
    /// makes each index be built anew once.
    pub fn open_with(path: impl AsRef<Path>, config: ChunkIndexConfig) -> Result<Self> {
        let database = Database::open(path.as_ref(), SCHEMA, |_| Ok(()))?;
        Ok(Self(Arc::new(Inner { database, indexes: Indexes::new(config) })))
    }

    /// Searches the index of a collection on a thread for blocking work.
    async fn search<T: Send + 'static>(
        &self,
        operation: &'static str,
        collection: &Collection,
        search: impl FnOnce(&ChunkIndex, &dyn IndexSource) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = self.0.indexes.slot(collection);
        let (inner, own) = (Arc::clone(&self.0), Arc::clone(&slot));
        let search = move |db: &_| {
            let loaded = slot.generation().is_some();
            let found = slot.read(db, search)?;
            let mut marked = false;
            if !loaded {
                inner.indexes.make_room();
                marked = purge::is_marked(db, &slot.collection)?;
            }
            Ok((found?, marked))
        };
        let found = self.0.database.read(operation, search).await;
        if found.as_ref().is_ok_and(|(_, marked)| *marked) {
            // An earlier life of the program did not get to it.
            self.purge_soon(&own);
        }
        self.save_if_due(&own);
        found.map(|(found, _)| found)
    }

    /// Begins to take out of the file what a removal has left there. Nobody waits for it; where it fails, the next
    /// removal makes up for it, and where the program ends, the next search of the collection after it.
    fn purge_soon(&self, slot: &Arc<Slot>) {
        if !slot.wants_purge() {
            return;
        }
        let (slot, database) = (Arc::clone(slot), self.0.database.clone());
        tokio::spawn(async move {
            let purge = slot.begin_purge().await;
            let purged: Result<()> = async {
                loop {
                    let collection = slot.collection.clone();
                    let forget = move |db: &_| purge::forget_saved(db, &collection);
                    if !database.write("chunks.purge", forget).await? {
                        break;
                    }
                }
                let collection = slot.collection.clone();
                let unused = database.read("chunks.purge", move |db| purge::unused(db, &collection)).await?;
                let forget = move |db: &_| unused.map_or(Ok(()), |unused| unused.forget(db));
                database.write_and_purge("chunks.purge", forget).await
            }
            .await;
            drop(purge);
            if let Err(error) = purged {
                tracing::warn!(%error, "what a removal left in the file was not taken out yet");
            }
        });
    }

    /// Begins to save an index where that is due. Nobody waits for it; a save that fails is tried again later.
    fn save_if_due(&self, slot: &Arc<Slot>) {
        if !slot.is_save_due() {
            return;
        }
        let (slot, database) = (Arc::clone(slot), self.0.database.clone());
        let indexes = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let begun = tokio::task::spawn_blocking(move || slot.begin_save(&database)).await;
            let Ok(Some(save)) = begun else { return };
            if let Err(error) = save.run().await {
                tracing::warn!(%error, "the search index was not saved");
                return;
            }
            if let Some(inner) = indexes.upgrade() {
                inner.indexes.make_room();
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for slot in self.indexes.slots() {
            if slot.is_worth_saving() {
                drop(slot.begin_save(&self.database));
            }
        }
    }
}

#[async_trait]
impl ChunkStore for SqliteChunkStore {
    fn capabilities(&self) -> ChunkStoreCapabilities {
        ChunkStoreCapabilities::default().with_complete(true).with_exchange(true)
    }

    async fn replace(&self, collection: &Collection, mut document: NewDocument) -> Result<Generation> {
        document.document.chunks = u32::try_from(document.chunks.len()).unwrap_or(u32::MAX);
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(document)).await;
        let prepared = prepared.map_err(|error| {
            Error::internal("the document was not prepared")
                .with_operation("chunks.replace")
                .with_source(error)
        })?;
        let (slot, collection) = (self.0.indexes.slot(collection), collection.clone());
        let own = Arc::clone(&slot);
        let replace = move |db: &_| {
            let Prepared { document, counted, encoded } = &prepared;
            let replaced = rows::replace(db, &collection, document, &counted.terms, encoded)?;
            Ok((replaced, prepared))
        };
        let follow = move |(replaced, prepared): (Replaced, Prepared)| {
            let Prepared { document, counted, .. } = prepared;
            let Replaced { generation, number, terms } = replaced;
            slot.follow(generation, 1, |index| {
                index.insert(&IndexedDocument::new(&document.document, number, terms, counted.chunks));
            });
            generation
        };
        let generation = self.0.database.write_then("chunks.replace", replace, follow).await?;
        self.save_if_due(&own);
        Ok(generation)
    }

    async fn remove(&self, collection: &Collection, ids: &[DocId]) -> Result<Generation> {
        let (slot, collection, ids) = (self.0.indexes.slot(collection), collection.clone(), ids.to_vec());
        let own = Arc::clone(&slot);
        let remove = move |db: &_| {
            let generation = rows::remove(db, &collection, &ids)?;
            Ok((generation, ids))
        };
        let follow = move |(generation, ids): (Generation, Vec<DocId>)| {
            slot.follow(generation, ids.len(), |index| {
                for id in &ids {
                    index.remove(id);
                }
            });
            generation
        };
        let before = self.generation(&own.collection).await?;
        let generation = self.0.database.write_then("chunks.remove", remove, follow).await?;
        if generation > before {
            self.purge_soon(&own);
        }
        self.save_if_due(&own);
        Ok(generation)
    }

    async fn generation(&self, collection: &Collection) -> Result<Generation> {
        let (slot, collection) = (self.0.indexes.slot(collection), collection.clone());
        // The same in the file and in the index: who sees it twice has read nothing newer and nothing older between.
        let generation = move |db: &_| {
            let committed = || -> Result<_, Failure> {
                Ok(rows::find(db, &collection)?.map(|found| found.generation).unwrap_or_default())
            };
            let mut found = committed()?;
            for _ in 0..COMMITS_BETWEEN {
                slot.wait_for(found);
                if slot.generation().is_none_or(|held| held <= found) {
                    break;
                }
                found = committed()?;
            }
            Ok(found)
        };
        self.0.database.read("chunks.generation", generation).await
    }

    async fn collections(&self, tenant: &TenantId) -> Result<Vec<CollectionSummary>> {
        let tenant = tenant.clone();
        self.0.database.read("chunks.collections", move |db| rows::collections(db, &tenant)).await
    }

    async fn exchange(
        &self,
        live: &Collection,
        other: &Collection,
        expected: Generation,
    ) -> Result<Generation> {
        let (live_slot, other_slot) = (self.0.indexes.slot(live), self.0.indexes.slot(other));
        let (live, other) = (live.clone(), other.clone());
        let exchange = move |db: &_| rows::exchange(db, &live, &other, expected);
        let follow = move |generation: Generation| {
            live_slot.exchange(&other_slot, generation);
            generation
        };
        self.0.database.write_then("chunks.exchange", exchange, follow).await
    }

    async fn embedder(&self, collection: &Collection) -> Result<Option<String>> {
        let (slot, collection) = (self.0.indexes.slot(collection), collection.clone());
        let embedder = move |db: &_| {
            let Some(found) = rows::find(db, &collection)? else { return Ok(None) };
            // A commit counts once searches see it: nobody is to compare vectors with those of another embedder.
            slot.wait_for(found.generation);
            Ok(found.space.map(|space| space.embedder))
        };
        self.0.database.read("chunks.embedder", embedder).await
    }

    async fn document(&self, collection: &Collection, id: &DocId) -> Result<Option<Document>> {
        let (collection, id) = (collection.clone(), id.clone());
        self.0.database.read("chunks.document", move |db| rows::document(db, &collection, &id)).await
    }

    async fn documents(
        &self,
        collection: &Collection,
        after: Option<&DocId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        let (collection, after) = (collection.clone(), after.cloned());
        let page = move |db: &_| rows::documents(db, &collection, after.as_ref(), limit);
        self.0.database.read("chunks.documents", page).await
    }

    async fn outcomes(&self, collection: &Collection, job: &WorkId) -> Result<Vec<(u32, DocId)>> {
        let (collection, job) = (collection.clone(), job.clone());
        self.0.database.read("chunks.outcomes", move |db| rows::outcomes(db, &collection, &job)).await
    }

    async fn dense(&self, collection: &Collection, query: DenseQuery<'_>) -> Result<Vec<Candidate>> {
        let (vector, filter, limit) = (query.vector.to_vec(), query.filter.cloned(), query.limit);
        let dense = move |index: &ChunkIndex, source: &dyn IndexSource| {
            index.dense(&DenseQuery { vector: &vector, filter: filter.as_ref(), limit }, source)
        };
        self.search("chunks.dense", collection, dense).await
    }

    async fn lexical(&self, collection: &Collection, query: LexicalQuery<'_>) -> Result<Vec<Candidate>> {
        let (terms, filter) = (query.terms.to_vec(), query.filter.cloned());
        let (level, limit) = (query.level, query.limit);
        let lexical = move |index: &ChunkIndex, source: &dyn IndexSource| {
            index.lexical(&LexicalQuery { terms: &terms, level, filter: filter.as_ref(), limit }, source)
        };
        self.search("chunks.lexical", collection, lexical).await
    }

    async fn complete(&self, collection: &Collection, query: CompleteQuery<'_>) -> Result<Vec<Scores>> {
        let (keys, vector) = (query.keys.to_vec(), query.vector.map(<[f32]>::to_vec));
        let (terms, level) = (query.terms.to_vec(), query.level);
        let complete = move |index: &ChunkIndex, source: &dyn IndexSource| {
            let query = CompleteQuery { keys: &keys, vector: vector.as_deref(), terms: &terms, level };
            index.complete(&query, source)
        };
        self.search("chunks.complete", collection, complete).await
    }

    async fn chunks(&self, collection: &Collection, keys: &[ChunkKey]) -> Result<Vec<Option<StoredChunk>>> {
        let (collection, keys) = (collection.clone(), keys.to_vec());
        self.0.database.read("chunks.chunks", move |db| rows::chunks(db, &collection, &keys)).await
    }

    async fn document_chunks(&self, collection: &Collection, id: &DocId) -> Result<Vec<Chunk>> {
        let (collection, id) = (collection.clone(), id.clone());
        let chunks = move |db: &_| rows::document_chunks(db, &collection, &id);
        self.0.database.read("chunks.document_chunks", chunks).await
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
