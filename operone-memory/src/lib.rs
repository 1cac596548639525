//! Scoped, ranked memory for Operone over any store.
//!
//! A [`MemoryStore`](operone_core::memory::MemoryStore) keeps a log per scope and never ranks. [`Memory`] ranks:
//! it keeps an index of each scope in the process, derived from the log and caught up before each recall, so that
//! every store gives the same answers and a recall sees every acknowledged write.

mod index;
mod indexes;
mod memory;
mod tools;
mod validate;

pub use memory::Memory;
pub use tools::tools;
pub use validate::{Fault, MAX_BATCH, MAX_TAG, faults};
