//! What of the fences this host enforces, found out by trying.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// One fence, and whether it holds here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Layer {
    /// Whether what it forbids was tried and refused.
    pub active: bool,
    /// Why it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Layer {
    pub(crate) fn active() -> Self {
        Self { active: true, reason: None }
    }

    pub(crate) fn missing(reason: impl Into<String>) -> Self {
        Self { active: false, reason: Some(reason.into()) }
    }
}

impl<E: std::fmt::Display> From<Result<(), E>> for Layer {
    fn from(tried: Result<(), E>) -> Self {
        tried.map_or_else(|error| Self::missing(error.to_string()), |()| Self::active())
    }
}

/// What this host enforces on processes that fence themselves, layer by layer.
///
/// The layers are `affinity`, `cgroup`, `landlock_files`, `landlock_signals`, `landlock_sockets`, `landlock_tcp`,
/// `not_dumpable`, `rlimit_data`, `seccomp` and `watchdog`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Probe {
    /// The kernel's version of Landlock.
    pub landlock_abi: Option<i32>,
    /// The layers by name.
    pub layers: BTreeMap<String, Layer>,
}

/// The layers that a process is to try on itself.
const IN_CHILD: [&str; 8] = [
    "affinity",
    "landlock_files",
    "landlock_signals",
    "landlock_sockets",
    "landlock_tcp",
    "not_dumpable",
    "rlimit_data",
    "seccomp",
];

impl Probe {
    /// Finds out by starting `program argument`, which must call [`run_probe`] before it starts a thread. Blocks for
    /// some milliseconds, at most 10 seconds. A program that cannot be asked makes every layer inactive, with the
    /// reason. Whether control groups can be used is not tried: see [`Probe::with_cgroup`].
    pub fn of(program: &Path, argument: &str) -> Self {
        let mut probe = trial::run(program, argument).unwrap_or_else(|reason| {
            let layers = IN_CHILD.iter().chain(&["watchdog"]);
            let layers = layers.map(|name| ((*name).to_owned(), Layer::missing(reason.clone()))).collect();
            Self { landlock_abi: None, layers }
        });
        probe.layers.insert("cgroup".to_owned(), Layer::missing("not tried"));
        probe
    }

    /// Says whether control groups can be used, or why not.
    #[must_use]
    pub fn with_cgroup<E: std::fmt::Display>(mut self, tried: Result<(), E>) -> Self {
        self.layers.insert("cgroup".to_owned(), tried.into());
        self
    }

    /// Whether a layer holds.
    pub fn holds(&self, layer: &str) -> bool {
        self.layers.get(layer).is_some_and(|layer| layer.active)
    }

    /// By which layers the limits that are set are enforced, joined by `+`, or `none`: `cpu` and `ram`.
    pub fn enforced(&self, limits: Limits) -> BTreeMap<&'static str, String> {
        // Whole cores need no pauses where a process is kept to them.
        let pauses = !limits.is_whole() || !self.holds("affinity");
        let rate = self.holds("cgroup") || (pauses && self.holds("watchdog"));
        let cpu: &[&str] = match (rate, pauses) {
            (true, true) => &["cgroup", "affinity", "watchdog"],
            (_, false) => &["cgroup", "affinity"],
            // Whole cores only, where a part of one was asked for.
            (false, true) => &[],
        };
        let cpu = limits.cpu.map(|_| ("cpu", self.joined(cpu)));
        let ram = limits.ram.map(|_| ("ram", self.joined(&["cgroup", "rlimit_data", "watchdog"])));
        cpu.into_iter().chain(ram).collect()
    }

    /// By which layers `files` and `network` are kept from a fenced process, joined by `+`, or `none`.
    pub fn confined(&self) -> BTreeMap<&'static str, String> {
        let files = self.joined_as(&[("landlock_files", "landlock")]);
        let network = self.joined_as(&[("seccomp", "seccomp"), ("landlock_tcp", "landlock")]);
        let processes = self.joined_as(&[("seccomp", "seccomp"), ("landlock_signals", "landlock")]);
        BTreeMap::from([("files", files), ("network", network), ("processes", processes)])
    }

    fn joined(&self, layers: &[&'static str]) -> String {
        self.joined_as(&layers.iter().map(|layer| (*layer, *layer)).collect::<Vec<_>>())
    }

    fn joined_as(&self, layers: &[(&str, &'static str)]) -> String {
        let holding: Vec<&str> =
            layers.iter().filter(|(layer, _)| self.holds(layer)).map(|(_, shown)| *shown).collect();
        if holding.is_empty() { "none".to_owned() } else { holding.join("+") }
    }
}

/// What the program of [`Probe::of`] does: fences itself, tries what is then forbidden, says on standard output what
/// came of it, and stays until its standard input ends.
pub fn run_probe() -> ExitCode {
    trial::report().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

#[cfg(target_os = "linux")]
#[path = "trial.rs"]
mod trial;

#[cfg(not(target_os = "linux"))]
mod trial {
    use std::io;
    use std::path::Path;

    use super::Probe;

    pub(super) fn run(_: &Path, _: &str) -> Result<Probe, String> {
        Err("this system has no such fence that the server uses".to_owned())
    }

    pub(super) fn report() -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(layers: &[&str]) -> Probe {
        let layers = layers.iter().map(|layer| ((*layer).to_owned(), Layer::active())).collect();
        Probe { landlock_abi: None, layers }
    }

    fn cpu(probe: &Probe, millicores: u32) -> String {
        probe.enforced(Limits::default().with_cpu(millicores)).remove("cpu").unwrap_or_default()
    }

    #[test]
    fn whole_cores_are_enforced_by_affinity_alone() {
        let probe = holding(&["affinity", "watchdog"]);
        assert_eq!((cpu(&probe, 1000), cpu(&probe, 500)), ("affinity".into(), "affinity+watchdog".into()));
        let probe = holding(&["affinity"]);
        assert_eq!((cpu(&probe, 1000), cpu(&probe, 500)), ("affinity".into(), "none".into()));
        assert_eq!(cpu(&holding(&["watchdog"]), 1000), "watchdog");
        assert_eq!(cpu(&holding(&["cgroup", "affinity"]), 500), "cgroup+affinity");
        assert_eq!(cpu(&holding(&[]), 1000), "none");
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let probe = holding(&["rlimit_data", "watchdog"]);
        let told = probe.enforced(Limits::default().with_ram(1));
        assert_eq!(told, BTreeMap::from([("ram", "rlimit_data+watchdog".to_owned())]));
    }

    #[test]
    fn a_program_that_cannot_be_asked_enforces_nothing() {
        let probe = Probe::of(Path::new("/nowhere/operone"), "probe");
        assert!(probe.layers.values().all(|layer| !layer.active && layer.reason.is_some()), "{probe:?}");
        assert_eq!(probe.confined().get("files").map(String::as_str), Some("none"));
    }
}
