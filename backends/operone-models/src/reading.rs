//! Receives an answer: bytes in, parts out.

use std::collections::VecDeque;
use std::time::Duration;

use operone_core::model::ModelEvent;
use operone_core::{Error, Result};
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::config::Secret;
use crate::error::{cut_off, endless, from_stream, from_transport, protocol, silent};
use crate::promise::Promise;
use crate::sse::SseDecoder;

/// The longest body that is not streamed, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

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

/// An answer that is being received. No more is read than is asked for.
pub(crate) struct Reading {
    /// None once everything was received or nothing more is wanted.
    response: Option<Response>,
    sse: SseDecoder,
    decoder: Box<dyn Decode>,
    promise: Promise,
    events: VecDeque<ModelEvent>,
    patience: Patience,
    begun: Instant,
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
            response: Some(response),
            sse: SseDecoder::default(),
            decoder,
            promise,
            events: VecDeque::new(),
            patience,
            begun: Instant::now(),
            key,
        }
    }

    /// The next part; nothing after an error or the end.
    pub(crate) async fn next(&mut self) -> Option<Result<ModelEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                let kept = self.promise.check(&event);
                if kept.is_err() {
                    (self.response, self.events) = (None, VecDeque::new());
                }
                return Some(kept.map(|()| event));
            }
            self.response.as_ref()?;
            if let Err(error) = self.receive().await {
                self.response = None;
                return Some(Err(error));
            }
        }
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
        while let Some(bytes) = self.chunk().await? {
            if body.len() + bytes.len() > MAX_BODY {
                return Err(protocol("the answer is longer than 8 MiB"));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    async fn receive(&mut self) -> Result<()> {
        let bytes = self.chunk().await?;
        let mut data = Vec::new();
        match &bytes {
            Some(bytes) => self.sse.push(bytes, &mut data)?,
            None => self.sse.finish(&mut data)?,
        }
        for data in data {
            let read = self.decoder.read(&data, &mut self.events);
            match self.understood(read) {
                // A last line without its end is a broken connection, not a broken service.
                Err(error) if bytes.is_none() && error.code() == "model_protocol_error" => {
                    return Err(cut_off());
                }
                read => read?,
            }
            if self.decoder.has_ended() {
                break;
            }
        }
        if bytes.is_none() || self.decoder.has_ended() {
            self.end()?;
        }
        Ok(())
    }

    fn understood(&self, read: Result<(), Fault>) -> Result<()> {
        read.map_err(|fault| match fault {
            Fault::Reported(report) => from_stream(&report, self.key.as_ref()),
            Fault::Broken(error) => error,
        })
    }

    fn end(&mut self) -> Result<()> {
        self.response = None;
        self.decoder.finish(&mut self.events)
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let left = self.patience.answer.saturating_sub(self.begun.elapsed());
        if left.is_zero() {
            return Err(endless(self.patience.answer));
        }
        let chunk = timeout(self.patience.idle.min(left), response.chunk()).await;
        let chunk = chunk.map_err(|_| match left < self.patience.idle {
            true => endless(self.patience.answer),
            false => silent(self.patience.idle),
        })?;
        Ok(chunk.map_err(from_transport)?.map(Vec::from))
    }
}

/// The service sent bytes that are no UTF-8.
pub(crate) fn no_text() -> Error {
    protocol("the model service sent bytes that are no UTF-8 text")
}
