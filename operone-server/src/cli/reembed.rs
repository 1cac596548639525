//! `operone-server reembed`: makes the vectors of collections anew with the present embedder.

use std::process::ExitCode;

use operone_core::chunk::Collection;
use operone_core::error::Result;
use operone_core::id::TenantId;
use serde_json::json;

use super::ingest::wait_for_job;
use super::place::Place;
use super::progress::bar;
use super::{print, wrong};
use crate::config::Config;
use crate::parts::Parts;

/// What to embed again.
#[derive(Debug, clap::Args)]
pub struct ReembedArguments {
    /// The collection [default: every one that was built with another embedder]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

/// A collection that is to be embedded again.
struct Stale {
    name: String,
    documents: u64,
}

pub(super) async fn reembed(config: &Config, arguments: &ReembedArguments) -> Result<ExitCode> {
    let place = Place::find(config).await?;
    let all = match &place {
        Place::Folder(parts) => in_folder(parts).await?,
        Place::Server(client) => {
            let listed = client.get("/rag/collections").await?;
            let collections = listed["collections"].as_array().into_iter().flatten();
            let stale = collections.map(|found| {
                let name = found["name"].as_str().unwrap_or_default().to_owned();
                let documents = found["documents"].as_u64().unwrap_or(0);
                (Stale { name, documents }, found["needs_reembed"] == true)
            });
            stale.collect()
        }
    };
    if let Some(name) = &arguments.collection
        && !all.iter().any(|(found, _)| found.name == *name)
    {
        return Err(wrong(format!("there is no collection {name}")));
    }
    let asked = |name: &str| arguments.collection.as_deref().is_none_or(|asked| asked == name);
    for (stale, needed) in all.into_iter().filter(|(found, _)| asked(&found.name)) {
        let Stale { name, documents } = stale;
        if !needed {
            print(format_args!("{name}: is of the present embedder"));
            continue;
        }
        let bar = bar(usize::try_from(documents).unwrap_or(usize::MAX), false);
        match &place {
            Place::Folder(parts) => {
                let collection = Collection::named(TenantId::local(), name.as_str())?;
                parts.ingestor.reembed(&collection, |done| bar.set_position(done.documents)).await?;
            }
            Place::Server(client) => {
                let started = client.post("/rag/reembed", &json!({"collection": name})).await?;
                wait_for_job(*client, &started, 0, &bar).await?;
            }
        }
        bar.finish_and_clear();
        print(format_args!("{name}: {documents} documents embedded again"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The collections of the data folder, and whether each is of another embedder.
async fn in_folder(parts: &Parts) -> Result<Vec<(Stale, bool)>> {
    let present = parts.embedder.info().id;
    let listed = parts.chunks.collections(&TenantId::local()).await?.into_iter();
    let named = listed.filter(|found| Collection::named(TenantId::local(), found.name.as_str()).is_ok());
    Ok(named
        .map(|found| {
            let needed = found.embedder != present;
            (Stale { name: found.name, documents: found.documents }, needed)
        })
        .collect())
}
