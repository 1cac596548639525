//! Derives memories from memories, off the path of writing: an extractor, and the job that drives it along a log.

mod model;
mod sentence;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::id::MemoryId;
use operone_core::memory::{Batch, Entry, NewMemory, Record, Revision, ScopeKey};
use uuid::Uuid;

pub use self::model::ModelExtractor;
pub use self::sentence::SentenceExtractor;
use crate::erase::Selection;
use crate::memory::Memory;
use crate::validate;
use crate::write::WriteRequest;

/// How many records of the log are read for one call of the extractor, unless set otherwise.
const AT_ONCE: usize = 32;

/// How many memories that are known already an extractor is shown.
const KNOWN: usize = 100;

/// Names the ids of derived memories.
const DERIVED: Uuid = Uuid::from_u128(0x93c1_7f20_5d4e_4b6a_8c0e_2e91_d4f7_6ab8);

/// Finds in memories what is worth to be remembered by itself: facts, preferences, summaries.
#[async_trait]
pub trait Extractor: fmt::Debug + Send + Sync + 'static {
    /// Its name, constant, at most 64 bytes: what it finds carries it. A new version that finds other things has a
    /// new name, or what the old one found is dropped first.
    fn name(&self) -> String;

    /// What it finds in `new`, which are in the order they were written. `known` is what it found before that is
    /// still current, the newest first and at most 100: a finding may supersede some of it. Each finding cites its
    /// sources among `new` and `known`; one that does not is dropped.
    async fn extract(&self, new: &[Entry], known: &[Entry]) -> Result<Vec<Finding>>;
}

/// What an extractor found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What to remember. Origin, trust and id are filled in.
    pub memory: NewMemory,
    /// What it was found in; at least one.
    pub sources: Vec<MemoryId>,
}

impl Finding {
    /// Something found in these memories.
    pub fn new(memory: NewMemory, sources: Vec<MemoryId>) -> Self {
        Self { memory, sources }
    }
}

/// A job that follows the log of one scope and writes what an extractor finds to another, or to the same.
///
/// The memories that it reads are durable and found by words before it comes to them. How far it has come is kept in
/// the transaction of what it writes, so that it goes on where it stopped, after a crash too, and nothing is derived
/// twice. What it wrote can be dropped and derived again at any time. It reads nothing that an extractor wrote.
#[derive(Clone, Debug)]
pub struct Extraction {
    memory: Arc<Memory>,
    extractor: Arc<dyn Extractor>,
    from: ScopeKey,
    to: ScopeKey,
    at_once: usize,
}

/// How far an extraction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractionProgress {
    /// The last revision of the log that was read.
    pub read: Revision,
    /// How many memories were written by this call.
    pub written: usize,
    /// Whether the end of the log was reached.
    pub is_done: bool,
}

impl Extraction {
    /// Follows `from` and writes to `to`, a scope of the same tenant.
    pub fn new(memory: Arc<Memory>, extractor: Arc<dyn Extractor>, from: ScopeKey, to: ScopeKey) -> Self {
        Self { memory, extractor, from, to, at_once: AT_ONCE }
    }

    /// Sets how many records are read for one call of the extractor; at least one.
    #[must_use]
    pub fn with_at_once(mut self, at_once: usize) -> Self {
        self.at_once = at_once.max(1);
        self
    }

    /// Goes on to the end of the log. An error leaves what was done before it.
    pub async fn run(&self) -> Result<ExtractionProgress> {
        let mut written = 0;
        loop {
            let progress = self.step().await?;
            written += progress.written;
            if progress.is_done {
                return Ok(ExtractionProgress { written, ..progress });
            }
        }
    }

    /// Reads the next part of the log and calls the extractor once, if there is something to read.
    pub async fn step(&self) -> Result<ExtractionProgress> {
        let store = self.memory.store();
        let after = Revision(store.mark(&self.to, &self.mark("read")).await?);
        let records = store.scan(&self.from, after, self.at_once).await?;
        let Some(read) = records.last().map(|record| record.revision) else {
            return Ok(ExtractionProgress { read: after, written: 0, is_done: true });
        };
        let new = self.current(records).await?;
        let known = self.found_before(KNOWN).await?;
        let findings = if new.is_empty() { Vec::new() } else { self.extractor.extract(&new, &known).await? };
        let written = self.keep(findings, &new, &known, after, read).await?;
        Ok(ExtractionProgress { read, written, is_done: false })
    }

    /// Erases what this extraction wrote, and begins at the start of the log when it next runs. Gives how many
    /// memories that were.
    pub async fn drop_all(&self) -> Result<usize> {
        let generation = self.memory.store().mark(&self.to, &self.mark("generation")).await?;
        let batch = Batch::new(self.memory.clock.now(), Vec::new())
            .with_mark(self.mark("generation"), generation + 1)
            .with_mark(self.mark("read"), 0);
        let found = self.found_before(usize::MAX).await?;
        let index = self.memory.index(&self.from, None).await?;
        let ours: HashSet<MemoryId> = index.held().map(|entry| entry.id.clone()).collect();
        drop(index);
        let is_ours = |entry: &&Entry| entry.derived_from.iter().any(|id| ours.contains(id));
        let ids: Vec<MemoryId> = found.iter().filter(is_ours).map(|entry| entry.id.clone()).collect();
        self.memory.store().write(&self.to, batch).await?;
        let erased = self.memory.erase(&self.to, &Selection::ids(ids), false).await?;
        Ok(erased.ids.len())
    }

    async fn keep(
        &self,
        findings: Vec<Finding>,
        new: &[Entry],
        known: &[Entry],
        after: Revision,
        read: Revision,
    ) -> Result<usize> {
        let generation = self.memory.store().mark(&self.to, &self.mark("generation")).await?;
        let shown: HashSet<&MemoryId> = new.iter().chain(known).map(|entry| &entry.id).collect();
        let known: HashSet<&MemoryId> = known.iter().map(|entry| &entry.id).collect();
        let mut memories = Vec::new();
        for (number, Finding { mut memory, sources, .. }) in findings.into_iter().enumerate() {
            let is_cited = !sources.is_empty() && sources.iter().all(|id| shown.contains(id));
            let name = format!("{}\u{1f}{generation}\u{1f}{}\u{1f}{number}", self.mark("id"), after.0);
            memory.id = Some(MemoryId::from_uuid(Uuid::new_v5(&DERIVED, name.as_bytes())));
            memory.derived_from = sources;
            memory.derived_by = Some(self.extractor.name());
            memory.supersedes.retain(|id| known.contains(id));
            let fault = validate::faults(std::slice::from_ref(&memory)).into_iter().next();
            if let Some(fault) = fault
                .as_ref()
                .map(|fault| fault.detail.as_str())
                .or((!is_cited).then_some("it cites nothing that was shown"))
            {
                tracing::warn!(extractor = self.extractor.name(), fault, "a finding is dropped");
                continue;
            }
            memories.push(memory);
        }
        memories.truncate(validate::MAX_BATCH);
        let sources: Vec<(MemoryId, Vec<MemoryId>)> = memories
            .iter()
            .filter_map(|memory| Some((memory.id.clone()?, memory.derived_from.clone())))
            .collect();
        let mut request = WriteRequest::new(memories);
        request.marks = vec![(self.mark("read"), read.0)];
        let receipt = self.memory.write(&self.to, request).await?;
        self.erase_what_lost_its_source(sources).await?;
        Ok(receipt.written.len())
    }

    /// A source that was erased while the extractor worked takes along what was found in it.
    async fn erase_what_lost_its_source(&self, written: Vec<(MemoryId, Vec<MemoryId>)>) -> Result<()> {
        let mut lost = Vec::new();
        for (id, sources) in written {
            for source in sources {
                if self.memory.store().locate(&self.from.tenant, &source).await?.is_none() {
                    lost.push(id);
                    break;
                }
            }
        }
        if !lost.is_empty() {
            self.memory.erase(&self.to, &Selection::ids(lost), false).await?;
        }
        Ok(())
    }

    /// Of some records the memories that are still as written, can be read, and come from no extractor.
    async fn current(&self, records: Vec<Record>) -> Result<Vec<Entry>> {
        let index = self.memory.index(&self.from, None).await?;
        let now = self.memory.clock.now();
        let is_current = |entry: &Entry| {
            let current = index.get(&entry.id, now);
            entry.derived_by.is_none()
                && entry.superseded_by.is_none()
                && current.is_some_and(|current| current.version == entry.version)
        };
        let written = records.iter().filter_map(Record::entry);
        Ok(written.filter(|entry| is_current(entry)).cloned().collect())
    }

    async fn found_before(&self, limit: usize) -> Result<Vec<Entry>> {
        let index = self.memory.index(&self.to, None).await?;
        let name = self.extractor.name();
        let found = index.readable(self.memory.clock.now()).rev().map(|(_, entry)| entry).filter(|entry| {
            entry.derived_by.as_ref() == Some(&name) && (limit == usize::MAX || entry.superseded_by.is_none())
        });
        Ok(found.take(limit).map(|entry| Entry::clone(entry)).collect())
    }

    fn mark(&self, what: &str) -> String {
        format!("extract/{}/{}/{what}", self.extractor.name(), self.from.scope.as_str())
    }
}
