//! Receives an answer: bytes in, parts out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use operone_core::model::ModelEvent;
use operone_core::{Error, Result};
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::Secret;
use crate::error::{cut_off, endless, from_stream, protocol, silent};
use crate::http::Response;
use crate::promise::Promise;
use crate::sse::SseDecoder;

/// The longest body that is not streamed, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// The longest wait, one that nobody sees the end of: it can still be added to a moment.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Understands what a service says.
pub(crate) trait Decode: Send {
    /// Reads the data of one event.
    fn read(&mut self, data: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault>;

    /// Reads an answer that came as one JSON body.
    fn read_whole(&mut self, body: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault>;

    /// Whether the service has said that nothing more comes.
    fn has_ended(&self) -> bool;

    /// The rest of the answer: its calls and its end. An answer that broke off is an error.
    fn finish(&mut self, events: &mut VecDeque<ModelEvent>) -> Result<()>;
}

/// What reading one event's data can meet besides an [`Error`].
pub(crate) enum Fault {
    /// The service reports an error.
    Reported(Value),
    /// The data is not what the protocol says.
    Broken(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without any byte.
    pub(crate) idle: Duration,
    /// In all.
    pub(crate) answer: Duration,
}

/// An answer that is being received, part by part; nothing comes after an error or the end. No more is read than is
/// asked for.
pub(crate) struct Reading {
    /// None once everything was received or nothing more is wanted.
    bytes: Option<Response>,
    sse: SseDecoder,
    decoder: Box<dyn Decode>,
    promise: Promise,
    /// Looked at already, and not given yet.
    first: Option<ModelEvent>,
    events: VecDeque<ModelEvent>,
    /// What went wrong after the events that are left.
    error: Option<Error>,
    patience: Patience,
    begun: Instant,
    /// Since when more is waited for; the service's silence counts from then.
    waits: Option<Instant>,
    /// Ends not later than the patience does. It is set anew when it has ended, and not at each wait.
    alarm: Pin<Box<Sleep>>,
    key: Option<Secret>,
}

impl Reading {
    pub(crate) fn new(
        response: Response,
        decoder: Box<dyn Decode>,
        promise: Promise,
        patience: Patience,
        key: Option<Secret>,
    ) -> Self {
        Self {
            bytes: Some(response),
            sse: SseDecoder::default(),
            decoder,
            promise,
            first: None,
            events: VecDeque::new(),
            error: None,
            patience,
            begun: Instant::now(),
            waits: None,
            alarm: Box::pin(sleep(patience.idle.min(patience.answer).min(FOREVER))),
            key,
        }
    }

    /// Waits for the first part; what goes wrong up to it is no part of the answer.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.first = Some(self.next().await.unwrap_or_else(|| Err(cut_off()))?);
        Ok(())
    }

    /// Reads an answer that is one JSON body.
    pub(crate) async fn receive_whole(&mut self) -> Result<()> {
        let body = self.body().await?;
        let body = std::str::from_utf8(&body).map_err(|_| no_text())?;
        let read = self.decoder.read_whole(body, &mut self.events);
        self.understood(read)?;
        self.end()
    }

    /// The rest of the body, for an answer that is not streamed.
    pub(crate) async fn body(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(bytes) = poll_fn(|context| self.poll_bytes(context)).await? {
            if body.len() + bytes.len() > MAX_BODY {
                return Err(protocol("the answer is longer than 8 MiB"));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    /// Reads the next bytes, or that there are no more.
    fn receive(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        let Some(mut bytes) = bytes else {
            if let Some(data) = self.sse.finish()? {
                self.read(&data).map_err(|error| match error.code() {
                    // A last line without its end is a broken connection, not a broken service.
                    "model_protocol_error" => cut_off(),
                    _ => error,
                })?;
            }
            return self.end();
        };
        while let Some(data) = self.sse.next(&mut bytes)? {
            self.read(&data)?;
            if self.decoder.has_ended() {
                return self.end();
            }
        }
        Ok(())
    }

    fn read(&mut self, data: &str) -> Result<()> {
        let read = self.decoder.read(data, &mut self.events);
        self.understood(read)
    }

    fn understood(&self, read: Result<(), Fault>) -> Result<()> {
        read.map_err(|fault| match fault {
            Fault::Reported(report) => from_stream(&report, self.key.as_ref()),
            Fault::Broken(error) => error,
        })
    }

    fn end(&mut self) -> Result<()> {
        if let Some(rest) = self.bytes.take().filter(|_| self.decoder.has_ended()) {
            rest.see_out();
        }
        self.decoder.finish(&mut self.events)
    }

    /// More bytes, none at the end of the body.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(bytes) = &mut self.bytes else { return Poll::Ready(Ok(None)) };
        if let Poll::Ready(bytes) = bytes.poll_bytes(context) {
            self.waits = None;
            let is_endless = self.begun.elapsed() >= self.patience.answer;
            return Poll::Ready(if is_endless { Err(endless(self.patience.answer)) } else { bytes });
        }
        let waits = *self.waits.get_or_insert_with(Instant::now);
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let now = Instant::now();
            let idle = self.patience.idle.saturating_sub(now - waits);
            let answer = self.patience.answer.saturating_sub(now - self.begun);
            if answer.is_zero() {
                return Poll::Ready(Err(endless(self.patience.answer)));
            }
            if idle.is_zero() {
                return Poll::Ready(Err(silent(self.patience.idle)));
            }
            self.alarm.as_mut().reset(now + idle.min(answer).min(FOREVER));
        }
    }
}

impl Stream for Reading {
    type Item = Result<ModelEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                let kept = self.promise.check(&event);
                if kept.is_err() {
                    (self.bytes, self.error) = (None, None);
                    self.events.clear();
                }
                return Poll::Ready(Some(kept.map(|()| event)));
            }
            if let Some(error) = self.error.take() {
                self.bytes = None;
                return Poll::Ready(Some(Err(error)));
            }
            if self.bytes.is_none() {
                return Poll::Ready(None);
            }
            let bytes = ready!(self.poll_bytes(context));
            self.error = bytes.and_then(|bytes| self.receive(bytes.as_deref())).err();
        }
    }

    /// At least the parts that are here already.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.events.len() + usize::from(self.first.is_some()), None)
    }
}

/// The service sent bytes that are no UTF-8.
pub(crate) fn no_text() -> Error {
    protocol("the model service sent bytes that are no UTF-8 text")
}
