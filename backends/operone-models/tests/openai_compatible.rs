//! The client against a server that plays every turn the protocol is known to take.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::time::{Duration, Instant};

use fake::{Reply, Server};
use futures_util::StreamExt;
use operone_core::model::{FinishReason, LanguageModel, Message, ModelEvent, ModelRequest, ToolCall, Usage};
use operone_core::tool::ToolSpec;
use operone_core::{Error, ErrorKind};
use operone_models::{OpenAiCompatible, OpenAiConfig, Secret};
use serde_json::{Value, json};

const KEY: &str = "sk-very-secret";

fn config(server: &Server) -> OpenAiConfig {
    OpenAiConfig::new(&server.base_url, "tiny")
        .with_api_key(Some(Secret::new(KEY)))
        .with_retry_delay(Duration::from_millis(1))
}

fn model(server: &Server) -> OpenAiCompatible {
    OpenAiCompatible::new(config(server)).unwrap()
}

fn request() -> ModelRequest {
    ModelRequest::new(vec![Message::User { content: "hello".into() }])
}

fn with_tools() -> ModelRequest {
    request().with_tools(vec![ToolSpec::new("file.read", "Reads"), ToolSpec::new("db.query", "Asks")])
}

async fn parts(model: &OpenAiCompatible, request: ModelRequest) -> Vec<Result<ModelEvent, Error>> {
    match model.stream(request).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

/// Text, calls and end of an answer that succeeds.
async fn answer(
    body: &str,
    piece: usize,
    request: ModelRequest,
) -> (String, Vec<ToolCall>, FinishReason, Usage) {
    let body = body.to_owned();
    let server = Server::start(move |_, _| Reply { piece, ..Reply::events(body.as_str()) }).await;
    let (mut text, mut calls, mut end) = (String::new(), Vec::new(), None);
    for part in parts(&model(&server), request).await {
        assert!(end.is_none(), "a part after the end");
        match part.unwrap() {
            ModelEvent::Text(part) => text.push_str(&part),
            ModelEvent::Call(call) => calls.push(call),
            ModelEvent::Done(finish) => end = Some(finish),
            other => panic!("unexpected {other:?}"),
        }
    }
    let end = end.unwrap();
    (text, calls, end.reason, end.usage)
}

async fn failure(reply: Reply) -> (Error, usize) {
    let server = Server::start(move |_, _| reply.clone()).await;
    let mut parts = parts(&model(&server), request()).await;
    (parts.pop().unwrap().unwrap_err(), server.requests().len())
}

fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "finish_reason": null, "delta": delta}], "object": "chat.completion.chunk"})
}

fn finished(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "finish_reason": reason, "delta": {}}]})
}

fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 48, "completion_tokens": 4, "total_tokens": 52,
        "prompt_tokens_details": {"cached_tokens": 47}}, "timings": {"prompt_n": 1}})
}

#[tokio::test]
async fn text_comes_whole_wherever_the_bytes_are_split() {
    let chunks = [
        delta(json!({"role": "assistant", "content": null})),
        delta(json!({"content": "Grüße "})),
        delta(json!({"content": ""})),
        delta(json!({"content": "aus 東京 \u{fffd}"})),
        delta(json!({"content": "\u{fffd}🗼"})),
        finished("stop"),
        usage(),
    ];
    let lines = events(&chunks).replacen("data:", ": a sign of life\n\ndata:", 3);
    for body in [lines.clone(), lines.replace('\n', "\r\n")] {
        for piece in [1, 2, 3, 7, 61, 100_000] {
            let (text, calls, reason, usage) = answer(&body, piece, request()).await;
            assert_eq!(text, "Grüße aus 東京 \u{fffd}\u{fffd}🗼");
            assert_eq!((calls.len(), reason, usage), (0, FinishReason::Stop, Usage::new(48, 4)));
        }
    }
}

#[tokio::test]
async fn calls_are_joined_by_their_index() {
    let call =
        |index: u64, function: Value| delta(json!({"tool_calls": [{"index": index, "function": function}]}));
    let mut chunks = vec![
        delta(json!({"role": "assistant", "content": null})),
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "type": "function",
            "function": {"name": "file_read", "arguments": "{"}}]})),
        delta(json!({"tool_calls": [{"index": 1, "id": "b", "type": "function",
            "function": {"name": "db_query", "arguments": ""}}]})),
    ];
    for letter in "\"path\":\"ü.txt\"}".chars() {
        chunks.push(call(0, json!({"arguments": letter.to_string()})));
        chunks.push(call(1, json!({"arguments": "x"})));
    }
    chunks.extend([finished("tool_calls"), usage()]);
    let (text, calls, reason, _) = answer(&events(&chunks), 5, with_tools()).await;
    assert_eq!((text.as_str(), reason), ("", FinishReason::ToolCalls));
    assert_eq!(
        calls,
        [
            ToolCall::new("a", "file.read", "{\"path\":\"ü.txt\"}"),
            ToolCall::new("b", "db.query", "x".repeat(15)),
        ]
    );
}

#[tokio::test]
async fn calls_of_less_strict_services_are_understood() {
    // Two calls under one index, told apart by their ids; none with an index; an object for arguments; no id at
    // all; an answer that says it just stopped.
    let chunks = [
        delta(
            json!({"content": "", "tool_calls": [{"index": 0, "id": "a", "function": {"name": "file_read", "arguments": "{}"}}]}),
        ),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "db_query", "arguments": {"sql": "x"}}}]}),
        ),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "b", "function": {"name": null, "arguments": null}}]}),
        ),
        delta(json!({"tool_calls": [{"id": "a", "function": {"name": "unknown", "arguments": ""}}]})),
        delta(json!({"tool_calls": [{"index": 7, "function": {"name": "file_read", "arguments": "1"}}]})),
        finished("stop"),
    ];
    let (_, calls, reason, usage) = answer(&events(&chunks), 9, with_tools()).await;
    assert_eq!((reason, usage), (FinishReason::ToolCalls, Usage::default()));
    assert_eq!(
        calls,
        [
            ToolCall::new("a", "file.read", "{}"),
            ToolCall::new("b", "db.query", "{\"sql\":\"x\"}"),
            ToolCall::new("call-3", "file.read", "1"),
        ]
    );
}

#[tokio::test]
async fn every_end_has_its_reason() {
    for (reason, expected) in [
        ("length", FinishReason::Length),
        ("content_filter", FinishReason::Refused),
        ("eos", FinishReason::Stop),
    ] {
        let body = events(&[delta(json!({"content": "a"})), finished(reason)]);
        assert_eq!(answer(&body, 64, request()).await.2, expected);
    }
    let refused = events(&[delta(json!({"refusal": "I will not"})), finished("stop")]);
    let (text, _, reason, _) = answer(&refused, 64, request()).await;
    assert_eq!((text.as_str(), reason), ("I will not", FinishReason::Refused));
    // The mark of the end may be missing, and so may the last line break.
    let body = format!("data: {}\n\ndata: {}", delta(json!({"content": "a"})), finished("stop"));
    assert_eq!(answer(&body, 64, request()).await.2, FinishReason::Stop);
}

#[tokio::test]
async fn a_whole_answer_in_place_of_a_stream_is_understood() {
    let body = json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant",
        "content": "", "tool_calls": [{"id": "a", "type": "function",
            "function": {"name": "file_read", "arguments": "{}"}}]}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let server = Server::start(move |_, _| Reply::json(200, &body)).await;
    let parts = parts(&model(&server), with_tools()).await;
    assert_eq!(parts[0].as_ref().unwrap(), &ModelEvent::Call(ToolCall::new("a", "file.read", "{}")));
    assert!(matches!(parts[1].as_ref().unwrap(), ModelEvent::Done(end) if end.usage == Usage::new(3, 2)));
}

#[tokio::test]
async fn the_request_carries_the_key_and_permitted_names() {
    let body = events(&[delta(json!({"content": "a"})), finished("stop")]);
    let server = Server::start(move |_, _| Reply::events(body.as_str())).await;
    assert_eq!(parts(&model(&server), with_tools()).await.len(), 2);
    let request = server.requests().remove(0);
    assert!(request.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.to_lowercase().contains(&format!("authorization: bearer {KEY}")));
    assert_eq!(request.body["stream_options"]["include_usage"], true);
    assert_eq!(request.body["tools"][0]["function"]["name"], "file_read");
}

#[tokio::test]
async fn errors_before_the_answer_are_told_apart_and_keep_the_key_secret() {
    let report = |status: u16, kind: &str, message: &str| {
        Reply::json(status, &json!({"error": {"code": status, "type": kind, "message": message}}))
    };
    for (reply, kind, code, tries) in [
        (
            report(401, "authentication_error", "no such key: sk-very-secret"),
            ErrorKind::Denied,
            "model_key_refused",
            1,
        ),
        (report(404, "", "no such model"), ErrorKind::Invalid, "model_not_found", 1),
        (
            report(400, "exceed_context_size_error", "2119 tokens"),
            ErrorKind::Invalid,
            "context_length_exceeded",
            1,
        ),
        (report(400, "invalid_request_error", "no"), ErrorKind::Invalid, "model_request_refused", 1),
        (
            report(500, "server_error", "cannot parse the tools"),
            ErrorKind::Unavailable,
            "model_unavailable",
            3,
        ),
        (Reply::new(502, "text/html", "<html>"), ErrorKind::Unavailable, "model_unavailable", 3),
        (
            Reply::new(307, "text/plain", "").with_header("Location", "/v2"),
            ErrorKind::Invalid,
            "model_redirected",
            1,
        ),
        (Reply::new(200, "text/html", "<html>"), ErrorKind::Unavailable, "model_protocol_error", 1),
        (Reply::events("data: {not JSON}\n\n"), ErrorKind::Unavailable, "model_protocol_error", 1),
        (Reply::events(""), ErrorKind::Unavailable, "model_unavailable", 3),
        (
            Reply::json(200, &json!({"error": {"code": 503, "message": "loading"}})),
            ErrorKind::Unavailable,
            "model_unavailable",
            3,
        ),
    ] {
        let shown = format!("{reply:?}");
        let (error, tried) = failure(reply).await;
        assert_eq!((error.kind(), error.code(), tried), (kind, code, tries), "{shown}");
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_not_seen() {
    let body = events(&[delta(json!({"content": "a"})), finished("stop")]);
    let server = Server::start(move |before, _| match before {
        0 => Reply::json(503, &json!({"error": {"message": "loading"}})),
        1 => Reply { breaks: true, ..Reply::events(": alive\n\n") },
        _ => Reply::events(body.as_str()),
    })
    .await;
    let parts = parts(&model(&server), request()).await;
    assert_eq!(parts[0].as_ref().unwrap(), &ModelEvent::Text("a".into()));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn the_service_says_when_to_come_back() {
    let limited =
        |after: &str| Reply::json(429, &json!({"error": "slow down"})).with_header("Retry-After", after);
    let begun = Instant::now();
    let (error, tries) = failure(limited("31")).await;
    assert_eq!((error.kind(), tries), (ErrorKind::RateLimited, 1), "a long wait is left to the caller");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(31)));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let body = events(&[delta(json!({"content": "a"})), finished("stop")]);
    let soon = limited("1");
    let server = Server::start(move |before, _| match before {
        0 => soon.clone(),
        _ => Reply::events(body.as_str()),
    })
    .await;
    let begun = Instant::now();
    assert!(parts(&model(&server), request()).await[0].is_ok());
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let begin = format!("data: {}\n\n", delta(json!({"content": "a"})));
    let reported =
        format!("{begin}data: {}\n\n", json!({"error": {"code": 500, "message": "out of memory"}}));
    for reply in [
        Reply::events(begin.as_str()),
        Reply { breaks: true, ..Reply::events(begin.as_str()) },
        Reply::events(format!("{begin}data: {{\"choices\": [{{\"del")),
        Reply::events(reported),
    ] {
        let (error, tries) = failure(reply).await;
        assert_eq!((error.code(), tries), ("model_unavailable", 1), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_service_is_given_up() {
    let body = events(&[delta(json!({"content": "a"})), delta(json!({"content": "b"})), finished("stop")]);
    let server =
        Server::start(move |_, _| Reply { pause: Duration::from_secs(60), ..Reply::events(body.as_str()) })
            .await;
    let model = OpenAiCompatible::new(config(&server).with_idle_timeout(Duration::from_millis(300))).unwrap();
    let parts = parts(&model, request()).await;
    assert!(parts[0].is_ok());
    let error = parts.last().unwrap().as_ref().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "model_unavailable"));
}

#[tokio::test]
async fn a_service_without_bounds_is_stopped() {
    let endless = Reply { piece: 65_536, ..Reply::events(vec![b'x'; 3 << 20]) };
    assert_eq!(failure(endless).await.0.code(), "model_protocol_error");
    let call = |arguments: String| {
        delta(
            json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "n", "arguments": arguments}}]}),
        )
    };
    let long = events(&[call("x".repeat(700_000)), call("x".repeat(700_000)), finished("tool_calls")]);
    let (error, _) = failure(Reply { piece: 65_536, ..Reply::events(long) }).await;
    assert!(error.message().contains("arguments"), "{error}");
    let calls: Vec<Value> = (0..200)
        .map(|n| delta(json!({"tool_calls": [{"index": n, "function": {"name": "n", "arguments": ""}}]})))
        .collect();
    let (error, _) = failure(Reply { piece: 65_536, ..Reply::events(events(&calls)) }).await;
    assert!(error.message().contains("128"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let model = OpenAiCompatible::new(
        OpenAiConfig::new("http://127.0.0.1:1/v1", "m").with_retry_delay(Duration::from_millis(1)),
    );
    let error = parts(&model.unwrap(), request()).await.remove(0).unwrap_err();
    assert_eq!(
        (error.kind(), error.code(), error.is_retryable()),
        (ErrorKind::Unavailable, "model_unavailable", true)
    );
}

#[test]
fn a_wrong_configuration_is_refused_at_once() {
    for wrong in ["", "localhost:8080", "ftp://host/v1", "http://user:pass@host/v1", "http:///v1x y"] {
        let error = OpenAiCompatible::new(OpenAiConfig::new(wrong, "m")).map(|_| wrong);
        if let Err(error) = error {
            assert_eq!(error.code(), "invalid_base_url");
            assert!(!error.to_string().contains("pass@"));
        } else {
            panic!("'{wrong}' was accepted");
        }
    }
    let key = OpenAiConfig::new("https://host/v1", "m").with_api_key(Some(Secret::new("a\nb")));
    assert_eq!(OpenAiCompatible::new(key).unwrap_err().code(), "invalid_api_key");
    let fine = OpenAiConfig::new("https://host/v1/", "m").with_api_key(Some(Secret::new("sk-x")));
    assert!(!format!("{:?}", OpenAiCompatible::new(fine).unwrap()).contains("sk-x"));
}

mod conformance {
    use std::sync::Arc;

    use super::*;

    /// Answers as a model would: calls a tool where it may and has not, else answers in text.
    async fn fresh() -> (Arc<dyn LanguageModel>, Server) {
        let server = Server::start(|_, request| {
            let messages = request.body["messages"].as_array().unwrap();
            let waits = request.body["tools"].is_array() && messages.last().unwrap()["role"] != "tool";
            let chunks = if waits {
                vec![
                    delta(json!({"role": "assistant", "content": null})),
                    delta(json!({"tool_calls": [{"index": 0, "id": "a",
                        "function": {"name": "file_read", "arguments": "{\"path\":"}}]})),
                    delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"notes.txt\"}"}}]})),
                    finished("tool_calls"),
                    usage(),
                ]
            } else {
                vec![
                    delta(json!({"content": "Lis"})),
                    delta(json!({"content": "bon."})),
                    finished("stop"),
                    usage(),
                ]
            };
            Reply { piece: 11, ..Reply::events(events(&chunks)) }
        })
        .await;
        (Arc::new(model(&server)), server)
    }

    operone_core::language_model_conformance!(fresh);
}

/// A real service, named by `OPERONE_TEST_OPENAI_URL`, with `OPERONE_TEST_OPENAI_KEY` and
/// `OPERONE_TEST_OPENAI_MODEL` where it wants them.
mod with_model_service {
    use std::sync::Arc;

    use super::*;

    async fn fresh() -> (Arc<dyn LanguageModel>, ()) {
        let url = std::env::var("OPERONE_TEST_OPENAI_URL").expect("OPERONE_TEST_OPENAI_URL is set");
        let model = std::env::var("OPERONE_TEST_OPENAI_MODEL").unwrap_or_else(|_| "default".into());
        let key = std::env::var("OPERONE_TEST_OPENAI_KEY").ok().map(Secret::new);
        let config = OpenAiConfig::new(url, model).with_api_key(key);
        (Arc::new(OpenAiCompatible::new(config).unwrap()), ())
    }

    operone_core::language_model_conformance!(
        #[ignore = "needs a model service"]
        fresh
    );
}
