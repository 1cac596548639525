//! The bodies of `/v1`: what OpenAI's own clients send and read.

mod answer;
mod chat;
mod chunks;
mod embeddings;
mod message;

use operone_core::model::ModelInfo;
use serde_json::{Value, json};

use crate::error::{ApiError, FieldError};

pub(crate) use answer::AnswerHead;
pub(crate) use chat::ChatRequest;
pub(crate) use chunks::ChunkWriter;
pub(crate) use embeddings::{EmbeddingRequest, embeddings_body};

/// A model as `/v1/models` lists it.
pub(crate) fn model_body(id: &str, owner: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": owner})
}

/// The owner of a language model, as `/v1/models` lists it.
pub(crate) fn language_model_body(info: &ModelInfo) -> Value {
    model_body(&info.name, &info.provider)
}

/// Whether an option is at its default, or a note of the client that no model is told.
fn changes_nothing(name: &str, value: &Value) -> bool {
    match name {
        _ if value.is_null() => true,
        "n" => value.as_f64() == Some(1.0),
        "frequency_penalty" | "presence_penalty" => value.as_f64() == Some(0.0),
        "logprobs" | "store" => value.as_bool() == Some(false),
        "parallel_tool_calls" => value.as_bool() == Some(true),
        "service_tier" => value.as_str() == Some("auto"),
        "user" | "metadata" | "safety_identifier" | "prompt_cache_key" => true,
        _ => false,
    }
}

fn unsupported(pointer: String, detail: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new(pointer, detail)]).with_code("unsupported_parameter")
}
