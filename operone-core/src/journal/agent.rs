//! Agents as a journal keeps them.

use serde_json::Value;

use super::Work;
use crate::clock::Timestamp;
use crate::id::{AgentId, TenantId};

/// An agent to create.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewAgent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is to do, as the runtime reads it.
    pub spec: Value,
    /// When it was created.
    pub created_at: Timestamp,
}

impl NewAgent {
    /// An agent to create.
    pub fn new(id: AgentId, tenant: TenantId, spec: Value, created_at: Timestamp) -> Self {
        Self { id, tenant, spec, created_at }
    }
}

/// An agent with its latest run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AgentRecord {
    /// The agent as it was created.
    pub agent: NewAgent,
    /// Its latest run; `None` before the first.
    pub run: Option<Work>,
}

impl AgentRecord {
    /// An agent with its latest run.
    pub fn new(agent: NewAgent, run: Option<Work>) -> Self {
        Self { agent, run }
    }
}
