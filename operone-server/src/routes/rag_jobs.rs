//! Jobs of retrieval: how far they are, at once and as events, their cancellation, and embedding again.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures_util::{StreamExt, future, stream};
use operone_core::Error;
use operone_core::agent::{Cursor, run_events};
use operone_core::event::{RAG_EVENTS, Received};
use operone_core::id::WorkId;
use operone_core::journal::{Status, Work, WorkKind};
use operone_rag::ingest::{ReembedSpec, job_status};
use serde::Deserialize;

use super::rag::enqueue_job;
use super::runs::{cancel_work, unknown_cursor};
use crate::error::ApiResult;
use crate::extract::{Body, Id, Params, Tenant};
use crate::idempotency::RequestIds;
use crate::limits;
use crate::parts::Parts;
use crate::sse;
use crate::wire::rag::{IngestStarted, JobCancelled, JobView, Reembed, collection};

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
    check_kind(&work)?;
    let status = match cancel_work(&parts, &tenant, &job_id).await? {
        Status::Queued | Status::Running => "processing",
        ended => ended.as_str(),
    };
    Ok((StatusCode::ACCEPTED, Json(JobCancelled { job_id: job_id.to_string(), status })))
}

#[derive(Deserialize)]
pub(super) struct Watch {
    after: Option<String>,
}

/// The outcomes of a job as they come, between them how far it is, and its end.
pub(super) async fn events(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(job_id): Id<WorkId>,
    Params(Watch { after }): Params<Watch>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    // Before the journal is read, so that nothing is missed in between.
    let heard = parts.services.bus.subscribe(&[RAG_EVENTS]).await?;
    let work = parts.services.journal.work(&tenant, &job_id).await?;
    check_kind(&work)?;
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let cursor = match last_seen.or(after).map(|id| Cursor::parse(&id)).transpose()? {
        Some((job, _)) if job != job_id => {
            return Err(unknown_cursor("this event id belongs to another job"));
        }
        Some((_, cursor)) if cursor.seq > work.last_seq => {
            return Err(unknown_cursor("the job has no such event"));
        }
        Some((_, cursor)) => cursor,
        None => Cursor::default(),
    };
    let live = parts.services.live.clone();
    let journal = std::sync::Arc::clone(&parts.services.journal);
    let kept = sse::of_run(job_id.clone(), run_events(journal, &live, job_id.clone(), cursor));
    let progress = heard.filter_map(move |received| {
        let progress = progress_of(&job_id, received);
        if progress.is_some() {
            // The journal may have news with it.
            live.ring(&job_id);
        }
        future::ready(progress)
    });
    // What the journal has ends with the job, and the stream with it.
    let kept = kept.map(Some).chain(stream::once(future::ready(None)));
    let events = stream::select(kept, progress.map(Some))
        .take_while(|event| future::ready(event.is_some()))
        .filter_map(future::ready);
    Ok(sse::respond(events, parts.stop()))
}

/// What the bus says of a job's progress.
fn progress_of(job: &WorkId, received: Received) -> Option<SseEvent> {
    let Received::Event(event) = received else { return None };
    let own = event.payload.get("job_id").and_then(|id| id.as_str()) == Some(job.as_str());
    let progress = own && event.event.ends_with(".progress");
    progress.then(|| SseEvent::default().event("progress").data(event.payload.to_string()))
}

/// Queues a job that embeds a collection again with the present embedder.
pub(super) async fn reembed(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    ids: RequestIds,
    body: Option<Body<Reembed>>,
) -> ApiResult<(StatusCode, Json<IngestStarted>)> {
    let asked = collection(tenant.clone(), body.and_then(|Body(body)| body.collection))?;
    let listed = parts.chunks.collections(&tenant).await?;
    let found = listed.iter().find(|found| found.name == asked.name).ok_or_else(|| {
        let name = &asked.name;
        Error::not_found(format!("there is no collection {name}"))
    })?;
    let id = WorkId::job(ids.next(parts.ids.as_ref()));
    let spec = ReembedSpec::new(found);
    let count = spec.documents;
    let work = spec.into_work(id.clone(), tenant, parts.services.clock.now())?;
    enqueue_job(&parts, &ids, work).await?;
    Ok((StatusCode::ACCEPTED, Json(IngestStarted { job_id: id.to_string(), status: "processing", count })))
}

fn check_kind(work: &Work) -> ApiResult<()> {
    if [WorkKind::INGEST, WorkKind::REEMBED].contains(&work.new.kind) {
        return Ok(());
    }
    Err(Error::not_found("there is no such job").into())
}
