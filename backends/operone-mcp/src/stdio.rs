//! A server as a child process: messages are lines of its standard input and output.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::AbortHandle;

use crate::config::McpCommand;

/// How long the child may leave its standard input unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many lines in a row may be no messages: some servers greet on standard output.
const MAX_UNREADABLE: usize = 100;
/// How much of the standard error of one child is logged, in bytes; the rest is read and forgotten.
const MAX_LOGGED: usize = 64 << 10;

/// A child and everything that it has started. Dropping it kills all of them.
#[derive(Debug)]
pub(crate) struct Process {
    group: Pid,
    running: Mutex<Option<Running>>,
    reason: OnceLock<String>,
}

#[derive(Debug)]
struct Running {
    /// Not waited for while its group can be killed: so its id, which is the group's, stays taken.
    _child: Child,
    errors: Option<AbortHandle>,
}

impl Process {
    /// Starts the child in a process group of its own, with the host's `PATH` and its named variables.
    pub(crate) fn start(
        server: &str,
        command: &McpCommand,
        max_message: usize,
    ) -> io::Result<(Arc<Self>, StdioTransport)> {
        let mut child = Command::new(&command.program);
        child.args(&command.arguments).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            child.env("PATH", path);
        }
        let mut child = child
            .envs(&command.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("the child has no standard input or output");
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(missing)?;
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().map(|errors| {
            let server = server.to_owned();
            tokio::spawn(async move { log_errors(&server, errors).await }).abort_handle()
        });
        let running = Mutex::new(Some(Running { _child: child, errors }));
        let process = Arc::new(Self { group, running, reason: OnceLock::new() });
        let transport = StdioTransport {
            process: Arc::clone(&process),
            input: Arc::new(tokio::sync::Mutex::new(Some(input))),
            lines: Lines::new(output, max_message),
            unreadable: 0,
        };
        Ok((process, transport))
    }

    /// Whether the child is of any use still.
    pub(crate) fn is_running(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why the child was given up.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Kills the child and everything that it has started. Again, nothing happens.
    pub(crate) fn kill(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        if let Err(error) = kill_process_group(self.group, Signal::KILL) {
            tracing::debug!(%error, "an MCP server's processes were gone already");
        }
        if let Some(errors) = running.errors {
            errors.abort();
        }
    }

    /// Gives the child, whose standard input has been closed, a while to leave; then kills what is left.
    pub(crate) async fn leave(&self, patience: Duration) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let left = async {
            while self.is_running() && matches!(waitid(WaitId::Pid(self.group), look), Ok(None)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(patience, left).await;
        self.kill();
    }

    fn give_up(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn log_errors(server: &str, errors: ChildStderr) {
    let mut errors = BufReader::new(errors);
    let (mut logged, mut line) = (0, Vec::new());
    while logged < MAX_LOGGED {
        line.clear();
        // A longer line is logged in pieces.
        match (&mut errors).take(1024).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(read) => logged += read,
        }
        tracing::debug!(server, "{}", String::from_utf8_lossy(&line).trim_end());
    }
    let _ = tokio::io::copy_buf(&mut errors, &mut tokio::io::sink()).await;
}

/// Messages to and from a child.
#[derive(Debug)]
pub(crate) struct StdioTransport {
    process: Arc<Process>,
    input: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    lines: Lines<ChildStdout>,
    unreadable: usize,
}

impl Transport<RoleClient> for StdioTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (process, input) = (Arc::clone(&self.process), Arc::clone(&self.input));
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let write = async {
                let mut input = input.lock().await;
                let input = input.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                input.write_all(&line).await?;
                input.flush().await
            };
            tokio::time::timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(|_| {
                process.give_up("does not read its input");
                Err(io::ErrorKind::TimedOut.into())
            })
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.process.give_up("has ended");
                    return None;
                }
                Err(error) => {
                    self.process.give_up(error.to_string());
                    return None;
                }
            };
            match read(line) {
                Line::Message(message) => {
                    self.unreadable = 0;
                    return Some(*message);
                }
                Line::Empty => {}
                Line::Unreadable => {
                    tracing::debug!(bytes = line.len(), "a line of an MCP server is no message");
                    self.unreadable += 1;
                }
            }
            if self.unreadable >= MAX_UNREADABLE {
                self.process.give_up("writes what are no messages");
                return None;
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.input.lock().await.take();
        Ok(())
    }
}

enum Line {
    Message(Box<ServerJsonRpcMessage>),
    Empty,
    Unreadable,
}

fn read(line: &[u8]) -> Line {
    if line.trim_ascii().is_empty() {
        return Line::Empty;
    }
    if let Ok(message) = serde_json::from_slice(line) {
        return Line::Message(Box::new(message));
    }
    // An answer that cannot be read is an answer: whoever waits for it need not wait on.
    let Ok(Value::Object(object)) = serde_json::from_slice(line) else { return Line::Unreadable };
    let id = object.get("id").and_then(|id| serde_json::from_value::<RequestId>(id.clone()).ok());
    match id {
        Some(id) if !object.contains_key("method") => {
            let error = ErrorData::internal_error("the server's answer cannot be read", None);
            Line::Message(Box::new(ServerJsonRpcMessage::error(error, Some(id))))
        }
        _ => Line::Unreadable,
    }
}

/// Lines of at most so many bytes. Reading on after a cancelled read loses nothing.
#[derive(Debug)]
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    whole: bool,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R, max: usize) -> Self {
        Self { reader: BufReader::with_capacity(32 << 10, reader), line: Vec::new(), whole: false, max }
    }

    /// The next line without its end; `None` after the last whole one.
    async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.whole {
            self.whole = false;
            self.line.clear();
            // One long message does not keep its memory for good.
            self.line.shrink_to(64 << 10);
        }
        loop {
            let part = self.reader.fill_buf().await?;
            if part.is_empty() {
                return Ok(None);
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            if self.line.len() + taken.len() > self.max {
                let detail = format!("sent a message of more than {} bytes", self.max);
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
            }
            self.line.extend_from_slice(taken);
            let consumed = taken.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                self.whole = true;
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_bounded() {
        let mut lines = Lines::new(&b"one\n\nthree\nrest"[..], 5);
        assert_eq!(lines.next().await.unwrap(), Some(&b"one"[..]));
        assert_eq!(lines.next().await.unwrap(), Some(&b""[..]));
        assert_eq!(lines.next().await.unwrap(), Some(&b"three"[..]));
        assert_eq!(lines.next().await.unwrap(), None);
        let mut lines = Lines::new(&b"too long\n"[..], 5);
        assert!(lines.next().await.unwrap_err().to_string().contains("more than 5 bytes"));
    }

    #[tokio::test]
    async fn a_read_that_was_given_up_loses_nothing() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader, 100);
        writer.write_all(b"first ").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(20), lines.next()).await;
        assert!(waiting.is_err());
        writer.write_all(b"half\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(&b"first half"[..]));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_an_answer() {
        assert!(matches!(read(b"hello"), Line::Unreadable));
        assert!(matches!(read(b" \r"), Line::Empty));
        let Line::Message(message) = read(br#"{"jsonrpc": "2.0", "id": 7, "error": "oops"}"#) else {
            panic!("no message");
        };
        assert!(
            matches!(*message, ServerJsonRpcMessage::Error(error) if error.id == Some(RequestId::Number(7)))
        );
    }
}
