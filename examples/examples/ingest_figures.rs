//! How fast documents are taken in, stage by stage, into a data folder that is thrown away.
//!
//!     cargo run --release -p operone-examples --example ingest_figures -- FOLDER...
//!
//! A folder with a `corpus.jsonl` (one document a line: `_id`, `title`, `text`) is a corpus; of another one each file
//! is a document.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use operone_core::chunk::Collection;
use operone_core::id::TenantId;
use operone_core::source::{Fetched, Source};
use operone_core::{Error, Result};
use operone_rag::ingest::{
    DocumentOutcome, DocumentRequest, DocumentStatus, IngestFigures, IngestHandler, IngestMeter, Ingestor,
};
use operone_rag::parse::DocumentParser;
use operone_sqlite::{DataFolder, SqliteChunkStore, SqliteEmbeddingCache};

/// The documents of a folder by their names.
#[derive(Debug)]
enum Corpus {
    Lines(BTreeMap<String, Vec<u8>>),
    Files(BTreeMap<String, PathBuf>),
}

impl Corpus {
    fn read(folder: &Path) -> std::io::Result<Self> {
        let lines = folder.join("corpus.jsonl");
        if lines.is_file() {
            let text = std::fs::read_to_string(lines)?;
            let documents = text.lines().filter(|line| !line.trim().is_empty()).map(document);
            return Ok(Self::Lines(documents.collect::<std::io::Result<_>>()?));
        }
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.insert(name, path);
            }
        }
        Ok(Self::Files(files))
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Lines(lines) => lines.keys().cloned().collect(),
            Self::Files(files) => files.keys().cloned().collect(),
        }
    }
}

/// A line of a corpus as a text below its title.
fn document(line: &str) -> std::io::Result<(String, Vec<u8>)> {
    let line: serde_json::Value = serde_json::from_str(line)?;
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    Ok((format!("{}.txt", field("_id")), format!("{}\n\n{}", field("title"), field("text")).into_bytes()))
}

#[async_trait]
impl Source for Corpus {
    fn schemes(&self) -> &[&str] {
        &["corpus"]
    }

    fn normalize(&self, uri: &str) -> Result<String> {
        Ok(uri.to_owned())
    }

    async fn fetch(&self, uri: &str) -> Result<Fetched> {
        let name = uri.trim_start_matches("corpus:");
        let missing = || Error::not_found(format!("there is no document {name}"));
        let bytes = match self {
            Self::Lines(lines) => lines.get(name).cloned().ok_or_else(missing)?,
            Self::Files(files) => {
                let path = files.get(name).cloned().ok_or_else(missing)?;
                let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
                let failed = |error: std::io::Error| Error::internal("a file is not read").with_source(error);
                read.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)?
            }
        };
        Ok(Fetched::new(name, bytes))
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        return Err("name at least one folder with documents".into());
    }
    for folder in folders {
        let corpus = Arc::new(Corpus::read(&folder)?);
        let data = std::env::temp_dir().join(format!("operone-figures-{}", std::process::id()));
        let result = measure(&data, corpus, &folder.display().to_string()).await;
        std::fs::remove_dir_all(&data)?;
        result?;
    }
    Ok(())
}

async fn measure(data: &Path, corpus: Arc<Corpus>, shown: &str) -> Result<()> {
    let data = DataFolder::lock(data)?;
    let meter = Arc::new(IngestMeter::default());
    let ingestor = Ingestor::new(
        Arc::new(SqliteChunkStore::open(data.join("chunks.db"))?),
        Arc::new(operone_embed::bundled()),
        Arc::new(SqliteEmbeddingCache::open(data.join("cache.db"))?),
        Arc::new(DocumentParser::default()),
    )
    .with_source(Arc::clone(&corpus) as _);
    let names = corpus.names();
    let begun = Instant::now();
    let first = ingest(&ingestor.clone().with_meter(Arc::clone(&meter)), &names).await?;
    let first_time = begun.elapsed();
    let begun = Instant::now();
    let second = ingest(&ingestor, &names).await?;
    let second_time = begun.elapsed();
    let unchanged = second.iter().filter(|outcome| outcome.status == DocumentStatus::Unchanged).count();
    let failed = first.iter().filter(|outcome| outcome.is_failed()).count();
    println!("{shown}: {} documents, {failed} without text", names.len());
    show(&meter.figures(), first_time);
    println!("  a second time   {:7.2} s   ({unchanged} unchanged)\n", second_time.as_secs_f64());
    Ok(())
}

/// As many at the same time as in a job of the server.
async fn ingest(ingestor: &Ingestor, names: &[String]) -> Result<Vec<DocumentOutcome>> {
    let collection = Collection::of(TenantId::local());
    let options = ingestor.default_options();
    let works = names.iter().map(|name| {
        let (ingestor, collection) = (ingestor.clone(), collection.clone());
        let request = DocumentRequest::new(format!("corpus:{name}"));
        async move {
            let work = async move { ingestor.ingest_document(&collection, &request, &options, None).await };
            tokio::spawn(work)
                .await
                .map_err(|error| Error::internal("a document broke off").with_source(error))?
        }
    });
    stream::iter(works).buffered(IngestHandler::AT_ONCE).try_collect().await
}

fn show(figures: &IngestFigures, took: Duration) {
    println!("  stage              busy     MB/s   chunks/s");
    let row = |name: &str, busy: Duration, bytes: u64| {
        let seconds = busy.as_secs_f64();
        let (megabytes, chunks) = (bytes as f64 / 1e6 / seconds, figures.chunks_written as f64 / seconds);
        println!("  {name:14} {seconds:7.2} s {megabytes:8.1} {chunks:10.0}");
    };
    row("read", figures.fetching, figures.bytes);
    row("parse", figures.parsing, figures.bytes);
    row("chunk", figures.chunking, figures.text_bytes);
    row("embed", figures.embedding, figures.text_bytes);
    row("write", figures.writing, figures.text_bytes);
    row("all, elapsed", took, figures.bytes);
    let (bytes, text) = (figures.bytes as f64 / 1e6, figures.text_bytes as f64 / 1e6);
    println!("  {bytes:.2} MB of files, {text:.2} MB of text, {} chunks", figures.chunks_written);
}
