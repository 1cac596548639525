//! A stream of a run is a cursor over its journal: replay, then live, without a gap and without a double.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;

use super::event::{Cursor, RunEvent};
use super::live::{Follower, Live, Text};
use crate::error::Result;
use crate::id::WorkId;
use crate::journal::{Journal, Page};

/// How many events, and bytes of them, are read from the journal at once: all that a slow reader keeps in memory.
const PAGE: (usize, usize) = (256, 256 * 1024);
/// How long news may go unheard where another process writes the journal.
const POLL: Duration = Duration::from_secs(1);

/// The events of `run` behind `cursor`: first what the journal has, then what comes, up to the event `end`, which
/// is always the last. A text that is being written comes piece by piece.
///
/// - Readers of one run see the same durable events in the same order, from wherever they begin.
/// - A slow reader slows nobody: it is a cursor, and reads what it missed from the journal.
/// - An error ends the stream; reading again behind the last event seen goes on without a gap.
pub fn run_events(
    journal: Arc<dyn Journal>,
    live: &Live,
    run: WorkId,
    cursor: Cursor,
) -> impl Stream<Item = Result<RunEvent>> + Send + use<> {
    let follower = live.follow(&run);
    let reader = Reader { journal, follower, run, cursor, ready: VecDeque::new(), ended: false };
    stream::try_unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Ok(next.map(|event| (event, reader)))
    })
}

struct Reader {
    journal: Arc<dyn Journal>,
    follower: Follower,
    run: WorkId,
    cursor: Cursor,
    ready: VecDeque<RunEvent>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RunEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            // What arrives from here on rings again, so nothing is missed between reading and waiting.
            self.follower.mark_seen();
            self.read_journal().await?;
            if self.ready.is_empty() {
                self.read_text();
            }
            if self.ready.is_empty() && !self.ended {
                let _ = tokio::time::timeout(POLL, self.follower.wait()).await;
            }
        }
    }

    async fn read_journal(&mut self) -> Result<()> {
        let page = Page::of(PAGE.0).with_bytes(PAGE.1);
        for event in self.journal.events(&self.run, self.cursor.seq, page).await? {
            // Once the next event is in the journal the step before it has all its text.
            self.read_text();
            self.cursor = Cursor::after(event.seq);
            self.ended = event.event.kind == "end";
            self.ready.push_back(RunEvent::Durable(event));
        }
        Ok(())
    }

    fn read_text(&mut self) {
        match self.follower.text(self.cursor) {
            Text::None => {}
            Text::Pieces { first, pieces } => {
                let cursors = (first.token..).map(|token| Cursor { token, ..first });
                for (cursor, (step, content)) in cursors.zip(pieces) {
                    self.cursor = cursor;
                    self.ready.push_back(RunEvent::Token { cursor, step, content });
                }
            }
            Text::Whole { upto, texts } => {
                self.cursor = upto;
                let snapshot = |(step, text)| RunEvent::Snapshot { cursor: upto, step, text };
                self.ready.extend(texts.into_iter().map(snapshot));
            }
        }
    }
}
