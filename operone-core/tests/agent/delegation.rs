//! Calls that run at once, and sub-agents.

use operone_core::agent::Subagent;
use tokio::sync::Barrier;

use super::*;

/// A tool that returns only once so many calls of it run at the same time.
fn meeting(spec: ToolSpec, barrier: &Arc<Barrier>) -> ToolHandle {
    let barrier = Arc::clone(barrier);
    ToolHandle::from_fn(spec, move |_, _| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            Ok(json!("met"))
        }
    })
}

async fn meet(spec: ToolSpec) -> Option<RunEnd> {
    let calls = (0..3).map(|id| ToolCall::new(id.to_string(), "meet", "{}")).collect();
    let model = Arc::new(ScriptedModel::new(vec![ScriptedTurn::calls(calls), ScriptedTurn::text(["done"])]));
    let agent = Agent::new(model).with_tool(meeting(spec, &Arc::new(Barrier::new(3)))).unwrap();
    tokio::time::timeout(Duration::from_millis(200), agent.run("go")).await.ok().map(Result::unwrap)
}

#[tokio::test]
async fn tools_that_may_run_beside_others_run_at_once_and_any_other_alone() {
    let writes = || ToolSpec::new("meet", "").with_class(ToolClass::Idempotent);
    assert!(meet(ToolSpec::new("meet", "")).await.is_some());
    assert!(meet(writes().with_concurrent()).await.is_some());
    assert!(meet(writes()).await.is_none());
}

/// A result that is there is written although others are still awaited: a crash must not lose it.
#[tokio::test]
async fn a_finished_call_is_written_while_its_siblings_run() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let mut tools = Tools::new();
    for tool in [echo(), endless(&stopped, ToolClass::Read)] {
        tools.insert(tool).unwrap();
    }
    let calls = vec![ToolCall::new("1", "endless", "{}"), ToolCall::new("2", "echo", r#"{"text": "a"}"#)];
    let driver = Driver::new(Arc::new(ScriptedModel::new(vec![ScriptedTurn::calls(calls)])), tools);
    let log = MemoryLog::default();
    let (identity, run) = (identity(), Run::new(&AgentSpec::new("go", vec![])));
    let killed = driver.drive(&identity, run, vec![], &log, CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_millis(100), killed).await.is_err());
    assert!(log.names().contains(&"tool_result 3".to_owned()));
    assert_eq!(log.run().open_steps(), [2]);
}

#[tokio::test]
async fn a_sub_agent_answers_within_its_callers_journal() {
    let mut tools = Tools::new();
    tools.insert(echo()).unwrap();
    let child = Arc::new(ScriptedModel::new(vec![
        call("1", "echo", r#"{"text": "hi"}"#),
        ScriptedTurn::text(["It said hi."]),
    ]));
    let reader = Subagent::new("reader", "Reads", Driver::new(Arc::clone(&child) as _, tools));
    let parent = Arc::new(ScriptedModel::new(vec![
        call("1", "agent.reader", r#"{"task": "read it"}"#),
        ScriptedTurn::text(["done"]),
    ]));
    let driver = Driver::new(Arc::clone(&parent) as _, Tools::new())
        .with_agent(reader.with_instructions("You read aloud."))
        .unwrap();
    let log = MemoryLog::default();
    let run = Run::new(&AgentSpec::new("go", vec![]));
    let driven = driver.drive(&identity(), run, vec![], &log, CancellationToken::new()).await.unwrap();
    assert_eq!(ended(driven).status, Status::Completed);

    let requests = child.requests();
    let [Message::System { content: told }, Message::User { content: task }] = &requests[0].messages[..]
    else {
        panic!("{:?}", requests[0])
    };
    assert!(told.contains("You read aloud.") && task == "read it");
    assert!(
        matches!(parent.requests()[1].messages.last(), Some(Message::Tool { content, .. }) if content == "It said hi.")
    );
    assert_eq!(parent.requests()[0].tools[0].name, "agent.reader");

    let events = log.events.lock().unwrap();
    let steps: Vec<(&Value, &Value, &Value)> = events
        .iter()
        .filter(|event| event.kind == "step_start")
        .map(|event| (&event.payload["step_id"], &event.payload["parent_step_id"], &event.payload["agent"]))
        .collect();
    let (none, reader) = (Value::Null, json!("agent.reader"));
    let two = json!(2);
    let expected = [
        (&json!(1), &none, &none),
        (&two, &none, &none),
        (&json!(3), &two, &reader),
        (&json!(4), &two, &reader),
        (&json!(5), &two, &reader),
        (&json!(6), &none, &none),
    ];
    assert_eq!(steps, expected);
    let ends = events.iter().filter(|event| event.kind == "step_end").count();
    assert_eq!(ends, 6);
}

#[tokio::test]
async fn a_task_that_is_missing_is_asked_for() {
    let child = Agent::new(Arc::new(ScriptedModel::new(vec![])));
    let model =
        Arc::new(ScriptedModel::new(vec![call("1", "agent.reader", "{}"), ScriptedTurn::text(["done"])]));
    let agent = Agent::new(Arc::clone(&model) as _).with_agent("reader", "Reads", &child).unwrap();
    assert_eq!(agent.run("go").await.unwrap().status, Status::Completed);
    assert_eq!(last_tool_message(&model)["error"]["input_schema"]["required"], json!(["task"]));
}

/// A sub-agent that is killed in the middle goes on where it stood, within its caller.
#[tokio::test]
async fn a_sub_agent_killed_at_any_write_goes_on_without_a_double() {
    let spec = AgentSpec::new("go", vec![]);
    let mut tools = Tools::new();
    tools.insert(echo()).unwrap();
    let driver = |parent: usize, child: usize| {
        let child_turns = vec![call("1", "echo", r#"{"text": "hi"}"#), ScriptedTurn::text(["hi"])];
        let child = ScriptedModel::new(child_turns.into_iter().skip(child).collect());
        let parent_turns =
            vec![call("1", "agent.reader", r#"{"task": "read"}"#), ScriptedTurn::text(["done"])];
        let parent = ScriptedModel::new(parent_turns.into_iter().skip(parent).collect());
        let reader = Subagent::new("reader", "Reads", Driver::new(Arc::new(child), tools.clone()));
        Driver::new(Arc::new(parent), Tools::new()).with_agent(reader).unwrap()
    };
    let answered = |run: &Run, within| {
        let said = |message: &&Message| matches!(message, Message::Assistant { .. });
        run.request(within, vec![]).messages.iter().filter(said).count()
    };
    let whole = MemoryLog::default();
    let token = CancellationToken::new;
    driver(0, 0).drive(&identity(), Run::new(&spec), vec![], &whole, token()).await.unwrap();
    for killed_at in 0..7 {
        let log = MemoryLog::default();
        *log.writes_left.lock().unwrap() = Some(killed_at);
        let killed = driver(0, 0).drive(&identity(), Run::new(&spec), vec![], &log, token()).await;
        if killed.is_ok() {
            assert!(killed_at > 4, "a run has more than {killed_at} writes");
            break;
        }
        *log.writes_left.lock().unwrap() = None;
        let run = if killed_at == 0 { Run::new(&spec) } else { log.run() };
        // A sub-agent that has answered is asked no more.
        let (parent, child) = (answered(&run, None), answered(&run, Some(2)));
        let driven = driver(parent, child).drive(&identity(), run, vec![], &log, token()).await.unwrap();
        assert_eq!(ended(driven).status, Status::Completed);
        assert_eq!(log.names(), whole.names(), "killed at write {killed_at}");
    }
}
