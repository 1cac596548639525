//! Puts an answer together from its chunks.

use std::collections::HashSet;

use operone_core::model::{Finish, FinishReason, ModelEvent, ToolCall, Usage};
use operone_core::{Error, Result};
use serde_json::Value;

use crate::error::{cut_off, protocol};
use crate::tool_names::ToolNames;
use crate::wire::{CallDelta, Chunk};

/// The longest arguments of one call, in bytes.
const MAX_ARGUMENTS: usize = 1024 * 1024;

/// The most calls of one answer.
const MAX_CALLS: usize = 128;

/// An answer in the making. Text is given at once, calls when they are whole.
#[derive(Debug)]
pub(crate) struct Answer {
    names: ToolNames,
    calls: Vec<Call>,
    reason: Option<FinishReason>,
    usage: Usage,
    ended: bool,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Call {
    fn may_be(&self, id: &str) -> bool {
        id.is_empty() || self.id.is_empty() || self.id == id
    }
}

/// What reading one event's data can meet besides an [`Error`].
pub(crate) enum Fault {
    /// The service reports an error.
    Reported(Value),
    /// The data is not what the protocol says.
    Broken(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Answer {
    pub(crate) fn new(names: ToolNames) -> Self {
        Self { names, calls: Vec::new(), reason: None, usage: Usage::default(), ended: false }
    }

    /// Whether the service has said that nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads the data of one event: a chunk, a whole answer or the mark of the end.
    pub(crate) fn read(&mut self, data: &str) -> Result<Option<ModelEvent>, Fault> {
        if data.trim() == "[DONE]" {
            self.ended = true;
            return Ok(None);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
            protocol("the model service sent what is no chunk of an answer").with_source(error)
        })?;
        if let Some(report) = chunk.error.filter(|error| !error.is_null()) {
            return Err(Fault::Reported(report));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage::new(usage.prompt_tokens, usage.completion_tokens);
        }
        let mut text = String::new();
        // One answer is asked for; of a service that gives several the first counts.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            text.push_str(&choice.delta.text());
            if let Some(refusal) = choice.delta.refusal.filter(|refusal| !refusal.is_empty()) {
                text.push_str(&refusal);
                self.reason = Some(FinishReason::Refused);
            }
            for (place, call) in choice.delta.tool_calls.into_iter().enumerate() {
                self.join(place, call)?;
            }
            if let (Some(reason), None) = (choice.finish_reason, self.reason) {
                self.reason = Some(finish_reason(&reason));
            }
        }
        Ok(Some(text).filter(|text| !text.is_empty()).map(ModelEvent::Text))
    }

    /// The rest of the answer: its calls and its end. An answer that broke off is `Unavailable`.
    pub(crate) fn finish(&mut self) -> Result<Vec<ModelEvent>> {
        let reason = match self.reason {
            Some(reason) => reason,
            None if self.ended => FinishReason::Stop,
            None => return Err(cut_off()),
        };
        let mut events = Vec::with_capacity(self.calls.len() + 1);
        let mut ids = HashSet::new();
        for (number, call) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            if call.name.is_empty() {
                return Err(protocol("the model service sent a call of a tool without a name"));
            }
            let id = Some(call.id).filter(|id| !id.is_empty() && !ids.contains(id));
            let id = id.unwrap_or_else(|| format!("call-{}", number + 1));
            ids.insert(id.clone());
            let name = self.names.offered_name(call.name);
            events.push(ModelEvent::Call(ToolCall::new(id, name, call.arguments)));
        }
        let waits = !events.is_empty() && reason == FinishReason::Stop;
        let reason = if waits { FinishReason::ToolCalls } else { reason };
        events.push(ModelEvent::Done(Finish::new(reason, self.usage)));
        Ok(events)
    }

    /// Adds a part to the call of its index. Only the first part of a call is sure to have an id and a name; an
    /// id that differs begins another call, which some services send under the same index.
    fn join(&mut self, place: usize, part: CallDelta) -> Result<()> {
        let id = part.id.unwrap_or_default();
        let index = part.index.or(if id.is_empty() { None } else { Some(place as u64) });
        let is_full = self.calls.len() == MAX_CALLS;
        let known = match part.index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().rposition(|call| call.id == id),
        };
        let known = known
            .filter(|at| self.calls.get(*at).is_some_and(|call| call.may_be(&id)))
            .and_then(|at| self.calls.get_mut(at));
        let arguments = part.function.arguments();
        let name = part.function.name.unwrap_or_default();
        match known {
            Some(call) => {
                if call.arguments.len() + arguments.len() > MAX_ARGUMENTS {
                    return Err(protocol("the arguments of a call are longer than 1 MiB"));
                }
                call.arguments.push_str(&arguments);
                if call.id.is_empty() {
                    call.id = id;
                }
                if call.name.is_empty() {
                    call.name = name;
                }
            }
            None if is_full => {
                return Err(protocol("the answer calls more than 128 tools"));
            }
            None if arguments.len() > MAX_ARGUMENTS => {
                return Err(protocol("the arguments of a call are longer than 1 MiB"));
            }
            None => self.calls.push(Call { index, id, name, arguments }),
        }
        Ok(())
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::Refused,
        _ => FinishReason::Stop,
    }
}
