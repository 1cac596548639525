//! Does the I/O of a run: asks the model, calls the tools, and writes each step to the log before and after.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::event;
use super::log::RunLog;
use super::machine::{Next, PendingCall, Run, RunEnd, ToolOutcome};
use crate::cache::ContentHash;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AgentId, TenantId, WorkId};
use crate::model::{Finish, LanguageModel, ModelEvent, ToolCall};
use crate::tool::{ToolClass, ToolContext, ToolHandle, Tools};

/// The most bytes of text that one model turn may write.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The most calls of one model turn.
const MAX_CALLS: usize = 64;

/// Drives runs with a model and tools. Holds no state of a run: one driver serves many at once.
#[derive(Clone, Debug)]
pub struct Driver {
    model: Arc<dyn LanguageModel>,
    tools: Tools,
}

/// Whose run it is; tools are told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunIdentity {
    /// Whose data the tools may touch.
    pub tenant: TenantId,
    /// The agent; `None` for an agent that is stored nowhere.
    pub agent: Option<AgentId>,
    /// The run.
    pub run: WorkId,
}

impl RunIdentity {
    /// A run of a tenant's agent.
    pub fn new(tenant: TenantId, agent: Option<AgentId>, run: WorkId) -> Self {
        Self { tenant, agent, run }
    }
}

/// How a turn of the model, or a call of a tool, came to its end.
enum Turn<T> {
    Done(T),
    Cancelled,
}

impl Driver {
    /// Drives with a model and the tools it may call.
    pub fn new(model: Arc<dyn LanguageModel>, tools: Tools) -> Self {
        Self { model, tools }
    }

    /// Drives a run to its end.
    ///
    /// - Every step is written to the log before it is done and after it.
    /// - A run that was interrupted goes on where the log ends. A step that was begun then is done again, a model
    ///   turn anew and a tool under the same idempotency key, but a tool of class `once` is not: the model is
    ///   told that the outcome is unknown.
    /// - Whatever goes wrong with the model or a tool is an outcome of the run. An error is returned only where
    ///   the log could not be written: the run is then as the log has it.
    /// - Dropping the future stops the model and the tools and leaves the run to be taken up again.
    pub async fn drive(
        &self,
        identity: &RunIdentity,
        mut run: Run,
        log: &dyn RunLog,
        cancelled: CancellationToken,
    ) -> Result<RunEnd> {
        // Events of a step that has ended, to be written together with what follows it.
        let mut ended = Vec::new();
        loop {
            if cancelled.is_cancelled() {
                run.cancelled();
            }
            match run.next() {
                Next::Done(end) => {
                    ended.push(event::ended(&end));
                    log.finish(ended, &end).await?;
                    return Ok(end);
                }
                Next::Think { step, begun } => {
                    if !begun {
                        run.think_begun();
                        if !matches!(run.next(), Next::Think { .. }) {
                            continue;
                        }
                        ended.push(event::think_begun(step));
                        if log.append(std::mem::take(&mut ended), &run).await? {
                            cancelled.cancel();
                        }
                    }
                    ended = self.think(&mut run, step, log, &cancelled).await;
                }
                Next::Act(call) => {
                    let inputs = call
                        .call
                        .parsed_arguments()
                        .unwrap_or_else(|_| Value::from(call.call.arguments.as_str()));
                    let begun_before = call.started;
                    if !begun_before {
                        run.tool_begun(call.step);
                        ended.extend(event::act_begun(&call, &inputs));
                        if log.append(std::mem::take(&mut ended), &run).await? {
                            cancelled.cancel();
                        }
                    }
                    ended = self.act(&mut run, &call, begun_before, identity, &cancelled).await;
                }
            }
        }
    }

    async fn think(
        &self,
        run: &mut Run,
        step: u64,
        log: &dyn RunLog,
        cancelled: &CancellationToken,
    ) -> Vec<crate::journal::NewEvent> {
        let begun = Instant::now();
        let mut text = String::new();
        let asked = tokio::select! {
            biased;
            () = cancelled.cancelled() => Turn::Cancelled,
            answer = self.ask(run, step, log, &mut text) => Turn::Done(answer),
        };
        let status = match asked {
            Turn::Cancelled => {
                run.cancelled();
                "cancelled"
            }
            Turn::Done(Ok((calls, finish))) => {
                run.model_answered(text.clone(), calls, &finish);
                "ok"
            }
            Turn::Done(Err(error)) => {
                tracing::warn!(run_step = step, code = error.code(), %error, "the model did not answer");
                run.failed(error.report());
                "error"
            }
        };
        vec![event::step_ended(step, status, &text, begun.elapsed().as_millis())]
    }

    async fn ask(
        &self,
        run: &Run,
        step: u64,
        log: &dyn RunLog,
        text: &mut String,
    ) -> Result<(Vec<ToolCall>, Finish)> {
        let mut stream = self.model.stream(run.request(self.tools.specs())).await?;
        let mut calls = Vec::new();
        while let Some(event) = stream.next().await {
            match event? {
                ModelEvent::Text(piece) => {
                    text.push_str(&piece);
                    if text.len() > MAX_ANSWER {
                        return Err(too_much(format!("more than {MAX_ANSWER} bytes of text")));
                    }
                    log.token(step, &piece);
                }
                ModelEvent::Call(call) => {
                    calls.push(call);
                    if calls.len() > MAX_CALLS {
                        return Err(too_much(format!("more than {MAX_CALLS} tool calls")));
                    }
                }
                ModelEvent::Done(finish) => return Ok((calls, finish)),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the model's answer was cut off").with_code("model_cut_off"))
    }

    async fn act(
        &self,
        run: &mut Run,
        call: &PendingCall,
        begun_before: bool,
        identity: &RunIdentity,
        cancelled: &CancellationToken,
    ) -> Vec<crate::journal::NewEvent> {
        let begun = Instant::now();
        let outcome = tokio::select! {
            biased;
            () = cancelled.cancelled() => Turn::Cancelled,
            outcome = self.call(call, begun_before, identity, cancelled) => Turn::Done(outcome),
        };
        match outcome {
            Turn::Done(outcome) => {
                run.tool_answered(call.step, outcome.clone());
                event::act_ended(call, &outcome, begun.elapsed().as_millis()).into()
            }
            Turn::Cancelled => {
                run.cancelled();
                vec![event::step_ended(call.step, "cancelled", "", begun.elapsed().as_millis())]
            }
        }
    }

    async fn call(
        &self,
        pending: &PendingCall,
        begun_before: bool,
        identity: &RunIdentity,
        cancelled: &CancellationToken,
    ) -> ToolOutcome {
        let Some(tool) = self.tools.get(&pending.call.name) else {
            return ToolOutcome::error(&self.unknown(&pending.call.name));
        };
        let input = match pending.call.parsed_arguments() {
            Ok(input) => input,
            Err(error) => return with_schema(tool, &error),
        };
        if begun_before && tool.spec().class == ToolClass::Once {
            let detail =
                "the tool was begun before a crash and must not run twice: whether it took effect is unknown";
            return ToolOutcome::error(&Error::conflict(detail).with_code("outcome_unknown"));
        }
        let mut context = ToolContext::new(identity.tenant.clone());
        context.agent.clone_from(&identity.agent);
        context.run = Some(identity.run.clone());
        context.step = pending.step;
        context.idempotency_key = idempotency_key(&identity.run, pending);
        context.cancelled = cancelled.child_token();
        match tool.call(&context, input).await {
            Ok(output) => ToolOutcome::Ok(output),
            Err(error) if error.kind() == ErrorKind::Invalid => with_schema(tool, &error),
            Err(error) => ToolOutcome::error(&error),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<String> = self.tools.specs().into_iter().map(|spec| spec.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::not_found(format!("there is no tool '{name}'; granted are: {known}")).with_code("unknown_tool")
    }
}

fn with_schema(tool: &ToolHandle, error: &Error) -> ToolOutcome {
    ToolOutcome::Error { error: error.report(), input_schema: Some(tool.spec().input_schema.clone()) }
}

fn too_much(what: String) -> Error {
    Error::invalid(format!("the model wrote {what}")).with_code("answer_too_large")
}

/// The same for each try of one call, and for no other call.
fn idempotency_key(run: &WorkId, pending: &PendingCall) -> String {
    let PendingCall { step, call, .. } = pending;
    ContentHash::of(format!("{run}\n{step}\n{}\n{}", call.name, call.arguments)).to_hex()
}
