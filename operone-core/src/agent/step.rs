//! One step of a run: asks the model or calls a tool, and stops where it is told to.

use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drive::refusal;
use super::driver::{Driver, RunIdentity, Subagent};
use super::log::RunLog;
use super::machine::{PendingCall, ToolOutcome};
use crate::error::{Error, ErrorKind};
use crate::model::{Finish, LanguageModel, ModelEvent, ModelRequest, Reasoning, ToolCall};
use crate::tool::{ToolContext, ToolHandle};

/// The most bytes of text that one model turn may write.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The most calls of one model turn.
const MAX_CALLS: usize = 64;

/// A step that is over.
pub(super) struct Finished {
    pub(super) step: u64,
    pub(super) millis: u64,
    pub(super) result: Result,
}

/// What came of a step.
pub(super) enum Result {
    Thought {
        text: String,
        reasoning: Vec<Reasoning>,
        agents: Vec<String>,
        calls: Vec<ToolCall>,
        finish: Finish,
    },
    NotThought {
        text: String,
        error: Error,
    },
    Called {
        call: Box<PendingCall>,
        outcome: ToolOutcome,
    },
    /// It was told to stop; what the model had said by then.
    Stopped {
        text: String,
    },
}

/// What a model answered besides its text.
struct Answer {
    reasoning: Vec<Reasoning>,
    calls: Vec<ToolCall>,
    finish: Finish,
}

/// Asks the model.
pub(super) async fn think(
    driver: &Driver,
    request: ModelRequest,
    step: u64,
    agents: Vec<String>,
    log: &dyn RunLog,
    stop: CancellationToken,
) -> Finished {
    let begun = Instant::now();
    let mut text = String::new();
    let answer = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        answer = ask(driver.model.as_ref(), request, step, log, &mut text) => Some(answer),
    };
    let result = match answer {
        None => Result::Stopped { text },
        Some(Ok(Answer { reasoning, calls, finish })) => {
            Result::Thought { text, reasoning, agents, calls, finish }
        }
        Some(Err(error)) => Result::NotThought { text, error },
    };
    Finished { step, millis: millis_since(begun), result }
}

/// Calls a tool, unless a person has said no.
pub(super) async fn act(
    driver: Option<&Driver>,
    call: Box<PendingCall>,
    identity: &RunIdentity,
    stop: CancellationToken,
) -> Finished {
    let begun = Instant::now();
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        outcome = call_tool(driver, &call, identity, &stop) => Some(outcome),
    };
    let step = call.step;
    let result = match outcome {
        None => Result::Stopped { text: String::new() },
        Some(outcome) => Result::Called { call, outcome },
    };
    Finished { step, millis: millis_since(begun), result }
}

async fn ask(
    model: &dyn LanguageModel,
    request: ModelRequest,
    step: u64,
    log: &dyn RunLog,
    text: &mut String,
) -> crate::Result<Answer> {
    let mut stream = model.stream(request).await?;
    let (mut calls, mut reasoning, mut thought) = (Vec::new(), Vec::new(), 0);
    while let Some(event) = stream.next().await {
        match event? {
            ModelEvent::Text(piece) => {
                text.push_str(&piece);
                if text.len() > MAX_ANSWER {
                    return Err(too_much(format!("more than {MAX_ANSWER} bytes of text")));
                }
                log.token(step, &piece);
            }
            ModelEvent::Reasoning(piece) => {
                thought += piece.text.len() + piece.signature.as_ref().map_or(0, String::len);
                if thought > MAX_ANSWER {
                    return Err(too_much(format!("more than {MAX_ANSWER} bytes of thoughts")));
                }
                Reasoning::join(&mut reasoning, piece);
            }
            ModelEvent::Call(call) => {
                calls.push(call);
                if calls.len() > MAX_CALLS {
                    return Err(too_much(format!("more than {MAX_CALLS} tool calls")));
                }
            }
            ModelEvent::Done(mut finish) => {
                if let (0, Some(price)) = (finish.usage.cost_micros, model.info().price) {
                    finish.usage.cost_micros = price.of(&finish.usage);
                }
                return Ok(Answer { reasoning, calls, finish });
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the model's answer was cut off").with_code("model_cut_off"))
}

async fn call_tool(
    driver: Option<&Driver>,
    pending: &PendingCall,
    identity: &RunIdentity,
    stop: &CancellationToken,
) -> ToolOutcome {
    if let Some(refusal) = refusal(pending) {
        return refusal;
    }
    let name = &pending.call.name;
    let Some(tool) = driver.and_then(|driver| driver.tools.get(name)) else {
        return not_called(driver, pending);
    };
    let input = match pending.call.parsed_arguments() {
        Ok(input) => input,
        Err(error) => return with_schema(tool, &error),
    };
    let mut context = ToolContext::new(identity.tenant.clone());
    context.agent.clone_from(&identity.agent);
    context.run = Some(identity.run.clone());
    context.step = pending.step;
    context.idempotency_key = pending.idempotency_key(&identity.run);
    context.cancelled = stop.child_token();
    match tool.call(&context, input).await {
        Ok(output) => ToolOutcome::Ok(output),
        Err(error) if error.kind() == ErrorKind::Invalid => with_schema(tool, &error),
        Err(error) => ToolOutcome::error(&error),
    }
}

/// What is wrong with a call that no tool takes: there is none of this name, or the task of a sub-agent is missing.
fn not_called(driver: Option<&Driver>, pending: &PendingCall) -> ToolOutcome {
    let name = &pending.call.name;
    let agent = driver.and_then(|driver| driver.agents.get(name));
    match (agent, Subagent::task(&pending.call)) {
        (Some(agent), Err(error)) => {
            ToolOutcome::Error { error: error.report(), input_schema: Some(agent.spec.input_schema.clone()) }
        }
        _ => {
            let unknown = driver.map(|driver| driver.unknown(name));
            ToolOutcome::error(
                &unknown.unwrap_or_else(|| Error::not_found(format!("there is no tool '{name}'"))),
            )
        }
    }
}

fn with_schema(tool: &ToolHandle, error: &Error) -> ToolOutcome {
    ToolOutcome::Error { error: error.report(), input_schema: Some(tool.spec().input_schema.clone()) }
}

fn too_much(what: String) -> Error {
    Error::invalid(format!("the model wrote {what}")).with_code("answer_too_large")
}

pub(super) fn millis_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
