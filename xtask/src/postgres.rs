//! A Postgres server for tests, installed from Debian and stopped at the end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::debian::{self, run};

const PACKAGE: &str = "postgresql-15";
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user that the package makes; the server refuses to run as root.
const USER: &str = "postgres";

/// Runs a server until nobody holds the other end of the input any more, however that came about.
const UNTIL_INPUT_ENDS: &str = r#"trap "" INT; "$0" "$@" & cat >/dev/null; kill -QUIT $!; wait $!"#;
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with a role that may do everything. Dropping it stops it and removes its data.
pub(crate) struct PostgresServer {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// Installs what is missing and starts the server on a free port of this machine, with its data below `target`.
    pub(crate) fn start(target: &Path) -> Result<Self, String> {
        if !program("initdb").exists() {
            debian::install(PACKAGE)?;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("no port is free: {error}"))?.port();
        let folder = target.join(format!("postgres-{port}"));
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // From here on the folder is removed, whatever happens.
        let mut server = Self { folder, port, process: None };
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&server.folder))?;
        }
        let data = server.folder.join("data");
        run(as_user(&program("initdb")).arg("-D").arg(&data).args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]))?;
        let mut command = as_user(Path::new("sh"));
        command.args(["-c", UNTIL_INPUT_ENDS]).arg(program("postgres")).arg("-D").arg(&data);
        // Tests come over TCP: a socket's path would have to be short.
        let port = port.to_string();
        command.args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", "fsync=off"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        server.process = Some(command.spawn().map_err(|error| format!("it cannot be started: {error}"))?);
        let begun = Instant::now();
        while run(Command::new(program("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port])).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("it did not start".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn program(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

/// A program run by a user that the server accepts.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--"]).arg(program);
    command
}
