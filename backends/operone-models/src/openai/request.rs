//! What is sent in the chat completions protocol.

use std::borrow::Cow;

use operone_core::model::{Message, ModelRequest, Reasoning, ReasoningEffort, ToolCall, ToolChoice};
use operone_core::tool::ToolSpec;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::tool_names::ToolNames;

/// How a service spells what others spell otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    max_tokens: &'static str,
    seed: &'static str,
}

impl Dialect {
    /// By the service's address: OpenAI itself and Azure refuse the old name of a limit for their newer models, which
    /// is the only one that many others know.
    pub(super) fn of(base_url: &str) -> Self {
        let host = base_url.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':', '?']).next().unwrap_or_default().to_lowercase();
        let is = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        let renamed = is("openai.com") || is("azure.com");
        Self {
            max_tokens: if renamed { "max_completion_tokens" } else { "max_tokens" },
            seed: if is("mistral.ai") { "random_seed" } else { "seed" },
        }
    }
}

/// The body of a request. What may be long is borrowed.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Typed<OfferedFunction<'a>>>,
    /// Those that the request makes use of.
    #[serde(flatten)]
    options: Map<String, Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum WireMessage<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_content: Option<String>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(flatten)]
    function: Typed<CalledFunction<'a>>,
}

/// A function with its type beside it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Typed<F> {
    Function { function: F },
}

#[derive(Serialize)]
struct OfferedFunction<'a> {
    name: String,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: String,
    arguments: Cow<'a, str>,
}

/// The body of a request for a streamed answer.
pub(super) fn request_body(
    model: &str,
    request: &ModelRequest,
    names: &ToolNames,
    dialect: Dialect,
) -> serde_json::Result<Vec<u8>> {
    let asked = request.messages.iter().rposition(|message| matches!(message, Message::User { .. }));
    let messages = request.messages.iter().enumerate().filter_map(|(place, message)| {
        // Services want the thoughts of a turn that is not over, and refuse or pass over those of earlier ones.
        wire_message(message, names, asked.is_none_or(|asked| place > asked))
    });
    let tools = request.tools_to_tell();
    serde_json::to_vec(&Body {
        model,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        messages: messages.collect(),
        tools: tools.iter().map(|tool| offered(tool, names)).collect(),
        options: options(request, names, dialect),
    })
}

/// Whether every object in the schema lists all its keys as required and allows no others. Services refuse any other
/// schema in strict mode, and treat it as a hint otherwise.
fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let properties = object.get("properties").and_then(Value::as_object);
            let required = object.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            let closed = properties.is_none_or(|properties| {
                object.get("additionalProperties") == Some(&Value::Bool(false))
                    && required == properties.len()
            });
            closed && object.values().all(is_closed)
        }
        Value::Array(items) => items.iter().all(is_closed),
        _ => true,
    }
}

fn options(request: &ModelRequest, names: &ToolNames, dialect: Dialect) -> Map<String, Value> {
    let choice = match &request.settings.tool_choice {
        _ if request.tools_to_tell().is_empty() => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Tool(name) => {
            Some(json!({"type": "function", "function": {"name": names.to_wire(name)}}))
        }
        _ => None,
    };
    let format = request.response_schema.as_ref().map(|schema| {
        let schema =
            json!({"name": schema.name, "strict": is_closed(&schema.schema), "schema": schema.schema});
        json!({"type": "json_schema", "json_schema": schema})
    });
    let options = [
        ("tool_choice", choice),
        ("response_format", format),
        ("stop", Some(&request.settings.stop).filter(|stop| !stop.is_empty()).map(|stop| json!(stop))),
        ("temperature", request.settings.temperature.map(number)),
        ("top_p", request.settings.top_p.map(number)),
        (dialect.max_tokens, request.settings.max_tokens.map(Value::from)),
        (dialect.seed, request.settings.seed.map(Value::from)),
        ("reasoning_effort", request.settings.reasoning.map(|effort| Value::from(spelled(effort)))),
    ];
    options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The number as it was written: 0.2, not the 0.20000000298023224 that a wider float makes of it.
fn number(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn spelled(effort: ReasoningEffort) -> &'static str {
    match effort {
        ReasoningEffort::Minimal => "minimal",
        ReasoningEffort::Low => "low",
        ReasoningEffort::High => "high",
        _ => "medium",
    }
}

fn offered<'a>(tool: &'a ToolSpec, names: &ToolNames) -> Typed<OfferedFunction<'a>> {
    let (name, description) = (names.to_wire(&tool.name), tool.description.as_str());
    Typed::Function { function: OfferedFunction { name, description, parameters: &tool.input_schema } }
}

fn wire_message<'a>(message: &'a Message, names: &ToolNames, with_thoughts: bool) -> Option<WireMessage<'a>> {
    Some(match message {
        Message::System { content } => WireMessage::System { content },
        Message::User { content } => WireMessage::User { content },
        Message::Assistant { content, reasoning, calls } => WireMessage::Assistant {
            content: Some(content.as_str()).filter(|content| !content.is_empty() || calls.is_empty()),
            tool_calls: calls.iter().map(|call| wire_call(call, names)).collect(),
            reasoning_content: if with_thoughts && !calls.is_empty() { thoughts(reasoning) } else { None },
        },
        Message::Tool { call_id, content, .. } => WireMessage::Tool { tool_call_id: call_id, content },
        _ => return None,
    })
}

/// What is signed is another protocol's.
fn thoughts(reasoning: &[Reasoning]) -> Option<String> {
    let own = reasoning.iter().filter(|thought| thought.signature.is_none());
    let thoughts: Vec<&str> = own.map(|thought| thought.text.as_str()).collect();
    if thoughts.is_empty() { None } else { Some(thoughts.join("\n")) }
}

fn wire_call<'a>(call: &'a ToolCall, names: &ToolNames) -> Call<'a> {
    let function = CalledFunction { name: names.to_wire(&call.name), arguments: as_object(&call.arguments) };
    Call { id: &call.id, function: Typed::Function { function } }
}

/// Services parse the arguments of earlier calls and fail on what is no JSON object, which a model may well have
/// written: such arguments are wrapped.
fn as_object(arguments: &str) -> Cow<'_, str> {
    match arguments.trim_start() {
        "" => Cow::Borrowed("{}"),
        object if object.starts_with('{') && serde_json::from_str::<IgnoredAny>(object).is_ok() => {
            Cow::Borrowed(arguments)
        }
        _ => Cow::Owned(json!({"malformed_arguments": arguments}).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use operone_core::model::{ModelSettings, ResponseSchema, ToolCall};
    use operone_core::tool::ToolSpec;

    use super::*;

    #[test]
    fn strict_mode_is_asked_for_only_where_every_object_is_closed() {
        let city = json!({"name": {"type": "string"}});
        let closed = json!({"type": "object", "properties": city, "required": ["name"], "additionalProperties": false});
        let optional = json!({"type": "object", "properties": city, "additionalProperties": false});
        let open = json!({"type": "object", "properties": city, "required": ["name"]});
        for (schema, strict) in [
            (closed.clone(), true),
            (json!({"type": "array", "items": closed}), true),
            (json!({"anyOf": [closed, {"type": "null"}]}), true),
            (optional, false),
            (open.clone(), false),
            (json!({"anyOf": [open, {"type": "null"}]}), false),
        ] {
            assert_eq!(is_closed(&schema), strict, "{schema}");
        }
    }

    #[test]
    fn a_conversation_is_spelled_as_the_protocol_wants_it() {
        let tools = vec![ToolSpec::new("file.read", "Reads")];
        let mut request = ModelRequest::new(vec![
            Message::System { content: "s".into() },
            Message::User { content: "u".into() },
            Message::assistant(
                "",
                vec![
                    ToolCall::new("1", "file.read", "{\"path\": \"a\"}"),
                    ToolCall::new("2", "file.read", "oops"),
                    ToolCall::new("3", "file.read", ""),
                ],
            ),
            Message::Tool { call_id: "1".into(), name: "file.read".into(), content: "text".into() },
            Message::assistant("done", Vec::new()),
        ]);
        let names = ToolNames::new(&tools);
        request.tools = tools;
        request.settings.max_tokens = Some(7);
        let body: Value = serde_json::from_slice(
            &request_body("m", &request, &names, Dialect::of("http://localhost/v1")).unwrap(),
        )
        .unwrap();
        assert_eq!(
            body,
            json!({
                "model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 7,
                "tools": [{"type": "function", "function": {
                    "name": "file_read", "description": "Reads", "parameters": {"type": "object", "properties": {}}
                }}],
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "u"},
                    {"role": "assistant", "content": null, "tool_calls": [
                        {"id": "1", "type": "function",
                         "function": {"name": "file_read", "arguments": "{\"path\": \"a\"}"}},
                        {"id": "2", "type": "function",
                         "function": {"name": "file_read", "arguments": "{\"malformed_arguments\":\"oops\"}"}},
                        {"id": "3", "type": "function", "function": {"name": "file_read", "arguments": "{}"}},
                    ]},
                    {"role": "tool", "tool_call_id": "1", "content": "text"},
                    {"role": "assistant", "content": "done"},
                ]
            })
        );
    }

    fn spelled_at(address: &str, request: &ModelRequest) -> Value {
        let names = ToolNames::new(&request.tools);
        serde_json::from_slice(&request_body("m", request, &names, Dialect::of(address)).unwrap()).unwrap()
    }

    #[test]
    fn every_option_is_spelled_as_the_service_wants_it() {
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
                    .with_seed(3)
                    .with_reasoning(ReasoningEffort::Low),
            );
        let body = spelled_at("http://localhost:8080/v1", &request);
        assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "file_read"}}));
        let strict = json!({"name": "answer", "strict": true, "schema": schema});
        assert_eq!(body["response_format"], json!({"type": "json_schema", "json_schema": strict}));
        assert_eq!([&body["temperature"], &body["top_p"]], [&json!(0.2), &json!(0.9)]);
        assert_eq!([&body["max_tokens"], &body["seed"]], [7, 3]);
        assert_eq!([&body["stop"], &body["reasoning_effort"]], [&json!(["END"]), &json!("low")]);
        for (address, max_tokens, seed) in [
            ("https://api.openai.com/v1", "max_completion_tokens", "seed"),
            ("https://mine.openai.azure.com/openai/v1/", "max_completion_tokens", "seed"),
            ("https://api.mistral.ai/v1", "max_tokens", "random_seed"),
            ("https://notopenai.com/v1", "max_tokens", "seed"),
        ] {
            let body = spelled_at(address, &request);
            assert_eq!([&body[max_tokens], &body[seed]], [7, 3], "{address}");
        }
        for (choice, spelled) in [(ToolChoice::None, "none"), (ToolChoice::Required, "required")] {
            let mut request = request.clone();
            request.settings.tool_choice = choice.clone();
            let body = spelled_at("", &request);
            assert_eq!(
                body["tools"].is_array(),
                choice == ToolChoice::Required,
                "nothing to call, nothing to tell"
            );
            request.messages.extend([
                Message::assistant("", vec![ToolCall::new("1", "file.read", "{}")]),
                Message::tool("1", "file.read", "r"),
            ]);
            let body = spelled_at("", &request);
            assert_eq!((body["tools"].is_array(), &body["tool_choice"]), (true, &json!(spelled)));
        }
    }

    #[test]
    fn thoughts_go_back_within_a_turn_only() {
        let thought = |text: &str| Message::Assistant {
            content: String::new(),
            reasoning: vec![Reasoning::text(text), Reasoning::signature("another's")],
            calls: vec![ToolCall::new("1", "t", "{}")],
        };
        let messages = vec![
            Message::user("u"),
            thought("old"),
            Message::tool("1", "t", "r"),
            Message::user("and?"),
            thought("new"),
            Message::tool("1", "t", "r"),
        ];
        let body = spelled_at("", &ModelRequest::new(messages));
        assert_eq!(body["messages"][1]["reasoning_content"], Value::Null);
        assert_eq!(body["messages"][4]["reasoning_content"], "new");
    }
}
