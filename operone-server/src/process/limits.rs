//! The limits of a worker process, which it sets on itself before it does anything else.

use std::collections::BTreeMap;

use operone_core::agent::Resources;
use operone_core::error::{Error, Result};

/// The least memory with which a worker runs.
const LEAST_RAM: u64 = 32 << 20;

/// What a worker process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) ram: Option<u64>,
    /// Whole cores.
    pub(crate) cores: Option<u32>,
}

impl Limits {
    /// Reads the limits of an agent.
    pub(crate) fn of(resources: &Resources) -> Result<Self> {
        let ram = resources.ram_bytes()?;
        if ram.is_some_and(|ram| ram < LEAST_RAM) {
            let detail = format!("an agent's process needs at least {} MiB of memory", LEAST_RAM >> 20);
            return Err(Error::invalid(detail).with_code("invalid_resources"));
        }
        Ok(Self { ram, cores: resources.cpu_millicores()?.map(|millicores| millicores.div_ceil(1000)) })
    }

    /// Which of the limits this host enforces, and how; `none` where it does not.
    pub(crate) fn enforced(self) -> BTreeMap<&'static str, String> {
        let how = |asked: bool, by: &str| {
            asked.then(|| if cfg!(target_os = "linux") { by } else { "none" }.to_owned())
        };
        let ram = how(self.ram.is_some(), "rlimit_data").map(|by| ("ram", by));
        let cpu = how(self.cores.is_some(), "affinity").map(|by| ("cpu", by));
        ram.into_iter().chain(cpu).collect()
    }

    /// The limits as arguments of the worker's command line.
    pub(crate) fn arguments(self) -> Vec<String> {
        let ram = self.ram.map(|ram| format!("--ram-bytes={ram}"));
        let cores = self.cores.map(|cores| format!("--cores={cores}"));
        ram.into_iter().chain(cores).collect()
    }

    /// Sets the limits on this process, and ties its life to its parent's. Call it before any thread is started.
    #[cfg(target_os = "linux")]
    pub(crate) fn apply(self) -> std::io::Result<()> {
        use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        set_parent_process_death_signal(Some(Signal::KILL))?;
        let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
        // What the process holds is not for core files.
        setrlimit(Resource::Core, limit(0))?;
        if let Some(ram) = self.ram {
            setrlimit(Resource::Data, limit(ram))?;
        }
        if let Some(cores) = self.cores {
            let allowed = sched_getaffinity(None)?;
            let mut chosen = CpuSet::new();
            let available: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
            // Workers begin at different cores, so that they do not all share the first.
            let begin = std::process::id() as usize % available.len().max(1);
            available
                .iter()
                .cycle()
                .skip(begin)
                .take(available.len().min(cores as usize))
                .for_each(|cpu| chosen.set(*cpu));
            sched_setaffinity(None, &chosen)?;
        }
        Ok(())
    }

    /// Sets nothing: this host enforces no limits, as [`Limits::enforced`] says.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn apply(self) -> std::io::Result<()> {
        Ok(())
    }
}
