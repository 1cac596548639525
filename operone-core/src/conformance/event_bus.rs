//! The promises of [`EventBus`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use super::cases;
use crate::event::{AGENT_TRACE, Event, EventBus, RAG_EVENTS, Received, Subscription};
use crate::id::TenantId;

cases! {
    dyn EventBus, event_bus_conformance, event_bus:
    what_is_published_after_subscribing_arrives_in_order
    other_topics_do_not_arrive
    every_subscriber_gets_every_event
    publishing_without_subscribers_succeeds
    a_slow_subscriber_sees_all_or_a_gap
}

fn event(topic: &str, number: usize) -> Event {
    Event::new(topic, TenantId::local(), "step.complete", json!({"number": number}))
}

async fn next(subscription: &mut Subscription) -> Received {
    tokio::time::timeout(Duration::from_secs(10), subscription.next())
        .await
        .expect("nothing arrived for ten seconds")
        .expect("the subscription ended")
}

/// What is published after `subscribe` returns arrives, in the order of one publisher.
async fn what_is_published_after_subscribing_arrives_in_order(bus: Arc<dyn EventBus>) {
    let mut subscription = bus.subscribe(&[AGENT_TRACE]).await.unwrap();
    for number in 0..20 {
        bus.publish(event(AGENT_TRACE, number)).await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(next(&mut subscription).await, Received::Event(event(AGENT_TRACE, number)));
    }
}

/// Only the topics subscribed to arrive.
async fn other_topics_do_not_arrive(bus: Arc<dyn EventBus>) {
    let mut subscription = bus.subscribe(&[RAG_EVENTS]).await.unwrap();
    bus.publish(event(AGENT_TRACE, 1)).await.unwrap();
    bus.publish(event(RAG_EVENTS, 2)).await.unwrap();
    assert_eq!(next(&mut subscription).await, Received::Event(event(RAG_EVENTS, 2)));
}

/// Each subscriber gets each event, and a dropped one does not hinder the others.
async fn every_subscriber_gets_every_event(bus: Arc<dyn EventBus>) {
    let mut one = bus.subscribe(&[AGENT_TRACE]).await.unwrap();
    let mut other = bus.subscribe(&[AGENT_TRACE, RAG_EVENTS]).await.unwrap();
    drop(bus.subscribe(&[AGENT_TRACE]).await.unwrap());
    bus.publish(event(AGENT_TRACE, 1)).await.unwrap();
    for subscription in [&mut one, &mut other] {
        assert_eq!(next(subscription).await, Received::Event(event(AGENT_TRACE, 1)));
    }
}

/// Without subscribers an event is gone, which is no error.
async fn publishing_without_subscribers_succeeds(bus: Arc<dyn EventBus>) {
    bus.publish(event(AGENT_TRACE, 1)).await.unwrap();
}

/// A subscriber that does not read for a while sees every event, or a gap in the place of what was lost, and
/// publishing never waits for it.
async fn a_slow_subscriber_sees_all_or_a_gap(bus: Arc<dyn EventBus>) {
    const PUBLISHED: usize = 20_000;
    let mut subscription = bus.subscribe(&[AGENT_TRACE]).await.unwrap();
    for number in 0..PUBLISHED {
        bus.publish(event(AGENT_TRACE, number)).await.unwrap();
    }
    let (mut expected, mut gap) = (0, false);
    while expected < PUBLISHED {
        match next(&mut subscription).await {
            Received::Gap => gap = true,
            Received::Event(event) => {
                let number = event.payload["number"].as_u64().unwrap() as usize;
                assert!(
                    number == expected || (gap && number > expected),
                    "{number} came, {expected} was due"
                );
                (expected, gap) = (number + 1, false);
            }
        }
    }
}
