//! The relay of a model's answer: parts in, frames of OpenAI's chunks out.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures_core::Stream;
use operone_core::error::{Error, ErrorKind, Result};
use operone_core::model::{ModelEvent, ModelStream};

use crate::error::{ApiError, openai_error};
use crate::wire::openai::{AnswerHead, ChunkWriter};

/// How much of an answer is put together before it leaves, in bytes.
const FRAME: usize = 8 * 1024;

/// An answer in parts, as server-sent events. Those that are there at the same time leave together, but for the first,
/// which waits for none; what goes wrong on the way is told as the last one.
pub(super) struct Relay {
    /// None after the end.
    events: Option<ModelStream>,
    writer: ChunkWriter,
    includes_usage: bool,
    has_begun: bool,
    /// Whether what was given last is to leave before there is more, and others are to have their turn.
    rests: bool,
}

impl Relay {
    pub(super) fn new(head: &AnswerHead, events: ModelStream, includes_usage: bool) -> Self {
        let writer = ChunkWriter::new(head);
        Self { events: Some(events), writer, includes_usage, has_begun: false, rests: false }
    }

    /// Writes a part; the end is the last one.
    fn write(&mut self, event: Result<ModelEvent>) {
        match event {
            Ok(ModelEvent::Text(text)) => self.writer.text(&text),
            Ok(ModelEvent::Reasoning(more)) if more.text.is_empty() => {}
            Ok(ModelEvent::Reasoning(more)) => self.writer.thought(&more.text),
            Ok(ModelEvent::Call(call)) => self.writer.call(&call),
            Ok(ModelEvent::Done(finish)) => {
                self.events = None;
                self.writer.finish(&finish, self.includes_usage);
            }
            Ok(_) => {}
            Err(error) => {
                self.events = None;
                self.writer.fail(&openai_error(&ApiError::from(error)));
            }
        }
    }
}

impl Stream for Relay {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while let Some(events) = &mut self.events {
            match events.as_mut().poll_next(context) {
                Poll::Ready(event) => self.write(event.unwrap_or_else(|| Err(cut_off()))),
                Poll::Pending => {
                    self.rests = false;
                    if self.writer.len() == 0 {
                        return Poll::Pending;
                    }
                    break;
                }
            }
            if std::mem::take(&mut self.rests) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.writer.len() >= FRAME || (!self.has_begun && self.writer.len() > 0) {
                self.rests = true;
                break;
            }
        }
        self.has_begun = true;
        let frame = self.writer.take();
        Poll::Ready(Some(frame).filter(|frame| !frame.is_empty()))
    }
}

pub(super) fn cut_off() -> Error {
    Error::new(ErrorKind::Unavailable, "the model's answer broke off")
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::stream::{self, StreamExt};
    use operone_core::model::{Finish, FinishReason, Usage};

    use super::*;

    fn relay(events: impl Stream<Item = Result<ModelEvent>> + Send + 'static) -> Relay {
        let head = AnswerHead { id: "chatcmpl-1".into(), created: 7, model: "m".into(), found: None };
        Relay::new(&head, events.boxed(), false)
    }

    fn text(text: &str) -> Result<ModelEvent> {
        Ok(ModelEvent::Text(text.to_owned()))
    }

    fn done() -> Result<ModelEvent> {
        Ok(ModelEvent::Done(Finish::new(FinishReason::Stop, Usage::default())))
    }

    /// How many events each frame has; none where there was no frame.
    fn polled(relay: &mut Relay) -> Vec<Option<usize>> {
        let mut frames = Vec::new();
        loop {
            match relay.poll_next_unpin(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(frame)) => {
                    frames.push(Some(std::str::from_utf8(&frame).unwrap().matches("data: ").count()));
                }
                Poll::Ready(None) => return frames,
                Poll::Pending => {
                    frames.push(None);
                    if frames.ends_with(&[None, None]) {
                        return frames;
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_part_leaves_alone_and_the_rest_together() {
        let parts = ["a", "b", "c"].map(text).into_iter().chain([done()]);
        // Who speaks and the first part; a rest; two parts, the reason of the end and its mark.
        assert_eq!(polled(&mut relay(stream::iter(parts))), [Some(2), None, Some(4)]);
    }

    #[test]
    fn many_parts_leave_in_frames_and_others_have_their_turn() {
        let parts = (0..200).map(|_| text("word")).chain([done()]);
        let frames = polled(&mut relay(stream::iter(parts)));
        assert_eq!(frames.iter().flatten().sum::<usize>(), 203);
        assert!(frames.len() > 6, "{frames:?}");
        for pair in frames.windows(2) {
            assert!(pair[0].is_none() != pair[1].is_none(), "after each frame comes a rest: {frames:?}");
        }
    }

    #[test]
    fn a_part_that_comes_by_itself_leaves_at_once() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut relay = relay(stream::poll_fn(move |context| receiver.poll_recv(context)));
        assert_eq!(polled(&mut relay), [Some(1), None, None], "who speaks");
        for _ in 0..3 {
            sender.send(text("word")).unwrap();
            assert_eq!(polled(&mut relay), [Some(1), None, None]);
        }
    }

    #[test]
    fn an_answer_that_breaks_off_says_so() {
        assert_eq!(polled(&mut relay(stream::iter([text("a")]))), [Some(2), None, Some(2)]);
    }
}
