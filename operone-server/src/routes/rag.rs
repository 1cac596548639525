//! Retrieval: ingest a batch in the background, look at the job, query.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use operone_core::chunk::Collection;
use operone_core::id::{DocId, WorkId};
use operone_core::journal::{Status, WorkKind};
use operone_core::{Error, ErrorKind};
use operone_rag::chunk::ChunkOptions;
use operone_rag::ingest::{DocumentRequest, IngestSpec, job_status};
use serde::Deserialize;

use super::runs::cancel_work;
use crate::error::{ApiError, ApiResult};
use crate::extract::{Body, Id, Params, Tenant};
use crate::idempotency::RequestIds;
use crate::limits;
use crate::parts::Parts;
use crate::wire::rag::{
    DocumentView, Documents, HitView, IngestBatch, IngestOptions, IngestStarted, JobCancelled, JobView,
    RagQuery, RagResults,
};

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
    let spec = IngestSpec::new(&Collection::of(tenant.clone()), documents.collect())
        .map_err(|error| ApiError::at("/documents", &error))?
        .with_options(options);
    let count = spec.documents.len();
    let id = WorkId::job(ids.next(parts.ids.as_ref()));
    let journal = &parts.services.journal;
    let work = spec.into_work(id.clone(), tenant.clone(), parts.services.clock.now())?;
    if let Err(error) = journal.enqueue(work).await {
        // An earlier try of the same request may have queued the job.
        if !ids.may_repeat() || journal.work(&tenant, &id).await.is_err() {
            return Err(error.into());
        }
    }
    parts.doorbell.ring();
    Ok((StatusCode::ACCEPTED, Json(IngestStarted { job_id: id.to_string(), status: "processing", count })))
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

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn job(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(job_id): Id<WorkId>,
    Params(Page { after, limit }): Params<Page>,
) -> ApiResult<Json<JobView>> {
    let limit = limits::rows(limit, limits::JOB_PAGE);
    let job = job_status(parts.services.journal.as_ref(), &tenant, &job_id, after, limit).await?;
    Ok(Json(JobView::new(job)))
}

pub(super) async fn cancel(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(job_id): Id<WorkId>,
) -> ApiResult<(StatusCode, Json<JobCancelled>)> {
    let work = parts.services.journal.work(&tenant, &job_id).await?;
    if work.new.kind != WorkKind::INGEST {
        return Err(Error::not_found("there is no such job").into());
    }
    let status = match cancel_work(&parts, &tenant, &job_id).await? {
        Status::Queued | Status::Running => "processing",
        ended => ended.as_str(),
    };
    Ok((StatusCode::ACCEPTED, Json(JobCancelled { job_id: job_id.to_string(), status })))
}

#[derive(Deserialize)]
pub(super) struct DocumentPage {
    after: Option<DocId>,
    limit: Option<usize>,
}

pub(super) async fn documents(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(DocumentPage { after, limit }): Params<DocumentPage>,
) -> ApiResult<Json<Documents>> {
    let limit = limits::rows(limit, limits::PAGE);
    let documents = parts.chunks.documents(&Collection::of(tenant), after.as_ref(), limit).await?;
    let next = documents.last().filter(|_| documents.len() == limit).map(|document| document.id.to_string());
    Ok(Json(Documents { documents: documents.into_iter().map(DocumentView::new).collect(), next }))
}

pub(super) async fn remove_document(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(doc_id): Id<DocId>,
) -> ApiResult<StatusCode> {
    parts.ingestor.remove_document(&Collection::of(tenant), &doc_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn query(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    headers: HeaderMap,
    Body(body): Body<RagQuery>,
) -> ApiResult<Json<RagResults>> {
    let begun = Instant::now();
    let query = body.into_query(Collection::of(tenant))?;
    let cache_control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let query = query.with_fresh(cache_control.is_some_and(|value| value.contains("no-cache")));
    let hits = parts.retriever.retrieve(query).await.map_err(|error| match error.kind() {
        ErrorKind::Invalid => ApiError::at(pointer_of(error.code()), &error),
        _ => error.into(),
    })?;
    let latency_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(RagResults { results: hits.into_iter().map(HitView::new).collect(), latency_ms }))
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
