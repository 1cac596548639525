//! The chat completions protocol: what is sent, and what is read of an answer.

use operone_core::model::{Message, ModelRequest};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::tool_names::ToolNames;

/// The body of a request for a streamed answer.
pub(crate) fn request_body(model: &str, request: &ModelRequest, names: &ToolNames) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    let messages = request.messages.iter().filter_map(|message| wire_message(message, names));
    body.insert("messages".into(), messages.collect());
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({"type": "function", "function": {
                "name": names.to_wire(&tool.name),
                "description": tool.description,
                "parameters": tool.input_schema,
            }})
        });
        body.insert("tools".into(), tools.collect());
    }
    if let Some(temperature) = request.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(max_tokens) = request.max_tokens {
        body.insert("max_tokens".into(), max_tokens.into());
    }
    Value::Object(body).to_string().into_bytes()
}

fn wire_message(message: &Message, names: &ToolNames) -> Option<Value> {
    Some(match message {
        Message::System { content } => json!({"role": "system", "content": content}),
        Message::User { content } => json!({"role": "user", "content": content}),
        Message::Assistant { content, calls, .. } if calls.is_empty() => {
            json!({"role": "assistant", "content": content})
        }
        Message::Assistant { content, calls, .. } => {
            let content = if content.is_empty() { Value::Null } else { content.as_str().into() };
            let calls = calls.iter().map(|call| {
                json!({"id": call.id, "type": "function", "function": {
                    "name": names.to_wire(&call.name),
                    "arguments": as_object(&call.arguments),
                }})
            });
            json!({"role": "assistant", "content": content, "tool_calls": calls.collect::<Vec<_>>()})
        }
        Message::Tool { call_id, content, .. } => {
            json!({"role": "tool", "tool_call_id": call_id, "content": content})
        }
        _ => return None,
    })
}

/// Services parse the arguments of earlier calls and fail on what is no JSON object, which a model may well have
/// written: such arguments are wrapped.
fn as_object(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(_)) => arguments.to_owned(),
        _ if arguments.trim().is_empty() => "{}".to_owned(),
        _ => json!({"malformed_arguments": arguments}).to_string(),
    }
}

/// One chunk of a streamed answer, or a whole answer. Unknown keys are passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Chunk {
    /// Empty in the chunk that tells the usage.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) choices: Vec<Choice>,
    pub(crate) usage: Option<WireUsage>,
    pub(crate) error: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) index: u64,
    /// In a whole answer it is called `message`.
    #[serde(default, alias = "message", deserialize_with = "null_is_default")]
    pub(crate) delta: Delta,
    pub(crate) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Delta {
    /// A string, null, or a list of parts.
    #[serde(default)]
    content: Value,
    pub(crate) refusal: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) tool_calls: Vec<CallDelta>,
}

impl Delta {
    /// The text; empty where there is none.
    pub(crate) fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
            }
            _ => String::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct CallDelta {
    pub(crate) index: Option<u64>,
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) function: FunctionDelta,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionDelta {
    pub(crate) name: Option<String>,
    #[serde(default)]
    arguments: Value,
}

impl FunctionDelta {
    /// More of the arguments' text. Some services give the object itself.
    pub(crate) fn arguments(&self) -> String {
        match &self.arguments {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct WireUsage {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) prompt_tokens: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) completion_tokens: u64,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use operone_core::model::ToolCall;
    use operone_core::tool::ToolSpec;

    use super::*;

    #[test]
    fn a_conversation_is_spelled_as_the_protocol_wants_it() {
        let tools = vec![ToolSpec::new("file.read", "Reads")];
        let mut request = ModelRequest::new(vec![
            Message::System { content: "s".into() },
            Message::User { content: "u".into() },
            Message::assistant(
                "",
                vec![
                    ToolCall::new("1", "file.read", "{\"path\": \"a\"}"),
                    ToolCall::new("2", "file.read", "oops"),
                    ToolCall::new("3", "file.read", ""),
                ],
            ),
            Message::Tool { call_id: "1".into(), name: "file.read".into(), content: "text".into() },
            Message::assistant("done", Vec::new()),
        ]);
        let names = ToolNames::new(&tools);
        request.tools = tools;
        request.max_tokens = Some(7);
        let body: Value = serde_json::from_slice(&request_body("m", &request, &names)).unwrap();
        assert_eq!(
            body,
            json!({
                "model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 7,
                "tools": [{"type": "function", "function": {
                    "name": "file_read", "description": "Reads", "parameters": {"type": "object", "properties": {}}
                }}],
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "u"},
                    {"role": "assistant", "content": null, "tool_calls": [
                        {"id": "1", "type": "function",
                         "function": {"name": "file_read", "arguments": "{\"path\": \"a\"}"}},
                        {"id": "2", "type": "function",
                         "function": {"name": "file_read", "arguments": "{\"malformed_arguments\":\"oops\"}"}},
                        {"id": "3", "type": "function", "function": {"name": "file_read", "arguments": "{}"}},
                    ]},
                    {"role": "tool", "tool_call_id": "1", "content": "text"},
                    {"role": "assistant", "content": "done"},
                ]
            })
        );
    }
}
