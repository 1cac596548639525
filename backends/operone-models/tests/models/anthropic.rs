//! The Messages client against a server that plays every turn the protocol is known to take.

use operone_core::model::{
    FinishReason, Message, ModelEvent, ModelRequest, ModelSettings, Reasoning, ToolCall, Usage,
};
use operone_core::tool::ToolSpec;
use operone_core::{Error, ErrorKind};
use operone_models::{Anthropic, Secret, ServiceConfig};
use serde_json::{Value, json};

use crate::fake::{Reply, Server};
use crate::{Answer, parts, whole};

const KEY: &str = "sk-ant-very-secret";

fn model(server: &Server) -> Anthropic {
    Anthropic::new(ServiceConfig::new(&server.base_url, "claude-x").with_api_key(Some(Secret::new(KEY))))
        .unwrap()
}

fn request() -> ModelRequest {
    ModelRequest::new(vec![Message::user("hello")])
}

fn with_tools() -> ModelRequest {
    request().with_tools(vec![ToolSpec::new("file.read", "Reads"), ToolSpec::new("db.query", "Asks")])
}

fn events(events: &[Value]) -> String {
    let named = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(named).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [],
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 5,
            "output_tokens": 1}}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn text(index: u64, text: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": text}))
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(reason: &str) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ]
}

async fn answer(body: &str, piece: usize, request: ModelRequest) -> Result<Answer, Error> {
    let body = body.to_owned();
    let server = Server::start(move |_, _| Reply { piece, ..Reply::events(body.as_str()) }).await;
    whole(parts(&model(&server), request).await)
}

#[tokio::test]
async fn text_thoughts_and_calls_come_whole_wherever_the_bytes_are_split() {
    let json =
        |index: u64, part: &str| delta(index, json!({"type": "input_json_delta", "partial_json": part}));
    let mut said = vec![
        start(),
        json!({"type": "ping"}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Grüße "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "🗼"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        delta(0, json!({"type": "signature_delta", "signature": "bg=="})),
        stop(0),
        block(1, json!({"type": "redacted_thinking", "data": "hidden"})),
        stop(1),
        block(2, json!({"type": "text", "text": ""})),
        text(2, "aus "),
        text(2, "東京"),
        stop(2),
        block(3, json!({"type": "something_new", "data": 1})),
        delta(3, json!({"type": "something_new_delta"})),
        block(4, json!({"type": "tool_use", "id": "a", "name": "file_read", "input": {}})),
        block(5, json!({"type": "tool_use", "id": "b", "name": "db_query"})),
        json(4, "{\"path\":"),
        json(5, "{\"sql\":1"),
        json(4, "\"ü\"}"),
        json(5, "}"),
        stop(5),
        stop(4),
    ];
    said.extend(end("tool_use"));
    let mut signed = Reasoning::text("Grüße 🗼");
    signed.signature = Some("c2lnbg==".into());
    for piece in [1, 2, 3, 7, 61, 100_000] {
        let answer = answer(&events(&said), piece, with_tools()).await.unwrap();
        assert_eq!(answer.text, "aus 東京");
        assert_eq!(answer.reasoning, [signed.clone(), Reasoning::redacted("hidden")]);
        assert_eq!(
            answer.calls,
            [
                ToolCall::new("a", "file.read", "{\"path\":\"ü\"}"),
                ToolCall::new("b", "db.query", "{\"sql\":1}"),
            ]
        );
        assert_eq!((answer.reason, answer.usage), (FinishReason::ToolCalls, Usage::new(48, 4)));
    }
}

#[tokio::test]
async fn every_end_has_its_reason() {
    for (reason, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::Refused),
    ] {
        let said =
            [vec![start(), block(0, json!({"type": "text", "text": "a"}))], end(reason).to_vec()].concat();
        assert_eq!(answer(&events(&said), 64, request()).await.unwrap().reason, expected, "{reason}");
    }
}

#[tokio::test]
async fn a_whole_answer_in_place_of_a_stream_is_understood() {
    let body = json!({"type": "message", "stop_reason": "tool_use", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Reading."},
        {"type": "tool_use", "id": "a", "name": "file_read", "input": {"path": "x"}}],
        "usage": {"input_tokens": 3, "output_tokens": 2}});
    let server = Server::start(move |_, _| Reply::json(200, &body)).await;
    let answer = whole(parts(&model(&server), with_tools()).await).unwrap();
    assert_eq!((answer.text.as_str(), answer.usage), ("Reading.", Usage::new(3, 2)));
    assert_eq!(answer.calls, [ToolCall::new("a", "file.read", "{\"path\":\"x\"}")]);
    assert_eq!(answer.reasoning[0].signature.as_deref(), Some("s"));
}

#[tokio::test]
async fn the_request_carries_key_and_version() {
    let said =
        [vec![start(), block(0, json!({"type": "text", "text": "a"}))], end("end_turn").to_vec()].concat();
    let body = events(&said);
    let server = Server::start(move |_, _| Reply::events(body.as_str())).await;
    let model = model(&server);
    assert!(!format!("{model:?}").contains(KEY));
    assert_eq!(parts(&model, with_tools()).await.len(), 2);
    let request = server.requests().remove(0);
    assert!(request.head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{}", request.head);
    let head = request.head.to_lowercase();
    assert!(head.contains(&format!("x-api-key: {KEY}")) && head.contains("anthropic-version: 2023-06-01"));
    assert!(!head.contains("authorization"));
    assert_eq!(request.body["tools"][0]["name"], "file_read");
}

#[tokio::test]
async fn errors_are_told_apart_and_keep_the_key_secret() {
    let report = |status: u16, kind: &str, message: &str| {
        Reply::json(status, &json!({"type": "error", "error": {"type": kind, "message": message}}))
    };
    let late = |kind: &str| {
        let error = json!({"type": "error", "error": {"type": kind, "message": "no"}});
        Reply::events(events(&[start(), error]))
    };
    let begun = events(&[start(), block(0, json!({"type": "text", "text": "a"}))]);
    for (reply, kind, code) in [
        (
            report(401, "authentication_error", "invalid sk-ant-very-secret"),
            ErrorKind::Denied,
            "model_key_refused",
        ),
        (report(404, "not_found_error", "model: claude-x"), ErrorKind::Invalid, "model_not_found"),
        (
            report(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            ErrorKind::Invalid,
            "context_length_exceeded",
        ),
        (report(413, "request_too_large", "bytes"), ErrorKind::Invalid, "context_length_exceeded"),
        (report(429, "rate_limit_error", "slow down"), ErrorKind::RateLimited, "rate_limited"),
        (report(529, "overloaded_error", "Overloaded"), ErrorKind::Unavailable, "model_unavailable"),
        (late("overloaded_error"), ErrorKind::Unavailable, "model_unavailable"),
        (late("rate_limit_error"), ErrorKind::RateLimited, "rate_limited"),
        (Reply::events(begun.as_str()), ErrorKind::Unavailable, "model_cut_off"),
        (Reply { breaks: true, ..Reply::events(begun.as_str()) }, ErrorKind::Unavailable, "model_cut_off"),
        (Reply::events("data: {\"type\": 1}\n\n"), ErrorKind::Unavailable, "model_protocol_error"),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |_, _| reply.clone()).await;
        let error = whole(parts(&model(&server), request()).await).unwrap_err();
        assert_eq!((error.kind(), error.code(), server.requests().len()), (kind, code, 1), "{shown}");
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn a_seed_is_refused() {
    let server = Server::start(|_, _| Reply::events("")).await;
    let error = parts(&model(&server), request().with_settings(ModelSettings::default().with_seed(1)))
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "unsupported_option"));
    assert!(server.requests().is_empty());
}

mod conformance {
    use std::sync::Arc;

    use operone_core::model::LanguageModel;

    use super::*;

    /// Answers as a model would: calls a tool where it may and has not, else answers in text, or as the schema says.
    async fn fresh() -> (Arc<dyn LanguageModel>, Server) {
        let server = Server::start(|_, request| {
            let last = request.body["messages"].as_array().unwrap().last().unwrap();
            let has_result =
                last["content"].as_array().unwrap().iter().any(|block| block["type"] == "tool_result");
            let may = request.body["tools"].is_array() && request.body["tool_choice"]["type"] != "none";
            let mut said = vec![start()];
            if may && !has_result {
                said.extend([
                    block(0, json!({"type": "thinking", "thinking": "notes", "signature": "s"})),
                    stop(0),
                    block(1, json!({"type": "tool_use", "id": "a", "name": "file_read"})),
                    delta(1, json!({"type": "input_json_delta", "partial_json": "{\"path\":\"notes.txt\"}"})),
                    stop(1),
                ]);
                said.extend(end("tool_use"));
            } else if request.body["output_config"]["format"].is_object() {
                said.extend([block(0, json!({"type": "text", "text": "{\"city\": \"Lisbon\"}"})), stop(0)]);
                said.extend(end("end_turn"));
            } else {
                said.extend([block(0, json!({"type": "text", "text": ""})), text(0, "Lis"), text(0, "bon.")]);
                said.extend(end("end_turn"));
            }
            Reply { piece: 11, ..Reply::events(events(&said)) }
        })
        .await;
        (Arc::new(model(&server)), server)
    }

    operone_core::language_model_conformance!(fresh);
}

/// A real service that speaks the protocol, named by `OPERONE_TEST_OPENAI_URL`, with `OPERONE_TEST_OPENAI_KEY` and
/// `OPERONE_TEST_OPENAI_MODEL` where it wants them: llama.cpp offers both protocols at one address.
mod with_model_service {
    use std::sync::Arc;

    use operone_core::model::{LanguageModel, ModelOption};

    use super::*;

    fn service() -> Anthropic {
        let url = std::env::var("OPERONE_TEST_OPENAI_URL").expect("OPERONE_TEST_OPENAI_URL is set");
        let model = std::env::var("OPERONE_TEST_OPENAI_MODEL").unwrap_or_else(|_| "default".into());
        let key = std::env::var("OPERONE_TEST_OPENAI_KEY").ok().map(Secret::new);
        let config = ServiceConfig::new(url, model).with_api_key(key);
        // llama.cpp passes over a schema in this protocol.
        Anthropic::new(config.with_unsupported([ModelOption::ResponseSchema])).unwrap()
    }

    async fn fresh() -> (Arc<dyn LanguageModel>, ()) {
        (Arc::new(service()), ())
    }

    operone_core::language_model_conformance!(
        #[ignore = "needs a model service"]
        fresh
    );

    #[tokio::test]
    #[ignore = "needs a model service"]
    async fn a_tool_is_called_and_its_result_is_read() {
        let schema = json!({"type": "object", "required": ["city"],
            "properties": {"city": {"type": "string", "enum": ["Paris"]}}});
        let mut request = ModelRequest::new(vec![Message::user("What is the weather in Paris?")])
            .with_tools(vec![ToolSpec::new("weather.now", "Tells the weather").with_input_schema(schema)]);
        let called = whole(parts(&service(), request.clone()).await).unwrap();
        assert_eq!(called.reason, FinishReason::ToolCalls);
        let call = called.calls[0].clone();
        assert_eq!(call.name, "weather.now");
        assert_eq!(call.parsed_arguments().unwrap(), json!({"city": "Paris"}));
        request.messages.push(Message::assistant(called.text, called.calls));
        request.messages.push(Message::tool(call.id, call.name, "sunny"));
        let answered = parts(&service(), request).await;
        assert!(matches!(answered[0], Ok(ModelEvent::Text(_))));
        assert_eq!(whole(answered).unwrap().reason, FinishReason::Stop);
    }
}
