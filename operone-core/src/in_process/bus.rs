//! An event bus within the process.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::error::Result;
use crate::event::{Event, EventBus, Received, Subscription};

/// Delivers to the subscribers of this process. Clones share the subscribers.
#[derive(Clone, Debug)]
pub struct InProcessBus {
    sender: broadcast::Sender<Event>,
}

impl Default for InProcessBus {
    /// A bus that lets a subscriber fall 1,024 events behind.
    fn default() -> Self {
        Self { sender: broadcast::channel(1024).0 }
    }
}

#[async_trait]
impl EventBus for InProcessBus {
    async fn publish(&self, event: Event) -> Result<()> {
        // The only error is that nobody subscribes, which the contract allows.
        let _ = self.sender.send(event);
        Ok(())
    }

    async fn subscribe(&self, topics: &[&str]) -> Result<Subscription> {
        let topics: HashSet<String> = topics.iter().map(ToString::to_string).collect();
        let received = stream::unfold(self.sender.subscribe(), |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((Received::Event(event), receiver)),
                Err(RecvError::Lagged(_)) => Some((Received::Gap, receiver)),
                Err(RecvError::Closed) => None,
            }
        });
        Ok(received
            .filter(move |received| {
                let wanted = match received {
                    Received::Event(event) => topics.contains(&event.topic),
                    Received::Gap => true,
                };
                async move { wanted }
            })
            .boxed())
    }
}
