//! The event bus as a stream.

use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt, future};
use operone_core::Error;
use operone_core::event::{Received, TOPICS};
use serde::Deserialize;

use crate::error::ApiResult;
use crate::extract::{Params, Tenant};
use crate::parts::Parts;
use crate::sse;

#[derive(Deserialize)]
pub(super) struct Subscribe {
    topic: Option<String>,
}

/// One topic, several joined by commas, or all of them.
pub(super) async fn subscribe(
    State(parts): State<Parts>,
    Tenant(tenant): Tenant,
    Params(Subscribe { topic }): Params<Subscribe>,
) -> ApiResult<Response> {
    let wanted: Vec<&str> = match &topic {
        Some(topics) => topics.split(',').map(str::trim).collect(),
        None => TOPICS.to_vec(),
    };
    if let Some(unknown) = wanted.iter().find(|topic| !TOPICS.contains(topic)) {
        let detail = format!("there is no topic '{unknown}'; there are: {}", TOPICS.join(", "));
        return Err(Error::invalid(detail).with_code("unknown_topic").into());
    }
    let subscription = parts.services.bus.subscribe(&wanted).await?;
    let own = move |received: &Received| match received {
        Received::Event(event) => event.tenant == tenant,
        _ => true,
    };
    let events = subscription
        .filter(move |received| future::ready(own(received)))
        .filter_map(|received| future::ready(sse::of_bus(received)));
    Ok(sse::respond(events, parts.stop()))
}
