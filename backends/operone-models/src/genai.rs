//! Any model that the crate `genai` reaches, for services that speak neither of our protocols.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponseFormat, ChatStream, ChatStreamEvent, ContentPart,
    JsonSpec, MessageContent, ReasoningEffort as GenAiEffort, StopReason, StreamEnd, Tool,
    ToolCall as GenAiCall, ToolChoice as GenAiChoice, ToolResponse,
};
use genai::{Client, ClientBuilder};
use operone_core::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelOption, ModelRequest,
    ModelStream, Price, Reasoning, ReasoningEffort, ToolCall, ToolChoice, Usage,
};
use operone_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::error::{cut_off, from_status};
use crate::hint;
use crate::http::tls;
use crate::promise::Promise;
use crate::tool_names::ToolNames;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest wait for the begin of an answer and for more of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A language model behind the crate `genai`: Gemini, Vertex, Bedrock, Cohere and others. Feature `genai`.
///
/// What `genai` does with a request is its own: an option that its adapter does not know is dropped without a word. A
/// choice of tools and a schema are seen to be kept all the same (`option_not_honoured`), and a seed is refused unless
/// [`GenAiModel::with_unsupported`] says otherwise. An event of the service's stream has no greatest length. Services
/// that speak the chat completions or the Messages protocol are better asked with
/// [`OpenAiCompatible`](crate::OpenAiCompatible) and [`Anthropic`](crate::Anthropic).
///
/// Dropping the future or the stream closes the connection.
pub struct GenAiModel {
    client: Client,
    model: String,
    price: Option<Price>,
    unsupported: Vec<ModelOption>,
}

impl fmt::Debug for GenAiModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client may hold keys.
        f.debug_struct("GenAiModel").field("model", &self.model).finish_non_exhaustive()
    }
}

impl GenAiModel {
    /// A model by the name that `genai` gives it, which tells the service too: `gemini-2.5-flash`. See
    /// [`GenAiModel::client`].
    pub fn new(client: Client, model: impl Into<String>) -> Self {
        Self { client, model: model.into(), price: None, unsupported: vec![ModelOption::Seed] }
    }

    /// The begin of a client with this crate's TLS settings; `genai` is built without any of its own. Keys come from the
    /// environment unless the builder is told otherwise.
    pub fn client() -> Result<ClientBuilder> {
        let transport = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Another crate of the program may have switched these on: what is small on the wire is then large in memory.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| Error::internal("the HTTP client cannot be built").with_source(error))?;
        Ok(Client::builder().with_reqwest(transport))
    }

    /// Sets what its tokens cost.
    #[must_use]
    pub fn with_price(mut self, price: Option<Price>) -> Self {
        self.price = price;
        self
    }

    /// Sets the options that the service passes over: a request with one of them is refused.
    #[must_use]
    pub fn with_unsupported(mut self, options: impl IntoIterator<Item = ModelOption>) -> Self {
        self.unsupported = options.into_iter().collect();
        self
    }
}

#[async_trait]
impl LanguageModel for GenAiModel {
    fn info(&self) -> ModelInfo {
        ModelInfo::new("genai", &self.model).with_price(self.price)
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let honoured = ModelOption::ALL.into_iter().filter(|option| !self.unsupported.contains(option));
        request.require(&self.model, &honoured.collect::<Vec<_>>())?;
        let names = ToolNames::new(&request.tools);
        let (asked, options) = (asked(&request, &names), options(&request, &names));
        let answer = self.client.exec_chat_stream(self.model.as_str(), asked, Some(&options)).await;
        let answer = answer.map_err(|error| failed(error).with_operation("model.stream"))?;
        let mut reading =
            Reading { stream: Some(answer.stream), promise: Promise::of(&request), names, ready: Vec::new() };
        let first = reading.next().await.unwrap_or_else(|| Err(cut_off()));
        let first = first.map_err(|error| error.with_operation("model.stream"))?;
        let rest = stream::unfold(reading, |mut reading| async move {
            let next = reading.next().await?;
            Some((next, reading))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }
}

fn asked(request: &ModelRequest, names: &ToolNames) -> ChatRequest {
    let messages = request.messages.iter().filter_map(|message| spelled(message, names)).collect();
    let tools = request.tools_to_tell().iter().map(|tool| {
        let wire = Tool::new(names.to_wire(&tool.name)).with_description(tool.description.clone());
        wire.with_schema(tool.input_schema.clone())
    });
    let tools: Vec<Tool> = tools.collect();
    let asked = ChatRequest::new(messages);
    if tools.is_empty() { asked } else { asked.with_tools(tools) }
}

fn spelled(message: &Message, names: &ToolNames) -> Option<ChatMessage> {
    Some(match message {
        Message::System { content } => ChatMessage::system(content.as_str()),
        Message::User { content } => ChatMessage::user(content.as_str()),
        Message::Assistant { content, reasoning, calls } => {
            let mut parts = Vec::new();
            for Reasoning { text, signature, .. } in reasoning {
                parts.extend(signature.clone().map(ContentPart::ThoughtSignature));
                parts.extend(
                    Some(text.clone()).filter(|text| !text.is_empty()).map(ContentPart::ReasoningContent),
                );
            }
            parts.extend(Some(content.clone()).filter(|text| !text.is_empty()).map(ContentPart::Text));
            parts.extend(calls.iter().map(|call| {
                ContentPart::ToolCall(GenAiCall {
                    call_id: call.id.clone(),
                    fn_name: names.to_wire(&call.name),
                    fn_arguments: call.parsed_arguments().unwrap_or_else(|_| call.arguments.clone().into()),
                    thought_signatures: None,
                })
            }));
            ChatMessage::assistant(MessageContent::from_parts(parts))
        }
        Message::Tool { call_id, name, content } => {
            let response = ToolResponse::new(call_id.as_str(), content.as_str());
            ChatMessage::from(response.with_fn_name(names.to_wire(name)))
        }
        _ => return None,
    })
}

fn options(request: &ModelRequest, names: &ToolNames) -> ChatOptions {
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_tool_calls(true)
        .with_capture_reasoning_content(true)
        .with_stream_header_timeout(PATIENCE)
        .with_stream_read_timeout(PATIENCE)
        .with_stop_sequences(request.settings.stop.clone());
    options.temperature = request.settings.temperature.map(f64::from);
    options.top_p = request.settings.top_p.map(f64::from);
    options.max_tokens = request.settings.max_tokens;
    options.seed = request.settings.seed;
    options.response_format = request.response_schema.as_ref().map(|schema| {
        ChatResponseFormat::JsonSpec(JsonSpec::new(schema.name.as_str(), schema.schema.clone()))
    });
    options.reasoning_effort = request.settings.reasoning.map(|effort| match effort {
        ReasoningEffort::Minimal => GenAiEffort::Minimal,
        ReasoningEffort::Low => GenAiEffort::Low,
        ReasoningEffort::High => GenAiEffort::High,
        _ => GenAiEffort::Medium,
    });
    options.tool_choice = match &request.settings.tool_choice {
        _ if request.tools_to_tell().is_empty() => None,
        ToolChoice::None => Some(GenAiChoice::None),
        ToolChoice::Required => Some(GenAiChoice::Required),
        ToolChoice::Tool(name) => Some(GenAiChoice::Tool { name: names.to_wire(name) }),
        _ => None,
    };
    options
}

/// An answer that is being received.
struct Reading {
    /// None once the end or an error has come.
    stream: Option<ChatStream>,
    promise: Promise,
    names: ToolNames,
    /// The last parts, the very last one first.
    ready: Vec<ModelEvent>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<ModelEvent>> {
        let event = match self.ready.pop() {
            Some(event) => event,
            None => match self.receive().await? {
                Ok(event) => event,
                Err(error) => {
                    self.stream = None;
                    return Some(Err(error));
                }
            },
        };
        let kept = self.promise.check(&event);
        if kept.is_err() {
            (self.stream, self.ready) = (None, Vec::new());
        }
        Some(kept.map(|()| event))
    }

    async fn receive(&mut self) -> Option<Result<ModelEvent>> {
        let stream = self.stream.as_mut()?;
        loop {
            let event = match stream.next().await {
                None => return Some(Err(cut_off())),
                Some(Err(error)) => return Some(Err(failed(error))),
                Some(Ok(event)) => event,
            };
            match event {
                ChatStreamEvent::Chunk(chunk) if !chunk.content.is_empty() => {
                    return Some(Ok(ModelEvent::Text(chunk.content)));
                }
                ChatStreamEvent::ReasoningChunk(chunk) if !chunk.content.is_empty() => {
                    return Some(Ok(ModelEvent::Reasoning(Reasoning::text(chunk.content))));
                }
                ChatStreamEvent::End(end) => {
                    self.stream = None;
                    self.end(end);
                    return self.ready.pop().map(Ok);
                }
                // Calls come whole with the end.
                _ => {}
            }
        }
    }

    fn end(&mut self, end: StreamEnd) {
        let mut parts = Vec::new();
        for part in end.captured_content.map(MessageContent::into_parts).unwrap_or_default() {
            match part {
                ContentPart::ThoughtSignature(signature) => {
                    parts.push(ModelEvent::Reasoning(Reasoning::signature(signature)));
                }
                ContentPart::ToolCall(call) => {
                    let arguments = match call.fn_arguments {
                        Value::String(text) => text,
                        Value::Null => String::new(),
                        other => other.to_string(),
                    };
                    let name = self.names.offered_name(call.fn_name);
                    parts.push(ModelEvent::Call(ToolCall::new(call.call_id, name, arguments)));
                }
                _ => {}
            }
        }
        let has_calls = parts.iter().any(|part| matches!(part, ModelEvent::Call(_)));
        let reason = match end.captured_stop_reason {
            Some(StopReason::MaxTokens(_)) => FinishReason::Length,
            Some(StopReason::ContentFilter(_)) => FinishReason::Refused,
            _ if has_calls => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
        let usage = end.captured_usage.map_or_else(Usage::default, |usage| {
            Usage::new(count(usage.prompt_tokens), count(usage.completion_tokens))
        });
        parts.push(ModelEvent::Done(Finish::new(reason, usage)));
        parts.reverse();
        self.ready = parts;
    }
}

fn failed(error: genai::Error) -> Error {
    // The failure of a stream hides the answer of the service in an error of its own.
    let inner = match &error {
        genai::Error::WebStream { error, .. } => error.downcast_ref::<genai::Error>(),
        _ => None,
    };
    let told = inner.unwrap_or(&error);
    if let Some(status) = told.status() {
        let body = match told {
            genai::Error::HttpError { body, .. } => body.as_str(),
            _ => "",
        };
        let retry_after = told.headers().and_then(hint::of_headers);
        return from_status(status.as_u16(), body.as_bytes(), retry_after, None);
    }
    let invalid = matches!(
        error,
        genai::Error::RequiresApiKey { .. }
            | genai::Error::NoAuthData { .. }
            | genai::Error::NoAuthResolver { .. }
    );
    if invalid {
        let detail = "the model service has no key: set the variable that genai reads";
        return Error::new(ErrorKind::Denied, detail).with_code("model_key_refused").with_source(error);
    }
    let is_timeout = error.source().is_some_and(|source| source.to_string().contains("timed out"));
    let code = if is_timeout { "model_stalled" } else { "model_unavailable" };
    Error::new(ErrorKind::Unavailable, "the model service failed").with_code(code).with_source(error)
}
