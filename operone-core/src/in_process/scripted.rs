//! A language model that answers as a test tells it to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use crate::error::{Error, ErrorReport, Result};
use crate::model::{
    Finish, FinishReason, LanguageModel, Message, ModelEvent, ModelInfo, ModelOption, ModelRequest,
    ModelStream, Reasoning, ToolCall, Usage,
};

/// Answers turn after turn from a script and keeps every request, for the tests of hosts.
///
/// Concurrent calls take turns in the order in which they are made. A call after the last turn is `Internal` with
/// code `script_used_up`.
#[derive(Debug)]
pub struct ScriptedModel {
    script: Mutex<VecDeque<ScriptedTurn>>,
    requests: Mutex<Vec<ModelRequest>>,
    honoured: Vec<ModelOption>,
    by_conversation: bool,
}

impl ScriptedModel {
    /// A model that gives these answers, each once.
    pub fn new(turns: Vec<ScriptedTurn>) -> Self {
        let honoured = ModelOption::ALL.to_vec();
        Self {
            script: Mutex::new(turns.into()),
            requests: Mutex::default(),
            honoured,
            by_conversation: false,
        }
    }

    /// Gives to each conversation the turn that comes next in it, however often it is asked: the first to one without
    /// an answer, the second to one with one answer. A run that is resumed in another life then goes on in the script.
    #[must_use]
    pub fn by_conversation(mut self) -> Self {
        self.by_conversation = true;
        self
    }

    /// Sets the options that it takes; the script says what becomes of them. All of them by default: any other is
    /// refused as a model refuses it, and uses up no turn.
    #[must_use]
    pub fn with_options(mut self, honoured: impl IntoIterator<Item = ModelOption>) -> Self {
        self.honoured = honoured.into_iter().collect();
        self
    }

    /// Every request so far, also those that found no turn.
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many turns are left.
    pub fn turns_left(&self) -> usize {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[async_trait]
impl LanguageModel for ScriptedModel {
    fn info(&self) -> ModelInfo {
        ModelInfo::rules("operone", "scripted")
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let usable = request.require(&self.info().name, &self.honoured);
        let answers =
            request.messages.iter().filter(|message| matches!(message, Message::Assistant { .. })).count();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        usable?;
        let turn = {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            if self.by_conversation { script.get(answers).cloned() } else { script.pop_front() }
        };
        let turn = turn.ok_or_else(|| {
            Error::internal("the script has no turn left for this request").with_code("script_used_up")
        })?;
        let ScriptedTurn { parts, end, pause } = turn;
        let mut items: Vec<Result<ModelEvent>> = parts.into_iter().map(Ok).collect();
        match end {
            End::Done(finish) => items.push(Ok(ModelEvent::Done(finish))),
            End::Fails(error) if items.is_empty() => return Err(error.into()),
            End::Fails(error) => items.push(Err(error.into())),
            End::CutOff => {}
        }
        Ok(stream::iter(items)
            .then(move |item| async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                item
            })
            .boxed())
    }
}

/// One answer of a [`ScriptedModel`].
#[derive(Clone, Debug)]
pub struct ScriptedTurn {
    parts: Vec<ModelEvent>,
    end: End,
    pause: Duration,
}

#[derive(Clone, Debug)]
enum End {
    Done(Finish),
    Fails(ErrorReport),
    CutOff,
}

impl ScriptedTurn {
    /// A complete answer: each item is one part of the text.
    pub fn text<T: Into<String>>(parts: impl IntoIterator<Item = T>) -> Self {
        let parts = parts.into_iter().map(|part| ModelEvent::Text(part.into())).collect();
        Self { parts, end: done(FinishReason::Stop), pause: Duration::ZERO }
    }

    /// An answer that calls tools.
    pub fn calls(calls: Vec<ToolCall>) -> Self {
        let parts = calls.into_iter().map(ModelEvent::Call).collect();
        Self { parts, end: done(FinishReason::ToolCalls), pause: Duration::ZERO }
    }

    /// No answer but an error: of the call itself, or of the stream if parts are added with
    /// [`ScriptedTurn::after_text`].
    pub fn error(error: impl Into<ErrorReport>) -> Self {
        Self { parts: Vec::new(), end: End::Fails(error.into()), pause: Duration::ZERO }
    }

    /// Puts a text part before all other parts.
    #[must_use]
    pub fn after_text(mut self, text: impl Into<String>) -> Self {
        self.parts.insert(0, ModelEvent::Text(text.into()));
        self
    }

    /// Puts a piece of thought before all other parts.
    #[must_use]
    pub fn after_reasoning(mut self, piece: Reasoning) -> Self {
        self.parts.insert(0, ModelEvent::Reasoning(piece));
        self
    }

    /// Sets how the answer ends and what it costs.
    #[must_use]
    pub fn with_finish(mut self, finish: Finish) -> Self {
        self.end = End::Done(finish);
        self
    }

    /// Lets the stream end without [`ModelEvent::Done`], as when a connection breaks.
    #[must_use]
    pub fn cut_off(mut self) -> Self {
        self.end = End::CutOff;
        self
    }

    /// Waits before each part, by tokio's clock.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

fn done(reason: FinishReason) -> End {
    End::Done(Finish::new(reason, Usage::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;

    async fn parts(model: &ScriptedModel) -> Vec<Result<ModelEvent>> {
        let request = ModelRequest::new(vec![Message::User { content: "hello".into() }]);
        match model.stream(request).await {
            Ok(stream) => stream.collect().await,
            Err(error) => vec![Err(error)],
        }
    }

    #[tokio::test]
    async fn the_script_is_followed_and_requests_are_kept() {
        let model = ScriptedModel::new(vec![
            ScriptedTurn::calls(vec![ToolCall::new("c1", "add", "{}")]).after_text("let me add"),
            ScriptedTurn::text(["O", "k"]).cut_off(),
        ]);
        let first: Vec<_> = parts(&model).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(first[0], ModelEvent::Text("let me add".into()));
        assert_eq!(first[1], ModelEvent::Call(ToolCall::new("c1", "add", "{}")));
        assert!(matches!(&first[2], ModelEvent::Done(finish) if finish.reason == FinishReason::ToolCalls));
        assert_eq!(parts(&model).await.len(), 2, "a cut off answer has no Done");
        assert_eq!(model.turns_left(), 0);
        assert_eq!(parts(&model).await[0].as_ref().unwrap_err().code(), "script_used_up");
        assert_eq!(model.requests().len(), 3);
    }

    #[tokio::test]
    async fn an_error_comes_where_the_script_says() {
        let refused = Error::invalid("no").with_code("model_request_refused");
        let model = ScriptedModel::new(vec![
            ScriptedTurn::error(&refused),
            ScriptedTurn::error(&refused).after_text("so far"),
        ]);
        assert_eq!(parts(&model).await[0].as_ref().unwrap_err().code(), "model_request_refused");
        let late = parts(&model).await;
        assert!(late[0].is_ok());
        assert_eq!(late[1].as_ref().unwrap_err().code(), "model_request_refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_lies_before_each_part() {
        let begun = tokio::time::Instant::now();
        let model =
            ScriptedModel::new(vec![ScriptedTurn::text(["a", "b"]).with_pause(Duration::from_secs(5))]);
        assert_eq!(parts(&model).await.len(), 3);
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
    }
}
