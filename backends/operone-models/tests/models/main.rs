//! The clients against servers that play every turn the protocols are known to take.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod anthropic;
mod captures;
mod connections;
mod embeddings;
mod fake;
#[cfg(feature = "genai")]
mod genai;
mod hostile;
mod openai;

use futures_util::StreamExt;
use operone_core::Error;
use operone_core::model::{
    FinishReason, LanguageModel, ModelEvent, ModelRequest, Reasoning, ToolCall, Usage,
};

/// Every part of an answer, or the error in its place.
async fn parts(model: &dyn LanguageModel, request: ModelRequest) -> Vec<Result<ModelEvent, Error>> {
    match model.stream(request).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    text: String,
    reasoning: Vec<Reasoning>,
    calls: Vec<ToolCall>,
    reason: FinishReason,
    usage: Usage,
}

/// Puts parts together; an error among them is given in place of the answer, and so is a missing end.
fn whole(parts: Vec<Result<ModelEvent, Error>>) -> Result<Answer, Error> {
    let (mut text, mut reasoning, mut calls, mut end) = (String::new(), Vec::new(), Vec::new(), None);
    for part in parts {
        assert!(end.is_none(), "a part after the end");
        match part? {
            ModelEvent::Text(part) => text.push_str(&part),
            ModelEvent::Reasoning(piece) => Reasoning::join(&mut reasoning, piece),
            ModelEvent::Call(call) => calls.push(call),
            ModelEvent::Done(finish) => end = Some(finish),
            other => panic!("unexpected {other:?}"),
        }
    }
    let end = end.ok_or_else(|| Error::internal("the stream ended without an end"))?;
    Ok(Answer { text, reasoning, calls, reason: end.reason, usage: end.usage })
}
