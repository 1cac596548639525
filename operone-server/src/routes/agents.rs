//! Agents: create, look at, delete.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use operone_core::Error;
use operone_core::agent::{AgentSpec, DEFAULT_MAX_STEPS, MAX_STEPS_LIMIT, SubagentSpec};
use operone_core::id::{AgentId, TenantId};
use operone_core::journal::NewAgent;
use operone_core::schema::JsonSchema;
use operone_sandbox::Limits;
use serde::Deserialize;

use super::runs::cancel_work;
use crate::capabilities;
use crate::error::{ApiError, ApiResult, FieldError};
use crate::extract::{Body, Id, Params, Tenant};
use crate::idempotency::RequestIds;
use crate::limits;
use crate::parts::Parts;
use crate::wire::agents::{AgentPage, AgentView, CreateAgent, CreateAgents, CreatedAgent, CreatedAgents};

/// How long a deletion waits for the end of the run that it has cancelled.
const END: Duration = Duration::from_secs(5);
/// The most sub-agents of one agent.
const MAX_AGENTS: usize = 16;

pub(super) async fn create(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    ids: RequestIds,
    Body(body): Body<CreateAgent>,
) -> ApiResult<Response> {
    let (spec, faults) = check(&parts, body, "");
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    let limits = spec.resources.as_ref().map(Limits::of).transpose()?;
    let enforced = limits.map(|limits| parts.processes.sandbox().enforced(limits));
    let agent = new_agent(&parts, &ids, &tenant, &spec)?;
    let agent_id = agent.id.to_string();
    store(&parts, &ids, vec![agent]).await?;
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
    ids: RequestIds,
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
        agents.push(new_agent(&parts, &ids, &tenant, &spec)?);
    }
    if !faults.is_empty() {
        return Err(refused(faults));
    }
    let agent_ids = agents.iter().map(|agent| agent.id.to_string()).collect();
    store(&parts, &ids, agents).await?;
    Ok((StatusCode::CREATED, Json(CreatedAgents { agent_ids })))
}

/// Creates agents, unless an earlier try of the same request has.
async fn store(parts: &Parts, ids: &RequestIds, agents: Vec<NewAgent>) -> ApiResult<()> {
    let first = agents.first().map(|agent| (agent.tenant.clone(), agent.id.clone()));
    let journal = &parts.services.journal;
    match (journal.create_agents(agents).await, first) {
        (Err(error), Some((tenant, id))) if ids.may_repeat() => match journal.agent(&tenant, &id).await {
            Ok(_) => Ok(()),
            Err(_) => Err(error.into()),
        },
        (created, _) => Ok(created?),
    }
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
    if body.instructions.len() > AgentSpec::MAX_INSTRUCTIONS {
        let detail = format!("instructions have at most {} bytes", AgentSpec::MAX_INSTRUCTIONS);
        fault("/instructions".into(), &Error::invalid(detail).with_code("invalid_instructions"));
    }
    if let Some(Err(error)) = body.output_schema.as_ref().map(JsonSchema::new) {
        fault("/output_schema".into(), &error);
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
        Some(Ok(limits)) if body.require_enforcement && !parts.processes.sandbox().enforces(limits) => {
            let detail = "this host does not enforce these limits";
            fault("/resources".into(), &Error::invalid(detail).with_code("not_enforced"));
        }
        _ => {}
    }
    if let Err(error) = body.budget.check() {
        fault("/budget".into(), &error);
    }
    if body.approval.expires_in == 0 {
        let detail = "an approval that expires at once is never given";
        fault("/approval/expires_in".into(), &Error::invalid(detail).with_code("invalid_approval"));
    }
    if body.agents.len() > MAX_AGENTS {
        let detail = format!("an agent has at most {MAX_AGENTS} sub-agents");
        fault("/agents".into(), &Error::invalid(detail).with_code("too_many_agents"));
    }
    for (index, agent) in body.agents.iter().enumerate() {
        let earlier = body.agents.iter().take(index);
        if let Err(error) = check_subagent(agent, &capabilities, earlier) {
            fault(format!("/agents/{index}"), &error);
        }
    }
    let mut spec = AgentSpec::new(body.goal, capabilities);
    spec.instructions = body.instructions;
    spec.output_schema = body.output_schema;
    spec.max_steps = max_steps;
    spec.resources = body.resources;
    spec.budget = body.budget;
    spec.approval = body.approval;
    spec.agents = body.agents;
    spec.model = body.model;
    check_models(parts, &spec, fault);
    (spec, faults)
}

/// Every model that is chosen is there, is granted, and has a price where the cost is limited.
fn check_models(parts: &Parts, spec: &AgentSpec, mut fault: impl FnMut(String, &Error)) {
    let models = parts.capabilities.models();
    let subagents = spec.agents.iter().enumerate().map(|(index, agent)| {
        let has_model = agent.capabilities.iter().any(|capability| capability == "ai");
        (format!("/agents/{index}/model"), has_model, agent.model.as_deref())
    });
    let own = ("/model".to_owned(), spec.grants("ai"), spec.model.as_deref());
    for (pointer, has_model, choice) in [own].into_iter().chain(subagents) {
        let Some(choice) = choice else { continue };
        if !has_model {
            let detail = "a model is chosen without the capability 'ai': add it";
            fault(pointer, &Error::invalid(detail).with_code("capability_not_granted"));
        } else if let Err(error) = models.choose(choice) {
            fault(pointer, &error);
        }
    }
    if spec.budget.cost_micros.is_some() && !models.have_prices(spec) {
        let detail = "the cost cannot be limited: a model has no price (--model-price)";
        fault("/budget/cost_micros".into(), &Error::invalid(detail).with_code("no_price"));
    }
}

fn check_subagent<'a>(
    agent: &SubagentSpec,
    granted: &[String],
    mut earlier: impl Iterator<Item = &'a SubagentSpec>,
) -> operone_core::Result<()> {
    let invalid = |detail: String, code: &'static str| Err(Error::invalid(detail).with_code(code));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if agent.name.is_empty() || agent.name.len() > 64 || !agent.name.bytes().all(plain) {
        return invalid("a sub-agent's name has 1 to 64 letters, digits, '-' or '_'".into(), "invalid_name");
    }
    if earlier.any(|other| other.name == agent.name) {
        return invalid(format!("there are two sub-agents '{}'", agent.name), "invalid_name");
    }
    if let Some(capability) = agent.capabilities.iter().find(|capability| !granted.contains(capability)) {
        let detail = format!("the agent itself has no capability '{capability}' to pass on");
        return invalid(detail, "capability_not_granted");
    }
    if !(1..=MAX_STEPS_LIMIT).contains(&agent.max_steps) {
        return invalid(format!("max_steps is 1 to {MAX_STEPS_LIMIT}"), "invalid_max_steps");
    }
    Ok(())
}

/// All faults in one answer, under the code of the first.
fn refused(faults: Vec<(FieldError, String)>) -> ApiError {
    let code = faults.first().map(|(_, code)| code.clone()).unwrap_or_default();
    ApiError::invalid(faults.into_iter().map(|(fault, _)| fault).collect()).with_code(code)
}

fn new_agent(parts: &Parts, ids: &RequestIds, tenant: &TenantId, spec: &AgentSpec) -> ApiResult<NewAgent> {
    let spec = serde_json::to_value(spec)
        .map_err(|error| Error::internal("the agent cannot be stored").with_source(error))?;
    let id = AgentId::from_uuid(ids.next(parts.ids.as_ref()));
    Ok(NewAgent::new(id, tenant.clone(), spec, parts.services.clock.now()))
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

#[derive(Deserialize)]
pub(super) struct Delete {
    #[serde(default)]
    force: bool,
}

/// Removes an agent with its runs. One that runs is removed by force only: its run is cancelled first.
pub(super) async fn remove(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Id(agent_id): Id<AgentId>,
    Params(Delete { force }): Params<Delete>,
) -> ApiResult<StatusCode> {
    let journal = &parts.services.journal;
    let give_up = tokio::time::Instant::now() + END;
    loop {
        match journal.delete_agent(&tenant, &agent_id).await {
            Err(error) if error.code() == "running" && force && tokio::time::Instant::now() < give_up => {
                if let Some(run) = journal.agent(&tenant, &agent_id).await?.run {
                    cancel_work(&parts, &tenant, &run.new.id).await?;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => {
                result?;
                return Ok(StatusCode::NO_CONTENT);
            }
        }
    }
}
