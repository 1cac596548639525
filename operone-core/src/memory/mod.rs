//! The contracts of memory: an append log per scope for stores, ranked recall for agents and hosts.

mod entry;
mod recall;
mod scope;
mod store;

pub use entry::{Entry, Trust};
pub use recall::{
    Explanation, NewMemory, Recall, RecallMode, RecallQuery, Recalled, Recency, Remembered, ScoredMemory,
};
pub use scope::{Scope, ScopeKey};
pub use store::{
    Batch, Change, Erased, MemoryStore, Operation, Receipt, Record, Revision, WriteKey, WriteOutcome, Written,
};
