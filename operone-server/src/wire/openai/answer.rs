//! An answer that is given whole, and what it has in common with one in parts.

use operone_core::model::{Finish, FinishReason, ToolCall, Usage};
use serde::Serialize;
use serde_json::{Value, json};

/// What all parts of one answer have in common.
#[derive(Clone, Debug)]
pub(crate) struct AnswerHead {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) model: String,
    /// What was looked up, by capability.
    pub(crate) found: Option<Value>,
}

impl AnswerHead {
    /// A whole answer.
    pub(crate) fn completion(
        &self,
        text: String,
        thoughts: &str,
        calls: &[ToolCall],
        finish: &Finish,
    ) -> Value {
        let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { Value::String(text) };
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !thoughts.is_empty() {
            message["reasoning_content"] = thoughts.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.iter().map(call_body).collect();
        }
        let choice = json!({
            "index": 0, "message": message, "logprobs": null, "finish_reason": reason(finish.reason)
        });
        let mut body = self.body("chat.completion", vec![choice]);
        body["usage"] = json!(UsageBody::new(&finish.usage));
        if let Some(found) = &self.found {
            body["operone"] = found.clone();
        }
        body
    }

    fn body(&self, object: &str, choices: Vec<Value>) -> Value {
        let Self { id, created, model, .. } = self;
        json!({"id": id, "object": object, "created": created, "model": model, "choices": choices})
    }
}

fn call_body(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

/// What an answer cost.
#[derive(Debug, Serialize)]
pub(super) struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl UsageBody {
    pub(super) fn new(usage: &Usage) -> Self {
        let (prompt_tokens, completion_tokens) = (usage.input_tokens, usage.output_tokens);
        Self { prompt_tokens, completion_tokens, total_tokens: usage.total() }
    }
}

pub(super) fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
        FinishReason::Refused => "content_filter",
        _ => "stop",
    }
}
