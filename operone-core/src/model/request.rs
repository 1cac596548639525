//! What a model is asked, and how it is to answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, ModelSettings};
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
    /// What the answer's text must be: JSON of this shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<ResponseSchema>,
    /// How to answer.
    #[serde(flatten)]
    pub settings: ModelSettings,
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

    /// Asks for JSON of this shape.
    #[must_use]
    pub fn with_response_schema(mut self, schema: ResponseSchema) -> Self {
        self.response_schema = Some(schema);
        self
    }

    /// Sets how to answer, in place of all settings before.
    #[must_use]
    pub fn with_settings(mut self, settings: ModelSettings) -> Self {
        self.settings = settings;
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
        if self.settings.tool_choice == ToolChoice::None && !has_calls() { &[] } else { &self.tools }
    }

    /// The options that the request makes use of.
    pub fn options(&self) -> Vec<ModelOption> {
        let used = [
            (ModelOption::ToolChoice, !self.settings.tool_choice.is_auto()),
            (ModelOption::ResponseSchema, self.response_schema.is_some()),
            (ModelOption::Temperature, self.settings.temperature.is_some()),
            (ModelOption::TopP, self.settings.top_p.is_some()),
            (ModelOption::MaxTokens, self.settings.max_tokens.is_some()),
            (ModelOption::Stop, !self.settings.stop.is_empty()),
            (ModelOption::Seed, self.settings.seed.is_some()),
            (ModelOption::Reasoning, self.settings.reasoning.is_some()),
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
        let missing = match &self.settings.tool_choice {
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
    /// [`ModelSettings::tool_choice`], where it is not [`ToolChoice::Auto`].
    ToolChoice,
    /// [`ModelRequest::response_schema`].
    ResponseSchema,
    /// [`ModelSettings::temperature`].
    Temperature,
    /// [`ModelSettings::top_p`].
    TopP,
    /// [`ModelSettings::max_tokens`].
    MaxTokens,
    /// [`ModelSettings::stop`].
    Stop,
    /// [`ModelSettings::seed`].
    Seed,
    /// [`ModelSettings::reasoning`].
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
