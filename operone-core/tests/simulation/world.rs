//! What happens in one simulated world: its time, its faults, and what was seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use operone_core::clock::{Clock, Timestamp};
use operone_core::id::WorkId;
use operone_core::in_process::InProcessJournal;
use operone_core::journal::Seq;
use operone_core::{Error, ErrorKind, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::random::Random;

/// The lease of the simulated workers.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Time that passes with the runtime's, and that can be set forward and back.
#[derive(Debug)]
pub(crate) struct SteppedClock {
    begun: Instant,
    offset: AtomicI64,
}

impl SteppedClock {
    fn new() -> Self {
        Self { begun: Instant::now(), offset: AtomicI64::new(1_000_000_000_000) }
    }

    pub(crate) fn step(&self, by: Duration, forward: bool) {
        let millis = by.as_millis() as i64;
        self.offset.fetch_add(if forward { millis } else { -millis }, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.offset.load(Ordering::SeqCst)).plus(self.begun.elapsed())
    }
}

/// One use of a tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Effect {
    pub(crate) run: WorkId,
    pub(crate) step: u64,
    pub(crate) tool: &'static str,
    pub(crate) key: String,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) effects: Vec<Effect>,
    /// The epoch under which the events up to a number were written.
    pub(crate) epochs: BTreeMap<WorkId, Vec<(Seq, u64)>>,
    /// The last event of a run when its cancellation was acknowledged.
    pub(crate) cancelled_at: BTreeMap<WorkId, Seq>,
    /// Calls of `once` tools that a person allowed to run again.
    pub(crate) allowed_again: BTreeMap<(WorkId, u64), usize>,
    pub(crate) denied: BTreeSet<WorkId>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) clock: Arc<SteppedClock>,
    pub(crate) journal: InProcessJournal,
    pub(crate) seen: Mutex<Seen>,
    /// Whether anything may still go wrong.
    pub(crate) faulty: AtomicBool,
    /// One fault in so many chances.
    rarity: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let random = Random::new(seed);
        let clock = Arc::new(SteppedClock::new());
        let rarity = *random.pick(&[6, 12, 25, 50, 200]);
        Arc::new(Self {
            journal: InProcessJournal::new(Arc::clone(&clock) as _),
            clock,
            random,
            seen: Mutex::default(),
            faulty: AtomicBool::new(true),
            rarity,
        })
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn goes_wrong(&self) -> bool {
        self.faulty.load(Ordering::SeqCst) && self.random.one_in(self.rarity)
    }
}

/// A process that can crash and stall.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    /// Ends when the process crashes.
    pub(crate) crashed: CancellationToken,
    stalled_until: Mutex<Instant>,
}

impl Process {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        let (crashed, stalled_until) = (CancellationToken::new(), Mutex::new(Instant::now()));
        Arc::new(Self { world: Arc::clone(world), crashed, stalled_until })
    }

    /// A place where the process may crash or stall, or where what it asks for may be lost. It stands before and after
    /// everything that a process waits for.
    pub(crate) async fn fault(&self) -> Result<()> {
        self.wait_while_stalled().await;
        if !self.world.goes_wrong() {
            return Ok(());
        }
        let random = &self.world.random;
        match random.below(5) {
            0 | 1 => {
                self.crashed.cancel();
                // Whoever waits here is dropped with the process.
                std::future::pending().await
            }
            2 => {
                // Longer than the lease now and then: the whole process stands still, its renewals too.
                let time = Duration::from_millis(random.below(3 * LEASE.as_millis() as u64));
                *self.stalled_until.lock().unwrap() = Instant::now() + time;
                self.wait_while_stalled().await;
                Ok(())
            }
            3 => {
                tokio::time::sleep(Duration::from_millis(random.below(2_000))).await;
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Unavailable, "lost on the way")),
        }
    }

    async fn wait_while_stalled(&self) {
        let until = *self.stalled_until.lock().unwrap();
        if until > Instant::now() {
            tokio::time::sleep_until(until).await;
        }
    }
}
