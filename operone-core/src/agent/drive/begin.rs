//! Begins the steps that can begin: writes that they do, then starts them.

use tokio::time::Instant;

use super::{Drive, MAX_AT_ONCE};
use crate::agent::driver::Subagent;
use crate::agent::event::{self, Owner};
use crate::agent::machine::{Action, PendingCall};
use crate::agent::step;
use crate::error::{Error, Result};
use crate::journal::{ApprovalReason, NewEvent};
use crate::tool::ToolClass;

impl Drive<'_> {
    /// Begins what can begin; false if nothing has changed and a step has to end first.
    pub(super) async fn begin(&mut self, actions: Vec<Action>) -> Result<bool> {
        let mut begun = Begun::default();
        for action in actions {
            match action {
                Action::Return { call, outcome } => {
                    let begun_at = self.delegated.remove(&call.step);
                    let millis = begun_at.map_or(0, step::millis_since);
                    self.run.tool_answered(call.step, outcome.clone());
                    self.closed.insert(call.step);
                    self.ended.extend(event::act_ended(&call, &outcome, millis));
                    begun.changed = true;
                }
                _ if self.steps.len() + begun.actions.len() >= MAX_AT_ONCE => {}
                Action::Think { within, agents, step } => {
                    self.begin_thinking(within, agents, step, &mut begun)
                }
                Action::Call { within, agents, call } => self.begin_call(within, agents, call, &mut begun),
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

    fn begin_call(
        &mut self,
        within: Option<u64>,
        agents: Vec<String>,
        call: Box<PendingCall>,
        begun: &mut Begun,
    ) {
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
            self.run.delegated(call.step, &agent.assignment(task));
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
    Call { agents: Vec<String>, call: Box<PendingCall> },
}
