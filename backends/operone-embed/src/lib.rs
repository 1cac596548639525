//! Embedders that run on this machine.
//!
//! [`bundled`] is a table of word vectors that comes with the crate, distilled from all-MiniLM-L6-v2: it needs no
//! download, reads thousands of texts a second, and knows words that mean the same, but not their context.
//! With the feature `bert`, `BertEmbedder` runs a model from a folder, which knows more and takes a hundred times
//! as long.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "bert")]
mod bert;
mod fixed;
mod wordpiece;

#[cfg(feature = "bert")]
pub use bert::BertEmbedder;
pub use fixed::StaticEmbedder;

/// The embedder to use where no other is configured.
///
/// ```
/// use operone_core::embed::Embedder;
///
/// assert_eq!(operone_embed::bundled().info().id, "static-minilm-256-1");
/// ```
pub fn bundled() -> StaticEmbedder {
    StaticEmbedder::bundled()
}
