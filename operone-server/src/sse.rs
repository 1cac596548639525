//! Server-sent events: runs by their cursor, the bus by its topics.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use futures_util::{StreamExt, future, stream};
use operone_core::agent::RunEvent;
use operone_core::event::{Event, Received};
use operone_core::id::WorkId;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a stream may be silent before a comment keeps proxies from closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client is to come back after a cut.
const RETRY: Duration = Duration::from_secs(2);

/// An answer of server-sent events, which ends without `end` when the server stops.
pub(crate) fn respond(
    events: impl Stream<Item = SseEvent> + Send + 'static,
    stop: CancellationToken,
) -> Response {
    // The comment at the begin makes proxies pass the headers on.
    let hello = stream::iter([SseEvent::default().comment("stream").retry(RETRY)]);
    let stopping =
        stream::once(async { SseEvent::default().comment("the server stops: come back").retry(RETRY) });
    let events = hello.chain(events.take_until(stop.clone().cancelled_owned()));
    respond_plainly(events.chain(stopping.filter(move |_| future::ready(stop.is_cancelled()))))
}

/// As [`respond`], with nothing but the events: some clients take a `retry` without data for an event.
pub(crate) fn respond_plainly(events: impl Stream<Item = SseEvent> + Send + 'static) -> Response {
    let sse = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    with_headers(sse.into_response())
}

/// An answer of server-sent events that are written already, each frame one or more of them. It breaks off when the
/// server stops.
pub(crate) fn respond_with_frames(
    frames: impl Stream<Item = Bytes> + Send + Unpin + 'static,
    stop: CancellationToken,
) -> Response {
    let mut response = Body::from_stream(KeptAlive::new(frames, KEEP_ALIVE, stop)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    with_headers(response)
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Frames, with a comment where none came from one beat to the next: a timer that is not set anew with each frame.
struct KeptAlive<S> {
    frames: S,
    /// Whether nothing was said since the last beat.
    is_silent: bool,
    beat: Interval,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> KeptAlive<S> {
    /// Is never silent for longer than `silence`.
    fn new(frames: S, silence: Duration, stop: CancellationToken) -> Self {
        let mut beat = interval(silence / 2);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { frames, is_silent: false, beat, stopped: Box::pin(stop.cancelled_owned()) }
    }
}

impl<S: Stream<Item = Bytes> + Unpin> Stream for KeptAlive<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.frames).poll_next(context) {
            self.is_silent = false;
            return Poll::Ready(frame.map(Ok));
        }
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            ready!(self.beat.poll_tick(context));
            self.is_silent = !self.is_silent;
            if !self.is_silent {
                return Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n"))));
            }
        }
    }
}

/// The events of a run as they are sent. An error ends the stream; the client comes back with its last id.
pub(crate) fn of_run(
    run: WorkId,
    events: impl Stream<Item = operone_core::Result<RunEvent>> + Send + 'static,
) -> impl Stream<Item = SseEvent> + Send + 'static {
    events
        .take_while(|event| {
            if let Err(error) = event {
                tracing::warn!(%error, "a run's stream was cut");
            }
            future::ready(event.is_ok())
        })
        .filter_map(move |event| future::ready(event.ok().and_then(|event| encode(&run, event))))
}

fn encode(run: &WorkId, event: RunEvent) -> Option<SseEvent> {
    let (cursor, name, data) = match event {
        RunEvent::Durable(event) => {
            (operone_core::agent::Cursor::after(event.seq), event.event.kind, event.event.payload)
        }
        RunEvent::Token { cursor, step, content } => {
            (cursor, "token".to_owned(), json!({"content": content, "step_id": step}))
        }
        RunEvent::Snapshot { cursor, step, text } => {
            (cursor, "snapshot".to_owned(), json!({"step_id": step, "text_so_far": text}))
        }
        _ => return None,
    };
    Some(SseEvent::default().event(name).id(cursor.id(run).to_string()).data(data.to_string()))
}

/// An event of the bus as it is sent: the object of the topic, by the name of the event.
pub(crate) fn of_bus(received: Received) -> Option<SseEvent> {
    match received {
        Received::Event(event) => {
            let name = event.event.clone();
            Some(SseEvent::default().event(name).data(envelope(&event).to_string()))
        }
        Received::Gap => Some(SseEvent::default().event("gap").data("{}")),
        _ => None,
    }
}

fn envelope(event: &Event) -> Value {
    json!({"topic": event.topic, "event": event.event, "payload": event.payload})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_stream_is_kept_alive_until_the_server_stops() {
        let stop = CancellationToken::new();
        let frames = stream::iter([Bytes::from_static(b"a")]).chain(stream::pending());
        let mut frames = KeptAlive::new(frames, Duration::from_millis(10), stop.clone());
        assert_eq!(frames.next().await.unwrap().unwrap(), "a");
        assert_eq!(frames.next().await.unwrap().unwrap(), ":\n\n");
        assert_eq!(frames.next().await.unwrap().unwrap(), ":\n\n");
        stop.cancel();
        assert!(frames.next().await.is_none());
    }
}
