//! The chat completions client against a server that plays every turn the protocol is known to take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use operone_core::model::{
    FinishReason, LanguageModel, Message, ModelEvent, ModelOption, ModelRequest, ModelSettings, Reasoning,
    ResponseSchema, ToolCall, ToolChoice, Usage,
};
use operone_core::tool::ToolSpec;
use operone_core::{Error, ErrorKind};
use operone_models::{OpenAiCompatible, Secret, ServiceConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fake::{Reply, Server};
use crate::{parts, whole};

const KEY: &str = "sk-very-secret";

fn config(server: &Server) -> ServiceConfig {
    ServiceConfig::new(&server.base_url, "tiny").with_api_key(Some(Secret::new(KEY)))
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

/// Text, calls and end of an answer that succeeds.
async fn answer(
    body: &str,
    piece: usize,
    request: ModelRequest,
) -> (String, Vec<ToolCall>, FinishReason, Usage) {
    let body = body.to_owned();
    let server = Server::start(move |_, _| Reply { piece, ..Reply::events(body.as_str()) }).await;
    let answer = whole(parts(&model(&server), request).await).unwrap();
    (answer.text, answer.calls, answer.reason, answer.usage)
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
    for (reply, kind, code) in [
        (
            report(401, "authentication_error", "no such key: sk-very-secret"),
            ErrorKind::Denied,
            "model_key_refused",
        ),
        (report(404, "", "no such model"), ErrorKind::Invalid, "model_not_found"),
        (
            report(400, "exceed_context_size_error", "2119 tokens"),
            ErrorKind::Invalid,
            "context_length_exceeded",
        ),
        (report(400, "invalid_request_error", "no"), ErrorKind::Invalid, "model_request_refused"),
        (report(500, "server_error", "cannot parse the tools"), ErrorKind::Unavailable, "model_unavailable"),
        (Reply::new(502, "text/html", "<html>"), ErrorKind::Unavailable, "model_unavailable"),
        (
            Reply::new(307, "text/plain", "").with_header("Location", "/v2"),
            ErrorKind::Invalid,
            "model_redirected",
        ),
        (Reply::new(200, "text/html", "<html>"), ErrorKind::Unavailable, "model_protocol_error"),
        (Reply::events("data: {not JSON}\n\n"), ErrorKind::Unavailable, "model_protocol_error"),
        (Reply::events(""), ErrorKind::Unavailable, "model_cut_off"),
        (
            Reply::json(200, &json!({"error": {"code": 503, "message": "loading"}})),
            ErrorKind::Unavailable,
            "model_unavailable",
        ),
    ] {
        let shown = format!("{reply:?}");
        let (error, tried) = failure(reply).await;
        assert_eq!((error.kind(), error.code(), tried), (kind, code, 1), "{shown}");
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_so() {
    let begin = format!("data: {}\n\n", delta(json!({"content": "a"})));
    let report = json!({"error": {"code": 500, "message": "out of memory"}});
    for (reply, code) in [
        (Reply::events(begin.as_str()), "model_cut_off"),
        (Reply { breaks: true, ..Reply::events(begin.as_str()) }, "model_cut_off"),
        (Reply::events(format!("{begin}data: {{\"choices\": [{{\"del")), "model_cut_off"),
        (Reply::events(format!("{begin}data: {report}\n\n")), "model_unavailable"),
    ] {
        let (error, tries) = failure(reply).await;
        assert_eq!((error.code(), error.is_retryable(), tries), (code, true, 1), "{error:?}");
    }
}

#[tokio::test]
async fn the_service_says_when_to_come_back() {
    let limited = Reply::json(429, &json!({"error": "slow down"}));
    let (error, _) = failure(limited.clone().with_header("Retry-After", "31")).await;
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(31))));
    let (error, _) = failure(limited.with_header("retry-after-ms", "1500")).await;
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
    let words = json!({"error": {"message": "Rate limit reached. Please try again in 7.66s."}});
    let (error, _) = failure(Reply::json(429, &words)).await;
    assert_eq!(error.retry_after(), Some(Duration::from_millis(7660)));
}

/// Serves over connections that are kept, and counts them. The end of a body comes a moment after the answer's.
async fn kept_connections() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    let body = events(&[delta(json!({"content": "a"})), finished("stop")]);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let body = body.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked";
                    let answer = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (base_url, accepted)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (base_url, accepted) = kept_connections().await;
    let model = OpenAiCompatible::new(ServiceConfig::new(base_url, "tiny")).unwrap();
    for _ in 0..4 {
        assert_eq!(whole(parts(&model, request()).await).unwrap().text, "a");
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn thoughts_are_told_apart_from_the_answer() {
    for key in ["reasoning_content", "reasoning"] {
        let chunks = [
            delta(json!({"role": "assistant", "content": null, key: "Let me "})),
            delta(json!({key: "think."})),
            delta(json!({key: null, "content": "Lisbon."})),
            finished("stop"),
        ];
        let body = events(&chunks);
        let server = Server::start(move |_, _| Reply::events(body.as_str())).await;
        let answer = whole(parts(&model(&server), request()).await).unwrap();
        assert_eq!(answer.reasoning, [Reasoning::text("Let me think.")], "{key}");
        assert_eq!(answer.text, "Lisbon.");
    }
}

#[tokio::test]
async fn what_was_asked_for_is_held() {
    let body = events(&[delta(json!({"content": "Paris, I think"})), finished("stop")]);
    let server = Server::start(move |_, _| Reply::events(body.as_str())).await;
    let schema = ResponseSchema::new("city", json!({"type": "object", "required": ["city"]}));
    let choice = ToolChoice::Tool("file.read".into());
    for asked in [
        request().with_response_schema(schema),
        with_tools().with_settings(ModelSettings::default().with_tool_choice(choice)),
    ] {
        let mut parts = parts(&model(&server), asked).await;
        assert_eq!(parts.remove(0).unwrap(), ModelEvent::Text("Paris, I think".into()));
        let error = parts.remove(0).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("option_not_honoured", false));
        assert!(parts.is_empty());
    }
    assert_eq!(server.requests()[0].body["response_format"]["json_schema"]["name"], "city");
    assert_eq!(server.requests()[1].body["tool_choice"]["function"]["name"], "file_read");
}

#[tokio::test]
async fn an_option_that_the_service_passes_over_is_refused() {
    let server = Server::start(|_, _| Reply::events("")).await;
    let model = OpenAiCompatible::new(config(&server).with_unsupported([ModelOption::Seed])).unwrap();
    let error = parts(&model, request().with_settings(ModelSettings::default().with_seed(7)))
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "unsupported_option"));
    assert!(error.message().contains("'tiny' cannot honour the option seed"), "{error}");
    assert!(server.requests().is_empty(), "nobody was asked");
}

#[tokio::test]
async fn an_address_may_have_a_query_and_headers_besides() {
    let body = events(&[delta(json!({"content": "a"})), finished("stop")]);
    let server = Server::start(move |_, _| Reply::events(body.as_str())).await;
    let config = ServiceConfig::new(format!("{}?api-version=2024-10-21", server.base_url), "tiny")
        .with_header("api-key", Secret::new(KEY));
    assert!(!format!("{config:?}").contains(KEY));
    assert_eq!(parts(&OpenAiCompatible::new(config).unwrap(), request()).await.len(), 2);
    let head = server.requests().remove(0).head;
    assert!(head.starts_with("POST /v1/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("api-key: {KEY}")), "{head}");
    for (name, value) in [("a b", "x"), ("fine", "a\nb")] {
        let wrong = ServiceConfig::new("http://localhost/v1", "m").with_header(name, Secret::new(value));
        assert_eq!(OpenAiCompatible::new(wrong).unwrap_err().code(), "invalid_header");
    }
}

#[test]
fn a_wrong_configuration_is_refused_at_once() {
    for wrong in ["", "localhost:8080", "ftp://host/v1", "http://user:pass@host/v1", "http:///v1x y"] {
        let error = OpenAiCompatible::new(ServiceConfig::new(wrong, "m")).map(|_| wrong);
        if let Err(error) = error {
            assert_eq!(error.code(), "invalid_base_url");
            assert!(!error.to_string().contains("pass@"));
        } else {
            panic!("'{wrong}' was accepted");
        }
    }
    let key = ServiceConfig::new("https://host/v1", "m").with_api_key(Some(Secret::new("a\nb")));
    assert_eq!(OpenAiCompatible::new(key).unwrap_err().code(), "invalid_api_key");
    let fine = ServiceConfig::new("https://host/v1/", "m").with_api_key(Some(Secret::new("sk-x")));
    assert!(!format!("{:?}", OpenAiCompatible::new(fine).unwrap()).contains("sk-x"));
}

mod conformance {
    use std::sync::Arc;

    use super::*;

    /// Answers as a model would: calls a tool where it may and has not, else answers in text, or as the schema says.
    async fn fresh() -> (Arc<dyn LanguageModel>, Server) {
        let server = Server::start(|_, request| {
            let messages = request.body["messages"].as_array().unwrap();
            let may = request.body["tools"].is_array() && request.body["tool_choice"] != "none";
            let waits = may && messages.last().unwrap()["role"] != "tool";
            if request.body["response_format"].is_object() {
                let chunks = [delta(json!({"content": "{\"city\": \"Lisbon\"}"})), finished("stop"), usage()];
                return Reply { piece: 11, ..Reply::events(events(&chunks)) };
            }
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
        let config = ServiceConfig::new(url, model).with_api_key(key);
        (Arc::new(OpenAiCompatible::new(config).unwrap()), ())
    }

    operone_core::language_model_conformance!(
        #[ignore = "needs a model service"]
        fresh
    );
}
