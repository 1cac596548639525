//! The embedder that Operone brings along.
//!
//! What it is today: no model, but the feature hashing of operone-core. It finds texts that share words or parts
//! of words with a query. It does not know that "car" and "automobile" mean the same. It needs no download, no
//! memory to speak of, and gives the same vectors on every platform; its id says which rules made them, so that
//! an index notices when another embedder takes its place.

use operone_core::in_process::HashingEmbedder;

/// How many components the vectors of [`bundled`] have.
pub const DIMENSION: usize = 256;

/// What the vectors of [`bundled`] should count beside words when both are fused, in [0, 1].
///
/// On two collections (1,400 and 5,183 documents, 525 judged queries) 0.25 was better than words alone, and equal
/// weights were worse on both.
pub const DENSE_WEIGHT: f32 = 0.25;

/// The embedder to use where no other is configured.
///
/// ```
/// use operone_core::embed::Embedder;
///
/// assert_eq!(operone_embed::bundled().info().id, "hashing-v1-256");
/// ```
pub fn bundled() -> HashingEmbedder {
    HashingEmbedder::new(DIMENSION)
}
