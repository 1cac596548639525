//! Connections that are kept, and what services do to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use operone_core::model::{LanguageModel, Message, ModelRequest};
use operone_models::{Anthropic, OpenAiCompatible, ServiceConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::{parts, whole};

/// What a service does after the answers of a connection.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Closes when one more request has come.
    CloseOnReuse,
    /// Gives the last answer again and again.
    GoOn,
}

/// A service that says the same on each connection, byte by byte as told.
struct Service {
    base_url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Service {
    async fn start(answers: Vec<String>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (accepted, asked, answers) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
                tokio::spawn(async move { serve(stream, &answers, then, &asked).await });
            }
        });
        Self { base_url, connections, requests }
    }

    fn model(&self) -> Arc<dyn LanguageModel> {
        Arc::new(OpenAiCompatible::new(ServiceConfig::new(&self.base_url, "m")).unwrap())
    }

    /// How many connections there were, and requests on them.
    fn seen(&self) -> (usize, usize) {
        (self.connections.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed))
    }
}

async fn serve(mut stream: TcpStream, answers: &[String], then: Then, asked: &AtomicUsize) -> Option<()> {
    let mut request = [0; 4096];
    for number in 0.. {
        let answer = match (answers.get(number), then) {
            (Some(answer), _) => Some(answer),
            (None, Then::GoOn) => answers.last(),
            (None, Then::CloseOnReuse) => None,
            (None, Then::Close) => return None,
        };
        if stream.read(&mut request).await.ok()? == 0 {
            return None;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        stream.write_all(answer?.as_bytes()).await.ok()?;
    }
    None
}

const TEXT: &str = r#"{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}"#;

fn answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
}

fn with_length(body: &str) -> String {
    answer(&format!("Content-Length: {}\r\n", body.len()), body)
}

async fn ask(model: &dyn LanguageModel) -> Result<String, operone_core::Error> {
    let request = ModelRequest::new(vec![Message::user("hello")]);
    whole(parts(model, request).await).map(|answer| answer.text)
}

#[tokio::test]
async fn a_connection_is_used_again_and_shared_by_nobody() {
    let service = Service::start(vec![with_length(TEXT)], Then::GoOn).await;
    let model = service.model();
    for _ in 0..5 {
        assert_eq!(ask(&*model).await.unwrap(), "a");
    }
    assert_eq!(service.seen(), (1, 5));
    for _ in 0..3 {
        let answers = join_all((0..4).map(|_| ask(&*model))).await;
        assert!(answers.iter().all(|answer| answer.as_deref().ok() == Some("a")), "{answers:?}");
    }
    assert_eq!(service.seen(), (4, 17));
}

#[tokio::test]
async fn a_kept_connection_that_closes_as_it_is_used_again_fails_nothing() {
    let service = Service::start(vec![with_length(TEXT)], Then::CloseOnReuse).await;
    let model = service.model();
    for number in 1..=4 {
        assert_eq!(ask(&*model).await.unwrap(), "a");
        assert_eq!(service.seen(), (number, 2 * number - 1), "one connection is used for two requests");
    }
    let body = json!({"type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "a"}], "usage": {"input_tokens": 1, "output_tokens": 1}});
    let service = Service::start(vec![with_length(&body.to_string())], Then::CloseOnReuse).await;
    let model = Anthropic::new(ServiceConfig::new(&service.base_url, "m")).unwrap();
    for number in 1..=2 {
        assert_eq!(ask(&model).await.unwrap(), "a");
        assert_eq!(service.seen(), (number, 2 * number - 1));
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_kept_is_not_used() {
    let service = Service::start(vec![with_length(TEXT)], Then::Close).await;
    let model = service.model();
    for number in 1..=3 {
        assert_eq!(ask(&*model).await.unwrap(), "a");
        assert_eq!(service.seen(), (number, number));
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_service_that_closes_a_new_connection_is_asked_once() {
    let service = Service::start(Vec::new(), Then::CloseOnReuse).await;
    let error = ask(&*service.model()).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("model_unavailable", true), "{error}");
    assert_eq!(service.seen(), (1, 1));
}

#[tokio::test]
async fn an_answer_may_end_with_its_connection() {
    let service = Service::start(vec![answer("Connection: close\r\n", TEXT)], Then::Close).await;
    let model = service.model();
    for number in 1..=2 {
        assert_eq!(ask(&*model).await.unwrap(), "a");
        assert_eq!(service.seen(), (number, number));
    }
}

#[tokio::test]
async fn what_comes_before_and_after_an_answer_is_passed_over() {
    let early = format!("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n{}", with_length(TEXT));
    let body = format!("{:x}\r\n{TEXT}\r\n0\r\nX-Trailer: y\r\n\r\n", TEXT.len());
    let trailed = answer("Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n", &body);
    let service = Service::start(vec![early, trailed], Then::GoOn).await;
    let model = service.model();
    for _ in 0..3 {
        assert_eq!(ask(&*model).await.unwrap(), "a");
    }
    assert_eq!(service.seen(), (1, 3));
}

#[tokio::test]
async fn an_answer_that_ends_early_is_cut_off() {
    let chunk = answer("Transfer-Encoding: chunked\r\n", "5\r\nabc");
    for short in [answer("Content-Length: 100\r\n", "{"), answer("Transfer-Encoding: chunked\r\n", ""), chunk]
    {
        let service = Service::start(vec![short], Then::Close).await;
        let error = ask(&*service.model()).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("model_cut_off", true), "{error}");
    }
}

#[tokio::test]
async fn a_head_that_is_none_or_has_no_end_is_refused() {
    let endless = answer(&"X-More: more\r\n".repeat(100_000), "");
    for head in ["HTTP/1.1 what\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", &endless] {
        let service = Service::start(vec![head.to_owned()], Then::Close).await;
        let error = ask(&*service.model()).await.unwrap_err();
        assert_eq!(error.code(), "model_unavailable", "{error}");
        assert_eq!(service.seen(), (1, 1));
    }
}
