//! The cores on which a process runs.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this process to so many of the cores on which it may run; to all of them if there are no more.
pub(crate) fn restrict(cores: u32) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let available: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut chosen = CpuSet::new();
    // Processes begin at different cores, so that they do not all share the first.
    let begin = std::process::id() as usize % available.len().max(1);
    let wanted = available.len().min(cores as usize);
    available.iter().cycle().skip(begin).take(wanted).for_each(|cpu| chosen.set(*cpu));
    Ok(sched_setaffinity(None, &chosen)?)
}
