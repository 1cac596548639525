//! `operone-server query`: passages for a question, from the data folder or from the server that has it.

use std::process::ExitCode;
use std::time::Instant;

use operone_core::error::{Error, Result};
use operone_core::id::TenantId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::place::Place;
use super::{print, print_json, wrong};
use crate::config::Config;
use crate::wire::rag::{RagQuery, RagResults};

/// What to look for, and how.
#[derive(Debug, clap::Args)]
pub struct QueryArguments {
    /// What to look for, in words
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,

    /// The collection to look in [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,

    /// The most passages
    #[arg(long, short = 'k', default_value_t = 5)]
    top_k: usize,

    /// What is asked: lexical, dense or hybrid
    #[arg(long, default_value = "hybrid")]
    mode: String,

    /// Whether the best candidates are reranked [default: what suits the embedder]
    #[arg(long)]
    rerank: Option<bool>,

    /// What relevance counts against being unlike the passages before, 0 to 1
    #[arg(long, value_name = "LAMBDA")]
    mmr: Option<f32>,

    /// Lets passages grow by what stands around them, to so many tokens
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,

    /// The most passages of one document
    #[arg(long)]
    per_document: Option<usize>,

    /// Which documents may be found, as the `filters` of POST /rag/query
    #[arg(long, value_name = "JSON")]
    filters: Option<String>,

    /// Answers in JSON, as POST /rag/query does
    #[arg(long)]
    json: bool,
}

impl QueryArguments {
    /// The body of `POST /rag/query`.
    fn body(&self) -> Result<Value> {
        let filters: Value = match &self.filters {
            Some(filters) => serde_json::from_str(filters)
                .map_err(|error| wrong("--filters is no JSON").with_source(error))?,
            None => json!({}),
        };
        Ok(json!({
            "collection": self.collection,
            "query": self.text.join(" "),
            "top_k": self.top_k,
            "mode": self.mode,
            "rerank": self.rerank,
            "mmr": self.mmr,
            "context": self.context,
            "per_document": self.per_document,
            "filters": filters,
        }))
    }
}

pub(super) async fn query(config: &Config, arguments: &QueryArguments) -> Result<ExitCode> {
    let body = arguments.body()?;
    let parsed = RagQuery::deserialize(&body)
        .map_err(|error| wrong(format!("the query is not understood: {error}")))?;
    let query = parsed.into_query(TenantId::local()).map_err(|error| wrong(error.detail()))?;
    let answer = match Place::find(config).await? {
        Place::Server(client) => client.post("/rag/query", &body).await?,
        Place::Folder(parts) => {
            let begun = Instant::now();
            let found = parts.retriever.answer(query).await?;
            let results = RagResults::new(found, begun.elapsed());
            serde_json::to_value(results)
                .map_err(|error| Error::internal("the answer cannot be written as JSON").with_source(error))?
        }
    };
    if arguments.json {
        print_json(&answer)?;
    } else {
        show(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(answer: &Value) {
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if results.is_empty() {
        print("nothing found");
    }
    if let Some(reason) = answer["degraded"]["detail"].as_str() {
        eprintln!("operone-server: by words alone: {reason}");
    }
    for (number, hit) in (1..).zip(results) {
        let source = &hit["source"];
        let page = source["page"].as_u64().map(|page| format!(", page {page}")).unwrap_or_default();
        let heading: Vec<&str> =
            source["heading"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let heading = if heading.is_empty() { String::new() } else { format!(", {}", heading.join(" > ")) };
        let (uri, score) = (text(&source["uri"]), hit["score"].as_f64().unwrap_or(0.0));
        print(format_args!("{number}. {uri}{page}{heading} ({score:.2})"));
        for line in text(&hit["content"]).lines() {
            print(format_args!("   {line}"));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
