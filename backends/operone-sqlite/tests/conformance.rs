//! The SQLite backends keep the promises of their contracts.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

mod journal {
    use std::sync::Arc;

    use operone_core::clock::SystemClock;
    use operone_core::journal::Journal;
    use operone_sqlite::SqliteJournal;

    async fn fresh() -> (Arc<dyn Journal>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(folder.path().join("journal.db"), Arc::new(SystemClock)).unwrap();
        (Arc::new(journal), folder)
    }

    operone_core::journal_conformance!(fresh);
}

mod memory_store {
    use std::sync::Arc;

    use operone_core::memory::MemoryStore;
    use operone_sqlite::SqliteMemoryStore;

    async fn fresh() -> (Arc<dyn MemoryStore>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap()), folder)
    }

    operone_core::memory_store_conformance!(fresh);
}

mod chunk_store {
    use std::sync::Arc;

    use operone_core::chunk::ChunkStore;
    use operone_sqlite::SqliteChunkStore;

    async fn fresh() -> (Arc<dyn ChunkStore>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(SqliteChunkStore::open(folder.path().join("chunks.db")).unwrap()), folder)
    }

    operone_core::chunk_store_conformance!(fresh);

    /// Cells from the first vector on, of which every query looks into all.
    #[cfg(feature = "approximate")]
    mod in_cells {
        use operone_core::in_process::chunk_index::Approximate;
        use operone_sqlite::ChunkIndexConfig;

        use super::*;

        async fn fresh() -> (Arc<dyn ChunkStore>, tempfile::TempDir) {
            let folder = tempfile::tempdir().unwrap();
            let all = Approximate::new().with_from(1).with_share(1.0);
            let config = ChunkIndexConfig::default().with_approximate(Some(all));
            (Arc::new(SqliteChunkStore::open_with(folder.path().join("chunks.db"), config).unwrap()), folder)
        }

        operone_core::chunk_store_conformance!(fresh);
    }
}

mod embedding_cache {
    use std::sync::Arc;

    use operone_core::cache::EmbeddingCache;
    use operone_sqlite::SqliteEmbeddingCache;

    async fn fresh() -> (Arc<dyn EmbeddingCache>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(SqliteEmbeddingCache::open(folder.path().join("embeddings.db")).unwrap()), folder)
    }

    operone_core::embedding_cache_conformance!(fresh);
}
