//! What the server under test talks to: a model service that follows a plan, and a witness of what tools did.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::http::serve;
use super::random::Random;

/// One use of a tool as the witness saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tool: String,
    pub(crate) key: String,
    /// Which call of which plan it was.
    pub(crate) call: String,
    pub(crate) time: SystemTime,
}

/// What the witness saw; each use is in a file before the tool answers.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) url: String,
    seen: Arc<Mutex<(Vec<Seen>, File)>>,
}

impl Witness {
    /// An MCP server over HTTP with the tools `look` (reads), `put` (may run twice) and `fire` (must not).
    pub(crate) fn start(file: File, random: Arc<Random>) -> std::io::Result<Self> {
        let seen = Arc::new(Mutex::new((Vec::new(), file)));
        let kept = Arc::clone(&seen);
        let address = serve(move |message| {
            let id = message.get("id").cloned()?;
            let result = match message["method"].as_str().unwrap_or_default() {
                "initialize" => json!({
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "witness", "version": "1"}
                }),
                "tools/list" => json!({"tools": tools()}),
                "tools/call" => {
                    // The effect lies between two pauses, so that a kill can come before, during and after it.
                    std::thread::sleep(Duration::from_millis(random.below(40)));
                    witness(&kept, &message["params"]);
                    std::thread::sleep(Duration::from_millis(random.below(40)));
                    json!({"content": [{"type": "text", "text": "done"}]})
                }
                other => {
                    let error = json!({"code": -32601, "message": format!("there is no method {other}")});
                    return Some((
                        "application/json",
                        json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string(),
                    ));
                }
            };
            Some(("application/json", json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()))
        })?;
        Ok(Self { url: format!("http://{address}/mcp"), seen })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

fn tools() -> Value {
    let schema = json!({"type": "object", "required": ["call"], "properties": {"call": {"type": "string"}}});
    let tool = |name: &str, hints: Value| json!({"name": name, "description": name, "inputSchema": schema, "annotations": hints});
    json!([
        tool("look", json!({"readOnlyHint": true, "openWorldHint": false})),
        tool("put", json!({"readOnlyHint": false, "idempotentHint": true, "openWorldHint": false})),
        tool("fire", json!({"readOnlyHint": false, "idempotentHint": false, "openWorldHint": false})),
    ])
}

fn witness(kept: &Mutex<(Vec<Seen>, File)>, params: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seen = Seen {
        tool: text(&params["name"]),
        key: text(&params["_meta"]["operone/idempotency_key"]),
        call: text(&params["arguments"]["call"]),
        time: SystemTime::now(),
    };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let line = format!("{} {} {}\n", seen.tool, seen.key, seen.call);
    if kept.1.write_all(line.as_bytes()).and_then(|()| kept.1.sync_data()).is_ok() {
        kept.0.push(seen);
    }
}

/// A model service whose answer depends on the conversation alone: the goal names the tools to call, one a turn.
/// Gives its URL.
pub(crate) fn model(random: Arc<Random>) -> std::io::Result<String> {
    let address = serve(move |request| {
        std::thread::sleep(Duration::from_millis(random.below(20)));
        let messages = request["messages"].as_array().cloned().unwrap_or_default();
        let goal = messages.iter().find(|message| message["role"] == "user");
        let goal = goal.and_then(|message| message["content"].as_str()).unwrap_or_default();
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        let mut words = goal.split(' ');
        let tag = words.next().unwrap_or_default();
        let (delta, finish) = match words.nth(turn) {
            Some(tool) => {
                let arguments = json!({"call": format!("{tag}-{turn}")}).to_string();
                let function = json!({"name": name_of(request, tool), "arguments": arguments});
                let call = json!({"index": 0, "id": format!("call-{turn}"), "type": "function", "function": function});
                (json!({"content": "Next.", "tool_calls": [call]}), "tool_calls")
            }
            None => (json!({"content": "Done."}), "stop"),
        };
        let part = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
        Some(("text/event-stream", format!("data: {part}\n\ndata: {stop}\n\ndata: [DONE]\n\n")))
    })?;
    Ok(format!("http://{address}/v1"))
}

/// The tool's name as the request offers it.
fn name_of(request: &Value, tool: &str) -> String {
    let offered = request["tools"].as_array().cloned().unwrap_or_default();
    let names = offered.iter().filter_map(|offered| offered["function"]["name"].as_str());
    names.filter(|name| name.ends_with(tool)).map(str::to_owned).next().unwrap_or_else(|| tool.to_owned())
}
