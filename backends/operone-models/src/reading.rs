//! Receives an answer: bytes in, parts out.

use std::collections::VecDeque;
use std::time::Duration;

use operone_core::Result;
use operone_core::model::ModelEvent;
use reqwest::Response;
use tokio::time::timeout;

use crate::answer::{Answer, Fault};
use crate::config::Secret;
use crate::error::{cut_off, from_stream, from_transport, protocol, silent};
use crate::sse::SseDecoder;

/// The longest body that is not streamed, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// An answer that is being received.
pub(crate) struct Reading {
    /// None once everything was received or nothing more is wanted.
    response: Option<Response>,
    decoder: SseDecoder,
    answer: Answer,
    events: VecDeque<ModelEvent>,
    idle_timeout: Duration,
    key: Option<Secret>,
}

impl Reading {
    pub(crate) fn new(
        response: Response,
        answer: Answer,
        idle_timeout: Duration,
        key: Option<Secret>,
    ) -> Self {
        Self {
            response: Some(response),
            decoder: SseDecoder::default(),
            answer,
            events: VecDeque::new(),
            idle_timeout,
            key,
        }
    }

    /// The next part; nothing after an error or the end.
    pub(crate) async fn next(&mut self) -> Option<Result<ModelEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(event));
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
        self.read(&String::from_utf8_lossy(&body))?;
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
            Some(bytes) => self.decoder.push(bytes, &mut data)?,
            None => self.decoder.finish(&mut data)?,
        }
        for data in data {
            match self.read(&data) {
                // A last line without its end is a broken connection, not a broken service.
                Err(error) if bytes.is_none() && error.code() == "model_protocol_error" => {
                    return Err(cut_off());
                }
                read => read?,
            }
            if self.answer.has_ended() {
                break;
            }
        }
        if bytes.is_none() || self.answer.has_ended() {
            self.end()?;
        }
        Ok(())
    }

    fn read(&mut self, data: &str) -> Result<()> {
        let event = self.answer.read(data).map_err(|fault| match fault {
            Fault::Reported(report) => from_stream(&report, self.key.as_ref()),
            Fault::Broken(error) => error,
        })?;
        self.events.extend(event);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.response = None;
        self.events.extend(self.answer.finish()?);
        Ok(())
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let chunk = timeout(self.idle_timeout, response.chunk());
        let chunk = chunk.await.map_err(|_| silent(self.idle_timeout))?.map_err(from_transport)?;
        Ok(chunk.map(Vec::from))
    }
}
