//! Agents: create, start, watch, cancel.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use operone_core::Error;
use operone_core::agent::{AgentSpec, Cursor, DEFAULT_MAX_STEPS, MAX_STEPS_LIMIT, run_events};
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::journal::{NewAgent, NewWork, Work, WorkKind};
use operone_sandbox::Limits;
use serde::Deserialize;

use crate::capabilities;
use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Id, Params, Tenant};
use crate::limits;
use crate::parts::Parts;
use crate::sse;
use crate::wire::agents::{
    AgentPage, AgentRun, AgentView, CreateAgent, CreateAgents, CreatedAgent, CreatedAgents,
};

pub(super) async fn create(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<CreateAgent>,
) -> ApiResult<Response> {
    let (spec, faults) = check(&parts, body, "");
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    let limits = spec.resources.as_ref().map(Limits::of).transpose()?;
    let enforced = limits.map(|limits| parts.processes.sandbox().enforced(limits));
    let agent = new_agent(&parts, &tenant, &spec)?;
    let agent_id = agent.id.to_string();
    parts.services.journal.create_agents(vec![agent]).await?;
    let location = HeaderValue::from_str(&format!("/agents/{agent_id}")).ok();
    let body = CreatedAgent { agent_id, status: "created", enforced };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn create_batch(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Body(body): Body<CreateAgents>,
) -> ApiResult<(StatusCode, Json<CreatedAgents>)> {
    if body.agents.is_empty() || body.agents.len() > limits::AGENTS_PER_BATCH {
        let detail = format!("a batch has 1 to {} agents", limits::AGENTS_PER_BATCH);
        return Err(ApiError::invalid(vec![FieldError::new("/agents", detail)]));
    }
    let (mut agents, mut faults) = (Vec::new(), Vec::new());
    for (index, body) in body.agents.into_iter().enumerate() {
        let (spec, mut found) = check(&parts, body, &format!("/agents/{index}"));
        faults.append(&mut found);
        agents.push(new_agent(&parts, &tenant, &spec)?);
    }
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    let agent_ids = agents.iter().map(|agent| agent.id.to_string()).collect();
    parts.services.journal.create_agents(agents).await?;
    Ok((StatusCode::CREATED, Json(CreatedAgents { agent_ids })))
}

/// The agent as asked for, with everything that is wrong with it.
fn check(parts: &Parts, body: CreateAgent, at: &str) -> (AgentSpec, Vec<(FieldError, String)>) {
    let mut faults = Vec::new();
    let mut fault = |pointer: String, error: &Error| {
        faults.push((FieldError::new(format!("{at}{pointer}"), error.message()), error.code().to_owned()));
    };
    if body.goal.trim().is_empty() || body.goal.len() > AgentSpec::MAX_GOAL {
        let detail = format!("a goal has 1 to {} bytes and is not blank", AgentSpec::MAX_GOAL);
        fault("/goal".into(), &Error::invalid(detail).with_code("invalid_goal"));
    }
    let default = || capabilities::DEFAULT.map(str::to_owned).to_vec();
    let capabilities = body.capabilities.unwrap_or_else(default);
    for (index, capability) in capabilities.iter().enumerate() {
        if let Err(error) = parts.capabilities.check(capability) {
            fault(format!("/capabilities/{index}"), &error);
        }
    }
    let max_steps = body.max_steps.unwrap_or(DEFAULT_MAX_STEPS);
    if !(1..=MAX_STEPS_LIMIT).contains(&max_steps) {
        let detail = format!("max_steps is 1 to {MAX_STEPS_LIMIT}");
        fault("/max_steps".into(), &Error::invalid(detail).with_code("invalid_max_steps"));
    }
    match body.resources.as_ref().map(Limits::of) {
        Some(Err(error)) => fault("/resources".into(), &error),
        Some(Ok(limits))
            if body.require_enforcement && !parts.processes.sandbox().enforces(limits) =>
        {
            let detail = "this host does not enforce these limits";
            fault("/resources".into(), &Error::invalid(detail).with_code("not_enforced"));
        }
        _ => {}
    }
    let mut spec = AgentSpec::new(body.goal, capabilities);
    spec.max_steps = max_steps;
    spec.resources = body.resources;
    (spec, faults)
}

/// All faults in one answer, under the code of the first.
fn refused(faults: Vec<(FieldError, String)>) -> ApiError {
    let code = faults.first().map(|(_, code)| code.clone()).unwrap_or_default();
    ApiError::invalid(faults.into_iter().map(|(fault, _)| fault).collect()).with_code(code)
}

fn new_agent(parts: &Parts, tenant: &TenantId, spec: &AgentSpec) -> ApiResult<NewAgent> {
    let spec = serde_json::to_value(spec)
        .map_err(|error| Error::internal("the agent cannot be stored").with_source(error))?;
    let id = AgentId::from_uuid(parts.ids.next());
    Ok(NewAgent::new(id, tenant.clone(), spec, parts.services.clock.now()))
}

#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    stream: bool,
}

pub(super) async fn start(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Start { stream }): Params<Start>,
) -> ApiResult<Response> {
    let run_id = WorkId::run(parts.ids.next());
    // Whoever wants the stream follows before the run can begin, so that no word of it is missed.
    let followed = stream.then(|| stream_run(&parts, &agent_id, run_id.clone(), Cursor::default()));
    let work = enqueue(&parts, &tenant, agent_id.clone(), run_id.clone()).await?;
    parts.doorbell.ring();
    if let Some(events) = followed {
        return Ok(events);
    }
    let body = AgentRun { agent_id: agent_id.to_string(), run_id: run_id.to_string(), status: work.status };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
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

fn stream_run(parts: &Parts, agent_id: &AgentId, run_id: WorkId, cursor: Cursor) -> Response {
    let journal = Arc::clone(&parts.services.journal);
    let events = run_events(journal, &parts.services.live, run_id.clone(), cursor);
    let mut response = sse::respond(sse::of_run(run_id.clone(), events), parts.stop());
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
    Ok(stream_run(&parts, &agent_id, work.new.id, cursor))
}

fn unknown_cursor(detail: &str) -> ApiError {
    ApiError::new(StatusCode::GONE, "unknown_event_id", format!("{detail}: read the run from its begin"))
}

pub(super) async fn show(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
) -> ApiResult<Json<AgentView>> {
    Ok(Json(AgentView::new(parts.services.journal.agent(&tenant, &agent_id).await?)?))
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    after: Option<AgentId>,
}

pub(super) async fn list(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(Page { limit, after }): Params<Page>,
) -> ApiResult<Json<AgentPage>> {
    let limit = limits::rows(limit, limits::PAGE);
    let records = parts.services.journal.agents(&tenant, after.as_ref(), limit).await?;
    let next = records.last().filter(|_| records.len() == limit).map(|record| record.agent.id.to_string());
    let agents = records.into_iter().map(AgentView::new).collect::<operone_core::Result<_>>()?;
    Ok(Json(AgentPage { agents, next }))
}

pub(super) async fn cancel(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
) -> ApiResult<(StatusCode, Json<AgentRun>)> {
    let record = parts.services.journal.agent(&tenant, &agent_id).await?;
    let Some(run) = record.run else {
        return Err(Error::conflict("this agent was not started yet").with_code("not_started").into());
    };
    let status = cancel_work(&parts, &tenant, &run.new.id).await?;
    let body = AgentRun { agent_id: agent_id.to_string(), run_id: run.new.id.to_string(), status };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// Asks for the end of a run or job, and tells whoever runs and watches it.
pub(super) async fn cancel_work(
    parts: &Parts,
    tenant: &TenantId,
    id: &WorkId,
) -> ApiResult<operone_core::journal::Status> {
    let status = parts.services.journal.cancel(tenant, id).await?;
    parts.workers.cancel(id);
    parts.services.live.ring(id);
    Ok(status)
}
