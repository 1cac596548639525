//! The turns of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// One turn of a conversation. Stored with runs: any change but a new optional key needs a new format number there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Message {
    /// What the model is told before the conversation.
    System {
        /// The text.
        content: String,
    },
    /// What a person says.
    User {
        /// The text.
        content: String,
    },
    /// What the model said.
    Assistant {
        /// The text; empty where it only called tools.
        content: String,
        /// What it thought before it said this, for the service that wants it back with the next turn.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reasoning: Vec<Reasoning>,
        /// The tools it called.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<ToolCall>,
    },
    /// What a tool gave back.
    Tool {
        /// The call that this answers.
        call_id: String,
        /// The tool that was called.
        name: String,
        /// Its output, or what went wrong.
        content: String,
    },
}

impl Message {
    /// What the model is told before the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::System { content: content.into() }
    }

    /// What a person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::User { content: content.into() }
    }

    /// What the model said, and the tools that it called.
    pub fn assistant(content: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self::Assistant { content: content.into(), reasoning: Vec::new(), calls }
    }

    /// What a tool gave back.
    pub fn tool(call_id: impl Into<String>, name: impl Into<String>, content: impl Into<String>) -> Self {
        Self::Tool { call_id: call_id.into(), name: name.into(), content: content.into() }
    }
}

/// What a model thinks before it answers. Stored with runs.
///
/// As a part of an answer it is a piece: its text goes on with that of the piece before, up to and with the piece
/// that has a signature. [`Reasoning::join`] puts pieces together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reasoning {
    /// The thoughts; empty where the service keeps them to itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The service's proof that the thoughts are its own, to be sent back as it came. Other services pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Whether the signature stands in the place of thoughts that are not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

impl Reasoning {
    /// A piece of thought.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The proof of the thoughts before it.
    pub fn signature(signature: impl Into<String>) -> Self {
        Self { signature: Some(signature.into()), ..Self::default() }
    }

    /// Thoughts that are not shown.
    pub fn redacted(data: impl Into<String>) -> Self {
        Self { signature: Some(data.into()), redacted: true, ..Self::default() }
    }

    /// Adds a piece to the thoughts so far: to the last one, or as a new one where that one has its signature.
    pub fn join(thoughts: &mut Vec<Self>, piece: Self) {
        match thoughts.last_mut() {
            Some(last) if last.signature.is_none() && !piece.redacted => {
                last.text.push_str(&piece.text);
                last.signature = piece.signature;
            }
            _ => thoughts.push(piece),
        }
    }
}

/// A model's wish to call a tool. Stored with runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// The call's id, unique within its answer.
    pub id: String,
    /// The tool's name as the model wrote it; it may not exist.
    pub name: String,
    /// The arguments as the model wrote them; they may not be JSON.
    pub arguments: String,
}

impl ToolCall {
    /// A call of `name` with `arguments`, a JSON text.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into() }
    }

    /// The arguments as JSON; no text at all counts as an empty object.
    pub fn parsed_arguments(&self) -> Result<Value> {
        if self.arguments.trim().is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_str(&self.arguments).map_err(|error| {
            Error::invalid(format!("the arguments of '{}' are not JSON: {error}", self.name))
                .with_code("malformed_arguments")
        })
    }
}
