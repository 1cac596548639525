//! The contract of a language model: one streaming call that gives text, tool calls and usage.

mod answer;
mod info;
pub mod layers;
mod message;
mod request;
mod settings;

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

pub use answer::{Finish, FinishReason, ModelEvent, Usage};
pub use info::{ModelInfo, Price};
pub use message::{Message, Reasoning, ToolCall};
pub use request::{ModelOption, ModelRequest, ReasoningEffort, ResponseSchema, ToolChoice};
pub use settings::ModelSettings;

use crate::error::Result;

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
    /// - An option of the request that cannot be honoured is refused before anything is answered: `Invalid` with code
    ///   `unsupported_option` ([`ModelRequest::require`] does it). None is dropped in silence.
    /// - Calling again with the same request asks again; nothing is remembered between calls.
    /// - Dropping the future or the stream ends the call.
    async fn stream(&self, request: ModelRequest) -> Result<ModelStream>;
}

/// The parts of one answer. The lower bound of its size hint is how many are there without waiting, where that is known.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent>> + Send>>;
