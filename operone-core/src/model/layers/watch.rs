//! Watches an answer go by, up to its end or to the moment in which nobody wants it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tracing::Span;

use crate::error::{Error, Result};
use crate::model::{Finish, ModelEvent, ModelStream};

/// What is told of an answer.
pub(super) trait Watch: Send + Unpin + 'static {
    /// The span in which the answer is read.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// A part went by that is not the end.
    fn part(&mut self, _part: &ModelEvent) {}

    /// The answer has ended, and the stream below is dropped already. An error takes the place of the end.
    fn end(self, end: End<'_>) -> Result<()>;
}

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    Done(&'a Finish),
    Failed(&'a Error),
    CutOff,
    /// Its caller dropped it.
    Dropped,
}

/// Watches nothing, and still ends with the answer.
impl Watch for () {
    fn end(self, _: End<'_>) -> Result<()> {
        Ok(())
    }
}

/// An answer of which the first part was read already.
pub(super) fn begun(first: ModelEvent, answer: ModelStream) -> ModelStream {
    Box::pin(Watched { first: Some(first), answer: Some(answer), watch: Some(()) })
}

/// Tells `watch` of the answer that `begun` gives.
pub(super) async fn watched<W: Watch>(
    begun: impl Future<Output = Result<ModelStream>> + Send,
    watch: W,
) -> Result<ModelStream> {
    let mut watched = Watched { first: None, answer: None, watch: Some(watch) };
    match begun.await {
        Ok(answer) => {
            watched.answer = Some(answer);
            Ok(Box::pin(watched))
        }
        Err(error) => {
            watched.end(End::Failed(&error))?;
            Err(error)
        }
    }
}

struct Watched<W: Watch> {
    /// Read already, and not given yet.
    first: Option<ModelEvent>,
    answer: Option<ModelStream>,
    watch: Option<W>,
}

impl<W: Watch> Watched<W> {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ModelEvent>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let _entered = self.watch.as_ref().and_then(Watch::span).map(Span::enter);
        match &mut self.answer {
            Some(answer) => answer.as_mut().poll_next(context),
            None => Poll::Ready(None),
        }
    }

    fn end(&mut self, end: End<'_>) -> Result<()> {
        self.answer = None;
        self.watch.take().map_or(Ok(()), |watch| watch.end(end))
    }
}

impl<W: Watch> Stream for Watched<W> {
    type Item = Result<ModelEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(self.next(context));
        let ended = match &event {
            Some(Ok(ModelEvent::Done(finish))) => self.end(End::Done(finish)),
            Some(Ok(part)) => {
                if let Some(watch) = &mut self.watch {
                    watch.part(part);
                }
                Ok(())
            }
            Some(Err(error)) => self.end(End::Failed(error)),
            None => self.end(End::CutOff),
        };
        Poll::Ready(match ended {
            Ok(()) => event,
            Err(error) => Some(Err(error)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.answer.as_ref().map_or(0, |answer| answer.size_hint().0);
        (usize::from(self.first.is_some()).saturating_add(rest), None)
    }
}

impl<W: Watch> Drop for Watched<W> {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.end(End::Dropped);
    }
}
