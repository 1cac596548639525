//! What is embedded and written on files, counted: nothing twice, neither after a cut nor for what did not change.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use operone_core::chunk::{ChunkStore, Collection, Generation};
use operone_core::embed::{Embedder, EmbedderInfo, Tokenizer};
use operone_core::id::TenantId;
use operone_core::in_process::HashingEmbedder;
use operone_core::metadata::Metadata;
use operone_core::source::Fetched;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{DocumentOutcome, DocumentStatus, Ingestor};
use operone_rag::parse::DocumentParser;
use operone_sqlite::{SqliteChunkStore, SqliteEmbeddingCache};

use crate::support::folder;

/// Keeps the texts that it embeds, and stops to answer after some calls.
#[derive(Debug)]
struct Counting {
    inner: HashingEmbedder,
    id: &'static str,
    calls: AtomicUsize,
    texts: Mutex<Vec<String>>,
}

impl Counting {
    fn new(id: &'static str, calls: usize) -> Arc<Self> {
        let inner = HashingEmbedder::new(64);
        Arc::new(Self { inner, id, calls: AtomicUsize::new(calls), texts: Mutex::default() })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.texts.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl Embedder for Counting {
    fn info(&self) -> EmbedderInfo {
        EmbedderInfo::new(self.id, 64, 8192)
    }

    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.inner.tokenizer()
    }

    async fn embed(&self, texts: &[String]) -> operone_core::Result<Vec<Option<Vec<f32>>>> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
            std::future::pending::<()>().await;
        }
        self.texts.lock().unwrap().extend(texts.iter().cloned());
        self.inner.embed(texts).await
    }
}

/// One life of a program on the files of a folder.
struct Life {
    store: Arc<SqliteChunkStore>,
    ingestor: Ingestor,
    collection: Collection,
}

impl Life {
    fn begin(data: &Path, embedder: &Arc<Counting>) -> Self {
        let store = Arc::new(SqliteChunkStore::open(data.join("chunks.db")).unwrap());
        let cache = Arc::new(SqliteEmbeddingCache::open(data.join("cache.db")).unwrap());
        let parser = Arc::new(DocumentParser::default());
        let ingestor = Ingestor::new(Arc::clone(&store) as _, Arc::clone(embedder) as _, cache, parser);
        Self { store, ingestor, collection: Collection::of(TenantId::local()) }
    }

    async fn ingest(&self, text: &str) -> DocumentOutcome {
        let fetched = Fetched::new("a.txt", text.as_bytes().to_vec());
        let options = ChunkOptions::new(8, 0).unwrap();
        let metadata = Metadata::new();
        let outcome =
            self.ingestor.ingest_fetched(&self.collection, "upload:a", fetched, &metadata, &options, None);
        outcome.await.unwrap()
    }

    async fn generation(&self) -> Generation {
        self.store.generation(&self.collection).await.unwrap()
    }
}

fn paragraphs(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|number| format!("Paragraph {number} has words w{number}.\n\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_embedded_twice_by_later_lives() {
    let data = folder();
    let text = paragraphs(0..400);
    let embedder = Counting::new("counting", 3);
    let life = Life::begin(data.path(), &embedder);
    assert!(tokio::time::timeout(Duration::from_secs(5), life.ingest(&text)).await.is_err());
    assert_eq!(life.generation().await, Generation(0), "a part of a document is not stored");
    drop(life);
    let first = embedder.take();
    assert_eq!(first.len(), 3 * 64);

    embedder.calls.store(usize::MAX, Ordering::SeqCst);
    let life = Life::begin(data.path(), &embedder);
    let outcome = life.ingest(&text).await;
    let rest = embedder.take();
    assert_eq!((outcome.status, outcome.chunks), (DocumentStatus::Indexed, Some(400)));
    assert_eq!(first.len() + rest.len(), 400);
    assert!(rest.iter().all(|text| !first.contains(text)));
    let generation = life.generation().await;
    drop(life);

    let life = Life::begin(data.path(), &embedder);
    assert_eq!(life.ingest(&text).await.status, DocumentStatus::Unchanged);
    assert_eq!((embedder.take().len(), life.generation().await), (0, generation));
    let changed = paragraphs((500..501).chain(0..200).chain(201..400));
    assert_eq!(life.ingest(&changed).await.status, DocumentStatus::Updated);
    assert_eq!(embedder.take(), ["Paragraph 500 has words w500."]);
    drop(life);

    // Another embedder, cut off as well.
    let other = Counting::new("other", 2);
    let life = Life::begin(data.path(), &other);
    let cut = life.ingestor.reembed(&life.collection, |_| {});
    assert!(tokio::time::timeout(Duration::from_secs(5), cut).await.is_err());
    assert_eq!(life.store.embedder(&life.collection).await.unwrap().unwrap(), "counting");
    drop(life);
    let first = other.take();
    other.calls.store(usize::MAX, Ordering::SeqCst);
    let life = Life::begin(data.path(), &other);
    let done = life.ingestor.reembed(&life.collection, |_| {}).await.unwrap();
    assert_eq!((done.documents, done.chunks), (1, 400));
    assert_eq!(first.len() + other.take().len(), 400);
    assert_eq!(life.ingest(&changed).await.status, DocumentStatus::Unchanged);
    assert_eq!(life.store.embedder(&life.collection).await.unwrap().unwrap(), "other");
}
