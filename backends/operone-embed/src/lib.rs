//! The embedder that Operone brings along.
//!
//! What it is today: no model, but the feature hashing of operone-core. It finds texts that share words or parts
//! of words with a query. It does not know that "car" and "automobile" mean the same. It needs no download, no
//! memory to speak of, and gives the same vectors on every platform; its id says which rules made them, so that
//! an index notices when another embedder takes its place.

use operone_core::in_process::HashingEmbedder;

/// How many components the vectors of [`bundled`] have.
///
/// At 256 texts that share no word come too near to one another.
pub const DIMENSION: usize = 512;

/// The embedder to use where no other is configured.
///
/// ```
/// use operone_core::embed::Embedder;
///
/// assert_eq!(operone_embed::bundled().info().id, "hashing-v1-512");
/// ```
pub fn bundled() -> HashingEmbedder {
    HashingEmbedder::new(DIMENSION)
}
