//! What the state machine promises, transition by transition.

use serde_json::json;

use super::*;
use crate::clock::Timestamp;
use crate::model::ToolCall;

fn spec(max_steps: u32) -> AgentSpec {
    let mut spec = AgentSpec::new("add 1 and 2", vec![]);
    spec.max_steps = max_steps;
    spec
}

fn task(instructions: &str, goal: &str, max_steps: u32) -> AgentSpec {
    let mut spec = AgentSpec::new(goal, vec![]);
    spec.instructions = instructions.into();
    spec.max_steps = max_steps;
    spec
}

fn finish() -> Finish {
    Finish::new(FinishReason::Stop, Usage::new(3, 2))
}

fn call(name: &str) -> ProposedCall {
    ProposedCall::new(ToolCall::new("", name, "{}"))
}

fn concurrent(name: &str) -> ProposedCall {
    let mut call = call(name);
    call.concurrent = true;
    call
}

/// A run whose model has asked for these calls.
fn acting(spec: &AgentSpec, calls: Vec<ProposedCall>) -> Run {
    let mut run = Run::new(spec);
    let step = run.think_begun(None).unwrap();
    run.model_answered(step, "calling".into(), vec![], calls, &finish());
    run
}

/// The steps of the calls that can begin.
fn ready(run: &Run) -> Vec<u64> {
    let Next::Do(actions) = run.next() else { return Vec::new() };
    let step = |action| match action {
        Action::Call { call, .. } => Some(call.step),
        _ => None,
    };
    actions.into_iter().filter_map(step).collect()
}

fn end(run: &Run) -> RunEnd {
    let Next::Done(end) = run.next() else { panic!("not done: {:?}", run.next()) };
    end
}

fn code(run: &Run) -> String {
    end(run).error.map(|error| error.code).unwrap_or_default()
}

#[test]
fn an_answer_without_calls_completes() {
    let mut run = Run::new(&spec(5));
    assert_eq!(run.think_begun(None), Some(1));
    let thinking = Action::Think { within: None, agents: vec![], step: Some(1) };
    assert_eq!(run.next(), Next::Do(vec![thinking]));
    run.model_answered(1, "3".into(), vec![], vec![], &finish());
    let end = end(&run);
    assert_eq!(
        (end.status, end.output.as_deref(), end.usage),
        (Status::Completed, Some("3"), Usage::new(3, 2))
    );
}

#[test]
fn answers_in_any_order_give_the_same_conversation() {
    let act = |order: [u64; 3]| {
        let mut run = acting(&spec(5), vec![concurrent("a"), concurrent("b"), concurrent("c")]);
        for step in order {
            run.tool_begun(step);
            run.tool_answered(step, ToolOutcome::Ok(json!(step)));
            run.tool_answered(step, ToolOutcome::Ok(json!("late")));
        }
        run
    };
    let expected = act([2, 3, 4]);
    assert_eq!(expected.next(), Next::Do(vec![Action::Think { within: None, agents: vec![], step: None }]));
    for order in [[2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]] {
        assert_eq!(act(order), expected);
    }
}

#[test]
fn calls_that_may_run_beside_others_do_and_any_other_runs_alone_and_in_order() {
    let calls = vec![concurrent("a"), concurrent("b"), call("c"), concurrent("d"), call("e")];
    let mut run = acting(&spec(5), calls);
    let mut order = Vec::new();
    while matches!(run.next(), Next::Do(_)) && !ready(&run).is_empty() {
        let steps = ready(&run);
        for step in &steps {
            run.tool_begun(*step);
            run.tool_answered(*step, ToolOutcome::Ok(json!(1)));
        }
        order.push(steps);
    }
    assert_eq!(order, [vec![2, 3], vec![4], vec![5], vec![6]]);
}

#[test]
fn the_last_turn_runs_no_tool_whose_result_nobody_reads() {
    let run = acting(&spec(1), vec![call("a")]);
    assert_eq!((end(&run).status, end(&run).output.as_deref()), (Status::MaxSteps, Some("calling")));
}

#[test]
fn an_end_is_final() {
    let mut run = Run::new(&spec(2));
    run.think_begun(None);
    run.cancelled();
    run.model_answered(1, "late".into(), vec![], vec![], &finish());
    run.failed(ErrorReport::new(ErrorKind::Internal, "late", "late"));
    assert_eq!(end(&run).status, Status::Cancelled);
}

#[test]
fn calls_of_one_id_are_told_apart() {
    let same = || ProposedCall::new(ToolCall::new("x", "a", ""));
    let run = acting(&spec(2), vec![same(), same()]);
    let FrameState::Act { calls } = &run.root.state else { panic!("no calls") };
    assert_ne!(calls[0].call.id, calls[1].call.id);
}

#[test]
fn each_limit_of_the_budget_ends_the_run() {
    let limited = |budget: Budget| {
        let mut spec = spec(9);
        spec.budget = budget;
        spec
    };
    assert_eq!(
        code(&acting(&limited(Budget::default().with_tool_calls(1)), vec![call("a"), call("b")])),
        "budget_exceeded"
    );
    assert_eq!(code(&acting(&limited(Budget::default().with_tokens(5)), vec![call("a")])), "budget_exceeded");

    let mut run = Run::new(&limited(Budget::default().with_cost_micros(7)));
    let step = run.think_begun(None).unwrap();
    let mut paid = finish();
    paid.usage.cost_micros = 8;
    run.model_answered(step, String::new(), vec![], vec![call("a")], &paid);
    assert_eq!(code(&run), "budget_exceeded");

    let mut run = acting(&limited(Budget::default().with_seconds(2)), vec![call("a")]);
    assert_eq!(run.time_left(), Some(Duration::from_secs(2)));
    run.worked(Duration::from_millis(2500));
    run.tool_answered(2, ToolOutcome::Ok(json!(1)));
    assert_eq!((run.time_left(), run.think_begun(None)), (Some(Duration::ZERO), None));
    assert_eq!(code(&run), "budget_exceeded");
    assert!(end(&run).error.unwrap().detail.contains("2 seconds"));
}

#[test]
fn an_answer_that_uses_up_the_budget_still_counts() {
    let mut spec = spec(9);
    spec.budget = Budget::default().with_tokens(1);
    let mut run = Run::new(&spec);
    let step = run.think_begun(None).unwrap();
    run.model_answered(step, "3".into(), vec![], vec![], &finish());
    assert_eq!(end(&run).status, Status::Completed);
}

#[test]
fn a_sub_agent_works_within_the_run_and_answers_its_caller() {
    let mut run = acting(&spec(9), vec![concurrent("agent.adder")]);
    run.delegated(2, &task("You add.", "add 1 and 2", 3));
    let thinking = |step| Action::Think { within: Some(2), agents: vec!["agent.adder".into()], step };
    assert_eq!(run.next(), Next::Do(vec![thinking(None)]));
    assert_eq!(run.think_begun(Some(2)), Some(3));
    run.model_answered(3, String::new(), vec![], vec![call("plus")], &finish());
    assert_eq!(ready(&run), [4]);
    run.tool_answered(4, ToolOutcome::Ok(json!(3)));
    assert_eq!(run.request(Some(2), vec![]).messages.len(), 4);
    assert_eq!(run.think_begun(Some(2)), Some(5));
    run.model_answered(5, "It is 3".into(), vec![], vec![], &finish());
    let Next::Do(actions) = run.next() else { panic!("no answer") };
    let [Action::Return { call, outcome }] = actions.as_slice() else { panic!("{actions:?}") };
    run.tool_answered(call.step, outcome.clone());
    let messages = run.request(None, vec![]).messages;
    assert!(matches!(messages.last(), Some(Message::Tool { content, .. }) if content == "It is 3"));
    assert_eq!((run.turns(), run.spent.tool_calls, run.spent.usage), (3, 2, Usage::new(9, 6)));
}

#[test]
fn a_sub_agent_out_of_steps_answers_with_an_error_and_the_run_goes_on() {
    let mut run = acting(&spec(9), vec![call("agent.adder")]);
    run.delegated(2, &task("", "add", 1));
    run.think_begun(Some(2));
    run.model_answered(3, String::new(), vec![], vec![call("plus")], &finish());
    run.tool_answered(4, ToolOutcome::Ok(json!(3)));
    assert_eq!(run.think_begun(Some(2)), None);
    let Next::Do(actions) = run.next() else { panic!("ended") };
    assert!(
        matches!(&actions[..], [Action::Return { outcome, .. }] if outcome.content().contains("max_steps"))
    );
}

#[test]
fn sub_agents_share_the_steps_of_the_run() {
    let mut run = acting(&spec(2), vec![call("agent.adder")]);
    run.delegated(2, &task("", "add", 50));
    run.think_begun(Some(2));
    run.model_answered(3, String::new(), vec![], vec![call("plus")], &finish());
    assert_eq!(end(&run).status, Status::MaxSteps);
}

#[test]
fn strangers_text_taints_what_reads_it_and_what_it_is_passed_to() {
    let mut untrusted = call("rag.search");
    untrusted.untrusted = true;
    let mut run = acting(&spec(9), vec![untrusted]);
    assert!(!run.is_tainted(None));
    run.tool_answered(2, ToolOutcome::Ok(json!("text")));
    assert!(run.is_tainted(None));
    let step = run.think_begun(None).unwrap();
    run.model_answered(step, String::new(), vec![], vec![call("agent.adder")], &finish());
    run.delegated(4, &task("", "add", 5));
    assert!(run.is_tainted(Some(4)));
}

#[test]
fn what_a_tainted_sub_agent_answers_taints_its_caller() {
    let mut run = acting(&spec(9), vec![call("agent.reader")]);
    run.delegated(2, &task("", "read", 5));
    run.think_begun(Some(2));
    let mut untrusted = call("rag.search");
    untrusted.untrusted = true;
    run.model_answered(3, String::new(), vec![], vec![untrusted], &finish());
    run.tool_answered(4, ToolOutcome::Ok(json!("text")));
    assert!(run.is_tainted(Some(2)) && !run.is_tainted(None));
    run.tool_answered(2, ToolOutcome::Ok(json!("summary")));
    assert!(run.is_tainted(None));
}

#[test]
fn a_call_waits_for_its_own_approval_and_for_no_other() {
    let id = WorkId::new("run-1").unwrap();
    let mut guarded = call("mail.send");
    guarded.approval = Some(ApprovalReason::Class);
    let mut run = acting(&spec(9), vec![concurrent("look"), guarded]);
    assert_eq!(ready(&run), [2]);
    run.tool_answered(2, ToolOutcome::Ok(json!(1)));
    let Next::Wait(calls) = run.next() else { panic!("does not wait") };
    let approval = calls[0].approval_id(&id).unwrap();
    run.approval_asked(3, Timestamp::from_millis(5));
    let other = ApprovalId::new("apr-other").unwrap();
    assert_eq!(run.decided(&id, &other, Verdict::Approve, None), None);
    assert!(run.decided(&id, &approval, Verdict::Approve, None).is_some());
    assert_eq!(run.decided(&id, &approval, Verdict::Deny, None), None);
    assert_eq!(ready(&run), [3]);
}

#[test]
fn an_unknown_outcome_is_asked_about_each_time_anew() {
    let id = WorkId::new("run-1").unwrap();
    let mut run = acting(&spec(9), vec![call("mail.send")]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        run.tool_begun(2);
        run.demand_approval(2, ApprovalReason::OutcomeUnknown);
        let Next::Wait(calls) = run.next() else { panic!("does not wait") };
        let approval = calls[0].approval_id(&id).unwrap();
        assert!(!seen.contains(&approval));
        let call = run.decided(&id, &approval, Verdict::Approve, None).unwrap();
        assert!(!call.started && call.announced);
        seen.push(approval);
    }
}

#[test]
fn a_run_that_ended_early_goes_on_in_a_new_one() {
    let run = acting(&spec(1), vec![call("a"), call("b")]);
    assert_eq!(Run::new(&spec(1)).resume(&spec(1), None).unwrap_err().code(), "running");
    let resumed = run.resume(&spec(5), None).unwrap();
    assert_eq!((ready(&resumed), resumed.turns()), (vec![1], 0));

    let mut cancelled = acting(&spec(5), vec![call("a"), call("b")]);
    cancelled.tool_begun(2);
    cancelled.cancelled();
    let resumed = cancelled.resume(&spec(5), None).unwrap();
    assert_eq!(ready(&resumed), [2], "what was begun is not begun again");
}

#[test]
fn a_completed_run_goes_on_with_what_the_user_says() {
    let mut run = Run::new(&spec(2));
    run.think_begun(None);
    run.model_answered(1, "3".into(), vec![], vec![], &finish());
    assert_eq!(run.clone().resume(&spec(2), None).unwrap_err().code(), "completed");
    let resumed = run.resume(&spec(2), Some("and 4?".into())).unwrap();
    let messages = resumed.request(None, vec![]).messages;
    assert!(
        matches!(&messages[2..], [Message::Assistant { .. }, Message::User { content }] if content == "and 4?")
    );
}

#[test]
fn a_run_of_another_format_is_refused_by_name() {
    let mut snapshot = Run::new(&spec(1)).to_snapshot().unwrap();
    snapshot["format"] = json!(99);
    assert_eq!(Run::from_snapshot(&snapshot).unwrap_err().code(), "unreadable_run");
}

/// What each version wrote must be readable for ever.
#[test]
fn format_1_is_read() {
    let stored = include_str!("../../../tests/formats/run-1.json");
    let run = Run::from_snapshot(&serde_json::from_str(stored).unwrap()).unwrap();
    assert_eq!((ready(&run), run.turns(), run.max_steps), (vec![3], 1, 50));
    let call = run.root.any_call(&|call| call.step == 3).unwrap();
    assert_eq!((call.call.name.as_str(), call.started, call.announced), ("memory.read", true, true));
}

#[test]
fn format_2_is_read() {
    let stored = include_str!("../../../tests/formats/run-2.json");
    let run = Run::from_snapshot(&serde_json::from_str(stored).unwrap()).unwrap();
    assert_eq!(run.budget, Budget::default().with_tool_calls(20).with_cost_micros(500_000));
    assert_eq!((run.turns(), run.spent.tool_calls, run.root.tainted), (3, 3, true));
    let Next::Do(actions) = run.next() else { panic!("not running") };
    assert_eq!(
        actions,
        [Action::Think { within: Some(4), agents: vec!["agent.reader".into()], step: Some(6) }]
    );
    let waiting = run.root.any_call(&PendingCall::is_waiting).unwrap();
    assert_eq!(
        waiting.approval.as_ref().unwrap().expires_at,
        Some(Timestamp::from_millis(1_800_000_000_000))
    );
    assert_eq!(Run::from_snapshot(&run.to_snapshot().unwrap()).unwrap(), run);
}
