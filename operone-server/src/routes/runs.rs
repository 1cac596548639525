//! Runs of agents: start, resume, watch, cancel.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use operone_core::Error;
use operone_core::agent::{AgentSpec, Cursor, Next, Run, run_events};
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::journal::{NewWork, Status, Work, WorkKind};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::{Body, Id, Params, Tenant};
use crate::idempotency::RequestIds;
use crate::parts::Parts;
use crate::sse;
use crate::wire::agents::{AgentRun, ResumeAgent};

#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    if_running: IfRunning,
    #[serde(default)]
    on_disconnect: OnDisconnect,
}

/// What becomes of a start while a run of the agent has not ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IfRunning {
    /// It is a conflict.
    #[default]
    Reject,
    /// The client gets that run.
    Attach,
    /// A new run begins when that one has ended.
    Queue,
}

/// What becomes of a run whose client leaves the stream.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnDisconnect {
    #[default]
    Continue,
    Cancel,
}

pub(super) async fn start(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Start { stream, if_running, on_disconnect }): Params<Start>,
    ids: RequestIds,
) -> ApiResult<Response> {
    if on_disconnect == OnDisconnect::Cancel && !stream {
        let detail = "on_disconnect=cancel needs stream=true: without a stream nobody is connected";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail));
    }
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let run_id = WorkId::run(ids.next(parts.ids.as_ref()));
    let now = parts.services.clock.now();
    let mut work = NewWork::new(run_id, WorkKind::AGENT, tenant.clone(), record.agent.spec, now);
    work.behind = if_running == IfRunning::Queue;
    let begun = Begun { parts: &parts, tenant: &tenant, ids: &ids, stream, on_disconnect };
    begun.answer(work.with_agent(agent_id), if_running).await
}

#[derive(Deserialize)]
pub(super) struct Resume {
    #[serde(default)]
    stream: bool,
}

/// A new run that goes on where the latest one ended.
pub(super) async fn resume(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Resume { stream }): Params<Resume>,
    ids: RequestIds,
    body: Option<Body<ResumeAgent>>,
) -> ApiResult<Response> {
    let message = body.and_then(|Body(body)| body.message);
    if message.as_ref().is_some_and(|said| said.trim().is_empty() || said.len() > AgentSpec::MAX_GOAL) {
        let detail = format!("a message has 1 to {} bytes and is not blank", AgentSpec::MAX_GOAL);
        return Err(ApiError::at("/message", &Error::invalid(detail).with_code("invalid_message")));
    }
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let run_id = WorkId::run(ids.next(parts.ids.as_ref()));
    let latest = record.run.filter(|latest| latest.new.id != run_id).ok_or_else(not_started)?;
    let spec = AgentSpec::from_stored(&record.agent.spec)?;
    let run = ended_run(&latest, &spec)?.resume(&spec, message)?;
    let now = parts.services.clock.now();
    let work = NewWork::new(run_id, WorkKind::AGENT, tenant.clone(), record.agent.spec, now)
        .with_agent(agent_id)
        .with_snapshot(run.to_snapshot()?);
    let on_disconnect = OnDisconnect::Continue;
    let begun = Begun { parts: &parts, tenant: &tenant, ids: &ids, stream, on_disconnect };
    begun.answer(work, IfRunning::Reject).await
}

/// The latest run of an agent as it ended.
fn ended_run(latest: &Work, spec: &AgentSpec) -> operone_core::Result<Run> {
    let mut run = match &latest.snapshot {
        Some(snapshot) => Run::from_snapshot(snapshot)?,
        None => Run::new(spec),
    };
    // The journal itself ends what is cancelled while nobody runs it: the run does not know of it.
    if latest.status.is_terminal() && !matches!(run.next(), Next::Done(_)) {
        run.cancelled();
    }
    Ok(run)
}

/// A request that queues a run.
struct Begun<'a> {
    parts: &'a Parts,
    tenant: &'a TenantId,
    ids: &'a RequestIds,
    stream: bool,
    on_disconnect: OnDisconnect,
}

impl Begun<'_> {
    /// Queues the run and answers with it, or with its stream.
    async fn answer(&self, work: NewWork, if_running: IfRunning) -> ApiResult<Response> {
        let Self { parts, tenant, .. } = self;
        let agent_id = work.agent.clone().ok_or_else(not_started)?;
        let run_id = work.id.clone();
        // Whoever wants the stream follows before the run can begin, so that no word of it is missed.
        let followed = self.stream.then(|| self.stream_run(&agent_id, run_id.clone()));
        let work = match parts.services.journal.enqueue(work).await {
            Ok(work) => work,
            Err(error) => match self.known(&agent_id, &run_id, error.code(), if_running).await? {
                Some(known) if known.new.id == run_id => known,
                Some(known) if self.stream => return Ok(self.stream_run(&agent_id, known.new.id)),
                Some(known) => return Ok(queued(&agent_id, &known)),
                None => return Err(error.into()),
            },
        };
        parts.doorbell.ring();
        tracing::debug!(%tenant, agent = %agent_id, run = %run_id, "a run is queued");
        Ok(followed.unwrap_or_else(|| queued(&agent_id, &work)))
    }

    /// The run to answer with where none was queued: that of an earlier try of this request, or the one to attach to.
    async fn known(
        &self,
        agent_id: &AgentId,
        run_id: &WorkId,
        code: &str,
        if_running: IfRunning,
    ) -> ApiResult<Option<Work>> {
        let journal = &self.parts.services.journal;
        if self.ids.may_repeat()
            && let Ok(work) = journal.work(self.tenant, run_id).await
        {
            return Ok(Some(work));
        }
        if code == "already_running" && if_running == IfRunning::Attach {
            return Ok(journal.agent(self.tenant, agent_id).await?.run);
        }
        Ok(None)
    }

    fn stream_run(&self, agent_id: &AgentId, run_id: WorkId) -> Response {
        let leave = (self.on_disconnect == OnDisconnect::Cancel).then(|| Leave {
            parts: self.parts.clone(),
            tenant: self.tenant.clone(),
            run: run_id.clone(),
        });
        stream_run(self.parts, agent_id, run_id, Cursor::default(), leave)
    }
}

fn queued(agent_id: &AgentId, work: &Work) -> Response {
    let run_id = work.new.id.to_string();
    let body = AgentRun { agent_id: agent_id.to_string(), run_id, status: work.status };
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// Queues a new run of an agent; one that has a run already is a conflict.
pub(super) async fn enqueue(
    parts: &Parts,
    tenant: &TenantId,
    agent_id: AgentId,
    id: WorkId,
) -> ApiResult<Work> {
    let record = parts.services.journal.agent(tenant, &agent_id).await?;
    let now = parts.services.clock.now();
    let work = NewWork::new(id, WorkKind::AGENT, tenant.clone(), record.agent.spec, now).with_agent(agent_id);
    Ok(parts.services.journal.enqueue(work).await?)
}

/// Cancels a run when it is dropped.
struct Leave {
    parts: Parts,
    tenant: TenantId,
    run: WorkId,
}

impl Drop for Leave {
    fn drop(&mut self) {
        // A server that stops leaves the run to its next life; a run that has ended is not touched by a cancel.
        if self.parts.stop().is_cancelled() {
            return;
        }
        let (parts, tenant, run) = (self.parts.clone(), self.tenant.clone(), self.run.clone());
        self.parts.background.spawn(async move {
            if let Err(error) = cancel_work(&parts, &tenant, &run).await {
                tracing::warn!(%run, ?error, "a run whose client has left was not cancelled");
            }
        });
    }
}

fn stream_run(
    parts: &Parts,
    agent_id: &AgentId,
    run_id: WorkId,
    cursor: Cursor,
    leave: Option<Leave>,
) -> Response {
    let journal = Arc::clone(&parts.services.journal);
    let events = run_events(journal, &parts.services.live, run_id.clone(), cursor);
    let events = sse::of_run(run_id.clone(), events).map(move |event| {
        // The stream owns what is to happen when its client leaves.
        let _ = &leave;
        event
    });
    let mut response = sse::respond(events, parts.stop());
    // A browser cannot repeat the POST: this is where it goes on after a cut.
    if let Ok(location) = HeaderValue::from_str(&format!("/agents/{agent_id}/events?run={run_id}")) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    response
}

#[derive(Deserialize)]
pub(super) struct Watch {
    run: Option<String>,
    after: Option<String>,
}

pub(super) async fn events(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Watch { run, after }): Params<Watch>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let seen = last_seen.or(after).map(|id| Cursor::parse(&id)).transpose()?;
    let named = run.map(WorkId::new).transpose()?;
    let wanted = named.or_else(|| seen.as_ref().map(|(run, _)| run.clone()));
    let work = match (wanted, record.run) {
        (Some(wanted), _) => parts.services.journal.work(&tenant, &wanted).await?,
        (None, Some(latest)) => latest,
        (None, None) => {
            return Err(Error::not_found("this agent was not started yet").with_code("not_started").into());
        }
    };
    if work.new.agent.as_ref() != Some(&agent_id) {
        return Err(Error::not_found("this agent has no such run").into());
    }
    let cursor = match seen {
        Some((run, cursor)) if run == work.new.id => cursor,
        Some(_) => return Err(unknown_cursor("this event id belongs to another run")),
        None => Cursor::default(),
    };
    if cursor.seq > work.last_seq {
        return Err(unknown_cursor("the run has no such event"));
    }
    Ok(stream_run(&parts, &agent_id, work.new.id, cursor, None))
}

pub(super) fn unknown_cursor(detail: &str) -> ApiError {
    ApiError::new(StatusCode::GONE, "unknown_event_id", format!("{detail}: read the run from its begin"))
}

pub(super) async fn cancel(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
) -> ApiResult<(StatusCode, Json<AgentRun>)> {
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let Some(run) = record.run else {
        return Err(not_started());
    };
    let status = cancel_work(&parts, &tenant, &run.new.id).await?;
    let body = AgentRun { agent_id: agent_id.to_string(), run_id: run.new.id.to_string(), status };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// Asks for the end of a run or job, and tells whoever runs and watches it.
pub(super) async fn cancel_work(parts: &Parts, tenant: &TenantId, id: &WorkId) -> ApiResult<Status> {
    let status = parts.services.journal.cancel(tenant, id).await?;
    parts.workers.cancel(id);
    parts.services.live.ring(id);
    Ok(status)
}

fn not_started() -> ApiError {
    Error::conflict("this agent was not started yet").with_code("not_started").into()
}
