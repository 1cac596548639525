//! An agent whose runs survive the program: on any journal, in a line or two.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::{StreamExt, pin_mut};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::driver::Driver;
use super::embedded::Agent;
use super::event::{Cursor, RunEvent};
use super::handler::{AgentHandler, Grants, RunServices};
use super::live::Live;
use super::machine::RunEnd;
use super::spec::AgentSpec;
use super::stream::run_events;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::event::EventBus;
use crate::id::{ApprovalId, TenantId, WorkId};
use crate::in_process::InProcessBus;
use crate::journal::{Approval, ApprovalFilter, Decision, Journal, NewWork, Status, Work, WorkKind};
use crate::work::{Doorbell, Workers};

/// How long a killed program's runs wait before they are taken up again.
const LEASE: Duration = Duration::from_secs(10);
/// The most runs that go on at once.
const CONCURRENCY: usize = 8;
/// The most approvals that are listed at once.
const MAX_APPROVALS: usize = 1000;

/// An agent on a journal, from [`Agent::durable`]: say what differs from the defaults, then [`open`](Self::open) it.
#[derive(Clone, Debug)]
pub struct DurableAgent {
    name: String,
    agent: Agent,
    journal: Arc<dyn Journal>,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    lease_for: Duration,
    concurrency: usize,
}

impl DurableAgent {
    pub(super) fn new(name: String, agent: Agent, journal: Arc<dyn Journal>) -> Self {
        Self {
            name,
            agent,
            journal,
            bus: Arc::new(InProcessBus::default()),
            clock: Arc::new(SystemClock),
            lease_for: LEASE,
            concurrency: CONCURRENCY,
        }
    }

    /// Sets how long the runs of a killed program wait before they are taken up again; 10 seconds by default.
    ///
    /// A program that is stalled for longer loses its runs to others on the same journal.
    #[must_use]
    pub fn with_lease_for(mut self, lease_for: Duration) -> Self {
        self.lease_for = lease_for;
        self
    }

    /// Sets how many runs go on at once in this process, 8 by default and at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets where starts, steps and ends are published.
    #[must_use]
    pub fn with_bus(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.bus = bus;
        self
    }

    /// Sets the clock that dates runs and approvals.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes up the runs that an earlier life of the program left, and waits for new ones, in a task of its own.
    ///
    /// # Errors
    ///
    /// `Unsupported` with code `no_runtime` outside of a tokio runtime.
    pub fn open(self) -> Result<DurableRuns> {
        let runtime = Handle::try_current().map_err(|error| {
            let error = Error::new(crate::ErrorKind::Unsupported, "a durable agent needs a tokio runtime")
                .with_source(error);
            error.with_code("no_runtime")
        })?;
        let Self { name, agent, journal, bus, clock, lease_for, concurrency } = self;
        let (doorbell, live, kind) =
            (Doorbell::default(), Live::default(), WorkKind::new(format!("agent:{name}")));
        let services = RunServices::new(Arc::clone(&journal), bus, live.clone(), Arc::clone(&clock));
        let handler = Arc::new(AgentHandler::new(services, Arc::new(OneAgent(agent.clone()))));
        let workers = Workers::new(Arc::clone(&journal), doorbell.clone(), name)
            .with_handler(kind.clone(), handler, concurrency)
            .with_lease_for(lease_for);
        let stop = CancellationToken::new();
        let working = workers.clone();
        let stopped = stop.clone();
        // Ends with the guard below, which gives the leases back.
        runtime.spawn(async move { working.run(stopped).await });
        let shared =
            Shared { kind, agent, journal, clock, doorbell, live, workers, _stop: stop.drop_guard() };
        Ok(DurableRuns(Arc::new(shared)))
    }
}

/// What an agent is granted on its own journal: what the host gave it.
#[derive(Debug)]
struct OneAgent(Agent);

#[async_trait]
impl Grants for OneAgent {
    async fn grant(&self, _: &TenantId, _: &AgentSpec) -> Result<Driver> {
        self.0.driver()
    }
}

/// The durable runs of one agent. Clones share them; once the last is dropped the runs stop where they are, and go on
/// when the agent is opened again.
///
/// ```
/// # use std::sync::Arc;
/// # use operone_core::agent::Agent;
/// # use operone_core::id::WorkId;
/// # use operone_core::in_process::{InProcessJournal, ScriptedModel, ScriptedTurn};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let model = Arc::new(ScriptedModel::new(vec![ScriptedTurn::text(["Done."])]));
/// // In a real program: `operone_sqlite::SqliteJournal`.
/// let journal = Arc::new(InProcessJournal::default());
/// let runs = Agent::new(model).durable("reports", journal).open()?;
/// // The same line after a crash waits for the run that is there.
/// let run = runs.start(WorkId::new("report-2026-11")?, "Write the report of November").await?;
/// assert_eq!(runs.wait(&run).await?.into_text()?, "Done.");
/// # Ok::<(), operone_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct DurableRuns(Arc<Shared>);

struct Shared {
    kind: WorkKind,
    agent: Agent,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    doorbell: Doorbell,
    live: Live,
    workers: Workers,
    _stop: DropGuard,
}

impl DurableRuns {
    /// Starts a run under an id of your choice, unless there is one already: then that one goes on, or has ended, and
    /// this goal is passed over. Once this returns the run survives the program.
    ///
    /// # Errors
    ///
    /// `Conflict` with code `id_taken` if another agent or tenant has work under this id, and those of the journal.
    pub async fn start(&self, id: WorkId, goal: impl Into<String>) -> Result<WorkId> {
        let Shared { journal, agent, kind, clock, doorbell, .. } = &*self.0;
        let spec = serde_json::to_value(agent.spec(goal.into()))
            .map_err(|error| Error::internal("the run cannot be stored").with_source(error))?;
        let new = NewWork::new(id.clone(), kind.clone(), agent.tenant().clone(), spec, clock.now());
        match journal.enqueue(new).await {
            Ok(_) => doorbell.ring(),
            Err(error) => match journal.work(agent.tenant(), &id).await {
                Ok(work) if work.new.kind == *kind => {}
                Ok(_) => {
                    let detail = format!("'{id}' is the id of other work: choose another");
                    return Err(Error::conflict(detail).with_code("id_taken"));
                }
                Err(_) => return Err(error),
            },
        }
        Ok(id)
    }

    /// Returns a run as it stands. One that does not exist is `NotFound`.
    pub async fn get(&self, run: &WorkId) -> Result<Work> {
        self.0.journal.work(self.0.agent.tenant(), run).await
    }

    /// Follows a run from a place on: first what the journal has, then what comes, up to the event `end`.
    ///
    /// Keep the [`Cursor`] of the last event, and a later life of the program follows on without a gap. A run that waits
    /// for an approval keeps the stream open.
    pub fn events(&self, run: &WorkId, after: Cursor) -> impl Stream<Item = Result<RunEvent>> + Send + use<> {
        run_events(Arc::clone(&self.0.journal), &self.0.live, run.clone(), after)
    }

    /// Waits until a run has ended, through approvals and for as long as it takes.
    ///
    /// # Errors
    ///
    /// `NotFound` for a run that does not exist. How the run ended is in the [`RunEnd`].
    pub async fn wait(&self, run: &WorkId) -> Result<RunEnd> {
        let work = self.get(run).await?;
        if work.outcome.is_none() {
            let events = self.events(run, Cursor::after(work.last_seq));
            pin_mut!(events);
            while let Some(event) = events.next().await {
                event?;
            }
        }
        let outcome = self.get(run).await?.outcome;
        let outcome = outcome.ok_or_else(|| Error::internal("the run has an end and no outcome"))?;
        RunEnd::from_outcome(&outcome)
    }

    /// Lists the approvals that runs of the agent's tenant wait for, oldest first, at most 1,000; those of other agents
    /// on the journal are among them.
    pub async fn approvals(&self) -> Result<Vec<Approval>> {
        self.0.journal.approvals(self.0.agent.tenant(), ApprovalFilter::pending(MAX_APPROVALS)).await
    }

    /// Decides an approval; its run goes on. See [`Journal::decide`] for what is refused.
    pub async fn decide(&self, approval: &ApprovalId, decision: Decision) -> Result<Approval> {
        let decided = self.0.journal.decide(self.0.agent.tenant(), approval, decision).await?;
        self.0.doorbell.ring();
        Ok(decided)
    }

    /// Ends a run. Idempotent; returns the status afterwards, `running` for a run that is being told.
    pub async fn cancel(&self, run: &WorkId) -> Result<Status> {
        let status = self.0.journal.cancel(self.0.agent.tenant(), run).await?;
        self.0.workers.cancel(run);
        self.0.live.ring(run);
        Ok(status)
    }
}

impl fmt::Debug for DurableRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableRuns").field("kind", &self.0.kind).field("journal", &self.0.journal).finish()
    }
}
