//! The contract of the event bus: live delivery by topic, lossy and honest about loss.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::id::TenantId;

/// Starts and ends of runs.
pub const AGENT_LIFECYCLE: &str = "agent.lifecycle";
/// Steps of runs.
pub const AGENT_TRACE: &str = "agent.trace";
/// Progress of ingest.
pub const RAG_EVENTS: &str = "rag.events";

/// Every topic that Operone itself publishes on.
pub const TOPICS: [&str; 3] = [AGENT_LIFECYCLE, AGENT_TRACE, RAG_EVENTS];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Where it is published, for instance [`AGENT_LIFECYCLE`].
    pub topic: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// What happened, for instance `agent.started`.
    pub event: String,
    /// What else there is to know: an object.
    pub payload: Value,
}

impl Event {
    /// Something that happened.
    pub fn new(topic: impl Into<String>, tenant: TenantId, event: impl Into<String>, payload: Value) -> Self {
        Self { topic: topic.into(), tenant, event: event.into(), payload }
    }
}

/// Publishes and subscribes. The journal is the truth; the bus only makes it quick.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// Publishes to those who subscribe now; without subscribers the event is gone.
    ///
    /// Never waits for a subscriber. Events that one caller publishes one after another on one topic arrive
    /// in that order.
    async fn publish(&self, event: Event) -> Result<()>;

    /// Subscribes to topics: what is published after this returns arrives, or a [`Received::Gap`] in its
    /// place. Dropping the stream ends the subscription.
    async fn subscribe(&self, topics: &[&str]) -> Result<Subscription>;
}

/// What a subscriber sees.
pub type Subscription = Pin<Box<dyn Stream<Item = Received> + Send>>;

/// One item of a [`Subscription`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Received {
    /// Something that happened.
    Event(Event),
    /// Events were lost here; read the journal to catch up.
    Gap,
}
