//! Puts an answer together from the chunks of the chat completions protocol.

use std::collections::VecDeque;
use std::fmt;

use operone_core::Result;
use operone_core::model::{Finish, FinishReason, ModelEvent, Reasoning, Usage};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::calls::{Calls, Piece};
use crate::error::{cut_off, protocol};
use crate::reading::{Decode, Fault};
use crate::tool_names::ToolNames;

/// An answer in the making. Text is given at once, calls when they are whole.
#[derive(Debug)]
pub(super) struct Answer {
    calls: Calls,
    reason: Option<FinishReason>,
    usage: Usage,
    ended: bool,
}

impl Answer {
    pub(super) fn new(names: ToolNames) -> Self {
        Self { calls: Calls::new(names), reason: None, usage: Usage::default(), ended: false }
    }
}

impl Decode for Answer {
    fn read(&mut self, data: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        if data.trim() == "[DONE]" {
            self.ended = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
            protocol("the model service sent what is no chunk of an answer").with_source(error)
        })?;
        if let Some(report) = chunk.error.filter(|error| !error.is_null()) {
            return Err(Fault::Reported(report));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage::new(usage.prompt_tokens, usage.completion_tokens);
        }
        // One answer is asked for; of a service that gives several the first counts.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            let Delta { content, reasoning_content, reasoning, refusal, tool_calls } = choice.delta;
            for thought in
                [reasoning_content, reasoning].into_iter().filter(|thought| !thought.0.is_empty()).take(1)
            {
                events.push_back(ModelEvent::Reasoning(Reasoning::text(thought.0)));
            }
            let mut text = content.0;
            if !refusal.0.is_empty() {
                text.push_str(&refusal.0);
                self.reason = Some(FinishReason::Refused);
            }
            if !text.is_empty() {
                events.push_back(ModelEvent::Text(text));
            }
            for (place, call) in tool_calls.into_iter().enumerate() {
                let FunctionDelta { name, arguments } = call.function;
                let id = call.id.unwrap_or_default();
                let piece =
                    Piece { index: call.index, id, name: name.unwrap_or_default(), arguments: arguments.0 };
                self.calls.join(place, piece)?;
            }
            if let (Some(reason), None) = (choice.finish_reason, self.reason) {
                self.reason = Some(finish_reason(&reason));
            }
        }
        Ok(())
    }

    /// A whole answer differs from a chunk by the name of one key.
    fn read_whole(&mut self, body: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        self.read(body, events)
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn finish(&mut self, events: &mut VecDeque<ModelEvent>) -> Result<()> {
        let reason = match self.reason {
            Some(reason) => reason,
            None if self.ended => FinishReason::Stop,
            None => return Err(cut_off()),
        };
        let calls = self.calls.finish()?;
        let waits = !calls.is_empty() && reason == FinishReason::Stop;
        let reason = if waits { FinishReason::ToolCalls } else { reason };
        events.extend(calls);
        events.push_back(ModelEvent::Done(Finish::new(reason, self.usage)));
        Ok(())
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::Refused,
        _ => FinishReason::Stop,
    }
}

/// One chunk of a streamed answer, or a whole answer. Unknown keys are passed over.
#[derive(Debug, Deserialize)]
struct Chunk {
    /// Empty in the chunk that tells the usage.
    #[serde(default, deserialize_with = "null_is_default")]
    choices: Vec<Choice>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default, deserialize_with = "null_is_default")]
    index: u64,
    /// In a whole answer it is called `message`.
    #[serde(default, alias = "message", deserialize_with = "null_is_default")]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Text,
    /// What DeepSeek, vLLM and llama.cpp call the model's thoughts.
    #[serde(default)]
    reasoning_content: Text,
    /// What OpenRouter, Groq and Ollama call them. A service that gives both says the same in both.
    #[serde(default)]
    reasoning: Text,
    #[serde(default)]
    refusal: Text,
    #[serde(default, deserialize_with = "null_is_default")]
    tool_calls: Vec<CallDelta>,
}

#[derive(Debug, Deserialize)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    function: FunctionDelta,
}

#[derive(Debug, Default, Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    #[serde(default)]
    arguments: Arguments,
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    #[serde(default, deserialize_with = "null_is_default")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    completion_tokens: u64,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Text on the wire: a string, null, or a list of parts of which some have text.
#[derive(Debug, Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Loose { holds_json: false }).map(Self)
    }
}

/// More of a call's arguments. Some services give the object itself in the place of its text.
#[derive(Debug, Default)]
struct Arguments(String);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Loose { holds_json: true }).map(Self)
    }
}

/// Reads a text from whatever services put in its place.
struct Loose {
    /// Whether what is no text is the meant JSON itself; otherwise its parts hold the text.
    holds_json: bool,
}

impl Loose {
    fn read(&self, value: Value) -> String {
        match value {
            other if self.holds_json => other.to_string(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        }
    }
}

impl<'de> Visitor<'de> for Loose {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(self.read(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(self.read(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(self.read(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(self.read(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<String, A::Error> {
        Ok(self.read(Value::deserialize(SeqAccessDeserializer::new(parts))?))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        Ok(self.read(Value::deserialize(MapAccessDeserializer::new(map))?))
    }
}
