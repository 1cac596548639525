//! What a worker process and its parent say to each other: frames of JSON with their length in front.

use std::path::PathBuf;

use operone_core::agent::{Resolved, RunEnd, RunIdentity, SubagentSpec};
use operone_core::error::{Error, ErrorKind, ErrorReport, Result};
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::journal::{NewApproval, NewEvent};
use operone_core::model::{ModelEvent, ModelInfo, ModelRequest};
use operone_core::tool::ToolSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest frame: neither side believes the other more.
const MAX_FRAME: u32 = 64 * 1024 * 1024;

/// What the parent says.
#[derive(Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Comes first: the run to drive.
    Start(Box<Start>),
    /// The answer to a request.
    Reply { id: u64, result: Result<Value, ErrorReport> },
    /// A part of a model's answer.
    Model { id: u64, event: ModelEvent },
    /// The run is to end.
    Cancel,
}

/// The run to drive.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) tenant: TenantId,
    pub(super) agent: Option<AgentId>,
    pub(super) run_id: WorkId,
    /// The run as the journal has it.
    pub(super) run: Value,
    pub(super) model: ModelInfo,
    /// Tools that the parent calls on the worker's behalf.
    pub(super) remote_tools: Vec<ToolSpec>,
    /// The folder of the file tools, if they are granted.
    pub(super) file_root: Option<PathBuf>,
    /// The bytes that this folder may come to hold.
    pub(super) file_quota: u64,
    /// What was decided of the calls that the run waits for.
    pub(super) resolved: Vec<Resolved>,
    /// The sub-agents.
    pub(super) agents: Vec<StartAgent>,
}

/// A sub-agent of the run.
#[derive(Serialize, Deserialize)]
pub(super) struct StartAgent {
    pub(super) agent: SubagentSpec,
    /// What answers it.
    pub(super) model: ModelInfo,
    /// Those of the agent's tools that it may call.
    pub(super) tools: Vec<String>,
}

impl Start {
    pub(super) fn identity(&self) -> RunIdentity {
        RunIdentity::new(self.tenant.clone(), self.agent.clone(), self.run_id.clone())
    }
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// Comes first: the process is within its limits and waits for its run.
    Ready,
    /// Write events and the run; answered with false if the end of the run was asked for.
    Append { id: u64, events: Vec<NewEvent>, run: Value },
    /// Write events and the run, and ask for approvals; answered with what came of it. A run that waits is driven by
    /// another process once something was decided.
    Suspend { id: u64, events: Vec<NewEvent>, run: Value, approvals: Vec<NewApproval> },
    /// Write the end; answered with null.
    Finish { id: u64, events: Vec<NewEvent>, run: Value, end: RunEnd },
    /// Pass on a piece of text; not answered.
    Token { step: u64, content: String },
    /// Ask the model of the agent, or of the sub-agent of this name; answered by its parts, or by an error.
    Model { id: u64, agent: Option<String>, request: ModelRequest },
    /// Call one of the remote tools; answered with its output.
    Tool { id: u64, name: String, step: u64, idempotency_key: String, input: Value },
}

/// Reads a frame; `None` at the end of the stream.
pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<T>> {
    let length = match from.read_u32_le().await {
        Ok(length) => length,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(broken(error)),
    };
    let mut frame = vec![0; believed(length)?];
    from.read_exact(&mut frame).await.map_err(broken)?;
    decode(&frame).map(Some)
}

/// Reads a frame where there is no runtime yet; `None` at the end of the stream.
pub(super) fn read_blocking<T: DeserializeOwned>(from: &mut impl std::io::Read) -> Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result.map_err(broken)?,
    }
    let mut frame = vec![0; believed(u32::from_le_bytes(length))?];
    from.read_exact(&mut frame).map_err(broken)?;
    decode(&frame).map(Some)
}

/// Writes a frame.
pub(super) async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> Result<()> {
    to.write_all(&encode(value)?).await.map_err(broken)?;
    to.flush().await.map_err(broken)
}

/// Writes a frame where there is no runtime yet.
pub(super) fn write_blocking<T: Serialize>(to: &mut impl std::io::Write, value: &T) -> Result<()> {
    to.write_all(&encode(value)?).map_err(broken)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut frame = vec![0; size_of::<u32>()];
    serde_json::to_writer(&mut frame, value)
        .map_err(|error| Error::internal("a frame cannot be written as JSON").with_source(error))?;
    let length = u32::try_from(frame.len() - size_of::<u32>()).unwrap_or(u32::MAX);
    believed(length)?;
    frame[..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

fn believed(length: u32) -> Result<usize> {
    if length > MAX_FRAME {
        let detail = "a frame between worker and server is too large";
        return Err(Error::invalid(detail).with_code("worker_protocol"));
    }
    Ok(length as usize)
}

fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T> {
    serde_json::from_slice(frame).map_err(|error| {
        Error::invalid("a frame between worker and server cannot be read")
            .with_code("worker_protocol")
            .with_source(error)
    })
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection between worker and server broke")
        .with_code("worker_died")
        .with_source(error)
}
