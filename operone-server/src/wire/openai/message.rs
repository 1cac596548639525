//! The messages of a conversation.

use std::collections::HashMap;

use operone_core::model::{Message, Reasoning, ToolCall};
use serde::Deserialize;

use super::unsupported;
use crate::error::{ApiError, ApiResult, FieldError};

/// One message; which of its keys have a meaning depends on who speaks.
#[derive(Debug, Deserialize)]
pub(super) struct ChatMessage {
    role: Role,
    content: Option<Content>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<ChatCall>>,
    tool_call_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    #[serde(alias = "developer")]
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "it is a text or a list of parts of type 'text'")]
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

impl ChatMessage {
    /// `names` holds the tool of each call so far.
    pub(super) fn into_message(
        self,
        place: usize,
        names: &mut HashMap<String, String>,
    ) -> ApiResult<Message> {
        let content = self.content.map(|content| content.into_text(place)).transpose()?;
        let required = |content: Option<String>| {
            content.ok_or_else(|| fault(place, "content", "this message has to have it".to_owned()))
        };
        Ok(match self.role {
            Role::System => Message::System { content: required(content)? },
            Role::User => Message::User { content: required(content)? },
            Role::Assistant => {
                let calls = self.tool_calls.unwrap_or_default().into_iter();
                let calls: Vec<ToolCall> = calls
                    .map(|ChatCall { id, function }| ToolCall::new(id, function.name, function.arguments))
                    .collect();
                names.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                let reasoning = self.reasoning_content.into_iter().map(Reasoning::text).collect();
                Message::Assistant { content: content.unwrap_or_default(), reasoning, calls }
            }
            Role::Tool => {
                let call_id = self.tool_call_id.unwrap_or_default();
                let Some(name) = names.get(&call_id).cloned() else {
                    let detail = format!("no message before it calls a tool under the id '{call_id}'");
                    return Err(fault(place, "tool_call_id", detail));
                };
                Message::Tool { call_id, name, content: required(content)? }
            }
        })
    }
}

fn fault(place: usize, key: &str, detail: String) -> ApiError {
    ApiError::invalid(vec![FieldError::new(format!("/messages/{place}/{key}"), detail)])
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
