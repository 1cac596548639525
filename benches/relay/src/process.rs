//! The processes that are measured: started, asked what they used, and stopped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Failure;

/// Ticks per second in `/proc`, the same on every Linux of today.
const TICKS: u64 = 100;

/// A running server. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
}

impl Process {
    /// Starts one of this program's own servers.
    pub(crate) fn own(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start(command)
    }

    /// Starts Operone with a data folder and a model service behind it.
    pub(crate) fn operone(program: &Path, data: &Path, upstream: &str) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.env_clear().args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.env("OPENAI_BASE_URL", format!("{upstream}/v1")).env("OPENAI_MODEL", "mock");
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let output = child.stdout.take().ok_or("a server's output cannot be read")?;
        let mut process = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        process.address = address.ok_or("a server did not start")?.to_owned();
        Ok(process)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The processor time so far, of the program and of the system for it.
    pub(crate) fn processor_time(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in brackets may hold blanks; the state, field 3, comes after it.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/<pid>/stat has no name")?;
        let fields: Vec<u64> =
            fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        let ticks: u64 = fields.get(11..13).ok_or("/proc/<pid>/stat has no times")?.iter().sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    }

    /// The memory that is resident, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.ok_or("/proc/<pid>/status has no VmRSS")? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
