//! What a conversation to answer is asked with.

use std::collections::HashMap;

use operone_core::model::{ModelRequest, ReasoningEffort, ResponseSchema, ToolChoice};
use operone_core::tool::ToolSpec;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::message::ChatMessage;
use super::{changes_nothing, unsupported};
use crate::error::ApiResult;

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
        request.settings.temperature = self.temperature;
        request.settings.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        request.settings.top_p = self.top_p;
        request.settings.seed = self.seed;
        request.settings.stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text],
            Some(Stop::Several(texts)) => texts,
        };
        request.tools = self.tools.unwrap_or_default().into_iter().map(ChatTool::into_spec).collect();
        request.settings.tool_choice =
            self.tool_choice.map_or(Ok(ToolChoice::Auto), ChatToolChoice::into_choice)?;
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
        request.settings.reasoning = self.reasoning_effort.as_deref().map(effort).transpose()?;
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
