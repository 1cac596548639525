//! A small HTTP server that says what a test tells it to, and a listener that must not be called.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server says to one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    head: String,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// Sent as it is, with the headers that were given and no other.
    Raw(Vec<u8>),
    /// In chunks, for as long as the client listens.
    Endless,
    /// One chunk, and then nothing more.
    Stalls,
    /// Not even the head comes.
    Silence,
    /// Headers for as long as the client listens.
    EndlessHead,
}

impl Reply {
    /// A whole answer.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self::raw(status, body).with("Content-Length", &length)
    }

    /// An answer of unsaid length.
    pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n");
        Self { head, body: Body::Raw(body.into()) }
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::new(302, "moved").with("Location", location)
    }

    pub(crate) fn endless() -> Self {
        Self { body: Body::Endless, ..Self::raw(200, "") }.with("Transfer-Encoding", "chunked")
    }

    pub(crate) fn stalls() -> Self {
        Self { body: Body::Stalls, ..Self::raw(200, "") }.with("Transfer-Encoding", "chunked")
    }

    pub(crate) fn silence() -> Self {
        Self { body: Body::Silence, ..Self::raw(200, "") }
    }

    pub(crate) fn endless_head() -> Self {
        Self { body: Body::EndlessHead, ..Self::raw(200, "") }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}

/// Serves on 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// Answers each request by `reply`, which is told the path.
    pub(crate) async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&heads), Arc::new(reply));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                tokio::spawn(async move { serve(stream, &seen, &*reply).await });
            }
        });
        Self { port, heads, serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    reply: &(dyn Fn(&str) -> Reply + Send + Sync),
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let start = head.len();
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let reply = reply(head.split(' ').nth(1).unwrap());
    seen.lock().unwrap().push(head);
    let mut stream = stream.into_inner();
    if !matches!(reply.body, Body::Silence) {
        stream.write_all(reply.head.as_bytes()).await.ok()?;
    }
    match reply.body {
        Body::Raw(body) => {
            stream.write_all(b"\r\n").await.ok()?;
            stream.write_all(&body).await.ok()?;
            stream.shutdown().await.ok()
        }
        Body::Endless => {
            let chunk = [&b"\r\n10000\r\n"[..], &[b'x'; 0x10000]].concat();
            loop {
                stream.write_all(&chunk).await.ok()?;
            }
        }
        Body::Stalls => {
            stream.write_all(b"\r\n3\r\nabc\r\n").await.ok()?;
            pause().await;
            None
        }
        Body::Silence => {
            pause().await;
            None
        }
        Body::EndlessHead => loop {
            stream.write_all(b"X-More: more\r\n").await.ok()?;
        },
    }
}

/// Longer than any test waits.
async fn pause() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Counts who connects to 127.0.0.2.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) port: u16,
    calls: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Canary {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let listening = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, calls, listening }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}
