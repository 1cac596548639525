//! Agents: the driver over scripted models, embedded in a program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken promise fails the test")]

mod approval;
mod budget;
mod conversation;
mod delegation;
mod durable;
mod output;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use operone_core::agent::{
    Agent, AgentSpec, Driven, Driver, Resolved, Run, RunEnd, RunEvent, RunIdentity, RunLog, Suspended,
};
use operone_core::id::{TenantId, WorkId};
use operone_core::in_process::{ScriptedModel, ScriptedTurn};
use operone_core::journal::{NewApproval, NewEvent, Status, Verdict};
use operone_core::model::{Message, ToolCall};
use operone_core::tool::{ToolClass, ToolHandle, ToolSpec, Tools};
use operone_core::{Error, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn call(id: &str, name: &str, arguments: &str) -> ScriptedTurn {
    ScriptedTurn::calls(vec![ToolCall::new(id, name, arguments)])
}

fn echo() -> ToolHandle {
    let schema = json!({"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}});
    ToolHandle::from_fn(
        ToolSpec::new("echo", "Says it again").with_input_schema(schema),
        |_, input| async move {
            match input.get("text") {
                Some(Value::String(text)) => Ok(json!({ "said": text })),
                _ => Err(Error::invalid("'text' is missing").with_code("invalid_input")),
            }
        },
    )
}

fn scripted(turns: Vec<ScriptedTurn>) -> (Arc<ScriptedModel>, Agent) {
    let model = Arc::new(ScriptedModel::new(turns));
    let agent = Agent::new(Arc::clone(&model) as _).with_tool(echo()).unwrap();
    (model, agent)
}

fn last_tool_message(model: &ScriptedModel) -> Value {
    let requests = model.requests();
    let Some(Message::Tool { content, .. }) = requests.last().unwrap().messages.last() else {
        panic!("the last message is no tool's")
    };
    serde_json::from_str(content).unwrap()
}

#[tokio::test]
async fn a_run_calls_its_tools_and_answers() {
    let (model, agent) =
        scripted(vec![call("1", "echo", r#"{"text": "hi"}"#), ScriptedTurn::text(["It said", " hi."])]);
    let end = agent.run("say hi").await.unwrap();
    assert_eq!((end.status, end.output.as_deref()), (Status::Completed, Some("It said hi.")));
    assert_eq!(last_tool_message(&model), json!({"said": "hi"}));
}

#[tokio::test]
async fn the_stream_tells_each_step_and_ends_with_the_end() {
    let (_, agent) =
        scripted(vec![call("1", "echo", r#"{"text": "hi"}"#), ScriptedTurn::text(["It", " said"])]);
    let events: Vec<RunEvent> = agent.stream("say hi").map(Result::unwrap).collect().await;
    let names: Vec<String> = events
        .iter()
        .map(|event| match event {
            RunEvent::Durable(event) => format!("{} {}", event.seq, event.event.kind),
            RunEvent::Token { content, step, cursor } => {
                format!("{}.{} {step}{content}", cursor.seq, cursor.token)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "1 step_start",
            "2 step_end",
            "3 step_start",
            "4 tool_call",
            "5 tool_result",
            "6 step_end",
            "7 step_start",
            "7.1 3It",
            "7.2 3 said",
            "8 step_end",
            "9 end"
        ]
    );
}

#[tokio::test]
async fn every_bad_call_is_answered_and_its_siblings_still_run() {
    let calls = ScriptedTurn::calls(vec![
        ToolCall::new("1", "unknown", "{}"),
        ToolCall::new("2", "echo", "{not json"),
        ToolCall::new("3", "echo", r#"{"wrong": 1}"#),
        ToolCall::new("4", "echo", r#"{"text": "hi"}"#),
    ]);
    let (model, agent) = scripted(vec![calls, ScriptedTurn::text(["done"])]);
    assert_eq!(agent.run("go").await.unwrap().status, Status::Completed);
    let requests = model.requests();
    let answers: Vec<Value> = requests[1]
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Tool { content, .. } => Some(serde_json::from_str(content).unwrap()),
            _ => None,
        })
        .collect();
    let codes: Vec<&Value> = answers.iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(
        codes,
        [&json!("unknown_tool"), &json!("malformed_arguments"), &json!("invalid_input"), &Value::Null]
    );
    assert_eq!(answers[2]["error"]["input_schema"]["required"], json!(["text"]));
    assert_eq!(answers[3], json!({"said": "hi"}));
}

#[tokio::test]
async fn a_model_that_fails_or_is_cut_off_ends_the_run_as_failed() {
    let refused =
        Error::new(operone_core::ErrorKind::Denied, "the key was refused").with_code("model_key_refused");
    for (turn, code) in [
        (ScriptedTurn::error(&refused), "model_key_refused"),
        (ScriptedTurn::error(&refused).after_text("I"), "model_key_refused"),
    ] {
        let (_, agent) = scripted(vec![turn]);
        let end = agent.run("go").await.unwrap();
        assert_eq!((end.status, end.error.unwrap().code.as_str()), (Status::Failed, code));
    }
}

#[tokio::test]
async fn the_step_limit_ends_the_run() {
    let again = || call("1", "echo", r#"{"text": "hi"}"#);
    let (model, agent) = scripted(vec![again(), again(), again()]);
    let end = agent.with_max_steps(2).run("go").await.unwrap();
    assert_eq!((end.status, model.turns_left()), (Status::MaxSteps, 1));
}

struct DropFlag(Arc<AtomicUsize>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A tool that never returns, and counts how often it was stopped.
fn endless(stopped: &Arc<AtomicUsize>, class: ToolClass) -> ToolHandle {
    let stopped = Arc::clone(stopped);
    ToolHandle::from_fn(ToolSpec::new("endless", "Never returns").with_class(class), move |_, _| {
        let flag = DropFlag(Arc::clone(&stopped));
        async move {
            let _flag = flag;
            std::future::pending::<Result<Value>>().await
        }
    })
}

#[tokio::test]
async fn dropping_the_run_stops_its_tools() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let model = Arc::new(ScriptedModel::new(vec![call("1", "endless", "{}")]));
    let agent = Agent::new(model).with_tool(endless(&stopped, ToolClass::Read)).unwrap();
    let run = tokio::time::timeout(Duration::from_millis(50), agent.run("go")).await;
    assert!(run.is_err());
    assert_eq!(stopped.load(Ordering::SeqCst), 1);
}

/// Keeps what was written, and can be told to fail at one write.
#[derive(Debug, Default)]
struct MemoryLog {
    events: Mutex<Vec<NewEvent>>,
    run: Mutex<Option<Value>>,
    approvals: Mutex<Vec<NewApproval>>,
    writes_left: Mutex<Option<usize>>,
}

impl MemoryLog {
    fn write(&self, events: Vec<NewEvent>) -> Result<()> {
        if let Some(left) = self.writes_left.lock().unwrap().as_mut() {
            *left = left.checked_sub(1).ok_or_else(|| Error::internal("the process was killed here"))?;
        }
        self.events.lock().unwrap().extend(events);
        Ok(())
    }

    /// The run as it was written last.
    fn run(&self) -> Run {
        Run::from_snapshot(self.run.lock().unwrap().as_ref().unwrap()).unwrap()
    }

    /// A verdict on each approval that was asked for last.
    fn decide(&self, verdict: Verdict) -> Vec<Resolved> {
        let approvals = self.approvals.lock().unwrap();
        approvals.iter().map(|approval| Resolved::new(approval.id.clone(), verdict, None)).collect()
    }

    fn names(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| format!("{} {}", event.kind, event.payload["step_id"])).collect()
    }
}

#[async_trait]
impl RunLog for MemoryLog {
    async fn append(&self, events: Vec<NewEvent>, run: &Run) -> Result<bool> {
        self.write(events)?;
        *self.run.lock().unwrap() = Some(run.to_snapshot()?);
        Ok(true)
    }

    async fn suspend(
        &self,
        events: Vec<NewEvent>,
        run: &Run,
        approvals: Vec<NewApproval>,
    ) -> Result<Suspended> {
        self.append(events, run).await?;
        *self.approvals.lock().unwrap() = approvals;
        Ok(Suspended::Waiting)
    }

    async fn finish(&self, events: Vec<NewEvent>, _: &Run, _: &RunEnd) -> Result<()> {
        self.write(events)
    }

    fn token(&self, _: u64, _: &str) {}
}

fn identity() -> RunIdentity {
    RunIdentity::new(TenantId::local(), None, WorkId::new("run-1").unwrap())
}

fn ended(driven: Driven) -> RunEnd {
    let Driven::Ended(end) = driven else { panic!("{driven:?}") };
    end
}

fn turns() -> Vec<ScriptedTurn> {
    vec![
        call("1", "echo", r#"{"text": "a"}"#),
        ScriptedTurn::calls(vec![
            ToolCall::new("2", "echo", r#"{"text": "b"}"#),
            ToolCall::new("3", "echo", r#"{"text": "c"}"#),
        ]),
        ScriptedTurn::text(["done"]),
    ]
}

/// Killed at each write in turn and taken up again, a run writes the same events as one that was never killed: no
/// step twice, none missing.
#[tokio::test]
async fn a_run_killed_at_any_write_goes_on_without_a_double() {
    let spec = AgentSpec::new("go", vec![]);
    let mut tools = Tools::new();
    tools.insert(echo()).unwrap();
    let driver = |answered: usize| {
        // A model has no memory: it answers by how far the conversation is.
        let model = ScriptedModel::new(turns().split_off(answered));
        Driver::new(Arc::new(model), tools.clone())
    };
    let whole = MemoryLog::default();
    driver(0).drive(&identity(), Run::new(&spec), vec![], &whole, CancellationToken::new()).await.unwrap();
    let writes = 7;
    for killed_at in 0..writes {
        let log = MemoryLog::default();
        *log.writes_left.lock().unwrap() = Some(killed_at);
        let killed =
            driver(0).drive(&identity(), Run::new(&spec), vec![], &log, CancellationToken::new()).await;
        assert!(killed.is_err(), "a run has more than {killed_at} writes");
        *log.writes_left.lock().unwrap() = None;
        let stored = log.run.lock().unwrap().clone();
        let run = stored.map_or_else(|| Run::new(&spec), |run| Run::from_snapshot(&run).unwrap());
        let answered = run
            .request(None, vec![])
            .messages
            .iter()
            .filter(|m| matches!(m, Message::Assistant { .. }))
            .count();
        let driven =
            driver(answered).drive(&identity(), run, vec![], &log, CancellationToken::new()).await.unwrap();
        assert_eq!(ended(driven).status, Status::Completed);
        assert_eq!(log.names(), whole.names(), "killed at write {killed_at}");
    }
}

#[tokio::test]
async fn a_cancelled_run_stops_its_tool_and_says_so() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let mut tools = Tools::new();
    tools.insert(endless(&stopped, ToolClass::Read)).unwrap();
    let (log, token) = (MemoryLog::default(), CancellationToken::new());
    let driver = Driver::new(Arc::new(ScriptedModel::new(vec![call("1", "endless", "{}")])), tools);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        token.cancel();
    };
    let spec = AgentSpec::new("go", vec![]);
    let (identity, run) = (identity(), Run::new(&spec));
    let (end, ()) = tokio::join!(driver.drive(&identity, run, vec![], &log, token.clone()), cancel);
    assert_eq!((ended(end.unwrap()).status, stopped.load(Ordering::SeqCst)), (Status::Cancelled, 1));
    let events = log.events.lock().unwrap();
    let last: Vec<(&str, &Value)> =
        events.iter().rev().take(2).map(|event| (event.kind.as_str(), &event.payload["status"])).collect();
    assert_eq!(last, [("end", &json!("cancelled")), ("step_end", &json!("cancelled"))]);
}
