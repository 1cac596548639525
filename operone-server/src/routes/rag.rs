//! Retrieval: ingest a batch in the background, query.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use operone_core::id::WorkId;
use operone_core::journal::NewWork;
use operone_core::{Error, ErrorKind};
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{DocumentRequest, IngestSpec};

use crate::error::{ApiError, ApiResult};
use crate::extract::{Body, Tenant};
use crate::idempotency::RequestIds;
use crate::parts::Parts;
use crate::wire::rag::{IngestBatch, IngestOptions, IngestStarted, RagQuery, RagResults, collection};

pub(super) async fn ingest_batch(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    ids: RequestIds,
    Body(body): Body<IngestBatch>,
) -> ApiResult<(StatusCode, Json<IngestStarted>)> {
    let options = chunk_options(&parts, &body.options).map_err(|error| ApiError::at("/options", &error))?;
    let documents = body.documents.into_iter();
    let documents =
        documents.map(|document| DocumentRequest::new(document.source).with_metadata(document.metadata));
    let collection =
        collection(tenant.clone(), body.collection).map_err(|error| ApiError::at("/collection", &error))?;
    let folders = body.options.prune;
    if folders.len() > IngestSpec::MAX_FOLDERS {
        let detail = format!("a job prunes at most {} folders", IngestSpec::MAX_FOLDERS);
        return Err(ApiError::at("/options/prune", &Error::invalid(detail).with_code("too_many_folders")));
    }
    let spec = IngestSpec::new(&collection, documents.collect())
        .map_err(|error| ApiError::at("/documents", &error))?
        .with_options(options)
        .with_prune(folders);
    let count = spec.documents.len();
    let id = WorkId::job(ids.next(parts.ids.as_ref()));
    let work = spec.into_work(id.clone(), tenant, parts.services.clock.now())?;
    enqueue_job(&parts, &ids, work).await?;
    Ok((StatusCode::ACCEPTED, Json(IngestStarted { job_id: id.to_string(), status: "processing", count })))
}

/// Queues a job, unless an earlier try of the same request has queued it.
pub(super) async fn enqueue_job(parts: &Parts, ids: &RequestIds, work: NewWork) -> ApiResult<()> {
    let journal = &parts.services.journal;
    let (tenant, id) = (work.tenant.clone(), work.id.clone());
    if let Err(error) = journal.enqueue(work).await
        && (!ids.may_repeat() || journal.work(&tenant, &id).await.is_err())
    {
        return Err(error.into());
    }
    parts.doorbell.ring();
    Ok(())
}

/// What was asked for; the rest is what suits the embedder. An overlap that was not asked for gives way to a small size.
pub(crate) fn chunk_options(
    parts: &Parts,
    asked: &IngestOptions,
) -> operone_core::Result<Option<ChunkOptions>> {
    if asked.chunk_size.is_none() && asked.overlap.is_none() {
        return Ok(None);
    }
    let default = ChunkOptions::for_window(parts.embedder.info().window);
    let size = asked.chunk_size.unwrap_or(default.size());
    let overlap = asked.overlap.unwrap_or(default.overlap().min(size / 5));
    ChunkOptions::new(size, overlap).map(Some)
}

pub(super) async fn query(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    headers: HeaderMap,
    Body(body): Body<RagQuery>,
) -> ApiResult<Json<RagResults>> {
    let begun = Instant::now();
    let query = body.into_query(tenant)?;
    let cache_control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let query = query.with_fresh(cache_control.is_some_and(|value| value.contains("no-cache")));
    let found = parts.retriever.answer(query).await.map_err(|error| match error.kind() {
        ErrorKind::Invalid => ApiError::at(pointer_of(error.code()), &error),
        _ => error.into(),
    })?;
    Ok(Json(RagResults::new(found, begun.elapsed())))
}

/// The part of a query's body that an error is about.
fn pointer_of(code: &str) -> &'static str {
    match code {
        "invalid_top_k" => "/top_k",
        "invalid_mmr" => "/mmr",
        "invalid_context" => "/context",
        "invalid_per_document" => "/per_document",
        _ => "/query",
    }
}
