//! One model of a service over HTTP: a request goes out, the parts of the answer come back.

use std::fmt;

use bytes::Bytes;
use operone_core::Result;
use operone_core::model::{ModelRequest, ModelStream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use tokio::time::timeout;

use crate::config::ServiceConfig;
use crate::error::{broke, from_status, from_transport, protocol, silent};
use crate::hint;
use crate::http;
use crate::promise::Promise;
use crate::reading::{Decode, Patience, Reading};

/// Where to send requests, and how.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    address: Url,
    headers: HeaderMap,
    client: Client,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl Service {
    /// A route below the service's address; `headers` carry the key and what the protocol wants. Calls nobody.
    pub(crate) fn new(
        config: ServiceConfig,
        route: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Self> {
        let address = http::address(&config.base_url, route)?;
        let mut all = http::headers(&config.headers)?;
        for (name, value) in headers {
            // What the host has set itself counts.
            all.entry(name).or_insert(value);
        }
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = http::client(config.connect_timeout)?;
        Ok(Self { config, address, headers: all, client })
    }

    /// Sends a body and waits for the begin of the answer to it. A service may close a connection that was kept at the
    /// moment it is used again: what broke before an answer began goes out once more.
    pub(crate) async fn post(&self, body: Vec<u8>, accept: &'static str) -> Result<Response> {
        let body = Bytes::from(body);
        let send = || {
            let request = self.client.post(self.address.clone()).headers(self.headers.clone());
            request.header(ACCEPT, accept).body(body.clone()).send()
        };
        let sent = async {
            match send().await {
                Err(error) if broke(&error) => send().await,
                sent => sent,
            }
        };
        let waited = self.config.request_timeout;
        timeout(waited, sent).await.map_err(|_| silent(waited))?.map_err(from_transport)
    }

    /// Asks for an answer to `request`, written as `body`: up to its first part.
    pub(crate) async fn stream(
        &self,
        request: &ModelRequest,
        body: Vec<u8>,
        decoder: Box<dyn Decode>,
    ) -> Result<ModelStream> {
        let response = self.post(body, "text/event-stream").await?;
        let mut reading = self.check(response, request, decoder).await?;
        reading.begin().await?;
        Ok(Box::pin(reading))
    }

    /// An error comes as one JSON body, also where a stream was asked for: status and type come first.
    async fn check(
        &self,
        response: Response,
        request: &ModelRequest,
        decoder: Box<dyn Decode>,
    ) -> Result<Reading> {
        let status = response.status();
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_lowercase();
        let retry_after = hint::of_headers(response.headers());
        let patience = Patience { idle: self.config.idle_timeout, answer: self.config.answer_timeout };
        let key = self.config.api_key.clone();
        let mut reading = Reading::new(response, decoder, Promise::of(request), patience, key);
        if !status.is_success() {
            let body = reading.body().await.unwrap_or_default();
            return Err(from_status(status.as_u16(), &body, retry_after, self.config.api_key.as_ref()));
        }
        if media_type.starts_with("application/json") {
            reading.receive_whole().await?;
        } else if !media_type.starts_with("text/event-stream") {
            return Err(protocol("the address answers, but not as a model service does"));
        }
        Ok(reading)
    }
}
