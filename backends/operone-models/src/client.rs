//! Calls an OpenAI-compatible service and streams its answer.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use operone_core::Result;
use operone_core::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use tokio::time::{sleep, timeout};

use crate::answer::Answer;
use crate::config::OpenAiConfig;
use crate::error::{cut_off, from_status, from_transport, protocol, silent};
use crate::http;
use crate::reading::Reading;
use crate::retry;
use crate::tool_names::ToolNames;
use crate::wire::request_body;

/// A language model behind the chat completions protocol.
///
/// - A request is tried up to three times while nothing of the answer has arrived and the failure may pass; a
///   `Retry-After` in seconds is heeded up to 30 seconds, and a longer one ends the tries.
/// - Codes: `model_key_refused`, `model_not_found`, `context_length_exceeded`, `model_request_refused`,
///   `model_redirected`, `rate_limited`, `model_unavailable`, `model_protocol_error`.
/// - Tool names are spelled as the wire permits, `file.read` as `file_read`, and come back as they were.
/// - A service that ignores `stream` and answers whole is understood too.
/// - Dropping the future or the stream closes the connection.
#[derive(Clone)]
pub struct OpenAiCompatible {
    config: OpenAiConfig,
    address: Url,
    authorization: Option<HeaderValue>,
    client: Client,
}

impl fmt::Debug for OpenAiCompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenAiCompatible").field(&self.config).finish()
    }
}

impl OpenAiCompatible {
    /// Checks the configuration and reads the operating system's trusted certificates; calls nobody.
    ///
    /// Errors: `Invalid` with code `invalid_base_url` or `invalid_api_key`.
    pub fn new(config: OpenAiConfig) -> Result<Self> {
        let address = http::address(&config.base_url, "chat/completions")?;
        let authorization = config.api_key.as_ref().map(http::bearer).transpose()?;
        let client = http::client(config.connect_timeout)?;
        Ok(Self { config, address, authorization, client })
    }

    /// One try: up to the first part of the answer.
    async fn begin(&self, body: Vec<u8>, names: ToolNames) -> Result<ModelStream> {
        let mut request = self
            .client
            .post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let waited = self.config.request_timeout;
        let response = timeout(waited, request.send()).await.map_err(|_| silent(waited))?;
        let mut reading = self.check(response.map_err(from_transport)?, names).await?;
        let first = reading.next().await.unwrap_or_else(|| Err(cut_off()))?;
        let rest = stream::unfold(reading, |mut reading| async move {
            let next = reading.next().await?;
            Some((next, reading))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    /// An error comes as one JSON body, also where a stream was asked for: status and type come first.
    async fn check(&self, response: Response, names: ToolNames) -> Result<Reading> {
        let status = response.status();
        let media_type = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default().to_lowercase();
        let retry_after = header(response.headers(), RETRY_AFTER.as_str())
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs);
        let key = self.config.api_key.clone();
        let mut reading = Reading::new(response, Answer::new(names), self.config.idle_timeout, key);
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

#[async_trait]
impl LanguageModel for OpenAiCompatible {
    fn info(&self) -> ModelInfo {
        ModelInfo::new("openai-compatible", &self.config.model).with_price(self.config.price)
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let names = ToolNames::new(&request.tools);
        let body = request_body(&self.config.model, &request, &names);
        let mut tries = 1;
        loop {
            let error = match self.begin(body.clone(), names.clone()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let Some(wait) = retry::wait(&self.config, tries, &error) else {
                return Err(error.with_operation("model.stream"));
            };
            tracing::debug!(tries, code = error.code(), ?wait, "asking the model service again");
            sleep(wait).await;
            tries += 1;
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
