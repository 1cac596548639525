//! Calls an OpenAI-compatible service and streams its answer.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use operone_core::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};
use operone_core::{Error, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use tokio::time::{sleep, timeout};

use crate::answer::Answer;
use crate::config::{OpenAiConfig, Secret};
use crate::error::{cut_off, from_status, from_transport, protocol, silent};
use crate::http;
use crate::reading::Reading;
use crate::tool_names::ToolNames;
use crate::wire::request_body;

/// How often a request is tried.
const MAX_TRIES: u32 = 3;

/// The longest wait between two tries. A service that asks for more is not asked again.
const MAX_WAIT: Duration = Duration::from_secs(30);

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
        let address = address(&config.base_url)?;
        let authorization = config.api_key.as_ref().map(bearer).transpose()?;
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

    /// How long to wait after a failed try; `None` if there is no use in another.
    fn wait(&self, tries: u32, error: &Error) -> Option<Duration> {
        if tries >= MAX_TRIES || !error.is_retryable() {
            return None;
        }
        let wait = error.retry_after().unwrap_or_else(|| {
            let whole = self.config.retry_delay.saturating_mul(1 << (tries - 1));
            whole.mul_f64(1.0 - 0.5 * random_share())
        });
        Some(wait).filter(|wait| *wait <= MAX_WAIT)
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
            let Some(wait) = self.wait(tries, &error) else {
                return Err(error.with_operation("model.stream"));
            };
            tracing::debug!(tries, code = error.code(), ?wait, "asking the model service again");
            sleep(wait).await;
            tries += 1;
        }
    }
}

fn address(base_url: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::invalid(format!("the model service's address {why}")).with_code("invalid_base_url")
    };
    let address = format!("{}/chat/completions", base_url.trim_end_matches('/'));
    let address = Url::parse(&address).map_err(|_| wrong("is no URL such as http://localhost:8080/v1"))?;
    if !matches!(address.scheme(), "http" | "https") || address.host_str().is_none_or(str::is_empty) {
        return Err(wrong("must begin with http:// or https:// and a host"));
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err(wrong("must hold no user or password: give the key by itself"));
    }
    Ok(address)
}

fn bearer(key: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| {
        Error::invalid("the key of the model service has characters that no header can hold")
            .with_code("invalid_api_key")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A number in [0, 1], so that clients that failed together do not come back together.
fn random_share() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
