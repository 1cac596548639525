//! Export and import: one memory a line, as JSON.

use operone_core::id::MemoryId;
use operone_core::memory::{Batch, Entry, NewMemory, Operation, Revision, ScopeKey, WriteOutcome};
use operone_core::{Error, Result};

use crate::memory::Memory;
use crate::validate::{self, MAX_BATCH};

/// A part of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// One JSON object a line, each an [`Entry`].
    pub lines: String,
    /// The last memory of this part, to go on after; `None` at the end.
    pub next: Option<MemoryId>,
    /// The revision that was exported.
    pub revision: Revision,
}

/// What came of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Memories that were written.
    pub created: usize,
    /// Memories that the scope had, or had erased.
    pub passed_over: usize,
    /// The scope's revision after it.
    pub revision: Revision,
}

impl Memory {
    /// The memories of a scope that can be read, in the order they were written, after `after`, at most `limit`.
    /// Superseded ones are among them; earlier versions are not.
    pub async fn export(&self, scope: &ScopeKey, after: Option<&MemoryId>, limit: usize) -> Result<Exported> {
        let index = self.index(scope, None).await?;
        let mut readable = index.readable(self.clock.now()).map(|(_, entry)| entry);
        if let Some(after) = after {
            let found = readable.by_ref().any(|entry| entry.id == *after);
            if !found {
                return Err(Error::not_found(format!("there is no memory {after} in the scope")));
            }
        }
        let mut lines = String::new();
        let mut last = None;
        for entry in readable.by_ref().take(limit) {
            let line = serde_json::to_string(entry.as_ref())
                .map_err(|error| Error::internal("a memory cannot be written as JSON").with_source(error))?;
            lines.push_str(&line);
            lines.push('\n');
            last = Some(entry.id.clone());
        }
        let next = last.filter(|_| readable.next().is_some());
        Ok(Exported { lines, next, revision: index.revision() })
    }

    /// Writes the lines of an export to a scope, each with its id, times and origin; those that are there, or were
    /// erased, are passed over. Blank lines mean nothing.
    ///
    /// All lines are read before the first is written, and a fault names its line, as `/lines/3`; it is written in
    /// batches, so a failure of the store leaves the first part, and the same import again goes on.
    pub async fn import(&self, scope: &ScopeKey, lines: &str) -> Result<Imported> {
        let mut entries = Vec::new();
        for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            entries.push(read_line(number, line)?);
        }
        let mut imported = Imported { revision: self.store.revision(scope).await?, ..Imported::default() };
        for batch in entries.chunks(MAX_BATCH) {
            let operations = batch.iter().cloned().map(Operation::put).collect();
            let receipt = self.store.write(scope, Batch::new(self.clock.now(), operations)).await?;
            let created = receipt.written.iter().filter(|written| written.outcome == WriteOutcome::Created);
            imported.created += created.count();
            imported.revision = receipt.revision;
        }
        imported.passed_over = entries.len() - imported.created;
        Ok(imported)
    }
}

fn read_line(number: usize, line: &str) -> Result<Entry> {
    let invalid =
        |detail: String| Error::invalid(format!("/lines/{number}: {detail}")).with_code("invalid_memory");
    let entry: Entry = serde_json::from_str(line).map_err(|error| invalid(error.to_string()))?;
    let mut memory = NewMemory::new(entry.content.as_str()).with_tags(entry.tags.clone());
    memory.kind.clone_from(&entry.kind);
    memory.metadata.clone_from(&entry.metadata);
    memory.importance = Some(entry.importance);
    memory.actor.clone_from(&entry.actor);
    memory.thread.clone_from(&entry.thread);
    memory.derived_from.clone_from(&entry.derived_from);
    match validate::faults(std::slice::from_ref(&memory)).first() {
        Some(fault) => {
            Err(invalid(format!("{}: {}", fault.pointer.trim_start_matches("/entries/0"), fault.detail)))
        }
        None => Ok(entry),
    }
}
