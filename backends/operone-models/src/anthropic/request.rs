//! What is sent in Anthropic's Messages protocol.

use operone_core::model::{Message, ModelRequest, Reasoning, ReasoningEffort, ToolCall, ToolChoice};
use serde_json::{Map, Value, json};

use crate::tool_names::ToolNames;

/// The most tokens to answer with where the request names no limit.
const MAX_TOKENS: u32 = 8_192;

/// The body of a request for a streamed answer.
pub(super) fn request_body(model: &str, request: &ModelRequest, names: &ToolNames) -> Vec<u8> {
    let mut body = Map::new();
    let mut output = Map::new();
    let mut max_tokens = request.settings.max_tokens.unwrap_or(MAX_TOKENS);
    body.insert("model".into(), model.into());
    body.insert("stream".into(), true.into());
    let system = request.messages.iter().filter_map(|message| match message {
        Message::System { content } if !content.trim().is_empty() => Some(content.as_str()),
        _ => None,
    });
    let system: Vec<&str> = system.collect();
    if !system.is_empty() {
        body.insert("system".into(), system.join("\n\n").into());
    }
    body.insert("messages".into(), messages(&request.messages, names));
    let tools = request.tools_to_tell();
    if !tools.is_empty() {
        let tools = tools.iter().map(|tool| {
            json!({
                "name": names.to_wire(&tool.name),
                "description": tool.description,
                "input_schema": tool.input_schema,
            })
        });
        body.insert("tools".into(), tools.collect());
        let choice = match &request.settings.tool_choice {
            ToolChoice::None => Some(json!({"type": "none"})),
            ToolChoice::Required => Some(json!({"type": "any"})),
            ToolChoice::Tool(name) => Some(json!({"type": "tool", "name": names.to_wire(name)})),
            _ => None,
        };
        body.extend(choice.map(|choice| ("tool_choice".into(), choice)));
    }
    if let Some(schema) = &request.response_schema {
        output.insert("format".into(), json!({"type": "json_schema", "schema": schema.schema}));
    }
    if let Some(effort) = request.settings.reasoning {
        if takes_effort(model) {
            output.insert("effort".into(), spelled(effort).into());
            body.insert("thinking".into(), json!({"type": "adaptive", "display": "summarized"}));
        } else {
            let budget = budget(effort);
            // The limit holds the thoughts as well, and must be larger than they may be.
            max_tokens = max_tokens.saturating_add(budget);
            body.insert("thinking".into(), json!({"type": "enabled", "budget_tokens": budget}));
        }
    }
    if !output.is_empty() {
        body.insert("output_config".into(), output.into());
    }
    body.insert("max_tokens".into(), max_tokens.into());
    if !request.settings.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.settings.stop));
    }
    for (name, value) in [("temperature", request.settings.temperature), ("top_p", request.settings.top_p)] {
        if let Some(value) = value.and_then(|value| value.to_string().parse::<f64>().ok()) {
            body.insert(name.into(), value.into());
        }
    }
    Value::Object(body).to_string().into_bytes()
}

/// Whether the model is told how hard to think, as from version 4.6 on, and not how many tokens to think with. The
/// name says it: `claude-<family>-<major>[-<minor>][-<date>]`.
fn takes_effort(model: &str) -> bool {
    let Some((_, name)) = model.rsplit_once("claude-").filter(|(_, name)| !name.is_empty()) else {
        return false;
    };
    let mut parts = name.split(['-', '.', '@']);
    let is_family = parts.next().is_some_and(|family| family.chars().all(|c| c.is_ascii_alphabetic()));
    let mut version = || parts.next().and_then(|part| part.parse::<u32>().ok()).filter(|part| *part < 1000);
    let version = (version().unwrap_or(0), version().unwrap_or(0));
    is_family && version >= (4, 6)
}

fn spelled(effort: ReasoningEffort) -> &'static str {
    match effort {
        ReasoningEffort::Minimal | ReasoningEffort::Low => "low",
        ReasoningEffort::High => "high",
        _ => "medium",
    }
}

fn budget(effort: ReasoningEffort) -> u32 {
    match effort {
        // The least that the service takes.
        ReasoningEffort::Minimal => 1_024,
        ReasoningEffort::Low => 2_048,
        ReasoningEffort::High => 24_576,
        _ => 8_192,
    }
}

/// The conversation in turns of user and assistant: what tools gave back is the user's, all of one turn in one message.
fn messages(messages: &[Message], names: &ToolNames) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::User { content } => ("user", text_block(content).into_iter().collect()),
            Message::Tool { call_id, content, .. } => {
                ("user", vec![json!({"type": "tool_result", "tool_use_id": id(call_id), "content": content})])
            }
            Message::Assistant { content, reasoning, calls } => {
                let thoughts = reasoning.iter().filter_map(thinking_block);
                let calls = calls.iter().map(|call| call_block(call, names));
                ("assistant", thoughts.chain(text_block(content)).chain(calls).collect())
            }
            _ => continue,
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, before)) if *last == role => before.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// The service refuses a text without words.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// Thoughts without a signature are another service's.
fn thinking_block(thought: &Reasoning) -> Option<Value> {
    let signature = thought.signature.as_ref()?;
    Some(match thought.redacted {
        true => json!({"type": "redacted_thinking", "data": signature}),
        false => json!({"type": "thinking", "thinking": thought.text, "signature": signature}),
    })
}

fn call_block(call: &ToolCall, names: &ToolNames) -> Value {
    let input = match call.parsed_arguments() {
        Ok(Value::Object(input)) => Value::Object(input),
        _ => json!({"malformed_arguments": call.arguments}),
    };
    json!({"type": "tool_use", "id": id(&call.id), "name": names.to_wire(&call.name), "input": input})
}

/// The id as the wire permits it; another service's may have other characters.
fn id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use operone_core::model::{ModelSettings, ResponseSchema};
    use operone_core::tool::ToolSpec;

    use super::*;

    fn spelled_for(model: &str, request: &ModelRequest) -> Value {
        let names = ToolNames::new(&request.tools);
        serde_json::from_slice(&request_body(model, request, &names)).unwrap()
    }

    #[test]
    fn a_conversation_is_spelled_as_the_protocol_wants_it() {
        let mut signed = Reasoning::text("hm");
        signed.signature = Some("sig".into());
        let request = ModelRequest::new(vec![
            Message::system("s"),
            Message::user("u"),
            Message::Assistant {
                content: String::new(),
                reasoning: vec![Reasoning::text("another's"), signed, Reasoning::redacted("data")],
                calls: vec![
                    ToolCall::new("a:1", "file.read", "{\"path\": \"a\"}"),
                    ToolCall::new("2", "file.read", "oops"),
                ],
            },
            Message::tool("a:1", "file.read", "text"),
            Message::tool("2", "file.read", "no"),
            Message::user("and?"),
            Message::assistant("", Vec::new()),
            Message::system("t"),
        ])
        .with_tools(vec![ToolSpec::new("file.read", "Reads")]);
        let body = spelled_for("tiny", &request);
        assert_eq!(
            body,
            json!({
                "model": "tiny", "stream": true, "max_tokens": 8192, "system": "s\n\nt",
                "tools": [{
                    "name": "file_read", "description": "Reads",
                    "input_schema": {"type": "object", "properties": {}},
                }],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "u"}]},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "sig"},
                        {"type": "redacted_thinking", "data": "data"},
                        {"type": "tool_use", "id": "a_1", "name": "file_read", "input": {"path": "a"}},
                        {"type": "tool_use", "id": "2", "name": "file_read",
                         "input": {"malformed_arguments": "oops"}},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "a_1", "content": "text"},
                        {"type": "tool_result", "tool_use_id": "2", "content": "no"},
                        {"type": "text", "text": "and?"},
                    ]},
                ],
            })
        );
    }

    #[test]
    fn every_option_is_spelled() {
        let schema = json!({"type": "object"});
        let request = ModelRequest::new(vec![Message::user("u")])
            .with_tools(vec![ToolSpec::new("file.read", "Reads")])
            .with_response_schema(ResponseSchema::new("answer", schema.clone()))
            .with_settings(
                ModelSettings::default()
                    .with_tool_choice(ToolChoice::Tool("file.read".into()))
                    .with_temperature(0.2)
                    .with_top_p(0.9)
                    .with_max_tokens(7)
                    .with_stop(["END"])
                    .with_reasoning(ReasoningEffort::Low),
            );
        let body = spelled_for("claude-opus-4-6", &request);
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "file_read"}));
        let format = json!({"type": "json_schema", "schema": schema});
        assert_eq!(body["output_config"], json!({"format": format, "effort": "low"}));
        assert_eq!([&body["temperature"], &body["top_p"]], [&json!(0.2), &json!(0.9)]);
        assert_eq!([&body["max_tokens"], &body["stop_sequences"]], [&json!(7), &json!(["END"])]);
        let old = spelled_for("claude-3-7-sonnet-20250219", &request);
        assert_eq!(old["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
        assert_eq!([&old["max_tokens"], &old["output_config"]["effort"]], [&json!(2055), &Value::Null]);
    }

    #[test]
    fn the_name_says_how_thinking_is_asked_for() {
        for (model, by_effort) in [
            ("claude-opus-4-6", true),
            ("claude-sonnet-5", true),
            ("claude-sonnet-4-6-20260201", true),
            ("anthropic.claude-opus-4-8", true),
            ("claude-opus-4-5-20251101", false),
            ("claude-opus-4-20250514", false),
            ("claude-3-5-sonnet-20241022", false),
            ("claude-haiku-4-5", false),
            ("tiny", false),
            ("claude-", false),
        ] {
            assert_eq!(takes_effort(model), by_effort, "{model}");
        }
    }
}
