//! Wakes a task, but not for what the task itself is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// The next wake goes through to the task.
const OPEN: u8 = 0;
/// The task is at it.
const SHUT: u8 = 1;
/// There was a wake, and the task is at it or will be.
const KNOCKED: u8 = 2;

/// A waker between what a task polls and the task. The two ends of a channel that one task polls would wake it each
/// time it takes something, only to find nothing: while the gate is shut wakes are remembered and not passed on. Who looks
/// again without a wake finds it quiet, and need not poll.
#[derive(Debug)]
pub(super) struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Gate {
    /// A shut gate.
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(SHUT), task: AtomicWaker::new() }
    }

    /// Has later wakes go to this task.
    pub(super) fn lead_to(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Whether there was no wake since it was opened, so that nothing is new. Ask after [`Self::lead_to`]: a wake in
    /// between is then seen here or goes to the task.
    pub(super) fn is_quiet(&self) -> bool {
        self.state.load(Ordering::SeqCst) == OPEN
    }

    /// From now on wakes are remembered.
    pub(super) fn shut(&self) {
        self.state.store(SHUT, Ordering::SeqCst);
    }

    /// From now on wakes go through. False: there was one meanwhile, and the gate is still shut.
    pub(super) fn open(&self) -> bool {
        self.state.compare_exchange(SHUT, OPEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(KNOCKED, Ordering::SeqCst) == OPEN {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wake_goes_through_or_is_remembered() {
        let (gate, woken) = (Arc::new(Gate::new()), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&gate));
        let task = Waker::from(Arc::clone(&woken));
        gate.lead_to(&task);
        assert!(!gate.is_quiet(), "nobody has looked yet");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(!gate.open(), "it was woken meanwhile");
        gate.shut();
        assert!(gate.open());
        assert!(gate.is_quiet(), "nothing is new");
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "the second wake finds a task that is woken");
        assert!(!gate.is_quiet());
    }
}
