//! The chunks of the chat completions protocol as services send them.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One chunk of a streamed answer, or a whole answer. Unknown keys are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    /// Empty in the chunk that tells the usage.
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) choices: Vec<Choice<'a>>,
    pub(super) usage: Option<WireUsage>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) index: u64,
    /// In a whole answer it is called `message`.
    #[serde(borrow, default, alias = "message", deserialize_with = "null_is_default")]
    pub(super) delta: Delta<'a>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) content: Text<'a>,
    /// What DeepSeek, vLLM and llama.cpp call the model's thoughts.
    #[serde(borrow, default)]
    pub(super) reasoning_content: Text<'a>,
    /// What OpenRouter, Groq and Ollama call them. A service that gives both says the same in both.
    #[serde(borrow, default)]
    pub(super) reasoning: Text<'a>,
    #[serde(borrow, default)]
    pub(super) refusal: Text<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tool_calls: Vec<CallDelta<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallDelta<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) function: FunctionDelta<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionDelta<'a> {
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) arguments: Arguments<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) prompt_tokens: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) completion_tokens: u64,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Text on the wire: a string, null, or a list of parts of which some have text.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Loose { holds_json: false }).map(Self)
    }
}

/// More of a call's arguments. Some services give the object itself in the place of its text.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Arguments<'a> {
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
    fn read<'a>(&self, value: Value) -> Cow<'a, str> {
        Cow::Owned(self.text(value))
    }

    fn text(&self, value: Value) -> String {
        match value {
            other if self.holds_json => other.to_string(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        }
    }
}

impl<'de> Visitor<'de> for Loose {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.read(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.read(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.read(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.read(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Self::Value, A::Error> {
        Ok(self.read(Value::deserialize(SeqAccessDeserializer::new(parts))?))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(self.read(Value::deserialize(MapAccessDeserializer::new(map))?))
    }
}
