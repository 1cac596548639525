//! Conversations in the form of OpenTelemetry's conventions: messages of parts.

use serde_json::{Value, json};

use crate::model::{FinishReason, Message, ModelEvent, ModelRequest, Reasoning, ToolCall};

/// What a model has said so far.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    text: String,
    reasoning: Vec<Reasoning>,
    calls: Vec<ToolCall>,
}

impl Spoken {
    pub(super) fn push(&mut self, part: &ModelEvent) {
        match part {
            ModelEvent::Text(text) => self.text.push_str(text),
            ModelEvent::Reasoning(piece) => Reasoning::join(&mut self.reasoning, piece.clone()),
            ModelEvent::Call(call) => self.calls.push(call.clone()),
            ModelEvent::Done(_) => {}
        }
    }

    /// Logs it where the caller stands.
    pub(super) fn tell(&self, reason: FinishReason) {
        let parts = said(&self.text, &self.reasoning, &self.calls);
        let reason = match reason {
            FinishReason::Stop => "stop",
            FinishReason::ToolCalls => "tool_call",
            FinishReason::Length => "length",
            FinishReason::Refused => "content_filter",
        };
        let messages = json!([{"role": "assistant", "parts": parts, "finish_reason": reason}]).to_string();
        tracing::event!(
            name: "gen_ai.client.inference.operation.details",
            tracing::Level::INFO,
            gen_ai.output.messages = messages
        );
    }
}

/// Logs what a model is asked where the caller stands.
pub(super) fn tell_input(request: &ModelRequest) {
    let messages = request.messages.iter().map(message).collect::<Value>().to_string();
    tracing::event!(
        name: "gen_ai.client.inference.operation.details",
        tracing::Level::INFO,
        gen_ai.input.messages = messages
    );
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { content } => json!({"role": "system", "parts": [text(content)]}),
        Message::User { content } => json!({"role": "user", "parts": [text(content)]}),
        Message::Assistant { content, reasoning, calls } => {
            json!({"role": "assistant", "parts": said(content, reasoning, calls)})
        }
        Message::Tool { call_id, content, .. } => {
            let part = json!({"type": "tool_call_response", "id": call_id, "response": content});
            json!({"role": "tool", "parts": [part]})
        }
    }
}

fn said(content: &str, reasoning: &[Reasoning], calls: &[ToolCall]) -> Vec<Value> {
    let thoughts = reasoning.iter().filter(|thought| !thought.text.is_empty());
    let thoughts = thoughts.map(|thought| json!({"type": "reasoning", "content": thought.text}));
    let said = Some(content).filter(|content| !content.is_empty()).map(text);
    let calls = calls.iter().map(|call| {
        let arguments = call.parsed_arguments().unwrap_or_else(|_| call.arguments.as_str().into());
        json!({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    });
    thoughts.chain(said).chain(calls).collect()
}

fn text(content: impl AsRef<str>) -> Value {
    json!({"type": "text", "content": content.as_ref()})
}
