//! The parent of worker processes: starts them, holds the lease, and serves what they ask for.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use operone_core::agent::{
    AgentHandler, AgentSpec, JournalLog, Restored, Run, RunLog, RunServices, Suspended,
};
use operone_core::error::{Error, ErrorKind, ErrorReport, Result};
use operone_core::id::TenantId;
use operone_core::journal::Claimed;
use operone_core::model::{LanguageModel, ModelEvent, ModelRequest};
use operone_core::tool::{ToolContext, Tools};
use operone_core::work::WorkHandler;
use operone_sandbox::Limits;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::last_words::LastWords;
use super::protocol::{self, FromWorker, Start, StartAgent, ToWorker};
use super::sandbox::{Held, Sandbox};
use crate::capabilities::Capabilities;

/// How long a worker may take to leave after its run has ended.
const LEAVE: Duration = Duration::from_secs(5);

/// How long a process may take to begin.
const READY: Duration = Duration::from_secs(10);

fn not_started(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the worker process cannot be started")
        .with_code("worker_not_started")
        .with_source(error)
}

/// Starts worker processes and serves them.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    program: PathBuf,
    services: RunServices,
    capabilities: Arc<Capabilities>,
    sandbox: Sandbox,
}

/// A worker process that waits for its run.
#[derive(Debug)]
pub(crate) struct Launched {
    // Dropped before the child, whose number may be another's once it has been waited for.
    held: Held,
    last_words: LastWords,
    child: Child,
    socket: UnixStream,
}

impl Launched {
    /// The process's id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process runs its own program and has said so, or has died. It is then one that others can
    /// look at; before, the system may show it without a command line.
    pub(crate) async fn ready(&self) -> Result<()> {
        match tokio::time::timeout(READY, self.socket.readable()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(not_started(error)),
            Err(_) => Err(not_started(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Processes {
    /// Starts workers as `program worker`.
    pub(crate) fn new(
        program: PathBuf,
        services: RunServices,
        capabilities: Arc<Capabilities>,
        sandbox: Sandbox,
    ) -> Self {
        Self { program, services, capabilities, sandbox }
    }

    /// What keeps the processes within their limits.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Starts a process that waits for a run of this agent. It dies when the value is dropped, and when this
    /// process dies.
    /// It leaves `linger` after the end of its run.
    pub(crate) fn launch(&self, spec: &AgentSpec, linger: Duration) -> Result<Launched> {
        let limits = spec.resources.as_ref().map(Limits::of).transpose()?.unwrap_or_default();
        let (ours, theirs) = StdUnixStream::pair().map_err(not_started)?;
        ours.set_nonblocking(true).map_err(not_started)?;
        let mut command = Command::new(&self.program);
        command
            .arg("worker")
            .args(limits.ram.map(|ram| format!("--ram-bytes={ram}")))
            .args(limits.cpu.map(|cpu| format!("--cpu-millicores={cpu}")))
            .arg(format!("--linger-ms={}", linger.as_millis()))
            // Keys live in the environment: a worker gets none of it.
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(filter) = std::env::var_os("OPERONE_LOG") {
            command.env("OPERONE_LOG", filter);
        }
        let mut child = command.spawn().map_err(not_started)?;
        let (Some(pid), Some(stderr)) = (child.id(), child.stderr.take()) else {
            return Err(Error::internal("the worker process has no number"));
        };
        let held = self.sandbox.hold(pid, limits)?;
        let socket = UnixStream::from_std(ours).map_err(not_started)?;
        Ok(Launched { held, last_words: LastWords::follow(stderr), child, socket })
    }

    /// A handler that gives one run to a process that was started for it.
    pub(crate) fn handler(&self, launched: Launched) -> ProcessHandler {
        ProcessHandler { processes: self.clone(), launched: Mutex::new(Some(launched)) }
    }

    /// The sub-agents, with those of the agent's tools that they may call.
    async fn agents(&self, tenant: &TenantId, spec: &AgentSpec) -> Result<Vec<StartAgent>> {
        let mut agents = Vec::with_capacity(spec.agents.len());
        for agent in &spec.agents {
            let own = AgentSpec::new("", agent.capabilities.clone());
            let tools = self.capabilities.tools(tenant, &own).await?.specs();
            let tools = tools.into_iter().map(|spec| spec.name).collect();
            let model = self.capabilities.models().of_subagent(spec, agent)?.info();
            agents.push(StartAgent { agent: agent.clone(), model, tools });
        }
        Ok(agents)
    }

    async fn serve(&self, launched: Launched, claimed: &Claimed, cancelled: CancellationToken) -> Result<()> {
        let Restored { spec, run, resolved, .. } = self.services.restore(&claimed.work).await?;
        let tenant = &claimed.work.new.tenant;
        let model = self.capabilities.models().of(&spec)?;
        let models = spec.agents.iter().map(|agent| {
            let model = self.capabilities.models().of_subagent(&spec, agent)?;
            Ok((agent.name.clone(), model))
        });
        let subagent_models = models.collect::<Result<HashMap<_, _>>>()?;
        let remote = self.capabilities.tools_of_server(tenant, &spec).await?;
        let start = Start {
            tenant: tenant.clone(),
            agent: claimed.work.new.agent.clone(),
            run_id: claimed.work.new.id.clone(),
            run: run.to_snapshot()?,
            model: model.info(),
            remote_tools: remote.specs(),
            file_root: self.capabilities.file_root(tenant, &spec)?,
            file_quota: self.capabilities.workspace_quota(),
            resolved,
            agents: self.agents(tenant, &spec).await?,
        };
        let log = self.services.log(claimed);
        log.started().await;

        // In this order, so that an early end lets go of the child before it is waited for.
        let Launched { mut child, held, last_words, socket } = launched;
        let (mut reader, writer) = socket.into_split();
        let (sender, mut frames) = mpsc::unbounded_channel::<ToWorker>();
        let mut tasks: JoinSet<()> = JoinSet::new();
        tasks.spawn(async move {
            let mut writer = writer;
            while let Some(frame) = frames.recv().await {
                if protocol::write(&mut writer, &frame).await.is_err() {
                    // The reading side sees the end of the worker and says so.
                    return;
                }
            }
        });
        let _ = sender.send(ToWorker::Start(Box::new(start)));
        let mut context = ToolContext::new(tenant.clone());
        context.agent.clone_from(&claimed.work.new.agent);
        context.run = Some(claimed.work.new.id.clone());
        context.cancelled = cancelled.child_token();
        // The session lives until the worker has left: a worker whose socket closes stops at once.
        let mut session = Session { log, model, subagent_models, remote, context, sender, tasks };
        let driven = session.run(&mut reader, cancelled).await;
        if driven.as_ref().is_err_and(|error| error.code() == "worker_died") {
            let exceeded = held.release(&last_words.take().await);
            return exceeded.map_or(driven, |exceeded| Err(exceeded.into()));
        }
        drop(held);
        driven?;
        if tokio::time::timeout(LEAVE, child.wait()).await.is_err() {
            tracing::warn!(pid = child.id(), "a worker did not leave after its run and is killed");
        }
        Ok(())
    }
}

/// One run in one process.
struct Session {
    log: JournalLog,
    model: Arc<dyn LanguageModel>,
    /// By the names of the sub-agents.
    subagent_models: HashMap<String, Arc<dyn LanguageModel>>,
    remote: Tools,
    context: ToolContext,
    sender: mpsc::UnboundedSender<ToWorker>,
    tasks: JoinSet<()>,
}

impl Session {
    async fn run(&mut self, reader: &mut OwnedReadHalf, cancelled: CancellationToken) -> Result<()> {
        let cancel = {
            let sender = self.sender.clone();
            async move {
                cancelled.cancelled().await;
                let _ = sender.send(ToWorker::Cancel);
            }
        };
        self.tasks.spawn(cancel);
        loop {
            let frame = protocol::read::<FromWorker>(reader).await?;
            let Some(frame) = frame else {
                let detail = "the worker process died before its run had ended";
                return Err(Error::new(ErrorKind::Unavailable, detail).with_code("worker_died"));
            };
            if self.answer(frame).await? {
                return Ok(());
            }
        }
    }

    /// Serves one request; true after the last one.
    async fn answer(&mut self, frame: FromWorker) -> Result<bool> {
        match frame {
            FromWorker::Ready => {}
            FromWorker::Append { id, events, run } => {
                let written = self.log.append(events, &Run::from_snapshot(&run)?).await?;
                self.reply(id, Ok(Value::Bool(written)));
            }
            FromWorker::Suspend { id, events, run, approvals } => {
                let suspended = self.log.suspend(events, &Run::from_snapshot(&run)?, approvals).await?;
                let answer = serde_json::to_value(&suspended).map_err(|error| {
                    Error::internal("an answer cannot be written as JSON").with_source(error)
                })?;
                self.reply(id, Ok(answer));
                return Ok(suspended == Suspended::Waiting);
            }
            FromWorker::Finish { id, events, run, end } => {
                self.log.finish(events, &Run::from_snapshot(&run)?, &end).await?;
                self.reply(id, Ok(Value::Null));
                return Ok(true);
            }
            FromWorker::Token { step, content } => self.log.token(step, &content),
            FromWorker::Model { id, agent, request } => {
                let model = match &agent {
                    None => Some(&self.model),
                    Some(agent) => self.subagent_models.get(agent),
                };
                match model {
                    Some(model) => {
                        self.tasks.spawn(ask(Arc::clone(model), id, request, self.sender.clone()));
                    }
                    None => {
                        let detail = "there is no such sub-agent";
                        self.reply(id, Err(ErrorReport::new(ErrorKind::Denied, "denied", detail)));
                    }
                }
            }
            FromWorker::Tool { id, name, step, idempotency_key, input } => {
                let mut context = self.context.clone();
                context.step = step;
                context.idempotency_key = idempotency_key;
                match self.remote.get(&name).cloned() {
                    Some(tool) => {
                        let sender = self.sender.clone();
                        self.tasks.spawn(async move {
                            let result = tool.call(&context, input).await.map_err(|error| error.report());
                            let _ = sender.send(ToWorker::Reply { id, result });
                        });
                    }
                    None => {
                        let detail = format!("'{name}' is not granted");
                        self.reply(id, Err(ErrorReport::new(ErrorKind::Denied, "denied", detail)));
                    }
                }
            }
        }
        Ok(false)
    }

    fn reply(&self, id: u64, result: Result<Value, ErrorReport>) {
        // A worker that is gone is noticed by the reading side.
        let _ = self.sender.send(ToWorker::Reply { id, result });
    }
}

/// The most bytes of one answer: a worker that does not read them must not let them pile up here.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

fn size(event: &ModelEvent) -> usize {
    match event {
        ModelEvent::Text(text) => text.len(),
        ModelEvent::Reasoning(piece) => piece.text.len() + piece.signature.as_ref().map_or(0, String::len),
        ModelEvent::Call(call) => call.id.len() + call.name.len() + call.arguments.len(),
        _ => 0,
    }
}

async fn ask(
    model: Arc<dyn LanguageModel>,
    id: u64,
    request: ModelRequest,
    sender: mpsc::UnboundedSender<ToWorker>,
) {
    let refuse = |error: &Error| {
        let _ = sender.send(ToWorker::Reply { id, result: Err(error.report()) });
    };
    let mut bytes = 0;
    match model.stream(request).await {
        Err(error) => refuse(&error),
        Ok(mut answer) => {
            while let Some(event) = answer.next().await {
                match event {
                    Ok(event) => {
                        bytes += size(&event);
                        if bytes > MAX_ANSWER {
                            let detail = format!("the model wrote more than {MAX_ANSWER} bytes");
                            return refuse(&Error::invalid(detail).with_code("answer_too_large"));
                        }
                        let last = matches!(event, ModelEvent::Done(_));
                        if sender.send(ToWorker::Model { id, event }).is_err() || last {
                            return;
                        }
                    }
                    Err(error) => return refuse(&error),
                }
            }
            refuse(
                &Error::new(ErrorKind::Unavailable, "the model's answer was cut off")
                    .with_code("model_cut_off"),
            );
        }
    }
}

/// Gives one run to a process that was started for it.
#[derive(Debug)]
pub(crate) struct ProcessHandler {
    processes: Processes,
    launched: Mutex<Option<Launched>>,
}

#[async_trait]
impl WorkHandler for ProcessHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        let launched = self.launched.lock().unwrap_or_else(PoisonError::into_inner).take();
        let launched = launched.ok_or_else(|| Error::internal("this process has run already"))?;
        self.processes.serve(launched, &claimed, cancelled).await
    }
}

/// Drives runs here, and those that ask for limits in a process of their own.
#[derive(Debug)]
pub(crate) struct RunHandler {
    here: AgentHandler,
    processes: Processes,
}

impl RunHandler {
    pub(crate) fn new(here: AgentHandler, processes: Processes) -> Self {
        Self { here, processes }
    }
}

#[async_trait]
impl WorkHandler for RunHandler {
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()> {
        let spec = AgentSpec::from_stored(&claimed.work.new.spec)?;
        if spec.resources.is_none() {
            return self.here.run(claimed, cancelled).await;
        }
        let launched = self.processes.launch(&spec, Duration::ZERO)?;
        self.processes.serve(launched, &claimed, cancelled).await
    }
}
