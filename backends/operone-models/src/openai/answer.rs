//! Puts an answer together from the chunks of the chat completions protocol.

use std::collections::VecDeque;

use operone_core::Result;
use operone_core::model::{Finish, FinishReason, ModelEvent, Usage};

use crate::calls::{Calls, Piece};
use crate::error::{cut_off, protocol};
use crate::reading::{Decode, Fault};
use crate::template::{Templates, give_text, give_thought};
use crate::tool_names::ToolNames;

use super::chunk::{Chunk, Delta, FunctionDelta};

/// An answer in the making. Text is given at once, calls when they are whole.
#[derive(Debug)]
pub(super) struct Answer {
    calls: Calls,
    reason: Option<FinishReason>,
    usage: Usage,
    ended: bool,
    templates: Templates,
}

impl Answer {
    pub(super) fn new(names: ToolNames) -> Self {
        let (calls, templates) = (Calls::new(names), Templates::default());
        Self { calls, reason: None, usage: Usage::default(), ended: false, templates }
    }
}

impl Decode for Answer {
    fn read(&mut self, data: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        if self.templates.read(data, events) {
            return Ok(());
        }
        if data.trim_ascii() == "[DONE]" {
            self.ended = true;
            return Ok(());
        }
        let Chunk { choices, usage, error } = serde_json::from_str(data).map_err(|error| {
            protocol("the model service sent what is no chunk of an answer").with_source(error)
        })?;
        if let Some(report) = error.filter(|error| !error.is_null()) {
            return Err(Fault::Reported(report));
        }
        let is_plain = usage.is_none() && choices.len() == 1;
        if let Some(usage) = usage {
            self.usage = Usage::new(usage.prompt_tokens, usage.completion_tokens);
        }
        // One answer is asked for; of a service that gives several the first counts.
        for choice in choices.into_iter().filter(|choice| choice.index == 0) {
            let Delta { content, reasoning_content, reasoning, refusal, tool_calls } = choice.delta;
            let (text, refusal) = (content.0, refusal.0);
            let thought = Some(reasoning_content.0).filter(|text| !text.is_empty()).unwrap_or(reasoning.0);
            if is_plain && choice.finish_reason.is_none() && refusal.is_empty() && tool_calls.is_empty() {
                if thought.is_empty() {
                    self.templates.learn_text(data, &text);
                } else if text.is_empty() {
                    self.templates.learn_thought(data, &thought);
                }
            }
            give_thought(events, thought.into_owned());
            give_text(events, text.into_owned());
            if !refusal.is_empty() {
                give_text(events, refusal.into_owned());
                self.reason = Some(FinishReason::Refused);
            }
            for (place, call) in tool_calls.into_iter().enumerate() {
                let FunctionDelta { name, arguments } = call.function;
                let (id, name) = (call.id.unwrap_or_default(), name.unwrap_or_default());
                let piece = Piece { index: call.index, id, name, arguments: arguments.0.into_owned() };
                self.calls.join(place, piece)?;
            }
            if let (Some(reason), None) = (choice.finish_reason, self.reason) {
                self.reason = Some(finish_reason(&reason));
            }
        }
        Ok(())
    }

    /// A whole answer differs from a chunk by the name of one key.
    fn read_whole(&mut self, body: &str, events: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        self.read(body, events)
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn finish(&mut self, events: &mut VecDeque<ModelEvent>) -> Result<()> {
        let reason = match self.reason {
            Some(reason) => reason,
            None if self.ended => FinishReason::Stop,
            None => return Err(cut_off()),
        };
        let calls = self.calls.finish()?;
        let waits = !calls.is_empty() && reason == FinishReason::Stop;
        let reason = if waits { FinishReason::ToolCalls } else { reason };
        events.extend(calls);
        events.push_back(ModelEvent::Done(Finish::new(reason, self.usage)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(delta: &str, reason: &str) -> String {
        format!(r#"{{"index":0,"delta":{{{delta}}},"finish_reason":{reason}}}"#)
    }

    fn chunk(choices: &str, rest: &str) -> String {
        format!(r#"{{"id":"1","choices":[{choices}]{rest}}}"#)
    }

    fn chunks() -> Vec<String> {
        let deltas = [
            r#""content":"a""#,
            r#""content":"b \n\"c""#,
            r#""content":"""#,
            r#""content":null"#,
            r#""content":[{"type":"text","text":"d"}]"#,
            r#""content":"e","reasoning":"f""#,
            r#""reasoning_content":"g""#,
            r#""content":null,"reasoning_content":"h""#,
            r#""content":"i","refusal":"j""#,
            r#""content":"k","tool_calls":[{"index":0,"function":{"name":"t","arguments":"l"}}]"#,
        ];
        let mut chunks: Vec<String> = deltas.iter().map(|delta| chunk(&choice(delta, "null"), "")).collect();
        let text = choice(r#""content":"m""#, "null");
        chunks.extend([
            chunk(&choice(r#""content":"n""#, "\"length\""), ""),
            chunk(&text, r#","usage":{"prompt_tokens":3,"completion_tokens":4}"#),
            chunk(&format!("{text},{text}"), ""),
            chunk(&text.replace("\"index\":0", "\"index\":1"), ""),
            chunk("", ""),
            "[DONE]".to_owned(),
        ]);
        chunks
    }

    #[test]
    fn a_chunk_that_is_like_one_before_means_what_it_would_mean_by_itself() {
        let chunks = chunks();
        let triples = chunks.iter().flat_map(|a| chunks.iter().map(move |b| (a, b)));
        for (a, b, c) in triples.flat_map(|(a, b)| chunks.iter().map(move |c| (a, b, c))) {
            let new = || Answer::new(ToolNames::default());
            let (mut answer, mut forgetful) = (new(), new());
            let (mut events, mut expected) = (VecDeque::new(), VecDeque::new());
            for data in [a, b, c, a] {
                forgetful.templates = Templates::default();
                assert!(forgetful.read(data, &mut expected).is_ok());
                assert!(answer.read(data, &mut events).is_ok());
            }
            let ended = forgetful.finish(&mut expected).is_ok();
            assert_eq!(answer.finish(&mut events).is_ok(), ended);
            assert_eq!(events, expected, "{a}\n{b}\n{c}");
        }
    }
}
