//! The bodies of `/v1`: what OpenAI's own clients send and read.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use operone_core::model::{
    Finish, FinishReason, Message, ModelInfo, ModelRequest, Reasoning, ReasoningEffort, ResponseSchema,
    ToolCall, ToolChoice, Usage,
};
use operone_core::tool::ToolSpec;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult, FieldError};

/// A conversation to answer.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    messages: Vec<ChatMessage>,
    tools: Option<Vec<ChatTool>>,
    tool_choice: Option<ChatToolChoice>,
    response_format: Option<ResponseFormat>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<u64>,
    stop: Option<Stop>,
    reasoning_effort: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// What Operone looks up before the model is asked.
    pub(crate) operone: Option<Lookup>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What is looked up for the last thing that the user said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    pub(crate) capabilities: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ChatToolChoice {
    Mode(String),
    Named { function: NamedFunction },
}

#[derive(Debug, Deserialize)]
struct NamedFunction {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: JsonSchema },
}

#[derive(Debug, Deserialize)]
struct JsonSchema {
    name: String,
    schema: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum ChatMessage {
    #[serde(alias = "developer")]
    System {
        content: Content,
    },
    User {
        content: Content,
    },
    Assistant {
        content: Option<Content>,
        reasoning_content: Option<String>,
        tool_calls: Option<Vec<ChatCall>>,
    },
    Tool {
        content: Content,
        tool_call_id: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ChatCall {
    id: String,
    function: ChatFunctionCall,
}

#[derive(Debug, Deserialize)]
struct ChatFunctionCall {
    name: String,
    arguments: String,
}

#[derive(Debug, Deserialize)]
struct ChatTool {
    function: ChatFunction,
}

#[derive(Debug, Deserialize)]
struct ChatFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    parameters: Option<Value>,
}

impl ChatRequest {
    pub(crate) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a stream ends with what the answer cost.
    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// What the model is asked. An option that it would not be told is refused.
    pub(crate) fn into_request(self) -> ApiResult<ModelRequest> {
        if let Some((name, _)) = self.rest.iter().find(|(name, value)| !changes_nothing(name, value)) {
            return Err(unsupported(format!("/{name}"), "this cannot be honoured here: leave it out"));
        }
        let mut names = HashMap::new();
        let messages = self.messages.into_iter().enumerate();
        let messages = messages.map(|(place, message)| message.into_message(place, &mut names));
        let mut request = ModelRequest::new(messages.collect::<ApiResult<_>>()?);
        request.temperature = self.temperature;
        request.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        request.top_p = self.top_p;
        request.seed = self.seed;
        request.stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text],
            Some(Stop::Several(texts)) => texts,
        };
        request.tools = self.tools.unwrap_or_default().into_iter().map(ChatTool::into_spec).collect();
        request.tool_choice = self.tool_choice.map_or(Ok(ToolChoice::Auto), ChatToolChoice::into_choice)?;
        request.response_schema = match self.response_format {
            None | Some(ResponseFormat::Text) => None,
            Some(ResponseFormat::JsonSchema { json_schema: JsonSchema { name, schema: Some(schema) } }) => {
                Some(ResponseSchema::new(name, schema))
            }
            Some(ResponseFormat::JsonSchema { .. } | ResponseFormat::JsonObject) => {
                let detail = "JSON is written to a schema here: give 'json_schema' with a 'schema'";
                return Err(unsupported("/response_format".into(), detail));
            }
        };
        request.reasoning = self.reasoning_effort.as_deref().map(effort).transpose()?;
        Ok(request)
    }
}

impl ChatToolChoice {
    fn into_choice(self) -> ApiResult<ToolChoice> {
        Ok(match self {
            Self::Named { function } => ToolChoice::Tool(function.name),
            Self::Mode(mode) => match mode.as_str() {
                "auto" => ToolChoice::Auto,
                "none" => ToolChoice::None,
                "required" => ToolChoice::Required,
                _ => {
                    let detail = "it is 'auto', 'none', 'required' or a function";
                    return Err(unsupported("/tool_choice".into(), detail));
                }
            },
        })
    }
}

fn effort(effort: &str) -> ApiResult<ReasoningEffort> {
    Ok(match effort {
        "minimal" => ReasoningEffort::Minimal,
        "low" => ReasoningEffort::Low,
        "medium" => ReasoningEffort::Medium,
        "high" => ReasoningEffort::High,
        _ => {
            let detail = "it is 'minimal', 'low', 'medium' or 'high' here";
            return Err(unsupported("/reasoning_effort".into(), detail));
        }
    })
}

/// Whether an option is at its default, or a note of the client that no model is told.
fn changes_nothing(name: &str, value: &Value) -> bool {
    match name {
        _ if value.is_null() => true,
        "n" => value.as_f64() == Some(1.0),
        "frequency_penalty" | "presence_penalty" => value.as_f64() == Some(0.0),
        "logprobs" | "store" => value.as_bool() == Some(false),
        "parallel_tool_calls" => value.as_bool() == Some(true),
        "service_tier" => value.as_str() == Some("auto"),
        "user" | "metadata" | "safety_identifier" | "prompt_cache_key" => true,
        _ => false,
    }
}

fn unsupported(pointer: String, detail: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new(pointer, detail)]).with_code("unsupported_parameter")
}

impl ChatMessage {
    /// `names` holds the tool of each call so far.
    fn into_message(self, place: usize, names: &mut HashMap<String, String>) -> ApiResult<Message> {
        Ok(match self {
            Self::System { content } => Message::System { content: content.into_text(place)? },
            Self::User { content } => Message::User { content: content.into_text(place)? },
            Self::Assistant { content, reasoning_content, tool_calls } => {
                let calls = tool_calls.unwrap_or_default().into_iter();
                let calls: Vec<ToolCall> = calls
                    .map(|ChatCall { id, function }| ToolCall::new(id, function.name, function.arguments))
                    .collect();
                names.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                let content = content.map(|content| content.into_text(place)).transpose()?;
                let reasoning = reasoning_content.into_iter().map(Reasoning::text).collect();
                Message::Assistant { content: content.unwrap_or_default(), reasoning, calls }
            }
            Self::Tool { content, tool_call_id } => {
                let Some(name) = names.get(&tool_call_id).cloned() else {
                    let detail = format!("no message before it calls a tool under the id '{tool_call_id}'");
                    let pointer = format!("/messages/{place}/tool_call_id");
                    return Err(ApiError::invalid(vec![FieldError::new(pointer, detail)]));
                };
                Message::Tool { call_id: tool_call_id, name, content: content.into_text(place)? }
            }
        })
    }
}

impl Content {
    fn into_text(self, message: usize) -> ApiResult<String> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts,
        };
        let mut texts = Vec::with_capacity(parts.len());
        for (place, Part { kind, text }) in parts.into_iter().enumerate() {
            let Some(text) = text.filter(|_| kind == "text") else {
                let pointer = format!("/messages/{message}/content/{place}");
                return Err(unsupported(pointer, "parts of type 'text' are understood, and no others"));
            };
            texts.push(text);
        }
        Ok(texts.join("\n"))
    }
}

impl ChatTool {
    fn into_spec(self) -> ToolSpec {
        let ChatFunction { name, description, parameters } = self.function;
        let spec = ToolSpec::new(name, description.unwrap_or_default());
        match parameters {
            Some(parameters) => spec.with_input_schema(parameters),
            None => spec,
        }
    }
}

/// What all parts of one answer have in common.
#[derive(Clone, Debug)]
pub(crate) struct AnswerHead {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) model: String,
    /// What was looked up, by capability.
    pub(crate) found: Option<Value>,
}

impl AnswerHead {
    /// A whole answer.
    pub(crate) fn completion(
        &self,
        text: String,
        thoughts: &str,
        calls: &[ToolCall],
        finish: &Finish,
    ) -> Value {
        let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { Value::String(text) };
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !thoughts.is_empty() {
            message["reasoning_content"] = thoughts.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.iter().map(call_body).collect();
        }
        let choice = json!({
            "index": 0, "message": message, "logprobs": null, "finish_reason": reason(finish.reason)
        });
        let mut body = self.body("chat.completion", vec![choice]);
        body["usage"] = usage_body(&finish.usage);
        if let Some(found) = &self.found {
            body["operone"] = found.clone();
        }
        body
    }

    fn body(&self, object: &str, choices: Vec<Value>) -> Value {
        let Self { id, created, model, .. } = self;
        json!({"id": id, "object": object, "created": created, "model": model, "choices": choices})
    }
}

fn call_body(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

pub(super) fn usage_body(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total(),
    })
}

pub(super) fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
        FinishReason::Refused => "content_filter",
        _ => "stop",
    }
}

/// A model as `/v1/models` lists it.
pub(crate) fn model_body(id: &str, owner: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": owner})
}

/// The owner of a language model, as `/v1/models` lists it.
pub(crate) fn language_model_body(info: &ModelInfo) -> Value {
    model_body(&info.name, &info.provider)
}

/// Texts to embed.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbeddingRequest {
    pub(crate) model: String,
    input: Value,
    encoding_format: Option<EncodingFormat>,
    dimensions: Option<usize>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How the numbers of a vector are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EncodingFormat {
    #[default]
    Float,
    /// 32-bit floats, lowest byte first.
    Base64,
}

impl EmbeddingRequest {
    /// The texts, for an embedder of this dimension.
    pub(crate) fn into_texts(self, dimension: usize) -> ApiResult<(Vec<String>, EncodingFormat)> {
        if let Some((name, _)) = self.rest.iter().find(|(name, value)| !changes_nothing(name, value)) {
            return Err(unsupported(format!("/{name}"), "this cannot be honoured here: leave it out"));
        }
        if self.dimensions.is_some_and(|asked| asked != dimension) {
            let detail = format!("this model's vectors have {dimension} dimensions and cannot be cut");
            return Err(unsupported("/dimensions".into(), &detail));
        }
        let texts = match self.input {
            Value::String(text) => vec![text],
            several => serde_json::from_value::<Vec<String>>(several).map_err(|_| {
                unsupported(
                    "/input".into(),
                    "it is a text or a list of texts here; tokens are not understood",
                )
            })?,
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            let fault = FieldError::new("/input", "there must be a text, and none may be empty");
            return Err(ApiError::invalid(vec![fault]));
        }
        Ok((texts, self.encoding_format.unwrap_or_default()))
    }
}

/// The vectors of a request in its order.
pub(crate) fn embeddings_body(
    model: &str,
    vectors: &[Vec<f32>],
    tokens: usize,
    format: EncodingFormat,
) -> Value {
    let written = |vector: &Vec<f32>| match format {
        EncodingFormat::Float => json!(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<[u8; 4]> = vector.iter().map(|number| number.to_le_bytes()).collect();
            Value::String(STANDARD.encode(bytes.as_flattened()))
        }
    };
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": written(vector)}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    json!({"object": "list", "data": data, "model": model, "usage": usage})
}
