//! The contract of a language model: one streaming call that gives text, tool calls and usage.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::tool::ToolSpec;

/// Something that answers a conversation.
#[async_trait]
pub trait LanguageModel: fmt::Debug + Send + Sync + 'static {
    /// What answers, for people and for `/info`.
    fn info(&self) -> ModelInfo;

    /// Answers the conversation as a stream of parts, the last of which is [`ModelEvent::Done`].
    ///
    /// - A stream that ends without `Done` was cut off; callers treat it as `Unavailable`.
    /// - Text parts, put together in order, are the answer. Calls come whole, each with an id of its own.
    /// - The arguments of a call are the model's text: they need not be JSON, nor fit the tool's schema.
    /// - Calling again with the same request asks again; nothing is remembered between calls.
    /// - Dropping the future or the stream ends the call.
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream>;
}

/// The parts of one answer.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent>> + Send>>;

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Who serves it, for instance `openai-compatible` or `operone`.
    pub provider: String,
    /// The model's name.
    pub name: String,
    /// False for stand-ins that follow rules, such as the extractive model.
    pub is_language_model: bool,
    /// What its tokens cost, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl ModelInfo {
    /// A language model.
    pub fn new(provider: impl Into<String>, name: impl Into<String>) -> Self {
        Self { provider: provider.into(), name: name.into(), is_language_model: true, price: None }
    }

    /// Sets what its tokens cost.
    #[must_use]
    pub fn with_price(mut self, price: Option<Price>) -> Self {
        self.price = price;
        self
    }

    /// A stand-in that follows rules.
    pub fn rules(provider: impl Into<String>, name: impl Into<String>) -> Self {
        Self { is_language_model: false, ..Self::new(provider, name) }
    }
}

/// A conversation to answer and the tools that may be called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// The tools that may be called; none forbids calls.
    pub tools: Vec<ToolSpec>,
    /// How freely to choose words; the service's default where absent.
    pub temperature: Option<f32>,
    /// The most tokens to answer with; the service's default where absent.
    pub max_tokens: Option<u32>,
}

impl ModelRequest {
    /// Asks for an answer to `messages`.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Permits calls of `tools`.
    #[must_use]
    pub fn with_tools(mut self, tools: Vec<ToolSpec>) -> Self {
        self.tools = tools;
        self
    }
}

/// One turn of a conversation. Stored with runs: a change needs a new format number there.
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

/// One part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// A call, whole.
    Call(ToolCall),
    /// The end.
    Done(Finish),
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// What it cost; zeros where the service does not say.
    pub usage: Usage,
}

impl Finish {
    /// An end with what it cost.
    pub fn new(reason: FinishReason, usage: Usage) -> Self {
        Self { reason, usage }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The model waits for tools.
    ToolCalls,
    /// The most tokens were reached: the answer is cut off.
    Length,
    /// The service withheld the answer.
    Refused,
}

/// Tokens used. Stored with runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What they cost, in millionths of the currency of the model's price; 0 where no price is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_micros: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Tokens read and written.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cost_micros: 0 }
    }

    /// Tokens read and written together.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
    }
}

/// What a model's tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Price {
    /// A million tokens read, in millionths of the currency.
    pub input_micros: u64,
    /// A million tokens written, in millionths of the currency.
    pub output_micros: u64,
}

impl Price {
    /// What a million tokens cost, in millionths of the currency: 2.50 is 2,500,000.
    pub fn new(input_micros: u64, output_micros: u64) -> Self {
        Self { input_micros, output_micros }
    }

    /// What these tokens cost, in millionths, rounded up.
    pub fn of(&self, usage: &Usage) -> u64 {
        let cost = |tokens: u64, micros: u64| u128::from(tokens) * u128::from(micros);
        let sum = cost(usage.input_tokens, self.input_micros) + cost(usage.output_tokens, self.output_micros);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}
