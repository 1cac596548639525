//! Agents, their tools and their workers on the wire.

use std::collections::BTreeMap;

use operone_core::agent::{AgentSpec, ApprovalPolicy, Budget, Resources, Run, SubagentSpec};
use operone_core::clock::Timestamp;
use operone_core::journal::{AgentRecord, Status, Work};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ErrorView;
use crate::error::{ApiError, ApiResult};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAgent {
    pub(crate) goal: String,
    #[serde(default)]
    pub(crate) instructions: String,
    pub(crate) output_schema: Option<Value>,
    pub(crate) capabilities: Option<Vec<String>>,
    pub(crate) max_steps: Option<u32>,
    pub(crate) resources: Option<Resources>,
    #[serde(default)]
    pub(crate) require_enforcement: bool,
    #[serde(default)]
    pub(crate) budget: Budget,
    #[serde(default)]
    pub(crate) approval: ApprovalPolicy,
    #[serde(default)]
    pub(crate) agents: Vec<SubagentSpec>,
    pub(crate) model: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAgents {
    pub(crate) agents: Vec<CreateAgent>,
}

#[derive(Serialize)]
pub(crate) struct CreatedAgent {
    pub(crate) agent_id: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enforced: Option<BTreeMap<&'static str, String>>,
}

#[derive(Serialize)]
pub(crate) struct CreatedAgents {
    pub(crate) agent_ids: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct AgentRun {
    pub(crate) agent_id: String,
    pub(crate) run_id: String,
    pub(crate) status: Status,
}

/// An agent as `GET /agents/{id}` shows it.
#[derive(Serialize)]
pub(crate) struct AgentView {
    agent_id: String,
    run_id: Option<String>,
    status: &'static str,
    goal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    instructions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Value>,
    capabilities: Vec<String>,
    step_count: u32,
    max_steps: u32,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalPolicy>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<SubagentSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl AgentView {
    pub(crate) fn new(record: AgentRecord) -> operone_core::Result<Self> {
        let AgentRecord { agent, run, .. } = record;
        let spec = AgentSpec::from_stored(&agent.spec)?;
        let turns = |run: &Work| Some(Run::from_snapshot(run.snapshot.as_ref()?).ok()?.turns());
        let outcome = run.as_ref().and_then(|run| run.outcome.as_ref());
        let part = |key: &str| outcome?.output.as_ref()?.get(key).filter(|part| !part.is_null()).cloned();
        Ok(Self {
            agent_id: agent.id.to_string(),
            status: run.as_ref().map_or("created", |run| run.status.as_str()),
            goal: spec.goal,
            instructions: spec.instructions,
            output_schema: spec.output_schema,
            capabilities: spec.capabilities,
            step_count: run.as_ref().and_then(turns).unwrap_or(0),
            max_steps: spec.max_steps,
            created_at: agent.created_at,
            output: part("text"),
            usage: part("usage"),
            error: outcome.and_then(|outcome| outcome.error.clone()).map(ErrorView::new),
            resources: spec.resources,
            budget: (spec.budget != Budget::default()).then_some(spec.budget),
            approval: (spec.approval != ApprovalPolicy::default()).then_some(spec.approval),
            agents: spec.agents,
            model: spec.model,
            run_id: run.map(|run| run.new.id.to_string()),
        })
    }
}

#[derive(Serialize)]
pub(crate) struct AgentPage {
    pub(crate) agents: Vec<AgentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What the user says when an ended run is resumed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeAgent {
    pub(crate) message: Option<String>,
}

/// The tool invocation envelope.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvokeTool {
    pub(crate) tool: String,
    #[serde(default)]
    pub(crate) inputs: Value,
    pub(crate) agent_id: String,
    pub(crate) step_id: Option<StepId>,
}

/// `1` and `"step-1"` name the same step.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum StepId {
    Number(u64),
    Name(String),
}

impl StepId {
    pub(crate) fn number(&self) -> ApiResult<u64> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => name.strip_prefix("step-").unwrap_or(name).parse().ok(),
        };
        number.ok_or_else(|| {
            ApiError::at(
                "/step_id",
                &operone_core::Error::invalid("a step is named 1 or \"step-1\", for instance"),
            )
        })
    }
}

#[derive(Serialize)]
pub(crate) struct InvokedTool {
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartWorker {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) payload: StartWorkerPayload,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartWorkerPayload {
    pub(crate) agent_id: String,
}

#[derive(Serialize)]
pub(crate) struct StartedWorker {
    pub(crate) worker_pid: u32,
    pub(crate) worker_id: String,
    pub(crate) host: String,
    pub(crate) run_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_two_spellings() {
        let step = |json: &str| serde_json::from_str::<StepId>(json).unwrap().number();
        assert_eq!((step("1").unwrap(), step("\"step-1\"").unwrap()), (1, 1));
        assert!(step("\"one\"").is_err());
    }
}
