//! Which cores are whose: a model and its clients are elsewhere in real life, and must not stand in a relay's way here.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// The cores that this process may use, in two parts. Where there is only one, all share it.
pub(crate) struct Cores {
    relays: CpuSet,
    others: CpuSet,
}

impl Cores {
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let mut others = sched_getaffinity(None)?;
        let mut relays = others;
        if others.count() > 1
            // The first ones have the interrupts.
            && let Some(last) = (0..CpuSet::MAX_CPU).rfind(|core| others.is_set(*core))
        {
            relays.clear();
            relays.set(last);
            others.unset(last);
        }
        Ok(Self { relays, others })
    }

    /// Has what is started from now on run where relays do: on one core.
    pub(crate) fn take_those_of_relays(&self) -> Result<(), Failure> {
        Ok(sched_setaffinity(None, &self.relays)?)
    }

    /// Has this thread, and what is started from now on, run on all other cores.
    pub(crate) fn take_others(&self) -> Result<(), Failure> {
        Ok(sched_setaffinity(None, &self.others)?)
    }
}
