//! The server under test: started, killed, started again on the same folder and port.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server under test.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    data: PathBuf,
    model_url: String,
    witness_url: String,
    pub(crate) address: String,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// Starts the server on a free port.
    pub(crate) fn start(
        program: &Path,
        data: &Path,
        model_url: &str,
        witness_url: &str,
    ) -> Result<Self, String> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let server = Self {
            program: program.to_path_buf(),
            data: data.to_path_buf(),
            model_url: model_url.to_owned(),
            witness_url: witness_url.to_owned(),
            address: free.map_err(|error| format!("no port is free: {error}"))?.to_string(),
            process: Mutex::new(None),
        };
        server.spawn()?;
        Ok(server)
    }

    /// Ends the process as a crash would, and starts it again; gives when it was ready.
    pub(crate) fn kill_and_restart(&self) -> Result<Instant, String> {
        self.kill();
        self.spawn()?;
        Ok(Instant::now())
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// The processes in which agents run.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let Some(parent) = self.process().as_ref().map(Child::id) else { return Vec::new() };
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| is_worker_of(*id, parent)).collect()
    }

    fn spawn(&self) -> Result<(), String> {
        let mut process = Command::new(&self.program)
            .env_clear()
            .args(["--listen", &self.address, "--lease", "5", "--data"])
            .arg(&self.data)
            .arg("--mcp")
            .arg(format!("witness={}", self.witness_url))
            .env("OPENAI_BASE_URL", &self.model_url)
            .env("OPERONE_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let (sender, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = ready.recv_timeout(PATIENCE).unwrap_or_default();
        *self.process() = Some(process);
        if line.contains("http://") { Ok(()) } else { Err(format!("the server did not start: {line:?}")) }
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends SIGKILL.
pub(crate) fn kill(process: u32) {
    let _ = Command::new("kill").args(["-9", &process.to_string()]).stderr(Stdio::null()).status();
}

fn is_worker_of(id: u32, parent: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in brackets may hold anything; behind it come the state and the parent.
    let of_parent =
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&parent.to_string());
    let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    of_parent && arguments.split(|byte| *byte == 0).any(|argument| argument == b"worker")
}
