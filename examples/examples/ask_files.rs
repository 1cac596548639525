//! Questions about files, answered with their sources: nothing is installed, nothing leaves the program.
//!
//!     cargo run -p operone-examples --example ask_files -- "What is a lease?" docs/*.md
#![allow(clippy::clone_on_ref_ptr, reason = "each clone becomes another trait's object")]

use std::sync::Arc;

use operone_core::agent::Agent;
use operone_core::chunk::Collection;
use operone_core::id::TenantId;
use operone_core::in_process::{ExtractiveModel, InProcessChunkStore, InProcessEmbeddingCache};
use operone_core::metadata::Metadata;
use operone_core::source::Fetched;
use operone_core::{Error, Result};
use operone_rag::ingest::Ingestor;
use operone_rag::parse::DocumentParser;
use operone_rag::{HybridRetriever, search_tool};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(question) = arguments.next() else {
        return Err(Error::invalid("say a question, and the files that may answer it"));
    };

    // `operone_sqlite::SqliteChunkStore` in place of the first keeps them in a file.
    let store = Arc::new(InProcessChunkStore::default());
    let embedder = Arc::new(operone_embed::bundled());
    let cache = Arc::new(InProcessEmbeddingCache::default());
    let ingestor =
        Ingestor::new(store.clone(), embedder.clone(), cache.clone(), Arc::new(DocumentParser::default()));
    let collection = Collection::of(TenantId::local());
    for file in arguments {
        let bytes = std::fs::read(&file)
            .map_err(|error| Error::invalid(format!("{file} cannot be read")).with_source(error))?;
        let (fetched, options) = (Fetched::new(file.as_str(), bytes), ingestor.default_options());
        let outcome =
            ingestor.ingest_fetched(&collection, &file, fetched, &Metadata::new(), &options, None).await?;
        println!("{file}: {:?}", outcome.status);
    }

    let retriever = HybridRetriever::new(store, embedder, cache);
    // In a real program: `operone_models::OpenAiCompatible`, or any other `LanguageModel`.
    let agent =
        Agent::new(Arc::new(ExtractiveModel)).with_tool(search_tool(Arc::new(retriever), Vec::new()))?;
    println!("\n{}", agent.run(question).await?.into_text()?);
    Ok(())
}
