//! Runs the queued runs of agents.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, RunIdentity};
use super::live::Live;
use super::log::JournalLog;
use super::machine::Run;
use super::spec::AgentSpec;
use crate::clock::Clock;
use crate::error::Result;
use crate::event::EventBus;
use crate::id::TenantId;
use crate::journal::{Claimed, Journal, Work};
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

    /// The log of claimed work.
    pub fn log(&self, claimed: &Claimed) -> JournalLog {
        let (journal, bus) = (Arc::clone(&self.journal), Arc::clone(&self.bus));
        JournalLog::new(journal, bus, self.live.clone(), Arc::clone(&self.clock), claimed)
    }
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
        let (spec, run) = restore(&claimed.work)?;
        let new = &claimed.work.new;
        let driver = self.grants.grant(&new.tenant, &spec).await?;
        let log = self.services.log(&claimed);
        log.started().await;
        let identity = RunIdentity::new(new.tenant.clone(), new.agent.clone(), new.id.clone());
        driver.drive(&identity, run, &log, cancelled).await.map(drop)
    }
}

/// The agent's spec, and its run as the journal has it.
pub fn restore(work: &Work) -> Result<(AgentSpec, Run)> {
    let spec = AgentSpec::from_stored(&work.new.spec)?;
    let run = match &work.snapshot {
        Some(snapshot) => Run::from_snapshot(snapshot)?,
        None => Run::new(&spec),
    };
    Ok((spec, run))
}
