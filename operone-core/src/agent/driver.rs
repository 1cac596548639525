//! Who does the I/O of a run: a model, tools, sub-agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::drive::Drive;
use super::log::{Resolved, RunLog};
use super::machine::{ProposedCall, Run, RunEnd};
use super::spec::AgentSpec;
use crate::error::{Error, Result};
use crate::id::{AgentId, TenantId, ToolName, WorkId};
use crate::model::{LanguageModel, ModelSettings, ToolCall};
use crate::tool::{ToolClass, ToolSpec, Tools};

/// Drives runs with a model and tools. Holds no state of a run: one driver serves many at once.
#[derive(Clone, Debug)]
pub struct Driver {
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) tools: Tools,
    pub(super) agents: BTreeMap<String, Subagent>,
}

/// An agent that another one gives tasks to. Its runs are part of that one's run: in its journal, in its budget, and
/// ended with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subagent {
    /// What the model that gives the tasks knows of it; the input is `{"task": "…"}`.
    pub spec: ToolSpec,
    /// What it is told besides the task.
    pub instructions: String,
    /// How its model answers.
    pub settings: ModelSettings,
    /// The JSON schema that its answer to a task must fit; plain text where absent.
    pub output_schema: Option<Value>,
    /// The most model turns for one task.
    pub max_steps: u32,
    /// Who does its work.
    pub driver: Driver,
}

impl Subagent {
    /// A sub-agent `agent.<name>` that may run beside others.
    pub fn new(name: &str, description: &str, driver: Driver) -> Self {
        let schema = json!({
            "type": "object",
            "required": ["task"],
            "additionalProperties": false,
            "properties": {
                "task": {"type": "string", "description": "what to do, with everything it needs to know"}
            }
        });
        let spec = ToolSpec::new(format!("agent.{name}"), description)
            .with_input_schema(schema)
            .with_class(ToolClass::Idempotent)
            .with_concurrent();
        Self {
            spec,
            instructions: String::new(),
            settings: ModelSettings::default(),
            output_schema: None,
            max_steps: super::DEFAULT_MAX_STEPS,
            driver,
        }
    }

    /// Sets what it is told besides the task.
    #[must_use]
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = instructions.into();
        self
    }

    /// Sets how its model answers.
    #[must_use]
    pub fn with_settings(mut self, settings: ModelSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the JSON schema that its answer to a task must fit.
    #[must_use]
    pub fn with_output_schema(mut self, schema: Option<Value>) -> Self {
        self.output_schema = schema;
        self
    }

    /// Sets the most model turns for one task.
    #[must_use]
    pub fn with_max_steps(mut self, max_steps: u32) -> Self {
        self.max_steps = max_steps;
        self
    }

    /// A task as the conversation that works on it needs it.
    pub(super) fn assignment(&self, task: String) -> AgentSpec {
        let mut spec = AgentSpec::new(task, Vec::new());
        spec.instructions.clone_from(&self.instructions);
        spec.settings = self.settings.clone();
        spec.output_schema.clone_from(&self.output_schema);
        spec.max_steps = self.max_steps;
        spec
    }

    /// The task of a call.
    pub(super) fn task(call: &ToolCall) -> Result<String> {
        match call.parsed_arguments()?.get("task") {
            Some(Value::String(task)) if !task.trim().is_empty() => Ok(task.clone()),
            _ => Err(Error::invalid("'task' is missing: say what is to be done").with_code("invalid_input")),
        }
    }
}

/// Whose run it is; tools are told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunIdentity {
    /// Whose data the tools may touch.
    pub tenant: TenantId,
    /// The agent; `None` for an agent that is stored nowhere.
    pub agent: Option<AgentId>,
    /// The run.
    pub run: WorkId,
}

impl RunIdentity {
    /// A run of a tenant's agent.
    pub fn new(tenant: TenantId, agent: Option<AgentId>, run: WorkId) -> Self {
        Self { tenant, agent, run }
    }
}

/// How far a run was driven.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Driven {
    /// To its end.
    Ended(RunEnd),
    /// To where it waits for a person. The log has it, and nothing of it runs any more.
    Waiting,
}

impl Driver {
    /// Drives with a model and the tools it may call.
    pub fn new(model: Arc<dyn LanguageModel>, tools: Tools) -> Self {
        Self { model, tools, agents: BTreeMap::new() }
    }

    /// Adds an agent that may be given tasks. A name that is none is `Invalid`.
    pub fn with_agent(mut self, agent: Subagent) -> Result<Self> {
        let name = ToolName::new(agent.spec.name.as_str())?;
        self.agents.insert(name.as_str().to_owned(), agent);
        Ok(self)
    }

    /// Drives a run to its end, or to where it waits for a person.
    ///
    /// - Every step is written to the log before it is done and after it.
    /// - A run that was interrupted goes on where the log ends. A step that was begun then is done again, a model
    ///   turn anew and a tool under the same idempotency key. A tool of class `once` is not: a person is asked.
    /// - Calls of one turn that may run beside others do, at most eight; any other runs alone and in order.
    /// - `resolved` is what was decided of the calls that the run waits for; what it does not wait for is passed over.
    /// - Whatever goes wrong with the model or a tool is an outcome of the run. An error is returned only where
    ///   the log could not be written: the run is then as the log has it.
    /// - Dropping the future stops the model and the tools and leaves the run to be taken up again.
    pub async fn drive(
        &self,
        identity: &RunIdentity,
        run: Run,
        resolved: Vec<Resolved>,
        log: &dyn RunLog,
        cancelled: CancellationToken,
    ) -> Result<Driven> {
        Drive::new(self, identity, run, log, cancelled).run(resolved).await
    }

    /// The sub-agent at the end of a path of names; the driver itself at the end of none.
    pub(super) fn at(&self, agents: &[String]) -> Option<&Self> {
        match agents {
            [] => Some(self),
            [first, below @ ..] => self.agents.get(first)?.driver.at(below),
        }
    }

    /// What the model may call.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        let agents = self.agents.values().map(|agent| agent.spec.clone());
        self.tools.specs().into_iter().chain(agents).collect()
    }

    pub(super) fn spec(&self, name: &str) -> Option<&ToolSpec> {
        let tool = self.tools.get(name).map(|tool| tool.spec());
        tool.or_else(|| self.agents.get(name).map(|agent| &agent.spec))
    }

    /// What is known of the tool of a call. What cannot be called at all needs no approval: it is answered at once.
    pub(super) fn propose(&self, call: ToolCall, run: &Run, tainted: bool) -> ProposedCall {
        let mut proposed = ProposedCall::new(call);
        match self.spec(&proposed.call.name) {
            Some(spec) => {
                proposed.concurrent = spec.concurrent || spec.class == ToolClass::Read;
                proposed.untrusted = spec.untrusted;
                if proposed.call.parsed_arguments().is_ok() {
                    proposed.approval = run.approval_policy().reason(spec, tainted);
                }
            }
            None => proposed.concurrent = true,
        }
        proposed
    }

    pub(super) fn unknown(&self, name: &str) -> Error {
        let known: Vec<String> = self.specs().into_iter().map(|spec| spec.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::not_found(format!("there is no tool '{name}'; granted are: {known}")).with_code("unknown_tool")
    }
}
