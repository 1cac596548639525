//! Servers behind a URL, as small as the protocol permits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use operone_core::ErrorKind;
use operone_core::tool::ToolSet;
use operone_mcp::{McpConfig, McpEndpoint, McpServer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted::{call, failure, tool};

/// What a call gets.
#[derive(Clone, Copy)]
enum Call {
    Hello,
    Nothing,
    Huge,
    Cut,
    Page,
}

/// A server on a free port that wants the token "sesame", and the requests that it got.
async fn serve(answer: Call) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp?key=hidden", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, answer, Arc::clone(&seen)));
        }
    });
    (url, requests)
}

async fn one(stream: TcpStream, answer: Call, seen: Arc<Mutex<Vec<Value>>>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let (mut post, mut length, mut token) = (false, 0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            post |= line.starts_with("POST ");
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.starts_with("authorization:") {
                token = line.split_once(':').unwrap().1.trim().to_owned();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        seen.lock().unwrap().push(message.clone());
        let reply = if token != "Bearer sesame" {
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else if !post {
            "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned()
        } else {
            let result = match message["method"].as_str().unwrap_or_default() {
                "initialize" => json!({
                    "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "small", "version": "1"}
                }),
                "tools/list" => json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}),
                "tools/call" => match answer {
                    Call::Hello => json!({"content": [{"type": "text", "text": "hello"}]}),
                    Call::Huge => json!({"content": [{"type": "text", "text": "x".repeat(1 << 20)}]}),
                    Call::Nothing => return tokio::time::sleep(Duration::from_secs(60)).await,
                    Call::Cut => return,
                    Call::Page => Value::Null,
                },
                _ => Value::Null,
            };
            let reply = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            match result {
                Value::Null if message["id"].is_null() => {
                    "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                Value::Null => "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\nsorry!".to_owned(),
                _ => format!("{head} {}\r\n\r\n{reply}", reply.len()),
            }
        };
        if writer.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn server(url: &str, token: &str) -> McpServer {
    let endpoint = McpEndpoint::new(url).with_bearer_token(token);
    let config =
        McpConfig::new("web", endpoint).with_call_timeout(Duration::from_secs(5)).with_max_message(256 << 10);
    McpServer::new(config).unwrap()
}

#[tokio::test]
async fn a_tool_behind_a_url_is_called() {
    let (url, requests) = serve(Call::Hello).await;
    let server = server(&url, "sesame");
    let tool = tool(&server, "web.t").await;
    assert_eq!(call(&tool, json!({"a": 1})).await.unwrap(), "hello");
    let requests = requests.lock().unwrap();
    let called = requests.iter().find(|message| message["method"] == "tools/call").unwrap();
    assert_eq!(called["params"]["arguments"], json!({"a": 1}));
}

#[tokio::test]
async fn a_wrong_token_is_said_and_no_secret_shown() {
    let (url, _) = serve(Call::Hello).await;
    let server = server(&url, "open");
    let error = server.tools().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "mcp_unauthorized"));
    let shown = format!("{server:?} {error:?} {}", error.with_causes());
    assert!(!shown.contains("open\"") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn faults_of_a_server_are_errors_in_time() {
    for (answer, code) in
        [(Call::Cut, "mcp_unavailable"), (Call::Huge, "mcp_unavailable"), (Call::Page, "mcp_unavailable")]
    {
        let (url, _) = serve(answer).await;
        let server = server(&url, "sesame");
        let tool = tool(&server, "web.t").await;
        let error = failure(&tool).await;
        assert_eq!(error.code(), code, "{error:?}");
        let shown = format!("{error:?} {}", error.with_causes());
        assert!(!shown.contains("hidden") && shown.len() < 4096, "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let (url, requests) = serve(Call::Nothing).await;
    let endpoint = McpEndpoint::new(&url).with_bearer_token("sesame");
    let config = McpConfig::new("web", endpoint).with_call_timeout(Duration::from_millis(200));
    let server = McpServer::new(config).unwrap();
    let tool = tool(&server, "web.t").await;
    assert_eq!(failure(&tool).await.code(), "mcp_timeout");
    crate::scripted::wait_until("the word to the server", || {
        requests.lock().unwrap().iter().any(|message| message["method"] == "notifications/cancelled")
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_without_the_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp?key=hidden", listener.local_addr().unwrap());
    drop(listener);
    let server = server(&url, "sesame");
    let error = server.tools().await.unwrap_err();
    assert_eq!(error.code(), "mcp_unavailable");
    let shown = format!("{server:?} {error:?} {}", error.with_causes());
    assert!(!shown.contains("hidden") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn a_url_and_a_token_are_checked() {
    for (url, token, code) in [
        ("ftp://a.example", "x", "invalid_mcp_url"),
        ("a.example", "x", "invalid_mcp_url"),
        ("https://a.example", "a\nb", "invalid_mcp_token"),
    ] {
        let config = McpConfig::new("a", McpEndpoint::new(url).with_bearer_token(token));
        assert_eq!(McpServer::new(config).unwrap_err().code(), code, "{url}");
    }
}
