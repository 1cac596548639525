//! Recalls: chooses the state to search, ranks, and cuts to what was asked for.

use operone_core::embed::Embedder;
use operone_core::memory::{RecallMode, RecallQuery, Recalled, Recency, Revision, ScoredMemory};
use operone_core::{Error, ErrorKind, Result};

use crate::cursor::Cursor;
use crate::filter::Wanted;
use crate::index::{Dense, Search, Until};
use crate::memory::Memory;

impl Memory {
    pub(crate) async fn find(&self, query: &RecallQuery) -> Result<Recalled> {
        check(query)?;
        let cursor = Cursor::of(query)?;
        if let Some(least) = query.at_least {
            self.check_reached(query, least).await?;
        }
        let now = self.clock.now();
        let until = match (cursor, query.as_of) {
            (_, Some(time)) => Some(Until::Time(time)),
            (Some(cursor), None) if cursor.revision != self.store.revision(&query.scope).await? => {
                Some(Until::Revision(cursor.revision))
            }
            _ => None,
        };
        let embedder = self.embedder_for(query)?;
        let vector = match &embedder {
            Some(embedder) if !query.text.trim().is_empty() => embed_query(embedder.as_ref(), query).await?,
            _ => None,
        };
        let (index, vector) = match (embedder, vector) {
            (Some(embedder), Some(vector)) => {
                match self.index_with_vectors(&query.scope, until, embedder.as_ref()).await {
                    Ok(index) => (index, Some(vector)),
                    // Words still answer where nobody insisted on vectors.
                    Err(error) if query.mode.is_none() && error.is_retryable() => {
                        tracing::warn!(%error, "the embedder does not answer: words rank alone");
                        (self.index(&query.scope, until).await?, None)
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => (self.index(&query.scope, until).await?, None),
        };
        let wanted = Wanted {
            filter: query.filter.as_ref(),
            min_trust: query.min_trust,
            include_superseded: query.include_superseded,
        };
        let is_dense = query.mode.unwrap_or_else(|| self.default_mode()) == RecallMode::Dense;
        let (weight, least_cosine) = if is_dense { (1.0, 0.0) } else { self.dense_weights() };
        let asked_at = cursor.map_or(now, |cursor| cursor.asked_at);
        let found = index.search(&Search {
            text: &query.text,
            dense: vector.as_deref().map(|query| Dense { query, weight, least_cosine }),
            filter: &|entry| wanted.holds(entry),
            recency: query.recency,
            asked_at,
            now,
            after: cursor.map(|cursor| cursor.after),
            limit: query.limit,
            explain: query.explain,
        });
        let revision = match until {
            Some(Until::Revision(revision)) => revision,
            _ => index.revision(),
        };
        let mut recalled = Recalled::new(Vec::new(), revision);
        recalled.coverage = found.coverage;
        recalled.readable = index.readable(now).count();
        drop(index);
        let all = found.memories.len();
        let kept = self.within_budget(query, &found.memories);
        recalled.truncated = kept < all;
        let last = found.memories.get(kept.saturating_sub(1)).map(|(position, _)| *position);
        if let Some(after) = last.filter(|_| kept > 0 && (kept < all || found.has_more)) {
            recalled.next = Some(Cursor { revision, asked_at, after }.to_text(query));
        }
        recalled.memories = found.memories.into_iter().take(kept).map(|(_, memory)| memory).collect();
        Ok(recalled)
    }

    async fn check_reached(&self, query: &RecallQuery, least: Revision) -> Result<()> {
        let reached = self.store.revision(&query.scope).await?;
        if reached < least {
            let message = format!("the scope has revision {}, not yet {}", reached.0, least.0);
            return Err(Error::new(ErrorKind::Unavailable, message).with_code("revision_not_reached"));
        }
        Ok(())
    }

    fn embedder_for(&self, query: &RecallQuery) -> Result<Option<std::sync::Arc<dyn Embedder>>> {
        match (query.mode.unwrap_or_else(|| self.default_mode()), self.embedder()) {
            (RecallMode::Lexical, _) => Ok(None),
            (_, Some(embedder)) => Ok(Some(std::sync::Arc::clone(embedder))),
            (_, None) => {
                let message = "this memory has no embedder: ask for the mode lexical, or for none";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// How many of the memories fit into the budget of tokens.
    fn within_budget<T>(&self, query: &RecallQuery, memories: &[(T, ScoredMemory)]) -> usize {
        let Some(budget) = query.max_tokens else { return memories.len() };
        let tokenizer = self.embedder().map(|embedder| embedder.tokenizer());
        let mut used = 0_usize;
        memories
            .iter()
            .take_while(|(_, memory)| {
                let content = &memory.entry.content;
                let tokens = match &tokenizer {
                    Some(tokenizer) => tokenizer.spans(content).len(),
                    // English has about four bytes to a token.
                    None => content.len().div_ceil(4),
                };
                used = used.saturating_add(tokens);
                used <= budget
            })
            .count()
    }
}

async fn embed_query(embedder: &dyn Embedder, query: &RecallQuery) -> Result<Option<Vec<f32>>> {
    match embedder.embed(std::slice::from_ref(&query.text)).await {
        Ok(vectors) => Ok(vectors.into_iter().next().flatten()),
        Err(error) if query.mode.is_none() && error.is_retryable() => {
            tracing::warn!(%error, "the embedder does not answer: words rank alone");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn check(query: &RecallQuery) -> Result<()> {
    if !(1..=RecallQuery::MAX_LIMIT).contains(&query.limit) {
        let detail = format!("the limit is between 1 and {}", RecallQuery::MAX_LIMIT);
        return Err(Error::invalid(detail).with_code("invalid_limit"));
    }
    if let Some(Recency { weight, half_life }) = query.recency
        && (!(0.0..=1.0).contains(&weight) || half_life.is_zero())
    {
        let detail = "the weight of recency is between 0 and 1, and its half-life is not zero";
        return Err(Error::invalid(detail).with_code("invalid_query"));
    }
    Ok(())
}
