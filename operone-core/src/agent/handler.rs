//! Runs the queued runs of agents.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, RunIdentity};
use super::live::Live;
use super::log::{JournalLog, Resolved};
use super::machine::{Next, Run};
use super::spec::AgentSpec;
use crate::clock::Clock;
use crate::error::Result;
use crate::event::EventBus;
use crate::id::TenantId;
use crate::journal::{ApprovalFilter, Claimed, Journal, Work};
use crate::work::WorkHandler;

/// Turns what an agent was granted into a model and tools. The host's policy: core knows no capability.
#[async_trait]
pub trait Grants: fmt::Debug + Send + Sync + 'static {
    /// The model and the tools of an agent; nothing that its capabilities do not name.
    async fn grant(&self, tenant: &TenantId, spec: &AgentSpec) -> Result<Driver>;
}

/// What runs of agents need besides a driver. Clones share everything.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunServices {
    /// Where runs are kept.
    pub journal: Arc<dyn Journal>,
    /// Where starts, steps and ends are published.
    pub bus: Arc<dyn EventBus>,
    /// What readers of running work share with it.
    pub live: Live,
    /// The time of events.
    pub clock: Arc<dyn Clock>,
}

impl RunServices {
    /// Journal, bus, live text and clock.
    pub fn new(journal: Arc<dyn Journal>, bus: Arc<dyn EventBus>, live: Live, clock: Arc<dyn Clock>) -> Self {
        Self { journal, bus, live, clock }
    }

    /// The agent's spec, its run as the journal has it, and what was decided of the calls that it waits for.
    pub async fn restore(&self, work: &Work) -> Result<Restored> {
        let spec = AgentSpec::from_stored(&work.new.spec)?;
        let Some(snapshot) = &work.snapshot else {
            return Ok(Restored { run: Run::new(&spec), spec, resolved: Vec::new() });
        };
        let run = Run::from_snapshot(snapshot)?;
        let resolved = match run.next() {
            Next::Wait(_) => {
                let filter = ApprovalFilter::of(work.new.id.clone());
                let approvals = self.journal.approvals(&work.new.tenant, filter).await?;
                let now = self.clock.now();
                approvals.iter().filter_map(|approval| Resolved::of(approval, now)).collect()
            }
            _ => Vec::new(),
        };
        Ok(Restored { spec, run, resolved })
    }

    /// The log of claimed work.
    pub fn log(&self, claimed: &Claimed) -> JournalLog {
        let (journal, bus) = (Arc::clone(&self.journal), Arc::clone(&self.bus));
        JournalLog::new(journal, bus, self.live.clone(), Arc::clone(&self.clock), claimed)
    }
}

/// A run to go on with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The agent's spec.
    pub spec: AgentSpec,
    /// Its run as the journal has it.
    pub run: Run,
    /// What was decided of the calls that it waits for.
    pub resolved: Vec<Resolved>,
}

/// Runs the queued runs of agents within this process.
#[derive(Clone, Debug)]
pub struct AgentHandler {
    services: RunServices,
    grants: Arc<dyn Grants>,
}

impl AgentHandler {
    /// Drives runs with what the agents were granted.
    pub fn new(services: RunServices, grants: Arc<dyn Grants>) -> Self {
        Self { services, grants }
    }
}

#[async_trait]
impl WorkHandler for AgentHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        let Restored { spec, run, resolved } = self.services.restore(&claimed.work).await?;
        let new = &claimed.work.new;
        let driver = self.grants.grant(&new.tenant, &spec).await?;
        let log = self.services.log(&claimed);
        log.started().await;
        let identity = RunIdentity::new(new.tenant.clone(), new.agent.clone(), new.id.clone());
        driver.drive(&identity, run, resolved, &log, cancelled).await.map(drop)
    }
}
