//! Limits that the kernel keeps for one process.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};

use crate::limits::Limits;

/// How many files and sockets a process may hold open.
const OPEN_FILES: u64 = 256;

/// Sets them on this process.
pub(crate) fn set(limits: Limits) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // What the process holds is neither for core files nor for others of the same user to read.
    setrlimit(Resource::Core, both(0))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let allowed = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES);
    setrlimit(Resource::Nofile, both(allowed.min(OPEN_FILES)))?;
    if let Some(ram) = limits.ram {
        let allowed = rustix::process::getrlimit(Resource::Data).maximum.unwrap_or(ram);
        setrlimit(Resource::Data, both(allowed.min(ram)))?;
    }
    Ok(())
}

fn both(value: u64) -> Rlimit {
    Rlimit { current: Some(value), maximum: Some(value) }
}
