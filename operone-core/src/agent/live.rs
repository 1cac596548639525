//! The text of open steps, kept for readers while it is written, and the bell that tells them of news.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::event::Cursor;
use crate::id::WorkId;
use crate::journal::Seq;

/// The most bytes of text kept piece by piece for one step; older pieces are only kept joined.
const MAX_PIECES: usize = 256 * 1024;

/// What readers of running work share with those who run it, within one process. Clones share everything.
///
/// Nothing here is needed for correctness: the journal holds what has happened. A run never waits for a reader.
#[derive(Clone, Default)]
pub struct Live {
    // Never held across an await, and only for a few instructions.
    runs: Arc<Mutex<HashMap<WorkId, Arc<LiveRun>>>>,
}

#[derive(Debug)]
struct LiveRun {
    open: Mutex<OpenStep>,
    news: watch::Sender<()>,
}

/// The text of the step that began with event `seq`.
#[derive(Debug, Default)]
struct OpenStep {
    seq: Seq,
    step: u64,
    /// What the pieces that are gone said.
    dropped_text: String,
    dropped: u64,
    pieces: Vec<String>,
    bytes: usize,
}

impl Live {
    /// Adds a piece of text to the step that began with event `seq`.
    pub fn token(&self, run: &WorkId, seq: Seq, step: u64, content: &str) {
        let run = self.get(run);
        {
            let mut open = lock(&run.open);
            if (open.seq, open.step) != (seq, step) {
                *open = OpenStep { seq, step, ..OpenStep::default() };
            }
            open.bytes += content.len();
            open.pieces.push(content.to_owned());
            open.drop_old_pieces();
        }
        run.news.send_replace(());
    }

    /// Tells readers that the journal has news of this work.
    pub fn ring(&self, run: &WorkId) {
        self.get(run).news.send_replace(());
        self.forget_unread(run);
    }

    /// Follows a run.
    pub(super) fn follow(&self, run: &WorkId) -> Follower {
        let followed = self.get(run);
        Follower { live: self.clone(), id: run.clone(), news: followed.news.subscribe(), run: Some(followed) }
    }

    fn get(&self, run: &WorkId) -> Arc<LiveRun> {
        match lock(&self.runs).entry(run.clone()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => Arc::clone(
                entry.insert(Arc::new(LiveRun { open: Mutex::default(), news: watch::Sender::new(()) })),
            ),
        }
    }

    /// Text between steps is in the journal: what nobody follows need not be kept.
    fn forget_unread(&self, run: &WorkId) {
        let mut runs = lock(&self.runs);
        if runs.get(run).is_some_and(|run| Arc::strong_count(run) == 1) {
            runs.remove(run);
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("runs", &lock(&self.runs).len()).finish()
    }
}

impl OpenStep {
    fn drop_old_pieces(&mut self) {
        if self.bytes <= MAX_PIECES {
            return;
        }
        let keep_from = self.pieces.len() / 2;
        for piece in self.pieces.drain(..keep_from) {
            self.bytes -= piece.len();
            self.dropped += 1;
            self.dropped_text.push_str(&piece);
        }
    }

    fn written(&self) -> u64 {
        self.dropped + self.pieces.len() as u64
    }
}

/// One reader of a run.
#[derive(Debug)]
pub(super) struct Follower {
    live: Live,
    id: WorkId,
    run: Option<Arc<LiveRun>>,
    news: watch::Receiver<()>,
}

/// The text behind a cursor.
#[derive(Debug, PartialEq)]
pub(super) enum Text {
    /// Nothing new.
    None,
    /// The next pieces, with the cursor behind the first of them.
    Pieces { first: Cursor, step: u64, pieces: Vec<String> },
    /// The whole text so far, since the pieces behind the cursor are gone.
    Whole { upto: Cursor, step: u64, text: String },
}

impl Follower {
    /// Waits for news since the last call.
    pub(super) async fn wait(&mut self) {
        // The sender lives as long as this follower holds the run.
        let _ = self.news.changed().await;
    }

    /// Takes what was written so far as seen.
    pub(super) fn mark_seen(&mut self) {
        self.news.mark_unchanged();
    }

    /// The text behind `cursor`, if the open step is the one that the cursor stands in.
    pub(super) fn text(&self, cursor: Cursor) -> Text {
        let Some(run) = &self.run else { return Text::None };
        let open = lock(&run.open);
        if open.seq != cursor.seq || open.written() == cursor.token {
            return Text::None;
        }
        match cursor
            .token
            .checked_sub(open.dropped)
            .and_then(|from| open.pieces.get(usize::try_from(from).ok()?..))
        {
            Some(pieces) => Text::Pieces {
                first: Cursor { token: cursor.token + 1, ..cursor },
                step: open.step,
                pieces: pieces.to_vec(),
            },
            // Also where the cursor is ahead: the step was begun anew by another process since.
            None => Text::Whole {
                upto: Cursor { token: open.written(), ..cursor },
                step: open.step,
                text: format!("{}{}", open.dropped_text, open.pieces.concat()),
            },
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.run = None;
        self.live.forget_unread(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(follower: &Follower, token: u64) -> Text {
        follower.text(Cursor { seq: 1, token })
    }

    #[test]
    fn pieces_come_once_and_in_order() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let follower = live.follow(&run);
        for content in ["I", " need"] {
            live.token(&run, 1, 1, content);
        }
        let all = Text::Pieces {
            first: Cursor { seq: 1, token: 1 },
            step: 1,
            pieces: vec!["I".into(), " need".into()],
        };
        assert_eq!(pieces(&follower, 0), all);
        assert_eq!(pieces(&follower, 2), Text::None);
        assert_eq!(follower.text(Cursor::after(2)), Text::None);
    }

    #[test]
    fn a_reader_that_was_outrun_gets_the_whole_text() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let follower = live.follow(&run);
        let piece = "x".repeat(1000);
        for _ in 0..1000 {
            live.token(&run, 1, 1, &piece);
        }
        let Text::Whole { upto, text, .. } = pieces(&follower, 3) else { panic!("pieces are still there") };
        assert_eq!((upto.token, text.len()), (1000, 1_000_000));
        assert!(lock(&follower.run.as_ref().unwrap().open).bytes <= MAX_PIECES);
    }

    #[test]
    fn a_reader_ahead_of_a_step_begun_anew_gets_the_whole_text() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let follower = live.follow(&run);
        live.token(&run, 1, 1, "anew");
        assert!(matches!(pieces(&follower, 9), Text::Whole { text, .. } if text == "anew"));
    }

    #[test]
    fn what_nobody_follows_is_forgotten() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        live.token(&run, 1, 1, "text");
        live.ring(&run);
        assert!(lock(&live.runs).is_empty());
        drop(live.follow(&run));
        assert!(lock(&live.runs).is_empty());
    }
}
