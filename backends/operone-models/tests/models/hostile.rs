//! Services that never end, say too much, or say what is no text: clear errors, in bounded memory, for every protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use operone_core::model::{LanguageModel, Message, ModelEvent, ModelRequest};
use operone_core::{Error, ErrorKind};
use operone_models::{Anthropic, OpenAiCompatible, ServiceConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fake::{Reply, Server};
use crate::{parts, whole};

/// Both protocols, each with the event that gives a piece of text and the one that gives a piece of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    OpenAi,
    Anthropic,
}

const BOTH: [Protocol; 2] = [Protocol::OpenAi, Protocol::Anthropic];

impl Protocol {
    fn model(self, config: ServiceConfig) -> Arc<dyn LanguageModel> {
        match self {
            Self::OpenAi => Arc::new(OpenAiCompatible::new(config).unwrap()),
            Self::Anthropic => Arc::new(Anthropic::new(config).unwrap()),
        }
    }

    fn text(self, text: &str) -> Value {
        match self {
            Self::OpenAi => json!({"choices": [{"index": 0, "delta": {"content": text}}]}),
            Self::Anthropic => json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": text}}),
        }
    }

    /// The begin of a call, with some of its arguments.
    fn call(self, index: usize, arguments: &str) -> String {
        match self {
            Self::OpenAi => event(&json!({"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": index, "id": index.to_string(), "function": {"name": "n", "arguments": arguments}}]}}]})),
            Self::Anthropic => {
                let id = index.to_string();
                let begin = json!({"type": "content_block_start", "index": index,
                    "content_block": {"type": "tool_use", "id": id, "name": "n"}});
                let more = json!({"type": "content_block_delta", "index": index,
                    "delta": {"type": "input_json_delta", "partial_json": arguments}});
                event(&begin) + &event(&more)
            }
        }
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn request() -> ModelRequest {
    ModelRequest::new(vec![Message::user("hello")])
}

async fn failure(protocol: Protocol, reply: Reply) -> Error {
    let server = Server::start(move |_, _| reply.clone()).await;
    let model = protocol.model(ServiceConfig::new(&server.base_url, "m"));
    whole(parts(&*model, request()).await).unwrap_err()
}

#[tokio::test]
async fn a_service_without_bounds_is_stopped() {
    for protocol in BOTH {
        let endless = Reply { piece: 65_536, ..Reply::events(vec![b'x'; 3 << 20]) };
        assert_eq!(failure(protocol, endless).await.code(), "model_protocol_error");
        let whole = Reply { piece: 65_536, ..Reply::new(200, "application/json", vec![b' '; 9 << 20]) };
        assert!(failure(protocol, whole).await.message().contains("8 MiB"));
        let long = "x".repeat(700_000);
        let long = protocol.call(0, &long) + &protocol.call(1, &long);
        let error = failure(protocol, Reply { piece: 65_536, ..Reply::events(long) }).await;
        assert!(error.message().contains("arguments"), "{error}");
        let many: String = (0..200).map(|index| protocol.call(index, "")).collect();
        let error = failure(protocol, Reply { piece: 65_536, ..Reply::events(many) }).await;
        assert!(error.message().contains("128"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_text_or_no_json_is_refused() {
    for protocol in BOTH {
        let text = event(&protocol.text("a@b"));
        let broken: Vec<u8> = text.bytes().map(|byte| if byte == b'@' { 0xff } else { byte }).collect();
        for reply in [
            Reply::events(broken.clone()),
            Reply::new(200, "application/json", broken),
            Reply::events("data: {not JSON}\n\n"),
            Reply::events("data: [1, 2]\n\n"),
            Reply::new(200, "application/json", "null"),
            Reply::new(200, "text/html", "<html>"),
        ] {
            let shown = format!("{protocol:?} {reply:?}");
            let error = failure(protocol, reply).await;
            assert_eq!(error.code(), "model_protocol_error", "{shown}");
            assert!(!error.is_retryable(), "it would say it again");
        }
    }
}

/// A service that says "a", and "b" after a pause.
async fn pausing(protocol: Protocol, pause: Duration) -> Server {
    let body = event(&protocol.text("a")) + &event(&protocol.text("b"));
    let reply = Reply { pause, ..Reply::events(body) };
    Server::start(move |_, _| reply.clone()).await
}

#[tokio::test]
async fn a_service_that_falls_silent_is_given_up() {
    for protocol in BOTH {
        let server = pausing(protocol, Duration::from_secs(60)).await;
        let config = ServiceConfig::new(&server.base_url, "m").with_idle_timeout(Duration::from_millis(300));
        let parts = parts(&*protocol.model(config), request()).await;
        assert!(parts[0].is_ok());
        let error = parts.last().unwrap().as_ref().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "model_stalled"));
    }
}

#[tokio::test]
async fn a_service_is_not_silent_while_nobody_listens() {
    for protocol in BOTH {
        let server = pausing(protocol, Duration::from_millis(1_200)).await;
        let config = ServiceConfig::new(&server.base_url, "m").with_idle_timeout(Duration::from_secs(1));
        let mut answer = protocol.model(config).stream(request()).await.unwrap();
        assert_eq!(answer.next().await.unwrap().unwrap(), ModelEvent::Text("a".into()));
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(answer.next().await.unwrap().unwrap(), ModelEvent::Text("b".into()), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    for protocol in BOTH {
        let model = protocol.model(ServiceConfig::new("http://127.0.0.1:1/v1", "m"));
        let error = parts(&*model, request()).await.remove(0).unwrap_err();
        let told = (error.kind(), error.code(), error.is_retryable());
        assert_eq!(told, (ErrorKind::Unavailable, "model_unavailable", true));
    }
}

/// Says `piece` for ever, as fast as it is read, and counts the bytes that went out.
struct Flood {
    base_url: String,
    sent: Arc<AtomicU64>,
    closed: tokio::sync::oneshot::Receiver<()>,
}

impl Flood {
    async fn start(piece: String, limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (sent, (close, closed)) = (Arc::new(AtomicU64::new(0)), tokio::sync::oneshot::channel());
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            pour(stream, piece, limit, &counted).await;
            close.send(()).ok();
        });
        Self { base_url, sent, closed }
    }
}

async fn pour(mut stream: TcpStream, piece: String, limit: u64, sent: &AtomicU64) -> Option<()> {
    let mut head = [0; 4096];
    if stream.read(&mut head).await.ok()? == 0 {
        return None;
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.ok()?;
    let pieces = piece.repeat(65_536 / piece.len() + 1);
    let frame = format!("{:x}\r\n{pieces}\r\n", pieces.len());
    while sent.load(Ordering::Relaxed) < limit {
        stream.write_all(frame.as_bytes()).await.ok()?;
        sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }
    stream.write_all(b"0\r\n\r\n").await.ok()
}

#[tokio::test]
async fn a_flood_is_read_no_faster_than_it_is_asked_for_and_stops_when_nobody_listens() {
    for protocol in BOTH {
        let Flood { base_url, sent, closed } =
            Flood::start(event(&protocol.text(&"x".repeat(1000))), u64::MAX).await;
        let mut stream = protocol.model(ServiceConfig::new(base_url, "m")).stream(request()).await.unwrap();
        for _ in 0..10 {
            assert!(matches!(stream.next().await, Some(Ok(ModelEvent::Text(_)))));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(sent.load(Ordering::Relaxed), before, "it is read though nobody asks");
        assert!(before < 16 << 20, "{before} bytes are held back for a slow reader");
        drop(stream);
        tokio::time::timeout(Duration::from_secs(5), closed)
            .await
            .expect("the connection is closed")
            .unwrap();
    }
}

#[tokio::test]
async fn a_gigabyte_of_text_passes_through_in_bounded_memory() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    let flood = Flood::start(event(&Protocol::OpenAi.text(&"x".repeat(100_000))), 1 << 30).await;
    let model = Protocol::OpenAi.model(ServiceConfig::new(flood.base_url, "m"));
    let (before, mut read, mut last) = (resident(), 0_u64, None);
    let mut stream = model.stream(request()).await.unwrap();
    while let Some(part) = stream.next().await {
        match part {
            Ok(ModelEvent::Text(text)) => read += text.len() as u64,
            other => last = Some(other),
        }
    }
    assert!(read > 1_000_000_000, "{read}");
    assert_eq!(last.unwrap().unwrap_err().code(), "model_cut_off", "it ended without an end");
    // Other tests run at the same time and take some too.
    assert!(resident() < before + (256 << 20), "from {before} to {} bytes", resident());
}

#[tokio::test]
async fn signs_of_life_alone_do_not_keep_an_answer_open_for_ever() {
    for protocol in BOTH {
        let flood = Flood::start(": still here\n\n".into(), u64::MAX).await;
        let config = ServiceConfig::new(flood.base_url, "m").with_answer_timeout(Duration::from_millis(500));
        let error = parts(&*protocol.model(config), request()).await.remove(0).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("model_stalled", false));
    }
}
