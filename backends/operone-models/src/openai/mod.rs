//! The chat completions protocol, which OpenAI and most others speak.

mod answer;
mod chunk;
mod request;

use async_trait::async_trait;
use hyper::header::AUTHORIZATION;
use operone_core::model::{LanguageModel, ModelInfo, ModelOption, ModelRequest, ModelStream};
use operone_core::{Error, Result};

use crate::config::ServiceConfig;
use crate::http;
use crate::service::{EVENTS, Service};
use crate::tool_names::ToolNames;
use answer::Answer;
use request::{Dialect, request_body};

/// A language model behind the chat completions protocol: OpenAI, Azure, Ollama, vLLM, llama.cpp, Groq, OpenRouter,
/// Mistral, DeepSeek and many others.
///
/// - A request is sent once: wrap the model in a layer that tries again.
/// - Codes: `model_key_refused`, `model_not_found`, `context_length_exceeded`, `model_request_refused`,
///   `model_refused`, `model_redirected`, `rate_limited`, `model_unavailable`, `model_stalled`, `model_cut_off`,
///   `model_protocol_error`, `option_not_honoured`, `unsupported_option`.
/// - Tool names are spelled as the wire permits, `file.read` as `file_read`, and come back as they were.
/// - A service that ignores `stream` and answers whole is understood too.
/// - A service may pass over an option that it does not know. A choice of tools and a schema are seen to be kept
///   (`option_not_honoured`); what else a service is known to pass over belongs into
///   [`ServiceConfig::unsupported`].
/// - Thoughts go back with the calls that they led to, up to the next message of the user.
/// - Dropping the future or the stream closes the connection.
#[derive(Clone, Debug)]
pub struct OpenAiCompatible {
    service: Service,
    dialect: Dialect,
}

impl OpenAiCompatible {
    /// Checks the configuration and reads the operating system's trusted certificates; calls nobody.
    ///
    /// Errors: `Invalid` with code `invalid_base_url`, `invalid_api_key` or `invalid_header`.
    pub fn new(config: ServiceConfig) -> Result<Self> {
        let authorization = config.api_key.as_ref().map(http::bearer).transpose()?;
        let dialect = Dialect::of(&config.base_url);
        let headers = authorization.map(|key| (AUTHORIZATION, key));
        let service = Service::new(config, "chat/completions", EVENTS, headers)?;
        Ok(Self { service, dialect })
    }
}

#[async_trait]
impl LanguageModel for OpenAiCompatible {
    fn info(&self) -> ModelInfo {
        self.service.config.info("openai-compatible")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let config = &self.service.config;
        request.require(&config.model, &config.honoured(&ModelOption::ALL))?;
        let names = ToolNames::new(&request.tools);
        let body = request_body(&config.model, &request, &names, self.dialect)
            .map_err(|error| Error::internal("a request cannot be written").with_source(error))?;
        let answer = Box::new(Answer::new(names));
        let answer = self.service.stream(&request, body, answer).await;
        answer.map_err(|error| error.with_operation("model.stream"))
    }
}
