//! The chunks of a streamed answer on OpenAI's wire, written as server-sent events. A relay writes one for each token,
//! so that no tree of values stands in between.

use axum::body::Bytes;
use operone_core::model::{Finish, ToolCall};
use serde::Serialize;

use super::answer::{AnswerHead, UsageBody, reason};

/// What stands between the delta of a chunk without a reason to end, and the end of its event.
const GOES_ON: &[u8] = b",\"logprobs\":null,\"finish_reason\":null}]}\n\n";

/// Collects chunks until they are taken.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    /// What every chunk begins with, up to its choices.
    begin: Vec<u8>,
    calls: usize,
    written: Vec<u8>,
}

#[derive(Serialize)]
struct Begin<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
}

#[derive(Serialize)]
struct CallDelta<'a> {
    index: usize,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionDelta<'a>,
}

#[derive(Serialize)]
struct FunctionDelta<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl ChunkWriter {
    /// Writes the first chunk, which has who speaks and what was looked up.
    pub(crate) fn new(head: &AnswerHead) -> Self {
        let AnswerHead { id, created, model, found } = head;
        let mut begin = Vec::with_capacity(256);
        begin.extend_from_slice(b"data: ");
        json(&mut begin, &Begin { id, object: "chat.completion.chunk", created: *created, model });
        // The object goes on in each chunk.
        begin.pop();
        let mut writer = Self { begin, calls: 0, written: Vec::new() };
        writer.begin_chunk(0);
        if let Some(found) = found {
            writer.write(b",\"operone\":");
            json(&mut writer.written, found);
        }
        writer.write(b",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}");
        writer.write(GOES_ON);
        writer
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.delta(b"{\"content\":", text, text.len());
    }

    pub(crate) fn thought(&mut self, thought: &str) {
        self.delta(b"{\"reasoning_content\":", thought, thought.len());
    }

    pub(crate) fn call(&mut self, call: &ToolCall) {
        let function = FunctionDelta { name: &call.name, arguments: &call.arguments };
        let delta = CallDelta { index: self.calls, id: &call.id, kind: "function", function };
        self.calls += 1;
        self.delta(b"{\"tool_calls\":", &[delta], call.arguments.len());
    }

    /// The end of an answer, with what it cost if that is wanted.
    pub(crate) fn finish(&mut self, finish: &Finish, includes_usage: bool) {
        self.begin_chunk(0);
        self.write(b",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":");
        json(&mut self.written, reason(finish.reason));
        self.write(b"}]}\n\n");
        if includes_usage {
            self.begin_chunk(0);
            self.write(b",\"choices\":[],\"usage\":");
            json(&mut self.written, &UsageBody::new(&finish.usage));
            self.write(b"}\n\n");
        }
        self.write(b"data: [DONE]\n\n");
    }

    /// The end of an answer that failed on the way.
    pub(crate) fn fail(&mut self, error: &impl Serialize) {
        self.write(b"data: ");
        json(&mut self.written, error);
        self.write(b"\n\ndata: [DONE]\n\n");
    }

    /// How many bytes were written since the last were taken.
    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }

    /// What was written so far.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.written).into()
    }

    /// A chunk whose delta begins with this key; its value will be about so long.
    fn delta(&mut self, key: &[u8], value: &(impl Serialize + ?Sized), length: usize) {
        self.begin_chunk(length);
        self.write(b",\"choices\":[{\"index\":0,\"delta\":");
        self.write(key);
        json(&mut self.written, value);
        self.write(b"}");
        self.write(GOES_ON);
    }

    /// Makes room for all of the chunk at once.
    fn begin_chunk(&mut self, length: usize) {
        self.written.reserve(self.begin.len() + length + 128);
        self.written.extend_from_slice(&self.begin);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
    }
}

fn json(written: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // It goes to memory, and no value here refuses to be written.
    let _ = serde_json::to_writer(written, value);
}

#[cfg(test)]
mod tests {
    use operone_core::model::{FinishReason, Usage};
    use serde_json::{Value, json};

    use super::*;

    fn head(found: Option<Value>) -> AnswerHead {
        AnswerHead { id: "chatcmpl-1".into(), created: 7, model: "a \"model\"".into(), found }
    }

    /// The data of each event.
    fn taken(writer: &mut ChunkWriter) -> Vec<String> {
        let bytes = writer.take();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    fn read(data: &str) -> Value {
        serde_json::from_str(data).unwrap()
    }

    fn chunk(choices: Value) -> Value {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "a \"model\"", "choices": choices})
    }

    fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
        json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}])
    }

    #[test]
    fn an_answer_is_written_chunk_by_chunk() {
        let mut writer = ChunkWriter::new(&head(Some(json!({"rag": [1]}))));
        let mut first = chunk(choice(json!({"role": "assistant", "content": ""}), None));
        first["operone"] = json!({"rag": [1]});
        let begun: Vec<Value> = taken(&mut writer).iter().map(|data| read(data)).collect();
        assert_eq!(begun, [first]);
        assert_eq!(writer.len(), 0);

        writer.thought("hm");
        writer.text("two\n\nlines \"quoted\" ü");
        for id in ["a", "b"] {
            writer.call(&ToolCall::new(id, "look", "{}"));
        }
        writer.finish(&Finish::new(FinishReason::ToolCalls, Usage::new(2, 3)), true);
        let call = |index: usize, id: &str| {
            let function = json!({"name": "look", "arguments": "{}"});
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        };
        let mut usage = chunk(json!([]));
        usage["usage"] = json!({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5});
        let expected = [
            chunk(choice(json!({"reasoning_content": "hm"}), None)),
            chunk(choice(json!({"content": "two\n\nlines \"quoted\" ü"}), None)),
            chunk(choice(call(0, "a"), None)),
            chunk(choice(call(1, "b"), None)),
            chunk(choice(json!({}), Some("tool_calls"))),
            usage,
        ];
        let mut written = taken(&mut writer);
        assert_eq!(written.pop().unwrap(), "[DONE]");
        let written: Vec<Value> = written.iter().map(|data| read(data)).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn an_answer_that_failed_says_so_and_ends() {
        let mut writer = ChunkWriter::new(&head(None));
        writer.take();
        writer.fail(&json!({"error": "gone"}));
        assert_eq!(taken(&mut writer), [r#"{"error":"gone"}"#, "[DONE]"]);
    }
}
