//! Wakes a task, but not for what the task itself is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes go through to the task.
const OPEN: u8 = 0;
/// The task is at it.
const SHUT: u8 = 1;
/// The task is at it, and there was a wake meanwhile.
const KNOCKED: u8 = 2;

/// A waker between what a task polls and the task. The two ends of a channel that one task polls would wake it each
/// time it takes something, only to find nothing: while the gate is shut wakes are remembered and not passed on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Gate {
    /// Has later wakes go to this task.
    pub(super) fn lead_to(&self, task: &Waker) {
        self.task.register(task);
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
        if self.state.compare_exchange(SHUT, KNOCKED, Ordering::SeqCst, Ordering::SeqCst) == Err(OPEN) {
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
        let (gate, woken) = (Arc::new(Gate::default()), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&gate));
        gate.lead_to(&Waker::from(Arc::clone(&woken)));
        gate.shut();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(!gate.open(), "it was woken meanwhile");
        gate.shut();
        assert!(gate.open());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}
