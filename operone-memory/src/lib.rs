//! Scoped, ranked memory for Operone over any store.
//!
//! A [`MemoryStore`](operone_core::memory::MemoryStore) keeps a log per scope and never ranks. [`Memory`] ranks:
//! it keeps an index of each scope in the process, derived from the log and caught up before each recall, so that
//! every store gives the same answers and a recall sees every acknowledged write.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod changes;
mod cursor;
mod erase;
mod extract;
mod filter;
mod index;
mod indexes;
mod memory;
mod policy;
mod purge;
mod recall;
mod tools;
mod transfer;
mod update;
mod validate;
mod write;

pub use changes::{ChangeKind, Changed, Changes};
pub use erase::{Erasure, Selection};
pub use extract::{Extraction, ExtractionProgress, Extractor, Finding, ModelExtractor, SentenceExtractor};
pub use memory::Memory;
pub use policy::Policy;
pub use purge::Purge;
pub use tools::{MemoryAccess, tools, tools_in};
pub use transfer::{Exported, Imported};
pub use update::MemoryPatch;
pub use validate::{Fault, MAX_BATCH, MAX_TAG, faults};
pub use write::WriteRequest;
