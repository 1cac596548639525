//! The operating system's fences for Operone's processes: confinement, limits, and a probe of what is enforced.
//!
//! A process fences itself before it starts a thread: [`Limits::apply`] for memory and processor, [`fence`] for files,
//! network, other processes and the kernel's rarer calls. Its parent watches it from outside with a [`Watchdog`] and,
//! where a group of control groups was delegated to it, puts it into a [`Cgroup`]. [`Probe`] says what of this the host
//! really enforces, found out by trying.
//!
//! ```no_run
//! use operone_sandbox::{Files, Limits, fence};
//!
//! # fn main() -> std::io::Result<()> {
//! // First thing in the main function of a process that is to touch one folder only.
//! Limits::default().with_ram(64 << 20).with_cpu(500).apply()?;
//! fence(&Files::ReadAndWrite("/srv/agents/one".into()))?;
//! # Ok(())
//! # }
//! ```
//!
//! Outside Linux nothing is enforced, and [`Probe`] says so.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod limits;

#[cfg(target_os = "linux")]
mod access;
#[cfg(target_os = "linux")]
mod affinity;
mod fence;
#[cfg(target_os = "linux")]
mod rlimits;
#[cfg(target_os = "linux")]
mod syscalls;

mod cgroup;
mod death;
mod probe;
#[cfg(target_os = "linux")]
mod process;
mod watchdog;

pub use cgroup::{Cgroup, Cgroups};
pub use death::{Exceeded, Resource, allocation_failed};
pub use fence::{Files, fence};
pub use limits::Limits;
pub use probe::{Layer, Probe, run_probe};
pub use watchdog::{Watchdog, Watched};
