//! Anthropic's Messages protocol.

mod answer;
mod request;

use async_trait::async_trait;
use hyper::header::{HeaderName, HeaderValue};
use operone_core::Result;
use operone_core::model::{LanguageModel, ModelInfo, ModelOption, ModelRequest, ModelStream};

use crate::config::ServiceConfig;
use crate::http;
use crate::service::{EVENTS, Service};
use crate::tool_names::ToolNames;
use answer::Answer;
use request::request_body;

/// The version of the protocol, as the header says it.
const VERSION: &str = "2023-06-01";

/// All but a seed, which the protocol does not know.
const HONOURED: [ModelOption; 7] = [
    ModelOption::ToolChoice,
    ModelOption::ResponseSchema,
    ModelOption::Temperature,
    ModelOption::TopP,
    ModelOption::MaxTokens,
    ModelOption::Stop,
    ModelOption::Reasoning,
];

/// A language model behind Anthropic's Messages protocol, which Anthropic, llama.cpp and others speak. The base URL
/// ends with the version: `https://api.anthropic.com/v1`.
///
/// - A request is sent once: wrap the model in a layer that tries again. The codes of errors are those of
///   [`OpenAiCompatible`](crate::OpenAiCompatible).
/// - The protocol wants a limit: a request without one is sent with 8,192 tokens, and what the model may think besides.
/// - Thinking is asked for as the model's generation wants it: by effort from version 4.6 on, by a budget of tokens
///   before. Thoughts come with a signature and go back with it.
/// - A schema is sent as `output_config`; a seed cannot be honoured.
/// - Messages of the system go before the conversation, wherever they stand.
/// - Tool names are spelled as the wire permits and come back as they were.
/// - Dropping the future or the stream closes the connection.
#[derive(Clone, Debug)]
pub struct Anthropic {
    service: Service,
}

impl Anthropic {
    /// Checks the configuration and reads the operating system's trusted certificates; calls nobody.
    ///
    /// Errors: `Invalid` with code `invalid_base_url`, `invalid_api_key` or `invalid_header`.
    pub fn new(config: ServiceConfig) -> Result<Self> {
        let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION));
        let key = config.api_key.as_ref().map(http::bare).transpose()?;
        let key = key.map(|key| (HeaderName::from_static("x-api-key"), key));
        let service = Service::new(config, "messages", EVENTS, [version].into_iter().chain(key))?;
        Ok(Self { service })
    }
}

#[async_trait]
impl LanguageModel for Anthropic {
    fn info(&self) -> ModelInfo {
        self.service.config.info("anthropic")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let config = &self.service.config;
        request.require(&config.model, &config.honoured(&HONOURED))?;
        let names = ToolNames::new(&request.tools);
        let body = request_body(&config.model, &request, &names);
        let answer = Box::new(Answer::new(names));
        let answer = self.service.stream(&request, body, answer).await;
        answer.map_err(|error| error.with_operation("model.stream"))
    }
}
