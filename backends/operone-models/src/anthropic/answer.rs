//! Puts an answer together from the events of the Messages protocol.

use std::borrow::Cow;
use std::collections::VecDeque;

use operone_core::Result;
use operone_core::model::{Finish, FinishReason, ModelEvent, Reasoning, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::calls::{Calls, Piece};
use crate::error::{cut_off, protocol};
use crate::reading::{Decode, Fault};
use crate::template::{Templates, give_text, give_thought};
use crate::tool_names::ToolNames;

/// An answer in the making. Text is given at once, calls when they are whole.
#[derive(Debug)]
pub(super) struct Answer {
    calls: Calls,
    /// Of the thoughts that are being given; it comes in pieces too.
    signature: String,
    reason: Option<FinishReason>,
    usage: WireUsage,
    ended: bool,
    templates: Templates,
}

/// The longest signature, in bytes.
const MAX_SIGNATURE: usize = 1024 * 1024;

impl Answer {
    pub(super) fn new(names: ToolNames) -> Self {
        Self {
            calls: Calls::new(names),
            signature: String::new(),
            reason: None,
            usage: WireUsage::default(),
            ended: false,
            templates: Templates::default(),
        }
    }

    fn begin(&mut self, index: u64, block: Block, events: &mut VecDeque<ModelEvent>) -> Result<()> {
        match block {
            Block::Text { text } => give_text(events, text),
            Block::Thinking { thinking, signature } => {
                give_thought(events, thinking);
                self.signature = signature.unwrap_or_default();
            }
            Block::RedactedThinking { data } => {
                events.push_back(ModelEvent::Reasoning(Reasoning::redacted(data)));
            }
            Block::ToolUse { id, name, input } => {
                let is_whole = input.as_object().is_some_and(|input| !input.is_empty());
                let arguments = if is_whole { input.to_string() } else { String::new() };
                self.calls.join(0, Piece { index: Some(index), id, name, arguments })?;
            }
            Block::Other => {}
        }
        Ok(())
    }

    fn go_on(&mut self, index: u64, delta: Delta<'_>, events: &mut VecDeque<ModelEvent>) -> Result<()> {
        match delta {
            Delta::TextDelta { text } => give_text(events, text.into_owned()),
            Delta::ThinkingDelta { thinking } => give_thought(events, thinking.into_owned()),
            Delta::SignatureDelta { signature } => {
                if self.signature.len() + signature.len() > MAX_SIGNATURE {
                    return Err(protocol("the signature of a thought is longer than 1 MiB"));
                }
                self.signature.push_str(&signature);
            }
            Delta::InputJsonDelta { partial_json } => {
                let piece = Piece { index: Some(index), arguments: partial_json, ..Piece::default() };
                self.calls.join(0, piece)?;
            }
            Delta::Other => {}
        }
        Ok(())
    }

    fn end_block(&mut self, events: &mut VecDeque<ModelEvent>) {
        let signature = std::mem::take(&mut self.signature);
        if !signature.is_empty() {
            events.push_back(ModelEvent::Reasoning(Reasoning::signature(signature)));
        }
    }

    fn stopped(&mut self, reason: Option<String>, usage: Option<WireUsage>) {
        if let Some(reason) = reason {
            self.reason = Some(finish_reason(&reason));
        }
        if let Some(usage) = usage {
            self.usage.join(usage);
        }
    }
}

fn understood<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T> {
    serde_json::from_str(data)
        .map_err(|error| protocol("the model service sent what is no part of an answer").with_source(error))
}

impl Decode for Answer {
    fn read(&mut self, data: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        if self.templates.read(data, events) {
            return Ok(());
        }
        match understood(data)? {
            Event::MessageStart { message } => {
                if let Some(usage) = message.usage {
                    self.usage.join(usage);
                }
            }
            Event::ContentBlockStart { index, content_block } => self.begin(index, content_block, events)?,
            Event::ContentBlockDelta { index, delta } => {
                match &delta {
                    Delta::TextDelta { text } => self.templates.learn_text(data, text),
                    Delta::ThinkingDelta { thinking } => self.templates.learn_thought(data, thinking),
                    _ => {}
                }
                self.go_on(index, delta, events)?;
            }
            Event::ContentBlockStop {} => self.end_block(events),
            Event::MessageDelta { delta, usage } => self.stopped(delta.stop_reason, usage),
            Event::MessageStop => self.ended = true,
            Event::Error { error } => return Err(Fault::Reported(error)),
            Event::Other => {}
        }
        Ok(())
    }

    fn read_whole(&mut self, body: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        let whole: Whole = understood(body)?;
        if let Some(error) = whole.error {
            return Err(Fault::Reported(error));
        }
        for (index, block) in (0..).zip(whole.content) {
            self.begin(index, block, events)?;
            self.end_block(events);
        }
        self.stopped(whole.stop_reason, whole.usage);
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn finish(&mut self, events: &mut VecDeque<ModelEvent>) -> Result<()> {
        let reason = self.reason.ok_or_else(cut_off)?;
        let calls = self.calls.finish()?;
        let waits = !calls.is_empty() && reason == FinishReason::Stop;
        events.extend(calls);
        let reason = if waits { FinishReason::ToolCalls } else { reason };
        events.push_back(ModelEvent::Done(Finish::new(reason, self.usage.total())));
        Ok(())
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::Refused,
        _ => FinishReason::Stop,
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart {
        message: MessageStart,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        #[serde(borrow)]
        delta: Delta<'a>,
    },
    ContentBlockStop {},
    MessageDelta {
        delta: MessageDelta,
        usage: Option<WireUsage>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Signs of life, and what is new.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct MessageStart {
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        signature: Option<String>,
    },
    RedactedThinking {
        data: String,
    },
    /// Streamed, the input is empty or absent and follows in pieces.
    ToolUse {
        #[serde(default)]
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "the protocol's own names")]
enum Delta<'a> {
    TextDelta {
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    ThinkingDelta {
        #[serde(borrow)]
        thinking: Cow<'a, str>,
    },
    SignatureDelta {
        signature: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Other,
}

/// An answer that was not streamed.
#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

/// Counts so far: a later one replaces an earlier one. What was read from or written to the service's cache is not
/// part of `input_tokens`.
#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl WireUsage {
    fn join(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
    }

    fn total(&self) -> Usage {
        let read = [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let read = read.into_iter().flatten().fold(0, u64::saturating_add);
        Usage::new(read, self.output_tokens.unwrap_or(0))
    }
}
