//! What decides about a stored document, so that one that would come out the same is not taken in again.

use operone_core::cache::ContentHash;
use operone_core::metadata::Metadata;
use operone_core::source::Fetched;
use operone_core::text::Analyser;
use operone_core::{Error, Result};
use sha2::{Digest, Sha256};

use crate::chunk::{CHUNKER_ID, ChunkOptions};

/// The rules that a host may exchange, by their ids.
pub(super) struct Rules<'a> {
    pub(super) parser: &'a str,
    pub(super) tokenizer: &'a str,
}

/// A hash of everything that decides about the stored document but the embedder, which the collection knows; each part
/// with its length.
pub(super) fn manifest(
    fetched: &Fetched,
    metadata: &Metadata,
    options: &ChunkOptions,
    rules: Rules<'_>,
) -> Result<String> {
    let metadata = serde_json::to_vec(metadata)
        .map_err(|error| Error::internal("metadata cannot be written as JSON").with_source(error))?;
    let options = format!("{}/{}", options.size(), options.overlap());
    let mut hash = Sha256::new();
    for part in [
        fetched.bytes.as_slice(),
        fetched.name.as_bytes(),
        fetched.media_type.as_deref().unwrap_or_default().as_bytes(),
        &metadata,
        options.as_bytes(),
        rules.parser.as_bytes(),
        CHUNKER_ID.as_bytes(),
        Analyser::ID.as_bytes(),
        rules.tokenizer.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(ContentHash(hash.finalize().into()).to_hex())
}
