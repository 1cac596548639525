//! Where a model service is and how to call it.

use std::fmt;
use std::time::Duration;

use operone_core::model::{ModelInfo, ModelOption, Price};

/// A text that is not shown: `Debug` and `Display` give `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself. Never log what this gives.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to call a model of a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// The address up to and with the version, for instance `http://localhost:8080/v1`. A query at its end, such as
    /// Azure's `?api-version=…`, goes with every request.
    pub base_url: String,
    /// The key, if the service wants one: sent as a bearer token, to Anthropic's protocol as `x-api-key`.
    pub api_key: Option<Secret>,
    /// Headers besides, for instance Azure's `api-key` or `anthropic-beta`. Their values are kept secret.
    pub headers: Vec<(String, Secret)>,
    /// Who serves, as [`ModelInfo::provider`](operone_core::model::ModelInfo::provider) says it; the protocol's own name
    /// where absent.
    pub provider: Option<String>,
    /// The model's name as the service knows it.
    pub model: String,
    /// What its tokens cost, if it is known.
    pub price: Option<Price>,
    /// The options that the service passes over: a request with one of them is refused in its name.
    pub unsupported: Vec<ModelOption>,
    /// The longest wait for a connection; ten seconds by default.
    pub connect_timeout: Duration,
    /// The longest wait from the request to the begin of the answer; two minutes by default.
    pub request_timeout: Duration,
    /// The longest silence within an answer; two minutes by default. A sign of life from the service, such as a
    /// comment line, breaks the silence.
    pub idle_timeout: Duration,
    /// The longest time that an answer may take in all; an hour by default.
    pub answer_timeout: Duration,
    /// How long an embedder waits before the second try of a request; twice as long before the third. A random part
    /// of up to a half is taken off. Half a second by default. A language model is tried once:
    /// [`Retry`](operone_core::model::layers::Retry) tries again.
    pub retry_delay: Duration,
}

impl ServiceConfig {
    /// A service without a key.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            headers: Vec::new(),
            provider: None,
            model: model.into(),
            price: None,
            unsupported: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(120),
            answer_timeout: Duration::from_secs(60 * 60),
            retry_delay: Duration::from_millis(500),
        }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_api_key(mut self, key: Option<Secret>) -> Self {
        self.api_key = key;
        self
    }

    /// Sets who serves.
    #[must_use]
    pub fn with_provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// What answers.
    pub(crate) fn info(&self, protocol: &str) -> ModelInfo {
        let provider = self.provider.as_deref().unwrap_or(protocol);
        ModelInfo::new(provider, &self.model).with_price(self.price)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Sets the options that the service passes over.
    #[must_use]
    pub fn with_unsupported(mut self, options: impl IntoIterator<Item = ModelOption>) -> Self {
        self.unsupported = options.into_iter().collect();
        self
    }

    /// Sets what its tokens cost.
    #[must_use]
    pub fn with_price(mut self, price: Option<Price>) -> Self {
        self.price = price;
        self
    }

    /// The options that the service is told.
    pub(crate) fn honoured(&self, known: &[ModelOption]) -> Vec<ModelOption> {
        known.iter().copied().filter(|option| !self.unsupported.contains(option)).collect()
    }

    /// Sets the longest wait for a connection.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest wait for the begin of the answer.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the longest silence within an answer.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets the longest time that an answer may take in all.
    #[must_use]
    pub fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sets how long an embedder waits before the second try.
    #[must_use]
    pub fn with_retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let config = ServiceConfig::new("http://localhost/v1", "m").with_api_key(Some(Secret::new("sk-123")));
        let shown = format!("{config:?} {}", Secret::new("sk-123"));
        assert!(shown.contains("***") && !shown.contains("sk-123"), "{shown}");
    }
}
