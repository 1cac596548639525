//! `operone-server eval`: how well retrieval does on a judged collection.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use operone_core::embed::Embedder;
use operone_core::error::{Error, Result};
use operone_core::in_process::{InProcessChunkStore, InProcessEmbeddingCache};
use operone_rag::HybridConfig;
use operone_rag::chunk::ChunkOptions;
use operone_rag::eval::{Dataset, EvalMode, EvalProgress, EvalReport, Evaluation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::progress::bar;
use super::{print, print_json, wrong};
use crate::config::Config;
use crate::embedder::embedders;

/// What to measure, and how.
#[derive(Debug, clap::Args)]
pub struct EvalArguments {
    /// A folder with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/test.tsv
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Says in JSON what was measured
    #[arg(long)]
    json: bool,

    /// Settings to measure, a JSON file {"name"?, "chunk_size"?, "overlap"?, "retrieval"?}; give several to compare them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    config: Vec<PathBuf>,
}

/// Settings as a file holds them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: Option<String>,
    chunk_size: Option<usize>,
    overlap: Option<usize>,
    #[serde(default)]
    retrieval: Map<String, Value>,
}

/// One of several reports.
#[derive(Serialize)]
struct Compared {
    name: String,
    #[serde(flatten)]
    report: EvalReport,
}

#[derive(Serialize)]
struct Comparison {
    configs: Vec<Compared>,
}

pub(super) async fn eval(config: &Config, arguments: &EvalArguments) -> Result<ExitCode> {
    let dataset = Dataset::read(&arguments.folder)?;
    let embedder = embedders(config).await?.passages;
    let cache = Arc::new(InProcessEmbeddingCache::default());
    // A store for each, as the documents may be cut otherwise; the cache saves the embedding of what is cut alike.
    let evaluation = || {
        let store = Arc::new(InProcessChunkStore::default());
        Evaluation::new(store, Arc::clone(&embedder), Arc::clone(&cache) as _)
    };
    if arguments.config.is_empty() {
        let report = measure(&evaluation(), &dataset, arguments.json).await?;
        return show(&report, arguments.json);
    }
    let settings: Vec<(String, Settings)> =
        arguments.config.iter().map(|path| read(path)).collect::<Result<_>>()?;
    let mut configs = Vec::new();
    for (name, settings) in settings {
        let evaluation = settings.apply(evaluation(), embedder.as_ref())?;
        configs.push(Compared { name, report: measure(&evaluation, &dataset, arguments.json).await? });
    }
    if let [Compared { report, .. }] = configs.as_slice() {
        return show(report, arguments.json);
    }
    if arguments.json {
        print_json(&Comparison { configs })?;
    } else {
        configs.iter().for_each(|Compared { name, report }| print(format_args!("{name}\n{report}\n")));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(report: &EvalReport, json: bool) -> Result<ExitCode> {
    if json {
        print_json(report)?;
    } else {
        print(report);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(evaluation: &Evaluation, dataset: &Dataset, json: bool) -> Result<EvalReport> {
    let asked = dataset.queries.len() * EvalMode::ALL.len();
    let bar = bar(dataset.documents.len() + asked, json);
    let progress = |progress: EvalProgress| {
        bar.set_message(match progress {
            EvalProgress::Asked(mode, _) => mode.as_str(),
            _ => "storing",
        });
        bar.inc(1);
    };
    let report = evaluation.run(dataset, &EvalMode::ALL, progress).await;
    bar.finish_and_clear();
    report
}

/// The settings of a file with their name: what the file says, or the file's own.
fn read(path: &Path) -> Result<(String, Settings)> {
    let at = |error: &dyn std::fmt::Display| wrong(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
    let mut settings: Settings = serde_json::from_str(&text).map_err(|error| at(&error))?;
    let own = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((settings.name.take().unwrap_or_else(own), settings))
}

impl Settings {
    /// The evaluation with these settings; what they leave out is what suits the embedder.
    fn apply(self, evaluation: Evaluation, embedder: &dyn Embedder) -> Result<Evaluation> {
        let info = embedder.info();
        let default = ChunkOptions::for_window(info.window);
        let size = self.chunk_size.unwrap_or(default.size());
        let overlap = self.overlap.unwrap_or(default.overlap().min(size / 5));
        let not_json = |error| Error::internal("the settings cannot be read as JSON").with_source(error);
        let mut config = serde_json::to_value(HybridConfig::for_embedder(&info)).map_err(not_json)?;
        if let Some(config) = config.as_object_mut() {
            config.extend(self.retrieval);
        }
        let config: HybridConfig =
            serde_json::from_value(config).map_err(|error| wrong(format!("retrieval: {error}")))?;
        Ok(evaluation.with_chunks(ChunkOptions::new(size, overlap)?).with_config(config))
    }
}
