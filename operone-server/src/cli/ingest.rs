//! `operone-server ingest`: files, folders and URLs into the data folder, or into the server that has it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use operone_core::chunk::Collection;
use operone_core::error::{Error, Result};
use operone_core::id::TenantId;
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{DocumentRequest, IngestMeter};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::Client;
use super::place::Place;
use super::progress::bar;
use super::sources::{folders, sources};
use super::{print, print_json};
use crate::config::Config;
use crate::parts::Parts;
use crate::routes::chunk_options;
use crate::wire::rag::{IngestOptions, JobDocument, collection};

/// How many documents one job takes.
const BATCH: usize = 1000;
/// How often a server is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

/// What to take in, and how.
#[derive(Debug, clap::Args)]
pub struct IngestArguments {
    /// Files, folders with all files in them, and URLs
    #[arg(required = true, value_name = "PATH|URL")]
    sources: Vec<String>,

    /// The collection to take them into [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,

    /// Removes documents of the named folders whose files are gone
    #[arg(long)]
    prune: bool,

    /// The most tokens of a chunk [default: what suits the embedder]
    #[arg(long, value_name = "TOKENS")]
    chunk_size: Option<usize>,

    /// How many tokens a chunk shares with the one before
    #[arg(long, value_name = "TOKENS")]
    overlap: Option<usize>,

    /// What to say of every document, an object as `metadata` of POST /rag/ingest/batch
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,

    /// Says in JSON what came of each document
    #[arg(long)]
    json: bool,
}

pub(super) async fn ingest(config: &Config, arguments: &IngestArguments) -> Result<ExitCode> {
    let sources = sources(&arguments.sources)?;
    let metadata: Value = match &arguments.metadata {
        Some(metadata) => serde_json::from_str(metadata)
            .map_err(|error| super::wrong("--metadata is no JSON").with_source(error))?,
        None => json!({}),
    };
    let collection = collection(TenantId::local(), arguments.collection.clone())?;
    let folders = if arguments.prune { folders(&arguments.sources)? } else { Vec::new() };
    let bar = bar(sources.len(), arguments.json);
    let mut removed = 0;
    let outcomes = match Place::find(config).await? {
        Place::Folder(parts) => {
            let asked = IngestOptions {
                chunk_size: arguments.chunk_size,
                overlap: arguments.overlap,
                ..IngestOptions::default()
            };
            let options = chunk_options(&parts, &asked)?;
            let options = options.unwrap_or_else(|| parts.ingestor.default_options());
            let requests = requests(sources.clone(), &metadata)?;
            let outcomes = in_folder(&parts, &collection, requests, options, &bar).await?;
            let count = |_| {
                removed += 1;
                std::future::ready(Ok(()))
            };
            parts.ingestor.prune(&collection, &folders, &sources, count).await?;
            outcomes
        }
        Place::Server(client) => {
            let asked = Asked { collection: &collection.name, metadata, arguments, folders: &folders };
            let (outcomes, gone) = through_server(client, &sources, &asked, &bar).await?;
            removed = gone;
            outcomes
        }
    };
    bar.finish_and_clear();
    let failed = outcomes.iter().filter(|outcome| is(outcome, "failed")).count();
    if arguments.json {
        print_json(
            &json!({"count": outcomes.len(), "failed": failed, "removed": removed, "documents": outcomes}),
        )?;
    } else {
        show(&outcomes, failed, removed);
    }
    Ok(if failed == outcomes.len() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn requests(sources: Vec<String>, metadata: &Value) -> Result<Vec<DocumentRequest>> {
    let metadata: operone_core::metadata::Metadata = serde_json::from_value(metadata.clone())
        .map_err(|error| super::wrong(format!("--metadata is not understood: {error}")))?;
    let request = |source| DocumentRequest::new(source).with_metadata(metadata.clone());
    Ok(sources.into_iter().map(request).collect())
}

/// Takes the documents in here; their outcomes in order.
async fn in_folder(
    parts: &Parts,
    collection: &Collection,
    requests: Vec<DocumentRequest>,
    options: ChunkOptions,
    bar: &ProgressBar,
) -> Result<Vec<Value>> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let meter = Arc::new(IngestMeter::default());
    let begun = Instant::now();
    let mut outcomes = vec![Value::Null; requests.len()];
    let mut waiting = (0..).zip(requests);
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_once
            && let Some((index, request)) = waiting.next()
        {
            let ingestor = parts.ingestor.clone().with_meter(Arc::clone(&meter));
            let collection = collection.clone();
            running.spawn(async move {
                let outcome = ingestor.ingest_document(&collection, &request, &options, None).await;
                outcome.map(|outcome| (index, outcome))
            });
        }
        let Some(done) = running.join_next().await else { return Ok(outcomes) };
        let (index, outcome): (u32, _) =
            done.map_err(|error| Error::internal("ingesting a document failed").with_source(error))??;
        bar.inc(1);
        let rate = meter.figures().chunks_embedded as f64 / begun.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:.0} chunks/s"));
        let outcome = serde_json::to_value(JobDocument::new(index, outcome))
            .map_err(|error| Error::internal("an outcome cannot be written as JSON").with_source(error))?;
        if let Some(place) = outcomes.get_mut(index as usize) {
            *place = outcome;
        }
    }
}

/// What is asked of a server for all documents.
struct Asked<'a> {
    collection: &'a str,
    metadata: Value,
    arguments: &'a IngestArguments,
    folders: &'a [String],
}

/// Lets the server take the documents in, job by job; their outcomes in order, and how many it removed.
async fn through_server(
    client: Client,
    sources: &[String],
    asked: &Asked<'_>,
    bar: &ProgressBar,
) -> Result<(Vec<Value>, u64)> {
    let mut outcomes = Vec::with_capacity(sources.len());
    let mut removed = 0;
    let mut batches = sources.chunks(BATCH).peekable();
    while let Some(batch) = batches.next() {
        let documents: Vec<Value> =
            batch.iter().map(|source| json!({"source": source, "metadata": asked.metadata})).collect();
        // The last job prunes: what the others took in is there by then.
        let prune = if batches.peek().is_none() { asked.folders } else { &[] };
        let arguments = asked.arguments;
        let options =
            json!({"chunk_size": arguments.chunk_size, "overlap": arguments.overlap, "prune": prune});
        let body = json!({"collection": asked.collection, "documents": documents, "options": options});
        let started = client.post("/rag/ingest/batch", &body).await?;
        let job = wait_for_job(client, &started, outcomes.len(), bar).await?;
        removed += job["removed"].as_u64().unwrap_or(0);
        for document in job["documents"].as_array().into_iter().flatten() {
            let mut document = document.clone();
            document["index"] = json!(outcomes.len());
            outcomes.push(document);
        }
    }
    Ok((outcomes, removed))
}

/// Waits for the end of a job that was started, of which the bar shows how far it is beyond `before`.
pub(super) async fn wait_for_job(
    client: Client,
    started: &Value,
    before: usize,
    bar: &ProgressBar,
) -> Result<Value> {
    let path = format!("/rag/jobs/{}", started["job_id"].as_str().unwrap_or_default());
    let short = format!("{path}?limit=1");
    loop {
        let job = client.get(&short).await?;
        bar.set_position(before as u64 + job["done"].as_u64().unwrap_or(0));
        if let Some(rate) = job["chunks_per_second"].as_f64() {
            bar.set_message(format!("{rate:.0} chunks/s"));
        }
        if !is(&job, "processing") {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let job = client.get(&path).await?;
    if !is(&job, "completed") {
        let detail = job["error"]["detail"].as_str().unwrap_or("it was cancelled");
        return Err(Error::internal(format!("the job at {path} did not end: {detail}")));
    }
    Ok(job)
}

fn show(outcomes: &[Value], failed: usize, removed: u64) {
    for outcome in outcomes.iter().filter(|outcome| is(outcome, "failed")) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (code, detail) = (text(&outcome["error"]["code"]), text(&outcome["error"]["detail"]));
        print(format_args!("failed {} ({code}): {detail}", text(&outcome["source"])));
    }
    let count = |status: &str| outcomes.iter().filter(|outcome| is(outcome, status)).count();
    print(format_args!(
        "{} documents: {} indexed, {} updated, {} unchanged, {failed} failed{}",
        outcomes.len(),
        count("indexed"),
        count("updated"),
        count("unchanged"),
        if removed > 0 { format!("; {removed} removed") } else { String::new() }
    ));
}

fn is(value: &Value, status: &str) -> bool {
    value["status"] == status
}
