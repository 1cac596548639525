//! Watches processes from outside: ends those that hold too much memory, and pauses those that compute too much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use crate::death::Exceeded;
use crate::limits::Limits;

/// How often processes are looked at whose processor time is limited: often, so that the pauses are short.
#[cfg(target_os = "linux")]
const PROCESSOR_TICK: Duration = Duration::from_millis(25);
/// How often the others are looked at.
#[cfg(target_os = "linux")]
const MEMORY_TICK: Duration = Duration::from_millis(100);
/// For how long a process may compute at will after it has rested, of what its share gives it.
#[cfg(target_os = "linux")]
const CREDIT: Duration = Duration::from_millis(100);

/// Watches processes on a thread of its own, which runs while there are any. Clones share it.
///
/// - Memory is looked at every 100 ms or more often: what a process holds in private and in shared memory, without the
///   program file itself. A process above its limit is killed with its process group.
/// - A process that has used more than its share of processor time is stopped (SIGSTOP) until the share has caught up
///   (SIGCONT), every 25 ms, so that it keeps to fractions of a core.
///
/// Outside Linux it watches nothing.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    shared: Arc<Mutex<Shared>>,
    whole_groups: bool,
}

/// A process that is watched, until this is dropped.
#[derive(Debug)]
pub struct Watched {
    watchdog: Watchdog,
    id: u64,
}

#[derive(Debug, Default)]
struct Shared {
    last_id: u64,
    runs: bool,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Also the id of its process group.
    pid: u32,
    limits: Limits,
    exceeded: Option<Exceeded>,
    #[cfg(target_os = "linux")]
    share: Option<Share>,
}

impl Watchdog {
    /// Counts the memory of all processes of a group, for hosts that do not keep the watched from starting others.
    #[must_use]
    pub fn with_whole_groups(mut self) -> Self {
        self.whole_groups = true;
        self
    }

    /// Watches a process that leads a process group of its own. End the watch, by dropping what this returns, before
    /// the process is waited for: later its number may be another's.
    pub fn watch(&self, pid: u32, limits: Limits) -> Watched {
        let mut shared = self.lock();
        shared.last_id += 1;
        let id = shared.last_id;
        let entry = Entry {
            pid,
            limits,
            exceeded: None,
            #[cfg(target_os = "linux")]
            share: limits.cpu.map(Share::new),
        };
        shared.entries.insert(id, entry);
        #[cfg(target_os = "linux")]
        if !shared.runs {
            let (watched, whole_groups) = (Arc::clone(&self.shared), self.whole_groups);
            let thread = std::thread::Builder::new().name("operone-watchdog".to_owned());
            match thread.spawn(move || run(&watched, whole_groups)) {
                Ok(_) => shared.runs = true,
                Err(error) => {
                    tracing::error!(%error, "the watchdog cannot be started: a process is not watched")
                }
            }
        }
        Watched { watchdog: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// What the process was killed for, if it was; a look that ends nothing.
    pub fn exceeded(&self) -> Option<Exceeded> {
        self.watchdog.lock().entries.get(&self.id).and_then(|entry| entry.exceeded)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let entry = self.watchdog.lock().entries.remove(&self.id);
        #[cfg(target_os = "linux")]
        if let Some(entry) = entry
            && entry.share.is_some_and(|share| share.stopped)
        {
            signal(entry.pid, rustix::process::Signal::CONT);
        }
        #[cfg(not(target_os = "linux"))]
        drop(entry);
    }
}

/// The processor time of one process.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Share {
    cores: f64,
    /// Seconds that it may compute on; below zero it is stopped.
    credit: f64,
    stopped: bool,
    looked: Instant,
    used: Duration,
}

#[cfg(target_os = "linux")]
impl Share {
    fn new(millicores: u32) -> Self {
        let cores = f64::from(millicores) / 1000.0;
        let credit = cores * CREDIT.as_secs_f64();
        Self { cores, credit, stopped: false, looked: Instant::now(), used: Duration::ZERO }
    }

    /// Takes in what was used until now; true if the process is to be stopped.
    fn update(&mut self, now: Instant, used: Duration) -> bool {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        let spent = used.saturating_sub(self.used).as_secs_f64();
        let most = self.cores * CREDIT.as_secs_f64();
        self.credit = (self.credit + self.cores * passed - spent).min(most);
        (self.looked, self.used) = (now, used);
        self.credit < 0.0
    }
}

#[cfg(target_os = "linux")]
fn run(shared: &Mutex<Shared>, whole_groups: bool) {
    loop {
        let tick = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.entries.is_empty() {
                shared.runs = false;
                return;
            }
            let groups =
                if whole_groups { crate::process::groups().unwrap_or_default() } else { Default::default() };
            for entry in shared.entries.values_mut().filter(|entry| entry.exceeded.is_none()) {
                let members = groups.get(&entry.pid).cloned().unwrap_or_else(|| vec![entry.pid]);
                entry.look(&members);
            }
            let limited = shared.entries.values().any(|entry| entry.share.is_some());
            if limited { PROCESSOR_TICK } else { MEMORY_TICK }
        };
        std::thread::sleep(tick);
    }
}

#[cfg(target_os = "linux")]
impl Entry {
    /// Looks at the processes once and does what follows. One that has ended uses nothing.
    fn look(&mut self, members: &[u32]) {
        use rustix::process::Signal;

        if let Some(limit) = self.limits.ram {
            let held: u64 = members.iter().filter_map(|pid| crate::process::memory(*pid).ok()).sum();
            if held > limit {
                tracing::warn!(pid = self.pid, held, limit, "a process holds too much memory and is killed");
                self.exceeded = Some(Exceeded::ram(limit, Some(held)));
                signal(self.pid, Signal::KILL);
                return;
            }
        }
        if let Some(share) = &mut self.share {
            let used = members.iter().filter_map(|pid| crate::process::processor_time(*pid).ok()).sum();
            let stop = share.update(Instant::now(), used);
            if stop != share.stopped {
                share.stopped = stop;
                signal(self.pid, if stop { Signal::STOP } else { Signal::CONT });
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn signal(group: u32, signal: rustix::process::Signal) {
    let group = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // A group that has ended needs no signal.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn half_a_core_is_stopped_half_of_the_time() {
        let begin = Instant::now();
        let mut share = Share::new(500);
        share.looked = begin;
        let (mut used, mut stopped) = (Duration::ZERO, false);
        for tick in 1..=400 {
            if !stopped {
                used += PROCESSOR_TICK;
            }
            stopped = share.update(begin + PROCESSOR_TICK * tick, used);
        }
        let cores = used.as_secs_f64() / (PROCESSOR_TICK * 400).as_secs_f64();
        assert!((0.45..0.53).contains(&cores), "{cores} cores");
    }

    #[test]
    fn rest_is_not_saved_up() {
        let begin = Instant::now();
        let mut share = Share::new(500);
        share.looked = begin;
        assert!(!share.update(begin + Duration::from_secs(60), Duration::ZERO));
        assert!(share.update(begin + Duration::from_secs(61), Duration::from_secs(1)));
    }
}
