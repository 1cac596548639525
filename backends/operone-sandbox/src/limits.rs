//! What a process may use of memory and processor.

use operone_core::agent::Resources;
use operone_core::error::{Error, Result};

/// What a process may use. `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of memory.
    pub ram: Option<u64>,
    /// Thousandths of a core.
    pub cpu: Option<u32>,
}

impl Limits {
    /// The least memory with which a process of an agent runs, in bytes.
    pub const LEAST_RAM: u64 = 32 << 20;

    /// Reads the limits of an agent. Those that cannot be read, and less memory than [`Limits::LEAST_RAM`], are
    /// `Invalid` with code `invalid_resources`.
    pub fn of(resources: &Resources) -> Result<Self> {
        let ram = resources.ram_bytes()?;
        if ram.is_some_and(|ram| ram < Self::LEAST_RAM) {
            let detail = format!("an agent's process needs at least {} MiB of memory", Self::LEAST_RAM >> 20);
            return Err(Error::invalid(detail).with_code("invalid_resources"));
        }
        Ok(Self { ram, cpu: resources.cpu_millicores()? })
    }

    /// Sets the bytes of memory.
    #[must_use]
    pub fn with_ram(mut self, bytes: u64) -> Self {
        self.ram = Some(bytes);
        self
    }

    /// Sets the thousandths of a core.
    #[must_use]
    pub fn with_cpu(mut self, millicores: u32) -> Self {
        self.cpu = Some(millicores);
        self
    }

    /// The cores that are needed for the limit, rounded up.
    pub fn whole_cores(self) -> Option<u32> {
        self.cpu.map(|millicores| millicores.div_ceil(1000).max(1))
    }

    /// Whether the limit is a number of whole cores, or absent.
    pub(crate) fn is_whole(self) -> bool {
        self.cpu.is_none_or(|millicores| millicores.is_multiple_of(1000))
    }

    /// Sets the limits on this process and ties its life to the thread of its parent that started it. Call it before
    /// any thread is started. The limits cannot be raised again; a repeat with lower ones lowers them.
    #[cfg(target_os = "linux")]
    pub fn apply(self) -> std::io::Result<()> {
        crate::rlimits::set(self)?;
        self.whole_cores().map_or(Ok(()), crate::affinity::restrict)
    }

    /// Sets nothing: this system enforces no limits, as the probe says.
    #[cfg(not(target_os = "linux"))]
    pub fn apply(self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn resources(cpu: &str, ram: &str) -> Resources {
        let mut resources = Resources::default();
        resources.cpu = Some(cpu.to_owned());
        resources.ram = Some(ram.to_owned());
        resources
    }

    #[test]
    fn the_limits_of_an_agent_are_read() {
        let limits = Limits::of(&resources("0.5", "64MiB")).unwrap();
        assert_eq!(limits, Limits::default().with_cpu(500).with_ram(64 << 20));
        assert_eq!((limits.whole_cores(), limits.is_whole()), (Some(1), false));
        let limits = Limits::of(&resources("2", "64MB")).unwrap();
        assert_eq!((limits.whole_cores(), limits.is_whole()), (Some(2), true));
    }

    #[test]
    fn too_little_memory_is_refused() {
        assert_eq!(Limits::of(&resources("1", "31MiB")).unwrap_err().code(), "invalid_resources");
    }
}
