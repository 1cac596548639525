//! An agent within a program: no server, no journal, one call.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
#[cfg(all(feature = "jsonschema", feature = "schemars"))]
use serde::de::DeserializeOwned;
#[cfg(feature = "jsonschema")]
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::conversation::Conversation;
use super::driver::{Driven, Driver, RunIdentity, Subagent};
use super::durable::DurableAgent;
use super::event::{Cursor, RunEvent};
use super::log::{Resolved, RunLog, Suspended};
use super::machine::{Run, RunEnd};
use super::policy::ApprovalPolicy;
use super::spec::AgentSpec;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::id::{Ids, SystemIds, TenantId, WorkId};
use crate::journal::{Decision, Journal, JournalEvent, NewApproval, NewEvent, Verdict};
use crate::model::{LanguageModel, ModelSettings};
use crate::tool::{ToolHandle, Tools};

/// A model with tools, ready to be given goals. Clones share both; one agent serves many runs at once.
///
/// Runs live and die with the program, unless the agent is put on a journal: [`Agent::durable`].
#[derive(Clone, Debug)]
pub struct Agent {
    model: Arc<dyn LanguageModel>,
    tools: Tools,
    agents: Vec<Subagent>,
    tenant: TenantId,
    /// What each run is told, without its goal.
    spec: AgentSpec,
    approver: Option<Arc<dyn Approver>>,
}

/// Who decides on calls that need approval, within a program.
#[async_trait]
pub trait Approver: fmt::Debug + Send + Sync + 'static {
    /// Whether the call may run; the run waits for the answer. What is said with a no, the model reads.
    async fn decide(&self, approval: &NewApproval) -> Decision;
}

impl Agent {
    /// An agent without tools.
    pub fn new(model: Arc<dyn LanguageModel>) -> Self {
        Self {
            model,
            tools: Tools::new(),
            agents: Vec::new(),
            tenant: TenantId::local(),
            spec: AgentSpec::new("", Vec::new()),
            approver: None,
        }
    }

    /// Sets what the agent is told before every conversation: who it is, how it works, how it answers.
    #[must_use]
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.spec.instructions = instructions.into();
        self
    }

    /// Sets how the model answers: temperature, limits, the choice of tools.
    ///
    /// A choice that tools must be called holds for the first model turn of a run.
    #[must_use]
    pub fn with_settings(mut self, settings: ModelSettings) -> Self {
        self.spec.settings = settings;
        self
    }

    /// Sets the JSON schema that final answers must fit; read them with [`RunEnd::into_typed`].
    ///
    /// An answer that does not fit is returned to the model with what is wrong, [`OUTPUT_RETRIES`] times at most;
    /// after that the run fails with code `output_mismatch`.
    ///
    /// # Errors
    ///
    /// `Invalid` with code `invalid_schema` if `schema` is not a JSON schema.
    ///
    /// [`OUTPUT_RETRIES`]: super::OUTPUT_RETRIES
    #[cfg(feature = "jsonschema")]
    pub fn with_output_schema(mut self, schema: Value) -> Result<Self> {
        crate::schema::JsonSchema::new(&schema)?;
        self.spec.output_schema = Some(schema);
        Ok(self)
    }

    /// Grants a tool; an earlier one of the same name is replaced. A name that is none is `Invalid`.
    pub fn with_tool(mut self, tool: ToolHandle) -> Result<Self> {
        self.tools.insert(tool)?;
        Ok(self)
    }

    /// Makes another agent a tool of this one, `agent.<name>`: it is given tasks, and works on them within this one's
    /// runs and budget, with its own model, instructions, settings, output schema, tools and number of steps. The description tells the model what it is
    /// good for.
    pub fn with_agent(mut self, name: &str, description: &str, agent: &Self) -> Result<Self> {
        let agent = Subagent::new(name, description, agent.driver()?)
            .with_instructions(&agent.spec.instructions)
            .with_settings(agent.spec.settings.clone())
            .with_output_schema(agent.spec.output_schema.clone())
            .with_max_steps(agent.spec.max_steps);
        self.agents.push(agent);
        Ok(self)
    }

    /// Sets what one run may use.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.spec.budget = budget;
        self
    }

    /// Sets which calls need approval.
    #[must_use]
    pub fn with_approval(mut self, policy: ApprovalPolicy) -> Self {
        self.spec.approval = policy;
        self
    }

    /// Sets who decides on calls that need approval. Without one they are denied.
    #[must_use]
    pub fn with_approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = Some(approver);
        self
    }

    /// Sets whose data the tools may touch.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Sets the most model turns of one run.
    #[must_use]
    pub fn with_max_steps(mut self, max_steps: u32) -> Self {
        self.spec.max_steps = max_steps;
        self
    }

    /// Works towards a goal and returns how that ended; [`RunEnd::into_text`] gives the answer or the error.
    ///
    /// Dropping the future stops the model and the tools.
    pub async fn run(&self, goal: impl Into<String>) -> Result<RunEnd> {
        self.complete(Run::new(&self.spec(goal.into()))).await.map(|(end, _)| end)
    }

    /// Works towards a goal and returns the answer as a `T`, whose schema the model is given and held to.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use operone_core::agent::Agent;
    /// # use operone_core::in_process::{ScriptedModel, ScriptedTurn};
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct City {
    ///     name: String,
    ///     inhabitants: u64,
    /// }
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let model = ScriptedModel::new(vec![
    /// #     ScriptedTurn::text(["Lisbon"]),
    /// #     ScriptedTurn::text([r#"{"name": "Lisbon", "inhabitants": 575739}"#]),
    /// # ]);
    /// let agent = Agent::new(Arc::new(model));
    /// let city: City = agent.run_typed("Which is the capital of Portugal?").await?;
    /// assert_eq!(city.name, "Lisbon");
    /// # assert_eq!(city.inhabitants, 575_739);
    /// # Ok::<(), operone_core::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`RunEnd::into_typed`].
    #[cfg(all(feature = "jsonschema", feature = "schemars"))]
    pub async fn run_typed<T: DeserializeOwned + schemars::JsonSchema>(
        &self,
        goal: impl Into<String>,
    ) -> Result<T> {
        let agent = self.clone().with_output_schema(crate::tool::schema_of::<T>())?;
        agent.run(goal).await?.into_typed()
    }

    /// Puts the agent on a journal: its runs survive the program, wait for approvals, and can be followed by cursor.
    ///
    /// - `name` says in the journal whose runs these are, so that several agents can share it. A later life of the
    ///   program gives the same name and an agent with the same tools.
    /// - Calls that need approval wait for [`DurableRuns::decide`](super::DurableRuns::decide): the agent's
    ///   [`Approver`] is not asked.
    pub fn durable(&self, name: impl Into<String>, journal: Arc<dyn Journal>) -> DurableAgent {
        DurableAgent::new(name.into(), self.clone(), journal)
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Begins a conversation: each of its runs knows what was said in the earlier ones.
    pub fn conversation(&self) -> Conversation {
        Conversation::new(self.clone())
    }

    pub(super) fn spec(&self, goal: String) -> AgentSpec {
        AgentSpec { goal, ..self.spec.clone() }
    }

    /// Drives a run to its end; gives it as it stands then.
    pub(super) async fn complete(&self, run: Run) -> Result<(RunEnd, Run)> {
        let mut events = pin!(self.drive(run));
        while let Some(item) = events.next().await {
            if let Item::End(end) = item {
                return end.map(|end| *end);
            }
        }
        Err(Error::internal("the run stopped without an end"))
    }

    /// Works towards a goal and gives what happens, the event `end` last. Dropping the stream stops the model
    /// and the tools.
    pub fn stream(&self, goal: impl Into<String>) -> BoxStream<'static, Result<RunEvent>> {
        let run = Run::new(&self.spec(goal.into()));
        let events = self.drive(run).filter_map(|item| {
            future::ready(match item {
                Item::Event(event) => Some(Ok(event)),
                Item::End(Ok(_)) => None,
                Item::End(Err(error)) => Some(Err(error)),
            })
        });
        events.boxed()
    }

    pub(super) fn driver(&self) -> Result<Driver> {
        let driver = Driver::new(Arc::clone(&self.model), self.tools.clone());
        self.agents.iter().cloned().try_fold(driver, Driver::with_agent)
    }

    fn drive(&self, run: Run) -> impl Stream<Item = Item> + Send + use<> {
        let (driver, approver) = (self.driver(), self.approver.clone());
        let identity = RunIdentity::new(self.tenant.clone(), None, WorkId::run(SystemIds.next()));
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let driven = async move {
            let log = ChannelLog {
                sender,
                last_seq: AtomicU64::new(0),
                tokens: AtomicU64::new(0),
                approver,
                ended: Mutex::new(None),
            };
            let driven = driver?.drive(&identity, run, Vec::new(), &log, CancellationToken::new()).await?;
            let run = log.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
            match (driven, run) {
                (Driven::Ended(end), Some(run)) => Ok(Box::new((end, run))),
                _ => Err(Error::internal("the run waits for nobody")),
            }
        };
        // The end comes behind the events: the channel is read dry before the driver's result is given out.
        let mut driven = driven.boxed();
        let mut end = None;
        stream::poll_fn(move |context| {
            use std::task::Poll;
            if end.is_none()
                && let Poll::Ready(result) = driven.poll_unpin(context)
            {
                end = Some(Some(result));
            }
            match receiver.poll_recv(context) {
                Poll::Ready(Some(event)) => Poll::Ready(Some(Item::Event(event))),
                Poll::Ready(None) => Poll::Ready(end.as_mut().and_then(Option::take).map(Item::End)),
                Poll::Pending => Poll::Pending,
            }
        })
    }
}

enum Item {
    Event(RunEvent),
    End(Result<Box<(RunEnd, Run)>>),
}

#[derive(Debug)]
struct ChannelLog {
    sender: mpsc::UnboundedSender<RunEvent>,
    last_seq: AtomicU64,
    tokens: AtomicU64,
    approver: Option<Arc<dyn Approver>>,
    /// The run once it has ended.
    ended: Mutex<Option<Run>>,
}

impl ChannelLog {
    fn send(&self, events: Vec<NewEvent>) {
        for event in events {
            let seq = self.last_seq.fetch_add(1, Ordering::Relaxed) + 1;
            self.tokens.store(0, Ordering::Relaxed);
            // A reader that is gone has dropped the run as well.
            let _ = self.sender.send(RunEvent::Durable(JournalEvent::new(seq, SystemClock.now(), event)));
        }
    }
}

#[async_trait]
impl RunLog for ChannelLog {
    async fn append(&self, events: Vec<NewEvent>, _: &Run) -> Result<bool> {
        self.send(events);
        Ok(true)
    }

    async fn suspend(
        &self,
        events: Vec<NewEvent>,
        _: &Run,
        approvals: Vec<NewApproval>,
    ) -> Result<Suspended> {
        self.send(events);
        let mut resolved = Vec::with_capacity(approvals.len());
        for approval in approvals {
            let decision = match &self.approver {
                Some(approver) => approver.decide(&approval).await,
                None => Decision::new(Verdict::Deny).with_comment("nobody is there to approve it"),
            };
            resolved.push(Resolved::new(approval.id, decision.verdict, decision.comment));
        }
        Ok(Suspended::Resolved(resolved))
    }

    async fn finish(&self, events: Vec<NewEvent>, run: &Run, _: &RunEnd) -> Result<()> {
        self.send(events);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
        Ok(())
    }

    fn token(&self, step: u64, content: &str) {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
        let cursor = Cursor { seq: self.last_seq.load(Ordering::Relaxed), token };
        let _ = self.sender.send(RunEvent::Token { cursor, step, content: content.to_owned() });
    }
}
