//! What a model is asked, and how it is to answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Message;
use crate::error::{Error, Result};
use crate::tool::ToolSpec;

/// A conversation to answer, the tools that may be called, and how to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// The tools that may be called; none forbids calls.
    pub tools: Vec<ToolSpec>,
    /// Whether tools may or must be called.
    #[serde(skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// What the answer's text must be: JSON of this shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<ResponseSchema>,
    /// How freely to choose words; the service's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The share of the likeliest words to choose from, in (0, 1]; the service's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// The most tokens to answer with; the service's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts before which the answer ends; they are not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Where chance begins: the same number is to give the same answer, as far as the service can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much to think before the answer; the service's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningEffort>,
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

    /// Sets whether tools may or must be called.
    #[must_use]
    pub fn with_tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    /// Asks for JSON of this shape.
    #[must_use]
    pub fn with_response_schema(mut self, schema: ResponseSchema) -> Self {
        self.response_schema = Some(schema);
        self
    }

    /// Sets how freely words are chosen.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets the share of the likeliest words to choose from.
    #[must_use]
    pub fn with_top_p(mut self, top_p: f32) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Sets the most tokens to answer with.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Ends the answer before any of these texts.
    #[must_use]
    pub fn with_stop(mut self, stop: Vec<String>) -> Self {
        self.stop = stop;
        self
    }

    /// Sets where chance begins.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how much to think before the answer.
    #[must_use]
    pub fn with_reasoning(mut self, effort: ReasoningEffort) -> Self {
        self.reasoning = Some(effort);
        self
    }

    /// The tools to tell the model of: none where none may be called and the conversation has no calls that their
    /// descriptions would explain. Some services call what they are told of, whatever the choice says.
    pub fn tools_to_tell(&self) -> &[ToolSpec] {
        let has_calls = || {
            self.messages.iter().any(|message| match message {
                Message::Assistant { calls, .. } => !calls.is_empty(),
                Message::Tool { .. } => true,
                _ => false,
            })
        };
        if self.tool_choice == ToolChoice::None && !has_calls() { &[] } else { &self.tools }
    }

    /// The options that the request makes use of.
    pub fn options(&self) -> Vec<ModelOption> {
        let used = [
            (ModelOption::ToolChoice, !self.tool_choice.is_auto()),
            (ModelOption::ResponseSchema, self.response_schema.is_some()),
            (ModelOption::Temperature, self.temperature.is_some()),
            (ModelOption::TopP, self.top_p.is_some()),
            (ModelOption::MaxTokens, self.max_tokens.is_some()),
            (ModelOption::Stop, !self.stop.is_empty()),
            (ModelOption::Seed, self.seed.is_some()),
            (ModelOption::Reasoning, self.reasoning.is_some()),
        ];
        used.into_iter().filter(|(_, used)| *used).map(|(option, _)| option).collect()
    }

    /// Refuses a request with an option that is none of `honoured`, or that asks for a tool which it does not offer,
    /// in the name of the model.
    ///
    /// Errors: `Invalid` with code `unsupported_option` or `unknown_tool_choice`.
    pub fn require(&self, model: &str, honoured: &[ModelOption]) -> Result<()> {
        if let Some(option) = self.options().into_iter().find(|option| !honoured.contains(option)) {
            return Err(option.unsupported_by(model));
        }
        let missing = match &self.tool_choice {
            ToolChoice::Tool(name) => !self.tools.iter().any(|tool| tool.name == *name),
            ToolChoice::Required => self.tools.is_empty(),
            ToolChoice::Auto | ToolChoice::None => false,
        };
        if missing {
            let detail = "a tool is to be called that the request does not offer: add it to the tools";
            return Err(Error::invalid(detail).with_code("unknown_tool_choice"));
        }
        Ok(())
    }
}

/// Whether tools may or must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// No tool is called, though the conversation may have calls already.
    None,
    /// At least one is called.
    Required,
    /// This one is called.
    Tool(String),
}

impl ToolChoice {
    pub(super) fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// What an answer's text must be: JSON of this shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResponseSchema {
    /// What the JSON is, for the model: letters, digits, `_` and `-`.
    pub name: String,
    /// The JSON schema. Services know parts of the language only, and refuse what they do not know.
    pub schema: Value,
}

impl ResponseSchema {
    /// JSON of this shape.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { name: name.into(), schema }
    }
}

/// How much a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasoningEffort {
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// As services do by default.
    Medium,
    /// Much.
    High,
}

/// Something in a request that a model may be unable to honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelOption {
    /// [`ModelRequest::tool_choice`], where it is not [`ToolChoice::Auto`].
    ToolChoice,
    /// [`ModelRequest::response_schema`].
    ResponseSchema,
    /// [`ModelRequest::temperature`].
    Temperature,
    /// [`ModelRequest::top_p`].
    TopP,
    /// [`ModelRequest::max_tokens`].
    MaxTokens,
    /// [`ModelRequest::stop`].
    Stop,
    /// [`ModelRequest::seed`].
    Seed,
    /// [`ModelRequest::reasoning`].
    Reasoning,
}

impl ModelOption {
    /// Every option.
    pub const ALL: [Self; 8] = [
        Self::ToolChoice,
        Self::ResponseSchema,
        Self::Temperature,
        Self::TopP,
        Self::MaxTokens,
        Self::Stop,
        Self::Seed,
        Self::Reasoning,
    ];

    /// The error of a model that cannot honour this option, or not with this value: `Invalid` with code
    /// `unsupported_option`.
    pub fn unsupported_by(self, model: &str) -> Error {
        let detail =
            format!("'{model}' cannot honour the option {self}: leave it out or choose another model");
        Error::invalid(detail).with_code("unsupported_option")
    }
}

impl fmt::Display for ModelOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToolChoice => "tool_choice",
            Self::ResponseSchema => "response_schema",
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::MaxTokens => "max_tokens",
            Self::Stop => "stop",
            Self::Seed => "seed",
            Self::Reasoning => "reasoning",
        })
    }
}
