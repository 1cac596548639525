//! The search indexes in memory: each is loaded when its collection is first searched, and follows every commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};

use operone_core::Error;
use operone_core::chunk::{Collection, Generation};
use operone_core::in_process::chunk_index::{ChunkIndex, IndexedDocument};
use rusqlite::Connection;

use super::{rows, terms};
use crate::error::Failure;

/// How many documents are handed over at once while an index is loaded.
const BATCH: usize = 32;
/// How many such batches may wait.
const BATCHES_AHEAD: usize = 4;

/// The indexes of all collections that were asked for.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    // Held for single look-ups only.
    slots: Mutex<HashMap<Collection, Arc<Slot>>>,
}

/// The index of one collection, once it is loaded.
///
/// Its lock is taken on threads for blocking work and on the thread that writes, never across an await. A reader
/// sees the index before a commit or after it.
#[derive(Debug)]
pub(super) struct Slot {
    collection: Collection,
    loaded: RwLock<Option<Loaded>>,
}

/// An index with the generation of the collection that it holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) generation: Generation,
    pub(super) index: ChunkIndex,
}

impl Indexes {
    pub(super) fn slot(&self, collection: &Collection) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Slot { collection: collection.clone(), loaded: RwLock::default() });
        Arc::clone(slots.entry(collection.clone()).or_insert_with(new))
    }
}

impl Slot {
    /// Reads the index, which is loaded if it is not. Blocks while it is loaded or changed.
    pub(super) fn read<T>(&self, db: &Connection, read: impl FnOnce(&Loaded) -> T) -> Result<T, Failure> {
        if let Some(loaded) = &*self.loaded.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(read(loaded));
        }
        let mut slot = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            // Writers wait for the lock, so that no commit falls between the load and its end unnoticed.
            *slot = Some(load(db, &self.collection)?);
        }
        drop(slot);
        let slot = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        Ok(read(slot.as_ref().unwrap_or(&Loaded::default())))
    }

    /// The generation of the index, if it is loaded.
    pub(super) fn generation(&self) -> Option<Generation> {
        let slot = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map(|loaded| loaded.generation)
    }

    /// Makes a committed change in the index, unless it was loaded after that commit.
    pub(super) fn follow(&self, generation: Generation, change: impl FnOnce(&mut ChunkIndex)) {
        let mut slot = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_mut().filter(|loaded| loaded.generation < generation) {
            change(&mut loaded.index);
            loaded.generation = generation;
        }
    }
}

/// Reads documents here and indexes them on a second thread meanwhile.
fn load(db: &Connection, collection: &Collection) -> Result<Loaded, Failure> {
    let Some(found) = rows::find(db, collection)? else { return Ok(Loaded::default()) };
    let mut index = ChunkIndex::default();
    if let Some(dimension) = found.space.as_ref().and_then(|space| space.dimension) {
        index.reserve(rows::count_vectors(db, &found)?, dimension);
    }
    terms::for_each(db, found.number, |number, term| index.learn(number, term))?;
    let index = std::thread::scope(|scope| {
        let (documents, read) = mpsc::sync_channel::<Vec<IndexedDocument>>(BATCHES_AHEAD);
        let indexing = scope.spawn(move || {
            read.iter().flatten().for_each(|document| index.insert(&document));
            index
        });
        let mut batch = Vec::new();
        // Nobody takes a batch only if the other thread has ended, which its join reports.
        rows::for_each_index(db, &found, |document| {
            batch.push(document);
            if batch.len() == BATCH {
                let _ = documents.send(std::mem::take(&mut batch));
            }
        })?;
        let _ = documents.send(batch);
        drop(documents);
        indexing.join().map_err(|_| Failure::from(Error::internal("the search index cannot be built")))
    })?;
    Ok(Loaded { generation: found.generation, index })
}
