//! One conversation of a run: its own, or that of a sub-agent within one of its calls.

use serde::{Deserialize, Serialize};

use super::call::{PendingCall, ToolOutcome};
use super::instructions;
use super::next::Action;
use super::output::OutputSchema;
use crate::agent::spec::AgentSpec;
use crate::model::{Message, ModelSettings};

/// One conversation as it stands. Stored with the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) messages: Vec<Message>,
    /// Whether strangers may have written part of the messages.
    pub(super) tainted: bool,
    pub(super) max_steps: u32,
    /// Model turns that were begun.
    pub(super) turns: u32,
    pub(super) state: FrameState,
    /// How the model answers.
    #[serde(default, skip_serializing_if = "ModelSettings::is_default")]
    pub(super) settings: ModelSettings,
    /// What the answer must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<OutputSchema>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FrameState {
    /// The model is to be asked; `step` is set once the turn has begun.
    Think { step: Option<u64> },
    /// Tools are to be called.
    Act { calls: Vec<PendingCall> },
    /// A sub-agent has answered.
    Answered { outcome: ToolOutcome },
}

impl Frame {
    pub(super) fn new(messages: Vec<Message>, max_steps: u32, tainted: bool) -> Self {
        Self {
            messages,
            tainted,
            max_steps,
            turns: 0,
            state: FrameState::Think { step: None },
            settings: ModelSettings::default(),
            output: None,
        }
    }

    /// The conversation of an agent before its first turn.
    pub(super) fn of(spec: &AgentSpec, tainted: bool) -> Self {
        let messages = vec![instructions(spec), Message::user(spec.goal.as_str())];
        Self {
            settings: spec.settings.clone(),
            output: spec.output_schema.clone().map(OutputSchema::new),
            ..Self::new(messages, spec.max_steps, tainted)
        }
    }

    /// The conversation of a sub-agent by the step of its call; its own is `None`.
    pub(super) fn conversation(&self, within: Option<u64>) -> Option<&Self> {
        match within {
            None => Some(self),
            Some(step) => self.any_call(&|call| call.step == step)?.frame.as_deref(),
        }
    }

    /// Finds that conversation to change it.
    pub(super) fn find(&mut self, within: Option<u64>) -> Option<&mut Self> {
        let Some(step) = within else { return Some(self) };
        self.call(step)?.frame.as_deref_mut()
    }

    /// Finds an open call, in this conversation or one below it.
    pub(super) fn call(&mut self, step: u64) -> Option<&mut PendingCall> {
        let FrameState::Act { calls } = &mut self.state else { return None };
        if let Some(place) = calls.iter().position(|call| call.step == step) {
            return calls.get_mut(place);
        }
        calls.iter_mut().filter_map(|call| call.frame.as_deref_mut()).find_map(|frame| frame.call(step))
    }

    /// Finds any open call.
    pub(super) fn any_call(&self, wanted: &dyn Fn(&PendingCall) -> bool) -> Option<&PendingCall> {
        let FrameState::Act { calls } = &self.state else { return None };
        calls.iter().find_map(|call| {
            let below = || call.frame.as_deref().and_then(|frame| frame.any_call(wanted));
            if wanted(call) { Some(call) } else { below() }
        })
    }

    /// Whether the conversation that holds this call is tainted.
    pub(super) fn caller_is_tainted(&self, step: u64) -> bool {
        let FrameState::Act { calls } = &self.state else { return self.tainted };
        if calls.iter().any(|call| call.step == step) {
            return self.tainted;
        }
        let mut below = calls.iter().filter_map(|call| call.frame.as_deref());
        below
            .find(|frame| frame.any_call(&|call| call.step == step).is_some())
            .is_none_or(|frame| frame.caller_is_tainted(step))
    }

    /// The conversation that asks the model in this step.
    pub(super) fn thinks(&self, step: u64) -> Option<&Self> {
        match &self.state {
            FrameState::Think { step: thinking } => (*thinking == Some(step)).then_some(self),
            FrameState::Act { calls } => {
                calls.iter().filter_map(|call| call.frame.as_deref()).find_map(|frame| frame.thinks(step))
            }
            FrameState::Answered { .. } => None,
        }
    }

    /// Adds the steps that were begun and not ended, inner ones first.
    pub(super) fn open_steps(&self, steps: &mut Vec<u64>) {
        match &self.state {
            FrameState::Think { step } => steps.extend(step),
            FrameState::Act { calls } => {
                for call in calls.iter().filter(|call| call.announced && call.outcome.is_none()) {
                    if let Some(frame) = &call.frame {
                        frame.open_steps(steps);
                    }
                    steps.push(call.step);
                }
            }
            FrameState::Answered { .. } => {}
        }
    }

    /// That conversation, to change it, with the step of the call that it works on.
    pub(super) fn thinking(&mut self, step: u64, within: Option<u64>) -> Option<(Option<u64>, &mut Self)> {
        if matches!(self.state, FrameState::Think { step: Some(thinking) } if thinking == step) {
            return Some((within, self));
        }
        let FrameState::Act { calls } = &mut self.state else { return None };
        calls.iter_mut().find_map(|call| {
            let within = call.step;
            call.frame.as_deref_mut().and_then(|frame| frame.thinking(step, Some(within)))
        })
    }

    /// Passes on results in this conversation and those below it.
    pub(super) fn collect_all(&mut self) {
        if let FrameState::Act { calls } = &mut self.state {
            calls.iter_mut().filter_map(|call| call.frame.as_deref_mut()).for_each(Frame::collect_all);
        }
        self.collect();
    }

    /// Passes the results on to the model, if all calls are answered.
    pub(super) fn collect(&mut self) {
        let FrameState::Act { calls } = &mut self.state else { return };
        if calls.iter().any(|call| call.outcome.is_none()) {
            return;
        }
        for PendingCall { call, outcome, untrusted, .. } in calls.drain(..) {
            let content = outcome.map(|outcome| outcome.content()).unwrap_or_default();
            self.tainted |= untrusted;
            self.messages.push(Message::Tool { call_id: call.id, name: call.name, content });
        }
        self.state = FrameState::Think { step: None };
    }

    /// What can be done now, and which calls wait for a person. Calls that may run beside others do; any other call
    /// waits for those before it and holds up those behind it.
    pub(super) fn ready<'a>(
        &'a self,
        within: Option<u64>,
        agents: &[String],
        actions: &mut Vec<Action>,
        waiting: &mut Vec<&'a PendingCall>,
    ) {
        match &self.state {
            FrameState::Think { step } => {
                actions.push(Action::Think { within, agents: agents.to_vec(), step: *step });
            }
            FrameState::Act { calls } => {
                let open = calls.iter().filter(|call| call.outcome.is_none());
                waiting.extend(open.clone().filter(|call| call.is_waiting()));
                for (place, call) in open.enumerate() {
                    if !call.concurrent && place > 0 {
                        return;
                    }
                    call.ready(within, agents, actions, waiting);
                    if !call.concurrent {
                        return;
                    }
                }
            }
            FrameState::Answered { .. } => {}
        }
    }
}

impl PendingCall {
    fn ready<'a>(
        &'a self,
        within: Option<u64>,
        agents: &[String],
        actions: &mut Vec<Action>,
        waiting: &mut Vec<&'a PendingCall>,
    ) {
        match &self.frame {
            _ if self.is_waiting() => {}
            None => {
                let call = Box::new(self.clone());
                actions.push(Action::Call { within, agents: agents.to_vec(), call });
            }
            Some(frame) => match &frame.state {
                FrameState::Answered { outcome } => {
                    actions.push(Action::Return { call: Box::new(self.clone()), outcome: outcome.clone() });
                }
                _ => {
                    let below = [agents, std::slice::from_ref(&self.call.name)].concat();
                    frame.ready(Some(self.step), &below, actions, waiting);
                }
            },
        }
    }
}
