//! The text of steps, kept for readers while they follow, and the bell that tells them of news.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::event::Cursor;
use crate::id::WorkId;
use crate::journal::Seq;

/// The most bytes of text kept piece by piece for one run. Steps that have ended are given up first, then the older
/// pieces of the open step are only kept joined.
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
    text: Mutex<RunText>,
    news: watch::Sender<()>,
}

/// The text of the latest steps, the open one last.
#[derive(Debug, Default)]
struct RunText {
    steps: VecDeque<StepText>,
    /// How often an open step was begun anew.
    restarts: u64,
}

/// The text of the step that began with event `seq`.
#[derive(Debug, Default)]
struct StepText {
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
        lock(&run.text).push(seq, step, content);
        run.news.send_replace(());
    }

    /// The step that began with event `seq` begins anew, if it is open: what was written of it does not hold.
    pub(super) fn restart(&self, run: &WorkId, seq: Seq) {
        {
            let run = self.get(run);
            let mut text = lock(&run.text);
            text.steps.retain(|step| step.seq < seq);
            text.restarts += 1;
        }
        self.forget_unread(run);
    }

    /// Tells readers that the journal has news of this work.
    pub fn ring(&self, run: &WorkId) {
        self.get(run).news.send_replace(());
        self.forget_unread(run);
    }

    /// Follows a run.
    pub(super) fn follow(&self, run: &WorkId) -> Follower {
        let followed = self.get(run);
        let restarts = lock(&followed.text).restarts;
        Follower {
            live: self.clone(),
            id: run.clone(),
            news: followed.news.subscribe(),
            run: Some(followed),
            restarts,
        }
    }

    fn get(&self, run: &WorkId) -> Arc<LiveRun> {
        match lock(&self.runs).entry(run.clone()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => Arc::clone(
                entry.insert(Arc::new(LiveRun { text: Mutex::default(), news: watch::Sender::new(()) })),
            ),
        }
    }

    /// The text of ended steps is in the journal: what nobody follows need not be kept.
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

impl RunText {
    fn push(&mut self, seq: Seq, step: u64, content: &str) {
        if self.steps.back().is_none_or(|last| (last.seq, last.step) != (seq, step)) {
            self.steps.push_back(StepText { seq, step, ..StepText::default() });
        }
        if let Some(open) = self.steps.back_mut() {
            open.bytes += content.len();
            open.pieces.push(content.to_owned());
            open.drop_old_pieces();
        }
        while self.steps.len() > 1 && self.steps.iter().map(|step| step.bytes).sum::<usize>() > MAX_PIECES {
            self.steps.pop_front();
        }
    }
}

impl StepText {
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
    /// The restarts that this reader knows of.
    restarts: u64,
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

    /// The text behind `cursor` of the step that the cursor stands in, if it is still kept.
    pub(super) fn text(&mut self, cursor: Cursor) -> Text {
        let Some(run) = &self.run else { return Text::None };
        let kept = lock(&run.text);
        let restarted = std::mem::replace(&mut self.restarts, kept.restarts) != kept.restarts;
        let Some(step) = kept.steps.iter().find(|step| step.seq == cursor.seq) else { return Text::None };
        let next = cursor
            .token
            .checked_sub(step.dropped)
            .and_then(|from| step.pieces.get(usize::try_from(from).ok()?..));
        match next {
            Some([]) if !restarted => Text::None,
            Some(pieces) if !restarted || cursor.token == 0 => Text::Pieces {
                first: Cursor { token: cursor.token + 1, ..cursor },
                step: step.step,
                pieces: pieces.to_vec(),
            },
            // Pieces are gone, or those that were seen do not hold any more.
            _ => Text::Whole {
                upto: Cursor { token: step.written(), ..cursor },
                step: step.step,
                text: format!("{}{}", step.dropped_text, step.pieces.concat()),
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

    fn pieces(follower: &mut Follower, token: u64) -> Text {
        follower.text(Cursor { seq: 1, token })
    }

    #[test]
    fn pieces_come_once_and_in_order() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let mut follower = live.follow(&run);
        for content in ["I", " need"] {
            live.token(&run, 1, 1, content);
        }
        let all = Text::Pieces {
            first: Cursor { seq: 1, token: 1 },
            step: 1,
            pieces: vec!["I".into(), " need".into()],
        };
        assert_eq!(pieces(&mut follower, 0), all);
        assert_eq!(pieces(&mut follower, 2), Text::None);
        assert_eq!(follower.text(Cursor::after(2)), Text::None);
    }

    #[test]
    fn a_reader_that_was_outrun_gets_the_whole_text() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let mut follower = live.follow(&run);
        let piece = "x".repeat(1000);
        for _ in 0..1000 {
            live.token(&run, 1, 1, &piece);
        }
        let Text::Whole { upto, text, .. } = pieces(&mut follower, 3) else {
            panic!("pieces are still there")
        };
        assert_eq!((upto.token, text.len()), (1000, 1_000_000));
        assert!(lock(&follower.run.as_ref().unwrap().text).steps[0].bytes <= MAX_PIECES);
    }

    #[test]
    fn a_reader_of_a_step_begun_anew_gets_the_whole_text() {
        for seen in [1, 2, 9] {
            let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
            let mut follower = live.follow(&run);
            live.token(&run, 1, 1, "first");
            live.token(&run, 1, 1, " try");
            live.restart(&run, 1);
            live.token(&run, 1, 1, "anew");
            assert!(
                matches!(pieces(&mut follower, seen), Text::Whole { text, .. } if text == "anew"),
                "{seen}"
            );
        }
    }

    #[test]
    fn the_text_of_an_ended_step_is_kept_for_those_who_follow() {
        let (live, run) = (Live::default(), WorkId::new("run-1").unwrap());
        let mut follower = live.follow(&run);
        live.token(&run, 1, 1, "one");
        live.ring(&run);
        live.token(&run, 3, 2, "two");
        assert!(matches!(pieces(&mut follower, 0), Text::Pieces { pieces, .. } if pieces == ["one"]));
        assert!(matches!(follower.text(Cursor::after(3)), Text::Pieces { step: 2, .. }));
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
