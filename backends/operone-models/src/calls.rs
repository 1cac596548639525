//! The calls of tools in an answer, put together from their pieces.

use std::collections::HashSet;

use operone_core::Result;
use operone_core::model::{ModelEvent, ToolCall};

use crate::error::protocol;
use crate::tool_names::ToolNames;

/// The longest arguments of all calls of one answer, in bytes.
const MAX_ARGUMENTS: usize = 1024 * 1024;

/// The most calls of one answer.
const MAX_CALLS: usize = 128;

/// Calls in the making, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Calls {
    names: ToolNames,
    calls: Vec<Call>,
    bytes: usize,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// More of a call.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) index: Option<u64>,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Call {
    fn may_be(&self, id: &str) -> bool {
        id.is_empty() || self.id.is_empty() || self.id == id
    }
}

impl Calls {
    pub(crate) fn new(names: ToolNames) -> Self {
        Self { names, calls: Vec::new(), bytes: 0 }
    }

    /// Adds a piece to the call of its index. Only the first piece of a call is sure to have an id and a name; an id
    /// that differs begins another call, which some services send under the same index. `place` stands in for the
    /// index where the service gives none and the piece begins a call.
    pub(crate) fn join(&mut self, place: usize, piece: Piece) -> Result<()> {
        let Piece { index: given, id, name, arguments } = piece;
        self.bytes += arguments.len();
        if self.bytes > MAX_ARGUMENTS {
            return Err(protocol("the arguments of an answer's calls are longer than 1 MiB"));
        }
        let is_full = self.calls.len() == MAX_CALLS;
        let index = given.or(if id.is_empty() { None } else { Some(place as u64) });
        let known = match given {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().rposition(|call| call.id == id),
        };
        let known = known
            .filter(|at| self.calls.get(*at).is_some_and(|call| call.may_be(&id)))
            .and_then(|at| self.calls.get_mut(at));
        match known {
            Some(call) => {
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
            None => self.calls.push(Call { index, id, name, arguments }),
        }
        Ok(())
    }

    /// The calls, whole: each with an id of its own and the name that was offered.
    pub(crate) fn finish(&mut self) -> Result<Vec<ModelEvent>> {
        let mut events = Vec::with_capacity(self.calls.len());
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
        Ok(events)
    }
}
