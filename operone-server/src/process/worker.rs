//! A worker process: limits itself, then drives one run that its parent serves.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use operone_core::agent::{Driver, Run, RunEnd, RunLog, Subagent, Suspended};
use operone_core::error::{Error, ErrorKind, ErrorReport, Result};
use operone_core::journal::{NewApproval, NewEvent};
use operone_core::model::{LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use operone_core::tool::{ToolHandle, ToolSpec, Tools};
use operone_sandbox::{Files, Limits, fence};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::protocol::{self, FromWorker, Start, StartAgent, ToWorker};
use crate::capabilities::file_tools;

/// The server stopped, or died: nothing that a worker did wrong.
const SERVER_GONE: &str = "server_gone";

/// What `operone-server worker` does: limits this process, takes the run that comes over the socket that stands in for
/// standard input, shuts this process off from all but that socket and the run's files, drives the run, and leaves.
/// Call it first thing in `main`.
///
/// `ram` is in bytes, `cpu` in thousandths of a core. `linger` keeps the process for a moment after the end of its run.
pub fn run_worker(ram: Option<u64>, cpu: Option<u32>, linger: Duration) -> ExitCode {
    let mut limits = Limits::default();
    (limits.ram, limits.cpu) = (ram, cpu);
    match confine_and_drive(limits, linger) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.code() == SERVER_GONE => {
            tracing::debug!(%error, "the worker stops");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(code = error.code(), %error, "the worker stops");
            ExitCode::FAILURE
        }
    }
}

fn confine_and_drive(limits: Limits, linger: Duration) -> Result<()> {
    let unfenced = |error: std::io::Error| {
        Error::internal("the worker cannot be limited or shut off").with_source(error)
    };
    limits.apply().map_err(unfenced)?;
    let no_socket = |error: std::io::Error| {
        Error::invalid("a worker is started by the server, with a socket as its standard input")
            .with_source(error)
    };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(no_socket)?;
    let mut socket = StdUnixStream::from(socket);
    socket.peer_addr().map_err(no_socket)?;
    protocol::write_blocking(&mut socket, &FromWorker::Ready)?;
    let start = match protocol::read_blocking(&mut socket)? {
        Some(ToWorker::Start(start)) => *start,
        Some(_) => return Err(Error::invalid("the server said nothing to do").with_code("worker_protocol")),
        None => return Err(gone()),
    };
    // The runtime has threads, and a thread that runs already is not shut off.
    fence(&files_of(&start)).map_err(unfenced)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|error| Error::internal("the worker's runtime cannot be started").with_source(error))?
        .block_on(drive(socket, start, linger))
}

fn files_of(start: &Start) -> Files {
    match &start.file_root {
        None => Files::None,
        Some(root) if start.file_quota == 0 => Files::Read(root.clone()),
        Some(root) => Files::ReadAndWrite(root.clone()),
    }
}

async fn drive(socket: StdUnixStream, start: Start, linger: Duration) -> Result<()> {
    let unusable =
        |error: std::io::Error| Error::internal("the worker's socket cannot be used").with_source(error);
    socket.set_nonblocking(true).map_err(unusable)?;
    let (mut reader, mut writer) = UnixStream::from_std(socket).map_err(unusable)?.into_split();
    let (sender, mut frames) = mpsc::unbounded_channel::<FromWorker>();
    let parent = Parent { sender, waiting: Arc::default(), last_id: Arc::default() };
    let cancelled = CancellationToken::new();
    let driving = async {
        run(start, parent.clone(), cancelled.clone()).await?;
        tokio::time::sleep(linger).await;
        Ok(())
    };
    let writing = async {
        while let Some(frame) = frames.recv().await {
            protocol::write(&mut writer, &frame).await?;
        }
        Ok(())
    };
    tokio::select! {
        result = driving => result,
        result = writing => result,
        // Without its parent a worker has no lease: it must stop at once.
        result = parent.listen(&mut reader, &cancelled) => result,
    }
}

async fn run(start: Start, parent: Parent, cancelled: CancellationToken) -> Result<()> {
    let identity = start.identity();
    let run = Run::from_snapshot(&start.run)?;
    let mut tools = Tools::new();
    for spec in start.remote_tools {
        tools.insert(parent.tool(spec))?;
    }
    if let Some(root) = &start.file_root {
        for tool in file_tools(root, start.file_quota).await? {
            tools.insert(tool)?;
        }
    }
    let model: Arc<dyn LanguageModel> = Arc::new(RemoteModel::new(None, start.model, &parent));
    let mut driver = Driver::new(model, tools.clone());
    for StartAgent { agent, model, tools: granted } in start.agents {
        let model: Arc<dyn LanguageModel> =
            Arc::new(RemoteModel::new(Some(agent.name.clone()), model, &parent));
        let mut own = Tools::new();
        for tool in granted.iter().filter_map(|name| tools.get(name)) {
            own.insert(tool.clone())?;
        }
        let below = Subagent::new(&agent.name, &agent.description, Driver::new(model, own))
            .with_instructions(&agent.instructions)
            .with_max_steps(agent.max_steps);
        driver = driver.with_agent(below)?;
    }
    driver.drive(&identity, run, start.resolved, &parent, cancelled).await.map(drop)
}

/// What the parent answers to one request.
enum Answer {
    Reply(Result<Value, ErrorReport>),
    Model(ModelEvent),
}

/// The other side of the socket.
#[derive(Clone, Debug)]
struct Parent {
    sender: mpsc::UnboundedSender<FromWorker>,
    // Never held across an await.
    waiting: Arc<Mutex<HashMap<u64, mpsc::UnboundedSender<Answer>>>>,
    last_id: Arc<AtomicU64>,
}

impl Parent {
    async fn listen(&self, reader: &mut OwnedReadHalf, cancelled: &CancellationToken) -> Result<()> {
        while let Some(frame) = protocol::read(reader).await? {
            let (id, answer, last) = match frame {
                ToWorker::Cancel => {
                    cancelled.cancel();
                    continue;
                }
                ToWorker::Start(_) => continue,
                ToWorker::Reply { id, result } => (id, Answer::Reply(result), true),
                ToWorker::Model { id, event } => {
                    let last = matches!(event, ModelEvent::Done(_));
                    (id, Answer::Model(event), last)
                }
            };
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = if last { waiting.remove(&id) } else { waiting.get(&id).cloned() };
            if let Some(asked) = asked {
                // Whoever asked may have been cancelled since.
                let _ = asked.send(answer);
            }
        }
        Err(gone())
    }

    fn ask(&self, request: impl FnOnce(u64) -> FromWorker) -> Result<mpsc::UnboundedReceiver<Answer>> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        self.sender.send(request(id)).map_err(|_| gone())?;
        Ok(receiver)
    }

    async fn request(&self, request: impl FnOnce(u64) -> FromWorker) -> Result<Value> {
        match self.ask(request)?.recv().await {
            Some(Answer::Reply(result)) => result.map_err(Error::from),
            Some(Answer::Model(_)) | None => Err(gone()),
        }
    }

    fn tool(&self, spec: ToolSpec) -> ToolHandle {
        let (parent, name) = (self.clone(), spec.name.clone());
        ToolHandle::from_fn(spec, move |context, input| {
            let (parent, name) = (parent.clone(), name.clone());
            async move {
                let (step, idempotency_key) = (context.step, context.idempotency_key);
                parent.request(|id| FromWorker::Tool { id, name, step, idempotency_key, input }).await
            }
        })
    }
}

#[async_trait]
impl RunLog for Parent {
    async fn append(&self, events: Vec<NewEvent>, run: &Run) -> Result<bool> {
        let run = run.to_snapshot()?;
        Ok(self.request(|id| FromWorker::Append { id, events, run }).await? == Value::Bool(true))
    }

    async fn suspend(
        &self,
        events: Vec<NewEvent>,
        run: &Run,
        approvals: Vec<NewApproval>,
    ) -> Result<Suspended> {
        let run = run.to_snapshot()?;
        let answer = self.request(|id| FromWorker::Suspend { id, events, run, approvals }).await?;
        serde_json::from_value(answer).map_err(|error| {
            Error::invalid("the server's answer cannot be read")
                .with_code("worker_protocol")
                .with_source(error)
        })
    }

    async fn finish(&self, events: Vec<NewEvent>, run: &Run, end: &RunEnd) -> Result<()> {
        let (run, end) = (run.to_snapshot()?, end.clone());
        self.request(|id| FromWorker::Finish { id, events, run, end }).await.map(drop)
    }

    fn token(&self, step: u64, content: &str) {
        // A parent that is gone ends the worker elsewhere.
        let _ = self.sender.send(FromWorker::Token { step, content: content.to_owned() });
    }
}

#[derive(Debug)]
struct RemoteModel {
    /// The sub-agent whose model it is; the agent's own where absent.
    agent: Option<String>,
    info: ModelInfo,
    parent: Parent,
}

impl RemoteModel {
    fn new(agent: Option<String>, info: ModelInfo, parent: &Parent) -> Self {
        Self { agent, info, parent: parent.clone() }
    }
}

#[async_trait]
impl LanguageModel for RemoteModel {
    fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let agent = self.agent.clone();
        let answers = self.parent.ask(|id| FromWorker::Model { id, agent, request })?;
        Ok(stream::unfold(answers, |mut answers| async move {
            let event = match answers.recv().await? {
                Answer::Model(event) => Ok(event),
                Answer::Reply(Err(report)) => Err(report.into()),
                Answer::Reply(Ok(_)) => return None,
            };
            Some((event, answers))
        })
        .boxed())
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the server that this worker belongs to is gone")
        .with_code(SERVER_GONE)
}
