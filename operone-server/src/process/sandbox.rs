//! What the server holds to keep its processes within their limits: the probe, the watchdog, the control groups.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use operone_core::error::{Error, ErrorKind, Result};
use operone_sandbox::{Cgroup, Cgroups, Exceeded, Limits, Probe, Watchdog, Watched};

/// What this host enforces, and what enforces it from outside. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    probe: Arc<Probe>,
    watchdog: Watchdog,
    cgroups: Option<Cgroups>,
}

/// A process that is kept within its limits, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    watched: Watched,
    cgroup: Option<Cgroup>,
    limits: Limits,
}

impl Sandbox {
    /// Takes over control groups if they were delegated, and finds out by `program probe` what else there is. Takes
    /// some milliseconds.
    pub(crate) async fn prepare(program: &Path) -> Self {
        let program = program.to_owned();
        let prepared = tokio::task::spawn_blocking(move || {
            let cgroups = Cgroups::delegated();
            let probe = Probe::of(&program, "probe").with_cgroup(cgroups.as_ref().map(drop));
            (probe, cgroups.ok())
        });
        let (probe, cgroups) = prepared.await.unwrap_or_default();
        for (name, layer) in probe.layers.iter().filter(|(_, layer)| !layer.active) {
            tracing::info!(layer = name, reason = layer.reason, "a fence is not there");
        }
        // Where a process cannot start others, it is its whole group.
        let watchdog = Watchdog::default();
        let watchdog = if probe.holds("seccomp") { watchdog } else { watchdog.with_whole_groups() };
        Self { probe: Arc::new(probe), watchdog, cgroups }
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// How this host keeps an agent's process to these limits and to its files; `none` where it does not.
    pub(crate) fn enforced(&self, limits: Limits) -> BTreeMap<&'static str, String> {
        let mut enforced = self.probe.enforced(limits);
        enforced.extend(self.probe.confined());
        enforced
    }

    /// Whether every limit that is set is enforced.
    pub(crate) fn enforces(&self, limits: Limits) -> bool {
        self.probe.enforced(limits).values().all(|how| how != "none")
    }

    /// Keeps a process within its limits from outside; it must lead a process group of its own.
    pub(super) fn hold(&self, pid: u32, limits: Limits) -> Result<Held> {
        let cgroup = self.cgroups.as_ref().map(|cgroups| cgroups.hold(pid, limits)).transpose();
        let cgroup = cgroup.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the worker's control group cannot be made")
                .with_code("worker_not_started")
                .with_source(error)
        })?;
        Ok(Held { watched: self.watchdog.watch(pid, limits), cgroup, limits })
    }
}

impl Held {
    /// Lets go of a process, which may be waited for now, and says what it had too much of if that was its end.
    /// `last_words` is the end of its standard error.
    pub(super) fn release(self, last_words: &[u8]) -> Option<Exceeded> {
        let ram = self.limits.ram?;
        let refused = || {
            let killed = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
            (killed || operone_sandbox::allocation_failed(last_words)).then(|| Exceeded::ram(ram, None))
        };
        self.watched.exceeded().or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_tried_is_not_said_to_be_enforced() {
        let sandbox = Sandbox::prepare(Path::new("/nowhere/operone-server")).await;
        assert!(!sandbox.enforces(Limits::default().with_ram(64 << 20)));
        assert!(sandbox.enforces(Limits::default()), "no limit needs no enforcement");
        let layers = sandbox.probe().layers.iter().filter(|(name, _)| name.as_str() != "cgroup");
        assert!(layers.clone().count() > 5 && layers.clone().all(|(_, layer)| layer.reason.is_some()));
        assert_eq!(sandbox.enforced(Limits::default()).get("network").map(String::as_str), Some("none"));
    }
}
