//! Answers that are kept: by query, filter and generation, the least recently used forgotten first.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use operone_core::chunk::{Collection, Generation};
use operone_core::filter::Filter;
use operone_core::retrieve::{Hit, NearDuplicates, RetrieveQuery, Retrieved, SearchMode};
use operone_core::{Error, Result};

/// How long an answer is kept at most.
const CACHED_FOR: Duration = Duration::from_secs(600);

/// A cache of at most so many bytes, about.
pub(super) fn answers(bytes: u64) -> Cache<Asked, Arc<Retrieved>> {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|asked: &Asked, kept: &Arc<Retrieved>| asked.weight().saturating_add(weight(&kept.hits)))
        .eviction_policy(EvictionPolicy::lru())
        .time_to_live(CACHED_FOR)
        .build()
}

/// What makes two queries the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    collection: Collection,
    text: String,
    filter: String,
    top_k: usize,
    options: Options,
    generation: Generation,
}

/// The options of a query in a form that can be compared exactly.
type Options = (SearchMode, Option<bool>, Option<u32>, Option<usize>, Option<usize>, NearDuplicates);

impl Asked {
    pub(super) fn new(query: &RetrieveQuery, generation: Generation) -> Result<Self> {
        let json = |filter: &Filter| serde_json::to_string(filter);
        let filter =
            query.filter.as_ref().map(json).transpose().map_err(|error| {
                Error::internal("the filter cannot be written as JSON").with_source(error)
            })?;
        Ok(Self {
            collection: query.collection.clone(),
            text: query.text.split_whitespace().collect::<Vec<_>>().join(" "),
            filter: filter.unwrap_or_default(),
            top_k: query.top_k,
            options: options(query),
            generation,
        })
    }

    fn weight(&self) -> u32 {
        u32::try_from(256 + self.text.len() + self.filter.len()).unwrap_or(u32::MAX / 2)
    }
}

fn options(query: &RetrieveQuery) -> Options {
    let options = &query.options;
    let mmr = options.mmr.map(f32::to_bits);
    (options.mode, options.rerank, mmr, options.context, options.per_document, options.near_duplicates)
}

fn weight(hits: &[Hit]) -> u32 {
    let bytes: usize = hits
        .iter()
        .map(|hit| {
            256 + hit.content.len()
                + hit.source.uri.len()
                + hit.source.heading.iter().map(String::len).sum::<usize>()
        })
        .sum();
    u32::try_from(bytes).unwrap_or(u32::MAX / 2)
}
