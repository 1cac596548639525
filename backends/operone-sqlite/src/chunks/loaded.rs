//! The search indexes in memory: each is loaded when its collection is first searched, follows every commit, and
//! makes room when others are used more.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use operone_core::Error;
use operone_core::chunk::{Collection, Generation};
use operone_core::in_process::chunk_index::{ChunkIndex, IndexSource, IndexedDocument, VectorPlace};
use rusqlite::Connection;

use super::config::ChunkIndexConfig;
use super::rows::Found;
use super::saved::{self, Pieces, Step};
use super::{rows, terms};
use crate::database::Database;
use crate::error::Failure;

/// How many documents are handed over at once while an index is built.
const BATCH: usize = 32;
/// How many such batches may wait.
const BATCHES_AHEAD: usize = 4;
/// So few changed documents are made up for in no time.
const FEW: usize = 64;
/// The longest that an index takes to follow a commit.
const FOLLOWED: Duration = Duration::from_secs(5);
/// How long a purge waits for further removals.
const PURGE_DELAY: Duration = Duration::from_millis(200);
/// How often a purge looks whether a save has ended.
const SAVE_POLL: Duration = Duration::from_millis(20);
/// After this time without a change an index is worth saving.
const QUIET: Duration = Duration::from_secs(10);

/// The indexes of all collections that were asked for.
#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) config: ChunkIndexConfig,
    // Held for single look-ups only.
    slots: Mutex<HashMap<Collection, Arc<Slot>>>,
    /// Rises with every use of an index.
    uses: AtomicU64,
}

/// The index of one collection, once it is loaded.
///
/// Its lock is taken on threads for blocking work and on the thread that writes, never across an await. A reader
/// sees the index before a commit or after it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) collection: Collection,
    config: ChunkIndexConfig,
    loaded: RwLock<Option<Loaded>>,
    /// When it was used last, in uses of all indexes.
    used: AtomicU64,
    /// The bytes of the index when they were counted last; zero while it is not loaded.
    memory: AtomicUsize,
    saving: AtomicBool,
    /// Whether a purge waits to begin.
    purging: AtomicBool,
}

/// An index with the generation of the collection that it holds.
#[derive(Debug)]
struct Loaded {
    generation: Generation,
    /// The collection's number in the file.
    number: i64,
    index: ChunkIndex,
    /// How many documents changed since it was saved.
    unsaved: usize,
    changed: Instant,
}

impl Indexes {
    pub(super) fn new(config: ChunkIndexConfig) -> Self {
        Self { config, slots: Mutex::default(), uses: AtomicU64::new(0) }
    }

    pub(super) fn slot(&self, collection: &Collection) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Slot {
                collection: collection.clone(),
                config: self.config,
                loaded: RwLock::default(),
                used: AtomicU64::new(0),
                memory: AtomicUsize::new(0),
                saving: AtomicBool::new(false),
                purging: AtomicBool::new(false),
            })
        };
        let slot = slots.entry(collection.clone()).or_insert_with(new);
        slot.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Arc::clone(slot)
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Lets go of the indexes that were not used for longest, until the others keep to the limit of memory. The
    /// one that was used last stays.
    pub(super) fn make_room(&self) {
        let mut slots: Vec<_> = self.slots();
        slots.retain(|slot| slot.memory.load(Ordering::Relaxed) > 0);
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.used.load(Ordering::Relaxed)));
        let mut room = self.config.memory;
        for (place, slot) in slots.into_iter().enumerate() {
            match room.checked_sub(slot.memory.load(Ordering::Relaxed)) {
                Some(rest) => room = rest,
                None if place == 0 => room = 0,
                None => slot.let_go(),
            }
        }
    }
}

impl Slot {
    /// Reads the index, which is loaded if it is not. Blocks while it is loaded or changed.
    pub(super) fn read<T>(
        &self,
        db: &Connection,
        read: impl FnOnce(&ChunkIndex, &dyn IndexSource) -> T,
    ) -> Result<T, Failure> {
        if let Some(loaded) = &*self.loaded.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(read(&loaded.index, &FileSource { db, collection: loaded.number }));
        }
        let mut slot = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            // Writers wait for the lock, so that no commit falls between the load and its end unnoticed.
            *slot = load(db, &self.collection, self.config)?;
        }
        let Some(loaded) = &*slot else {
            let empty = ChunkIndex::new(self.config.precision);
            return Ok(read(&empty, &FileSource { db, collection: 0 }));
        };
        self.memory.store(loaded.index.memory().max(1), Ordering::Relaxed);
        Ok(read(&loaded.index, &FileSource { db, collection: loaded.number }))
    }

    /// The generation of the index, if it is loaded.
    pub(super) fn generation(&self) -> Option<Generation> {
        let slot = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map(|loaded| loaded.generation)
    }

    /// Waits until the index, if it is loaded, holds this generation, which was committed. Blocks for a moment.
    pub(super) fn wait_for(&self, generation: Generation) {
        let until = Instant::now() + FOLLOWED;
        while self.generation().is_some_and(|held| held < generation) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes a committed change of so many documents in the index, unless it was loaded after that commit.
    pub(super) fn follow(
        &self,
        generation: Generation,
        documents: usize,
        change: impl FnOnce(&mut ChunkIndex),
    ) {
        let mut slot = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_mut().filter(|loaded| loaded.generation < generation) {
            change(&mut loaded.index);
            loaded.generation = generation;
            loaded.unsaved += documents;
            loaded.changed = Instant::now();
            if loaded.unsaved.is_multiple_of(FEW) {
                self.memory.store(loaded.index.memory().max(1), Ordering::Relaxed);
            }
        }
    }

    /// Makes a committed exchange of two collections in their indexes, unless they were loaded after that commit.
    pub(super) fn exchange(&self, other: &Self, generation: Generation) {
        // Only the thread that writes takes two of these locks at once.
        let mut one = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let mut two = other.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let before = |slot: &mut Option<Loaded>| {
            let mut loaded = slot.take_if(|loaded| loaded.generation < generation)?;
            loaded.generation = generation;
            Some(loaded)
        };
        let (first, second) = (before(&mut one), before(&mut two));
        for (slot, loaded, memory) in [(&mut *one, second, &self.memory), (&mut *two, first, &other.memory)] {
            if slot.is_none() {
                *slot = loaded;
            }
            let bytes = slot.as_ref().map_or(0, |loaded| loaded.index.memory().max(1));
            memory.store(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a purge is to be begun: none waits to begin.
    pub(super) fn wants_purge(&self) -> bool {
        !self.purging.swap(true, Ordering::AcqRel)
    }

    /// Waits a moment, and for the end of a save that is under way and keeps others out. What is removed from here on wants a
    /// purge of its own.
    pub(super) async fn begin_purge(self: &Arc<Self>) -> Purge {
        // Removals come in rows: one purge does for those of a moment.
        tokio::time::sleep(PURGE_DELAY).await;
        while self.saving.swap(true, Ordering::AcqRel) {
            tokio::time::sleep(SAVE_POLL).await;
        }
        self.purging.store(false, Ordering::Release);
        Purge(Arc::clone(self))
    }

    /// Whether the index is to be saved now: much of it changed, or some of it and not lately.
    pub(super) fn is_save_due(&self) -> bool {
        // Somebody who changes the index will ask again.
        let Ok(slot) = self.loaded.try_read() else { return false };
        let due = slot.as_ref().is_some_and(|loaded| {
            let much = loaded.unsaved > FEW + loaded.index.len() / 4;
            much || (loaded.is_worth_saving() && loaded.changed.elapsed() > QUIET)
        });
        due && !self.saving.load(Ordering::Relaxed)
    }

    /// Whether a program that ends does well to save the index first.
    pub(super) fn is_worth_saving(&self) -> bool {
        let slot = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().is_some_and(Loaded::is_worth_saving) && !self.saving.load(Ordering::Relaxed)
    }

    /// The index as it is now in the transactions that save it. `None` while another save is under way.
    pub(super) fn begin_save(self: &Arc<Self>, database: &Database) -> Option<Save> {
        if self.saving.swap(true, Ordering::AcqRel) {
            return None;
        }
        // From here on its end allows the next one.
        let (slot, database) = (Arc::clone(self), database.clone());
        let mut save = Save { slot, database, steps: Box::new(std::iter::empty()), documents: 0 };
        let slot = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = slot.as_ref()?;
        let pieces = Pieces::of(&loaded.index).ok()?;
        save.steps = Box::new(pieces.into_steps(loaded.number, loaded.generation));
        save.documents = loaded.unsaved;
        Some(save)
    }

    fn let_go(&self) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.memory.store(0, Ordering::Relaxed);
    }
}

impl Loaded {
    fn is_worth_saving(&self) -> bool {
        self.unsaved > FEW + self.index.len() / 100
    }
}

/// Keeps saves out until it is dropped; then the index has to be saved as a whole.
pub(super) struct Purge(Arc<Slot>);

impl Drop for Purge {
    fn drop(&mut self) {
        let mut slot = self.0.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_mut() {
            loaded.unsaved = loaded.unsaved.max(loaded.index.len());
        }
        self.0.saving.store(false, Ordering::Release);
    }
}

/// A save that is under way. Dropping it hands what is left of it to the database, which does all that waits before it
/// closes: so a program that ends loses no save.
pub(super) struct Save {
    slot: Arc<Slot>,
    database: Database,
    steps: Box<dyn Iterator<Item = Step> + Send>,
    /// How many changed documents it holds.
    documents: usize,
}

impl Save {
    /// Writes step by step, and tells the index once everything is written. A step that fails gives the save up.
    pub(super) async fn run(mut self) -> operone_core::Result<()> {
        while let Some(step) = self.steps.next() {
            let written = self.database.write("chunks.save", move |db| step.run(db)).await;
            if written.is_err() {
                self.steps = Box::new(std::iter::empty());
                return written;
            }
        }
        let mut slot = self.slot.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = slot.as_mut() {
            loaded.unsaved = loaded.unsaved.saturating_sub(self.documents);
        }
        Ok(())
    }
}

impl Drop for Save {
    fn drop(&mut self) {
        for step in self.steps.by_ref() {
            let write = pin!(self.database.write("chunks.save", move |db| step.run(db)));
            let _ = write.poll(&mut Context::from_waker(Waker::noop()));
        }
        self.slot.saving.store(false, Ordering::Release);
    }
}

/// The file, as the index of a collection asks it.
struct FileSource<'a> {
    db: &'a Connection,
    collection: i64,
}

impl IndexSource for FileSource<'_> {
    fn term(&self, term: &str) -> operone_core::Result<Option<u32>> {
        terms::find(self.db, self.collection, term).map_err(|failure| failure.into_error("chunks.terms"))
    }

    fn vectors(
        &self,
        chunks: &[VectorPlace<'_>],
        found: &mut dyn FnMut(usize, &[f32]),
    ) -> operone_core::Result<()> {
        let places = chunks.iter().map(|chunk| (chunk.number, chunk.ordinal));
        rows::vectors(self.db, places, found).map_err(|failure| failure.into_error("chunks.vectors"))
    }
}

/// Reads the index as it was saved and makes up for what changed since, or builds it. `None` where nothing was ever
/// stored.
fn load(
    db: &Connection,
    collection: &Collection,
    config: ChunkIndexConfig,
) -> Result<Option<Loaded>, Failure> {
    let Some(found) = rows::find(db, collection)? else { return Ok(None) };
    let saved = match saved::read(db, &found, config.precision)? {
        Some((index, generation)) if generation == found.generation => Some((index, 0)),
        Some((index, _)) => catch_up(db, &found, index)?,
        None => None,
    };
    let (index, unsaved) = match saved {
        Some(saved) => saved,
        None => {
            let index = build(db, &found, config)?;
            let unsaved = index.len();
            (index, unsaved)
        }
    };
    #[cfg(feature = "approximate")]
    let index = index.with_approximate(config.approximate);
    let (generation, number) = (found.generation, found.number);
    Ok(Some(Loaded { generation, number, index, unsaved, changed: Instant::now() }))
}

/// Makes an older index that of the file; `None` if it is less work to build one.
fn catch_up(
    db: &Connection,
    found: &Found,
    mut index: ChunkIndex,
) -> Result<Option<(ChunkIndex, usize)>, Failure> {
    let stored: HashSet<i64> = rows::numbers(db, found)?.into_iter().collect();
    let gone = index.documents().filter(|(_, number)| !stored.contains(number));
    let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
    let known: HashSet<i64> = index.documents().map(|(_, number)| number).collect();
    let mut new: Vec<i64> = stored.difference(&known).copied().collect();
    new.sort_unstable();
    let changes = gone.len().max(new.len());
    if changes > FEW && changes > stored.len() / 2 {
        return Ok(None);
    }
    for id in &gone {
        index.remove(id);
    }
    for number in new {
        index.insert(&rows::index_of(db, found, number)?);
    }
    Ok(Some((index, changes)))
}

/// Reads documents here and indexes them on a second thread meanwhile.
fn build(db: &Connection, found: &Found, config: ChunkIndexConfig) -> Result<ChunkIndex, Failure> {
    let mut index = ChunkIndex::new(config.precision);
    if let Some(dimension) = found.space.as_ref().and_then(|space| space.dimension) {
        index.reserve(rows::count_chunks(db, found)?, dimension);
    }
    std::thread::scope(|scope| {
        let (documents, read) = mpsc::sync_channel::<Vec<IndexedDocument>>(BATCHES_AHEAD);
        let indexing = scope.spawn(move || {
            read.iter().flatten().for_each(|document| index.insert(&document));
            index.pack();
            index
        });
        let mut batch = Vec::new();
        // Nobody takes a batch only if the other thread has ended, which its join reports.
        rows::for_each_index(db, found, |document| {
            batch.push(document);
            if batch.len() == BATCH {
                let _ = documents.send(std::mem::take(&mut batch));
            }
        })?;
        let _ = documents.send(batch);
        drop(documents);
        indexing.join().map_err(|_| Failure::from(Error::internal("the search index cannot be built")))
    })
}
