//! The reference MCP servers for tests, installed from npm; one of them answers over HTTP until the end.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::packages;

const PACKAGES: [&str; 2] = [
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
];
/// Runs a server until nobody holds the other end of the input any more, however that came about.
const UNTIL_INPUT_ENDS: &str = r#"trap "" INT; "$0" "$@" & cat >/dev/null; kill $!; wait $!"#;
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The installed programs, and a server that runs. Dropping it stops the server.
pub(crate) struct McpServers {
    programs: PathBuf,
    port: u16,
    process: Child,
}

impl McpServers {
    /// Installs what is missing below `target` and starts a server on a free port.
    pub(crate) fn start(target: &Path) -> Result<Self, String> {
        let folder = target.join("mcp-servers");
        let programs = folder.join("node_modules/.bin");
        println!("── installing the MCP servers");
        packages::npm(&folder, &PACKAGES)?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("no port is free: {error}"))?.port();
        let process = Command::new("sh")
            .args(["-c", UNTIL_INPUT_ENDS])
            .arg(programs.join("mcp-server-everything"))
            .arg("streamableHttp")
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("they cannot be started: {error}"))?;
        let servers = Self { programs, port, process };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("the server over HTTP did not start".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(servers)
    }

    /// The folder of the programs that speak over standard input and output.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

impl Drop for McpServers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
