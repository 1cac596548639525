//! The state machine under any order of arrival, and killed and replayed at any point: the same end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken promise fails the test"
)]

#[path = "simulation/random.rs"]
mod random;

use std::collections::BTreeMap;

use operone_core::agent::{
    Action, AgentSpec, ApprovalPolicy, Next, PendingCall, ProposedCall, Run, RunEnd, ToolOutcome,
};
use operone_core::clock::Timestamp;
use operone_core::id::WorkId;
use operone_core::journal::{ApprovalReason, Verdict};
use operone_core::model::{Finish, FinishReason, Message, ToolCall, Usage};
use operone_core::{Error, ErrorKind};
use serde_json::json;

use random::Random;

const CASES: u64 = 2_000;

/// A call that the model is going to make.
#[derive(Clone, Debug)]
struct Planned {
    proposed: ProposedCall,
    /// What comes of it, if it is no task of a sub-agent.
    outcome: ToolOutcome,
    verdict: Verdict,
    /// What a sub-agent is going to do for it.
    below: Option<Plan>,
}

/// The calls of each turn of a conversation.
type Plan = Vec<Vec<Planned>>;

fn plan(random: &Random, depth: u32, number: &mut u32) -> Plan {
    (0..1 + random.below(3))
        .map(|_| (0..1 + random.below(3)).map(|_| planned(random, depth, number)).collect())
        .collect()
}

fn planned(random: &Random, depth: u32, number: &mut u32) -> Planned {
    *number += 1;
    let own = *number;
    let below = (depth > 0 && random.one_in(4)).then(|| plan(random, depth - 1, number));
    let name = if below.is_some() { "agent.helper" } else { "tool" };
    let mut proposed =
        ProposedCall::new(ToolCall::new(format!("id-{own}"), name, json!({"n": own}).to_string()));
    proposed.concurrent = random.one_in(2);
    proposed.untrusted = random.one_in(3);
    proposed.approval = random.one_in(4).then_some(ApprovalReason::Class);
    let failed = Error::new(ErrorKind::Unavailable, "it is not there");
    let outcome =
        if random.one_in(4) { ToolOutcome::error(&failed) } else { ToolOutcome::Ok(json!({"n": own})) };
    let verdict = *random.pick(&[Verdict::Approve, Verdict::Deny]);
    Planned { proposed, outcome, verdict, below }
}

fn find<'a>(plan: &'a Plan, id: &str) -> Option<&'a Planned> {
    plan.iter().flatten().find_map(|call| {
        if call.proposed.call.id == id {
            Some(call)
        } else {
            call.below.as_ref().and_then(|below| find(below, id))
        }
    })
}

/// A run that is driven by chance.
struct World<'a> {
    plan: &'a Plan,
    run: Run,
    /// The run as it was stored last.
    stored: serde_json::Value,
    id: WorkId,
    /// Steps that were begun in this life.
    begun: Vec<u64>,
    /// The ids of calls by their steps.
    ids: BTreeMap<u64, String>,
}

impl World<'_> {
    /// The turns of the conversation within a call.
    fn turns(&self, within: Option<u64>) -> Plan {
        let Some(step) = within else { return self.plan.clone() };
        find(self.plan, &self.ids[&step]).unwrap().below.clone().unwrap()
    }
}

fn store(world: &mut World<'_>) {
    world.stored = world.run.to_snapshot().unwrap();
}

/// Drives a run to its end: in order, or by chance with crashes.
fn drive(plan: &Plan, chance: Option<&Random>) -> (RunEnd, Vec<Message>, u32) {
    let mut spec = AgentSpec::new("go", vec![]);
    spec.approval = ApprovalPolicy::never();
    spec.max_steps = 1000;
    let run = Run::new(&spec);
    let stored = run.to_snapshot().unwrap();
    let id = WorkId::new("run-1").unwrap();
    let mut world = World { plan, run, stored, id, begun: Vec::new(), ids: BTreeMap::new() };
    loop {
        if chance.is_some_and(|random| random.one_in(12)) {
            // What went on is lost with the process; what was stored is there.
            world.run = Run::from_snapshot(&world.stored).unwrap();
            world.begun.clear();
        }
        match world.run.next() {
            Next::Done(end) => return (end, world.run.request(None, vec![]).messages, world.run.turns()),
            Next::Wait(calls) => {
                for call in &calls {
                    world.run.approval_asked(call.step, Timestamp::from_millis(1));
                }
                let call = chance.map_or(&calls[0], |random| random.pick(&calls));
                world.decide(call);
                store(&mut world);
            }
            Next::Do(actions) => {
                let action = chance.map_or(&actions[0], |random| random.pick(&actions)).clone();
                world.act(action);
            }
            other => panic!("{other:?}"),
        }
    }
}

impl World<'_> {
    fn decide(&mut self, call: &PendingCall) {
        let approval = call.approval_id(&self.id).unwrap();
        let verdict = find(self.plan, &call.call.id).unwrap().verdict;
        self.run.decided(&self.id, &approval, verdict, None).unwrap();
    }

    /// Begins what has not begun, and ends what has: so that others come between.
    fn act(&mut self, action: Action) {
        match action {
            Action::Think { within, step: None, .. } => {
                self.begun.extend(self.run.think_begun(within));
                store(self);
            }
            Action::Think { within, step: Some(step), .. } => {
                let said = self.run.request(within, vec![]).messages;
                let turn = said.iter().filter(|message| matches!(message, Message::Assistant { .. })).count();
                let calls = self.turns(within).get(turn).cloned().unwrap_or_default();
                let calls = calls.into_iter().map(|call| call.proposed).collect();
                let finish = Finish::new(FinishReason::Stop, Usage::new(2, 1));
                self.run.model_answered(step, format!("turn {turn}"), vec![], calls, &finish);
                // A second answer, late, changes nothing.
                self.run.model_answered(step, "late".into(), vec![], vec![], &finish);
            }
            Action::Call { call, .. } => self.call(*call),
            Action::Return { call, outcome } => {
                self.run.tool_answered(call.step, outcome);
                store(self);
            }
            other => panic!("{other:?}"),
        }
    }

    fn call(&mut self, call: PendingCall) {
        self.ids.insert(call.step, call.call.id.clone());
        let planned = find(self.plan, &call.call.id).unwrap().clone();
        if call.denied().is_some() {
            self.run.tool_answered(call.step, ToolOutcome::Ok(json!("denied")));
        } else if planned.below.is_some() {
            let mut task = AgentSpec::new("task", vec![]);
            task.max_steps = 1000;
            self.run.delegated(call.step, &task);
            store(self);
        } else if self.begun.contains(&call.step) {
            self.run.tool_answered(call.step, planned.outcome);
            self.run.tool_answered(call.step, ToolOutcome::Ok(json!("late")));
        } else {
            self.run.tool_begun(call.step);
            self.begun.push(call.step);
            store(self);
        }
    }
}

#[test]
fn any_order_and_any_crash_reach_the_same_end() {
    for seed in 0..CASES {
        let random = Random::new(seed);
        let plan = plan(&random, 2, &mut 0);
        let expected = drive(&plan, None);
        let found = drive(&plan, Some(&random));
        assert_eq!(found, expected, "seed {seed}");
    }
}

/// Whatever is stored in between is read as it was written.
#[test]
fn every_stored_state_is_read_as_it_was_written() {
    for seed in 0..500 {
        let random = Random::new(seed);
        let plan = plan(&random, 2, &mut 0);
        let mut spec = AgentSpec::new("go", vec![]);
        spec.approval = ApprovalPolicy::never();
        let run = Run::new(&spec);
        let (stored, id) = (run.to_snapshot().unwrap(), WorkId::new("run-1").unwrap());
        let ids = BTreeMap::new();
        let mut world = World { plan: &plan, run, stored, id, begun: Vec::new(), ids };
        while let next @ (Next::Do(_) | Next::Wait(_)) = world.run.next() {
            match next {
                Next::Wait(calls) => world.decide(random.pick(&calls)),
                Next::Do(actions) => world.act(random.pick(&actions).clone()),
                _ => unreachable!("matched above"),
            }
            let read = Run::from_snapshot(&world.run.to_snapshot().unwrap()).unwrap();
            assert_eq!(read, world.run, "seed {seed}");
        }
    }
}
