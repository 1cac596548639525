//! Parses untrusted files in processes of their own: a file that crashes or hangs a parser takes nothing with it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use operone_core::error::{Error, ErrorKind, ErrorReport, Result};
use operone_core::source::{Fetched, Parsed, Parser};
use operone_rag::parse::{ParseLimits, parse_document};
use operone_sandbox::{Files, Limits, fence};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;

/// How long one document may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The memory of one parser process, in bytes.
const MEMORY_LIMIT: u64 = 1 << 30;
/// The largest answer that is believed, in bytes.
const MAX_ANSWER: usize = 256 << 20;
/// How many documents are parsed at once.
const CONCURRENCY: usize = 2;

/// Parses in processes started as `program parse`, which are kept for the next document unless one breaks them.
#[derive(Debug)]
pub struct ProcessParser {
    program: PathBuf,
    permits: Semaphore,
    // Never held across an await.
    idle: Mutex<Vec<Process>>,
}

#[derive(Debug)]
struct Process {
    // Killed when dropped.
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    media_type: Option<String>,
    length: usize,
}

impl ProcessParser {
    /// Parses two documents at once; further ones wait.
    pub fn new(program: PathBuf) -> Self {
        Self { program, permits: Semaphore::new(CONCURRENCY), idle: Mutex::default() }
    }

    fn take(&self) -> Result<Process> {
        if let Some(process) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(process);
        }
        let failed = |error: Option<std::io::Error>| {
            let failure = Error::new(ErrorKind::Unavailable, "the parser process cannot be started");
            let failure = failure.with_code("parser_not_started");
            match error {
                Some(error) => failure.with_source(error),
                None => failure,
            }
        };
        let mut child = Command::new(&self.program)
            .arg("parse")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(Some(error)))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Process { _child: child, stdin, stdout }),
            _ => Err(failed(None)),
        }
    }
}

#[async_trait]
impl Parser for ProcessParser {
    async fn parse(&self, document: Fetched) -> Result<Parsed> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(Error::internal("the parser is closed"));
        };
        let mut process = self.take()?;
        match tokio::time::timeout(TIME_LIMIT, process.parse(&document)).await {
            Ok(Ok(answer)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
                answer.map_err(Error::from)
            }
            Ok(Err(error)) => {
                let detail = "the document crashed its parser; it is left out";
                Err(Error::invalid(detail).with_code("parser_crashed").with_source(error))
            }
            Err(_) => {
                let detail = format!("the document was not parsed within {} seconds", TIME_LIMIT.as_secs());
                Err(Error::invalid(detail).with_code("timeout"))
            }
        }
    }
}

impl Process {
    async fn parse(
        &mut self,
        document: &Fetched,
    ) -> std::io::Result<std::result::Result<Parsed, ErrorReport>> {
        let head = Head {
            name: document.name.clone(),
            media_type: document.media_type.clone(),
            length: document.bytes.len(),
        };
        let head = serde_json::to_vec(&head)?;
        self.stdin.write_all(&length_of(&head)).await?;
        self.stdin.write_all(&head).await?;
        self.stdin.write_all(&document.bytes).await?;
        self.stdin.flush().await?;
        let length = self.stdout.read_u32_le().await? as usize;
        if length > MAX_ANSWER {
            return Err(std::io::Error::other("the parser's answer is too large"));
        }
        let mut answer = vec![0; length];
        self.stdout.read_exact(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// What `operone-server parse` does: limits this process and shuts it off from all files and networks, then parses the
/// documents that come over standard input, one after another, until it ends. Call it first thing in `main`.
pub fn run_parser() -> ExitCode {
    let fenced = Limits::default().with_ram(MEMORY_LIMIT).apply().and_then(|()| fence(&Files::None));
    if let Err(error) = fenced {
        tracing::error!(%error, "the parser cannot be limited or shut off");
        return ExitCode::FAILURE;
    }
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    loop {
        match parse_next(&mut input, &mut output) {
            Ok(true) => {}
            Ok(false) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

/// Parses one document; false at the end of the input.
fn parse_next(input: &mut impl Read, output: &mut impl Write) -> std::io::Result<bool> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        result => result?,
    }
    let mut head = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut head)?;
    let head: Head = serde_json::from_slice(&head)?;
    let mut document = Fetched::new(head.name, vec![0; head.length]);
    document.media_type = head.media_type;
    input.read_exact(&mut document.bytes)?;
    let parsed = parse_document(&document, &ParseLimits::default()).map_err(|error| error.report());
    let answer = serde_json::to_vec(&parsed)?;
    output.write_all(&length_of(&answer))?;
    output.write_all(&answer)?;
    output.flush()?;
    Ok(true)
}

fn length_of(frame: &[u8]) -> [u8; 4] {
    u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes()
}
