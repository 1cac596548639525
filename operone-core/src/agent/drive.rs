//! Drives one run: does what the state machine wants done, and writes each step to the log before and after.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::driver::{Driven, Driver, RunIdentity, Subagent};
use super::event::{self, Owner};
use super::log::{Resolved, RunLog, Suspended};
use super::machine::{Action, Next, PendingCall, Run, RunEnd, ToolOutcome};
use super::step::{self, Finished, Result as StepResult};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::journal::{ApprovalReason, NewApproval, NewEvent};
use crate::tool::ToolClass;

/// The most steps of one run that go on at once.
const MAX_AT_ONCE: usize = 8;

/// One run on its way.
pub(super) struct Drive<'a> {
    driver: &'a Driver,
    identity: &'a RunIdentity,
    log: &'a dyn RunLog,
    run: Run,
    /// The end of the run was asked for.
    cancelled: CancellationToken,
    /// The steps that go on must stop, for whatever reason.
    stop: CancellationToken,
    going: FuturesUnordered<BoxFuture<'a, Finished>>,
    /// The steps that go on.
    steps: HashSet<u64>,
    /// The steps whose end is told.
    closed: HashSet<u64>,
    /// When the tasks of sub-agents were given.
    delegated: HashMap<u64, Instant>,
    /// Events of what has ended, to be written together with what follows.
    ended: Vec<NewEvent>,
    /// Time of work is counted from here.
    counted: Instant,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        identity: &'a RunIdentity,
        run: Run,
        log: &'a dyn RunLog,
        cancelled: CancellationToken,
    ) -> Self {
        let stop = cancelled.child_token();
        Self {
            driver,
            identity,
            log,
            run,
            cancelled,
            stop,
            going: FuturesUnordered::new(),
            steps: HashSet::new(),
            closed: HashSet::new(),
            delegated: HashMap::new(),
            ended: Vec::new(),
            counted: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, resolved: Vec<Resolved>) -> Result<Driven> {
        self.resolve(resolved);
        loop {
            if self.cancelled.is_cancelled() {
                self.run.cancelled();
            }
            self.run.worked(self.counted.elapsed());
            self.counted = Instant::now();
            match self.run.next() {
                Next::Done(end) => {
                    self.stop_all().await;
                    return self.finish(end).await;
                }
                Next::Wait(calls) => {
                    if let Some(driven) = self.suspend(calls).await? {
                        return Ok(driven);
                    }
                }
                Next::Do(actions) => {
                    if !self.begin(actions).await? {
                        self.wait_for_a_step().await;
                    }
                }
            }
        }
    }

    /// Takes over what was decided of the calls that the run waits for.
    fn resolve(&mut self, resolved: Vec<Resolved>) {
        for resolved in resolved {
            let comment = resolved.comment.clone();
            let call = self.run.decided(&self.identity.run, &resolved.id, resolved.verdict, comment);
            self.ended.extend(call.map(|call| event::approval_decided(&call, &resolved)));
        }
    }

    /// Begins what can begin; false if nothing has changed and a step has to end first.
    async fn begin(&mut self, actions: Vec<Action>) -> Result<bool> {
        let mut begun = Begun::default();
        for action in actions {
            match action {
                Action::Return { call, outcome } => {
                    let begun_at = self.delegated.remove(&call.step);
                    let millis = begun_at.map_or(0, |begun_at| step::millis_since(begun_at));
                    self.run.tool_answered(call.step, outcome.clone());
                    self.closed.insert(call.step);
                    self.ended.extend(event::act_ended(&call, &outcome, millis));
                    begun.changed = true;
                }
                _ if self.steps.len() + begun.actions.len() >= MAX_AT_ONCE => {}
                Action::Think { within, agents, step } => {
                    self.begin_thinking(within, agents, step, &mut begun)
                }
                Action::Call { within, agents, call } => self.begin_call(within, agents, *call, &mut begun),
            }
        }
        let Begun { events, steps, actions, changed, stored } = begun;
        if stored || !events.is_empty() || (!self.ended.is_empty() && !self.going.is_empty()) {
            let written = [self.ended.as_slice(), &events].concat();
            if !self.log.append(written, &self.run).await? {
                // Nothing was written: what was to begin does not, and what has ended is written with the end.
                self.closed.extend(steps);
                self.cancelled.cancel();
                return Ok(true);
            }
            self.ended.clear();
        }
        let started = !actions.is_empty();
        for action in actions {
            self.start(action);
        }
        Ok(started || changed)
    }

    fn begin_thinking(
        &mut self,
        within: Option<u64>,
        agents: Vec<String>,
        step: Option<u64>,
        begun: &mut Begun,
    ) {
        match step {
            Some(step) if self.steps.contains(&step) => {}
            Some(step) => begun.actions.push(Start::Think { within, agents, step }),
            None => {
                let owner = Owner { within, agent: agents.last().cloned() };
                match self.run.think_begun(within) {
                    Some(step) => {
                        begun.steps.push(step);
                        begun.events.push(event::think_begun(step, &owner));
                        begun.actions.push(Start::Think { within, agents, step });
                    }
                    // The run, or the sub-agent, is at its end.
                    None => begun.changed = true,
                }
            }
        }
    }

    fn begin_call(&mut self, within: Option<u64>, agents: Vec<String>, call: PendingCall, begun: &mut Begun) {
        if self.steps.contains(&call.step) {
            return;
        }
        let driver = self.driver.at(&agents);
        let once = driver
            .and_then(|driver| driver.spec(&call.call.name))
            .is_some_and(|spec| spec.class == ToolClass::Once);
        if call.started && once && call.denied().is_none() {
            self.run.demand_approval(call.step, ApprovalReason::OutcomeUnknown);
            begun.changed = true;
            return;
        }
        if !call.announced {
            let owner = Owner { within, agent: agents.last().cloned() };
            begun.steps.push(call.step);
            begun.events.extend(event::act_begun(&call, &owner));
        }
        let agent = driver.and_then(|driver| driver.agents.get(&call.call.name));
        if let (Some(agent), None) = (agent, call.denied())
            && let Ok(task) = Subagent::task(&call.call)
        {
            self.delegated.insert(call.step, Instant::now());
            self.run.delegated(call.step, &agent.instructions, task, agent.max_steps);
            begun.changed = true;
            return;
        }
        begun.stored |= !call.started;
        self.run.tool_begun(call.step);
        begun.actions.push(Start::Call { agents, call });
    }

    fn start(&mut self, start: Start) {
        let stop = self.stop.clone();
        match start {
            Start::Think { within, agents, step } => {
                let Some(driver) = self.driver.at(&agents) else {
                    let detail = format!("there is no sub-agent '{}' any more", agents.join(" / "));
                    self.run.failed(Error::not_found(detail).with_code("unknown_agent").report());
                    return;
                };
                let request = self.run.request(within, driver.specs());
                self.steps.insert(step);
                self.going.push(Box::pin(step::think(driver, request, step, agents, self.log, stop)));
            }
            Start::Call { agents, call } => {
                self.steps.insert(call.step);
                let driver = self.driver.at(&agents);
                self.going.push(Box::pin(step::act(driver, call, self.identity, stop)));
            }
        }
    }

    async fn wait_for_a_step(&mut self) {
        let time_left = self.run.time_left();
        let out_of_time = async {
            match time_left {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let finished = tokio::select! {
            biased;
            finished = self.going.next() => finished,
            () = out_of_time => {
                self.run.out_of_time();
                return;
            }
        };
        match finished {
            Some(finished) => self.take(finished),
            // Unreachable: what cannot begin waits for what goes on.
            None => self.run.failed(Error::internal("the run has nothing to do and no end").report()),
        }
    }

    /// Takes over what came of a step.
    fn take(&mut self, finished: Finished) {
        let Finished { step, millis, result } = finished;
        self.steps.remove(&step);
        self.closed.insert(step);
        match result {
            StepResult::Thought { text, agents, calls, finish } => {
                let driver = self.driver.at(&agents).unwrap_or(self.driver);
                let tainted = self.run.is_tainted_at(step);
                let calls = calls.into_iter().map(|call| driver.propose(call, &self.run, tainted)).collect();
                self.ended.push(event::step_ended(step, "ok", &text, millis));
                self.run.model_answered(step, text, calls, &finish);
            }
            StepResult::NotThought { text, error } => {
                tracing::warn!(run_step = step, code = error.code(), %error, "the model did not answer");
                self.ended.push(event::step_ended(step, "error", &text, millis));
                self.run.failed(error.report());
            }
            StepResult::Called { call, outcome } => {
                self.ended.extend(event::act_ended(&call, &outcome, millis));
                self.run.tool_answered(step, outcome);
            }
            StepResult::Stopped { text } => {
                self.ended.push(event::step_ended(step, "cancelled", &text, millis));
            }
        }
    }

    /// Stops the steps that still go on: the run has ended.
    async fn stop_all(&mut self) {
        self.stop.cancel();
        while let Some(finished) = self.going.next().await {
            self.take(finished);
        }
        // What was begun in an earlier life, and the tasks of sub-agents, go on nowhere.
        for step in self.run.open_steps() {
            if self.closed.insert(step) {
                self.ended.push(event::step_ended(step, "cancelled", "", 0));
            }
        }
    }

    async fn finish(mut self, end: RunEnd) -> Result<Driven> {
        self.ended.push(event::ended(&end));
        self.log.finish(self.ended, &self.run, &end).await?;
        Ok(Driven::Ended(end))
    }

    /// Asks for the approvals that the run waits for, and gives the run back; goes on if they are decided already.
    async fn suspend(&mut self, calls: Vec<PendingCall>) -> Result<Option<Driven>> {
        let expires_in = Duration::from_secs(self.run.approval_policy().expires_in);
        let mut events = std::mem::take(&mut self.ended);
        let ended = events.len();
        let mut approvals = Vec::with_capacity(calls.len());
        for call in calls {
            let known = call.approval.as_ref().and_then(|approval| approval.expires_at);
            let expires_at = known.unwrap_or_else(|| self.log.now().plus(expires_in));
            let Some(approval) = approval_of(&call, self.identity, expires_at) else { continue };
            self.run.approval_asked(call.step, expires_at);
            if known.is_none() {
                events.push(event::approval_required(&approval));
            }
            approvals.push(approval);
        }
        match self.log.suspend(events.clone(), &self.run, approvals).await? {
            Suspended::Waiting => return Ok(Some(Driven::Waiting)),
            Suspended::Resolved(resolved) => self.resolve(resolved),
            Suspended::Cancelled => {
                events.truncate(ended);
                self.ended = events;
                self.cancelled.cancel();
            }
        }
        Ok(None)
    }
}

/// What is about to begin.
#[derive(Default)]
struct Begun {
    events: Vec<NewEvent>,
    /// The steps whose begin the events tell.
    steps: Vec<u64>,
    actions: Vec<Start>,
    /// Whether the run is another than before, so that it is to be asked again what to do.
    changed: bool,
    /// Whether the run must be stored before the actions start.
    stored: bool,
}

enum Start {
    Think { within: Option<u64>, agents: Vec<String>, step: u64 },
    Call { agents: Vec<String>, call: PendingCall },
}

fn approval_of(call: &PendingCall, identity: &RunIdentity, expires_at: Timestamp) -> Option<NewApproval> {
    let reason = call.approval.as_ref()?.reason;
    let mut approval =
        NewApproval::new(call.approval_id(&identity.run)?, call.step, call.call.name.as_str(), reason);
    approval.call_id.clone_from(&call.call.id);
    approval.inputs = call.inputs();
    approval.arguments_hash = call.arguments_hash();
    approval.expires_at = expires_at;
    Some(approval)
}

/// What the model is told of a call that a person did not allow.
pub(super) fn refusal(call: &PendingCall) -> Option<ToolOutcome> {
    let approval = call.denied()?;
    let said = approval.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
    let error = if approval.reason == ApprovalReason::OutcomeUnknown {
        let detail =
            "the tool was begun before a crash and was not run again: whether it took effect is unknown";
        Error::conflict(format!("{detail}{said}")).with_code("outcome_unknown")
    } else {
        Error::conflict(format!("the call was not approved{said}")).with_code("approval_denied")
    };
    Some(ToolOutcome::error(&error))
}
