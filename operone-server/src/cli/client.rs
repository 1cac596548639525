//! Asks a running server over plain HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use operone_core::error::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::net::TcpStream;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How long an answer may take.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A server on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    address: SocketAddr,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Whether an Operone server answers there.
    pub(super) async fn is_there(&self) -> bool {
        self.get("/info").await.is_ok_and(|info| info.get("version").is_some())
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body.to_string())).await
    }

    /// The body of the answer. One that is a problem is an error with its code and detail.
    async fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<Value> {
        match tokio::time::timeout(TIME_LIMIT, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable("does not answer")),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<String>) -> Result<Value> {
        let broken = |error: hyper::Error| self.unreachable("broke off").with_source(error);
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| self.unreachable("cannot be reached").with_source(error))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, Body::from))
            .map_err(|error| Error::internal("the request cannot be made").with_source(error))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let ok = answer.status().is_success();
            let bytes = to_bytes(Body::new(answer.into_body()), MAX_ANSWER)
                .await
                .map_err(|error| self.unreachable("broke off").with_source(error))?;
            let body: Value = serde_json::from_slice(&bytes)
                .map_err(|error| self.unreachable("answers with something else").with_source(error))?;
            if ok { Ok(body) } else { Err(problem(&body)) }
        };
        tokio::pin!(connection, answer);
        let mut open = true;
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = &mut connection, if open => open = false,
            }
        }
    }

    fn unreachable(&self, how: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("the server at http://{} {how}", self.address))
            .with_code("server_unreachable")
    }
}

fn problem(body: &Value) -> Error {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    Error::invalid(format!("the server refuses: {} ({})", text("detail"), text("code")))
}
