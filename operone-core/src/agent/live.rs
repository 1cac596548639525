//! The text of steps, kept for readers while they follow, and the bell that tells them of news.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::event::Cursor;
use crate::id::WorkId;
use crate::journal::{NewEvent, Seq};

/// The most bytes of text kept piece by piece for one run; older pieces are only kept joined, while their step goes on.
const MAX_PIECES: usize = 256 * 1024;
/// The most events of one run behind which text is kept.
const MAX_SEGMENTS: usize = 4096;

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

/// The text of a run that readers may still need.
#[derive(Debug, Default)]
struct RunText {
    segments: VecDeque<Segment>,
    /// Bytes of all pieces.
    bytes: usize,
    /// The whole text of each step that goes on.
    open: BTreeMap<u64, String>,
    /// How often open steps were begun anew.
    restarts: u64,
}

/// The pieces of text that came behind event `seq` and before the next one, each with its step.
#[derive(Debug, Default)]
struct Segment {
    seq: Seq,
    dropped: u64,
    pieces: VecDeque<(u64, String)>,
}

impl Live {
    /// Adds a piece of text to a step. `seq` is the last event of the run.
    pub fn token(&self, run: &WorkId, seq: Seq, step: u64, content: &str) {
        let run = self.get(run);
        lock(&run.text).push(seq, step, content);
        run.news.send_replace(());
    }

    /// The steps behind event `seq` begin anew: what was written of them does not hold.
    pub(super) fn restart(&self, run: &WorkId, seq: Seq) {
        {
            let run = self.get(run);
            let mut text = lock(&run.text);
            text.segments.retain(|segment| segment.seq < seq);
            text.bytes = text.segments.iter().map(Segment::bytes).sum();
            text.open.clear();
            text.restarts += 1;
        }
        self.forget_unread(run);
    }

    /// Tells readers that these events are in the journal.
    pub(super) fn written(&self, run: &WorkId, events: &[NewEvent]) {
        {
            let run = self.get(run);
            let mut text = lock(&run.text);
            for event in events.iter().filter(|event| event.kind == "step_end") {
                if let Some(step) = event.payload.get("step_id").and_then(Value::as_u64) {
                    text.open.remove(&step);
                }
            }
        }
        self.ring(run);
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
        let unread = |run: &Arc<LiveRun>| Arc::strong_count(run) == 1 && lock(&run.text).open.is_empty();
        if runs.get(run).is_some_and(unread) {
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
        if self.segments.back().is_none_or(|last| last.seq != seq) {
            self.segments.push_back(Segment { seq, ..Segment::default() });
        }
        if let Some(last) = self.segments.back_mut() {
            last.pieces.push_back((step, content.to_owned()));
        }
        self.open.entry(step).or_default().push_str(content);
        self.bytes += content.len();
        for segment in &mut self.segments {
            while self.bytes > MAX_PIECES
                && let Some((_, piece)) = segment.pieces.pop_front()
            {
                self.bytes -= piece.len();
                segment.dropped += 1;
            }
            if self.bytes <= MAX_PIECES {
                break;
            }
        }
        while self.segments.len() > MAX_SEGMENTS {
            let gone = self.segments.pop_front();
            self.bytes -= gone.as_ref().map_or(0, Segment::bytes);
        }
    }
}

impl Segment {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
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
    /// The next pieces with their steps, and the cursor behind the first of them.
    Pieces { first: Cursor, pieces: Vec<(u64, String)> },
    /// The whole text so far of the steps that go on, since pieces behind the cursor are gone.
    Whole { upto: Cursor, texts: Vec<(u64, String)> },
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

    /// The text behind `cursor`, before the next event, if it is still kept.
    pub(super) fn text(&mut self, cursor: Cursor) -> Text {
        let Some(run) = &self.run else { return Text::None };
        let kept = lock(&run.text);
        let restarted = std::mem::replace(&mut self.restarts, kept.restarts) != kept.restarts;
        let found = kept.segments.iter().rev().find(|segment| segment.seq == cursor.seq);
        let Some(segment) = found else { return Text::None };
        let seen = cursor.token.checked_sub(segment.dropped).and_then(|seen| usize::try_from(seen).ok());
        match seen.filter(|seen| *seen <= segment.pieces.len()) {
            Some(seen) if !restarted || cursor.token == 0 => {
                if seen == segment.pieces.len() {
                    return Text::None;
                }
                let first = Cursor { token: cursor.token + 1, ..cursor };
                Text::Pieces { first, pieces: segment.pieces.iter().skip(seen).cloned().collect() }
            }
            // Pieces are gone, or those that were seen do not hold any more.
            _ => {
                let upto = Cursor { token: segment.written(), ..cursor };
                Text::Whole {
                    upto,
                    texts: kept.open.iter().map(|(step, text)| (*step, text.clone())).collect(),
                }
            }
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
    use serde_json::json;

    use super::*;

    fn run() -> WorkId {
        WorkId::new("run-1").unwrap()
    }

    fn text(follower: &mut Follower, token: u64) -> Text {
        follower.text(Cursor { seq: 1, token })
    }

    fn step_end(step: u64) -> NewEvent {
        NewEvent::new("step_end", json!({"step_id": step}))
    }

    #[test]
    fn pieces_come_once_and_in_order() {
        let live = Live::default();
        let mut follower = live.follow(&run());
        for (step, content) in [(1, "I"), (2, "He"), (1, " need")] {
            live.token(&run(), 1, step, content);
        }
        let pieces = vec![(1, "I".into()), (2, "He".into()), (1, " need".into())];
        assert_eq!(text(&mut follower, 0), Text::Pieces { first: Cursor { seq: 1, token: 1 }, pieces });
        assert_eq!(text(&mut follower, 3), Text::None);
        assert_eq!(follower.text(Cursor::after(2)), Text::None);
    }

    #[test]
    fn a_reader_that_was_outrun_gets_the_whole_text_of_the_steps_that_go_on() {
        let live = Live::default();
        let mut follower = live.follow(&run());
        let piece = "x".repeat(1000);
        live.token(&run(), 1, 1, "over");
        live.written(&run(), &[step_end(1)]);
        for _ in 0..1000 {
            live.token(&run(), 1, 2, &piece);
        }
        let Text::Whole { upto, texts } = text(&mut follower, 3) else { panic!("pieces are still there") };
        assert_eq!(upto.token, 1001);
        assert_eq!(
            texts.iter().map(|(step, text)| (*step, text.len())).collect::<Vec<_>>(),
            [(2, 1_000_000)]
        );
        let kept = lock(&follower.run.as_ref().unwrap().text).bytes;
        assert!(kept <= MAX_PIECES && kept > MAX_PIECES / 2);
        assert_eq!(text(&mut follower, 1001), Text::None);
    }

    #[test]
    fn a_reader_of_a_step_begun_anew_gets_the_whole_text() {
        for seen in [1, 2, 9] {
            let live = Live::default();
            let mut follower = live.follow(&run());
            live.token(&run(), 1, 1, "first");
            live.token(&run(), 1, 1, " try");
            live.restart(&run(), 1);
            live.token(&run(), 1, 1, "anew");
            let whole = text(&mut follower, seen);
            assert!(matches!(whole, Text::Whole { texts, .. } if texts == [(1, "anew".into())]), "{seen}");
        }
    }

    #[test]
    fn the_text_of_an_ended_step_is_kept_for_those_who_follow() {
        let live = Live::default();
        let mut follower = live.follow(&run());
        live.token(&run(), 1, 1, "one");
        live.written(&run(), &[step_end(1)]);
        live.token(&run(), 3, 2, "two");
        assert!(
            matches!(text(&mut follower, 0), Text::Pieces { pieces, .. } if pieces == [(1, "one".into())])
        );
        let next = follower.text(Cursor::after(3));
        assert!(matches!(next, Text::Pieces { pieces, .. } if pieces == [(2, "two".into())]));
    }

    #[test]
    fn what_nobody_follows_is_forgotten_once_its_step_has_ended() {
        let live = Live::default();
        live.token(&run(), 1, 1, "text");
        live.ring(&run());
        drop(live.follow(&run()));
        assert_eq!(lock(&live.runs).len(), 1, "the step goes on");
        live.written(&run(), &[step_end(1)]);
        assert!(lock(&live.runs).is_empty());
        drop(live.follow(&run()));
        assert!(lock(&live.runs).is_empty());
    }
}
