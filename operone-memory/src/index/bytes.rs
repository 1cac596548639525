//! About how much memory an index takes.

use operone_core::memory::Entry;

/// What is taken for an empty index, an entry, a posting, a term and a vector besides their texts, in bytes.
pub(super) const INDEX_BYTES: usize = 1024;
const ENTRY_BYTES: usize = 640;
const POSTING_BYTES: usize = 16;
pub(super) const TERM_BYTES: usize = 128;
pub(super) const VECTOR_BYTES: usize = 32;

pub(super) fn bytes_of(entry: &Entry, terms: usize) -> usize {
    let tags: usize = entry.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    let metadata = entry.metadata.len() * 128;
    ENTRY_BYTES + entry.content.len() + tags + metadata + terms * POSTING_BYTES
}
