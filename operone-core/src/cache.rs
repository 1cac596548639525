//! The contract of the embedding cache: vectors by embedder and by the hash of the very text embedded.

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::error::Result;

/// The SHA-256 of a text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of `content`.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(content.as_ref()).into())
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", self.to_hex())
    }
}

/// Vectors that need not be computed again. Losing an entry costs time, never an answer.
#[async_trait]
pub trait EmbeddingCache: fmt::Debug + Send + Sync + 'static {
    /// One entry per hash, in order; `None` where nothing is kept.
    async fn get_many(&self, embedder: &str, hashes: &[ContentHash]) -> Result<Vec<Option<Vec<f32>>>>;

    /// Keeps vectors; one already kept under the same embedder and hash stays.
    async fn put_many(&self, embedder: &str, entries: &[(ContentHash, Vec<f32>)]) -> Result<()>;

    /// Forgets the vectors of these hashes for every embedder; unknown hashes are passed over.
    async fn remove(&self, hashes: &[ContentHash]) -> Result<()>;
}
