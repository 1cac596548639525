//! One model of a service over HTTP: a request goes out, the parts of the answer come back.

use std::fmt;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use operone_core::Result;
use operone_core::model::{ModelRequest, ModelStream};
use tokio::time::timeout;

use crate::config::ServiceConfig;
use crate::error::{from_status, protocol, silent};
use crate::hint;
use crate::http::{self, Address, Client, Response};
use crate::promise::Promise;
use crate::reading::{Decode, Patience, Reading};

/// The type of streamed answers.
pub(crate) const EVENTS: &str = "text/event-stream";

const AGENT: &str = concat!("operone/", env!("CARGO_PKG_VERSION"));

/// Where to send requests, and how.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    client: Client,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl Service {
    /// A route below the service's address, and the type of its answers; `headers` carry the key and what the protocol
    /// wants. Calls nobody.
    pub(crate) fn new(
        config: ServiceConfig,
        route: &str,
        accept: &'static str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Self> {
        let address = Address::new(&config.base_url, route)?;
        let mut all = http::headers(&config.headers)?;
        let own = [(USER_AGENT, AGENT), (ACCEPT, accept)]
            .map(|(name, value)| (name, HeaderValue::from_static(value)));
        for (name, value) in own.into_iter().chain(headers) {
            // What the host has set itself counts.
            all.entry(name).or_insert(value);
        }
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = Client::new(address, all, config.connect_timeout)?;
        Ok(Self { config, client })
    }

    /// Sends a body and waits for the begin of the answer to it.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Result<Response> {
        let waited = self.config.request_timeout;
        timeout(waited, self.client.post(body.into())).await.map_err(|_| silent(waited))?
    }

    /// Asks for an answer to `request`, written as `body`: up to its first part.
    pub(crate) async fn stream(
        &self,
        request: &ModelRequest,
        body: Vec<u8>,
        decoder: Box<dyn Decode>,
    ) -> Result<ModelStream> {
        let response = self.post(body).await?;
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
        let (is_whole, is_stream) = (is_of(&response, "application/json"), is_of(&response, EVENTS));
        let retry_after = if status.is_success() { None } else { hint::of_headers(response.headers()) };
        let patience = Patience { idle: self.config.idle_timeout, answer: self.config.answer_timeout };
        let key = self.config.api_key.clone();
        let mut reading = Reading::new(response, decoder, Promise::of(request), patience, key);
        if !status.is_success() {
            let body = reading.body().await.unwrap_or_default();
            return Err(from_status(status.as_u16(), &body, retry_after, self.config.api_key.as_ref()));
        }
        if is_whole {
            reading.receive_whole().await?;
        } else if !is_stream {
            return Err(protocol("the address answers, but not as a model service does"));
        }
        Ok(reading)
    }
}

/// Whether an answer is of this type, however it is spelled.
fn is_of(response: &Response, media_type: &str) -> bool {
    let given = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let begin = given.and_then(|given| given.get(..media_type.len()));
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(media_type.as_bytes()))
}
