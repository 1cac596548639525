//! What the tool and the source make of answers, hostile ones included.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses a part")]
mod fake;

use std::time::{Duration, Instant};

use fake::{Reply, Server};
use operone_core::clock::Timestamp;
use operone_core::egress::{EgressPolicy, Network};
use operone_core::source::{Fetched, Source};
use operone_core::tool::ToolContext;
use operone_core::{Error, ErrorKind};
use operone_web::{WebClient, WebSource, http_get_tool};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn client() -> WebClient {
    let loopback = Network::parse("127.0.0.1/32").unwrap();
    WebClient::new(EgressPolicy::public().allowing(loopback)).unwrap()
}

async fn get_by(client: WebClient, reply: Reply) -> Result<Value, Error> {
    let server = Server::start(move |_| reply.clone()).await;
    let (tool, context) = (http_get_tool(client), ToolContext::default());
    let called = tool.call(&context, json!({"url": server.url("/")}));
    tokio::time::timeout(Duration::from_secs(20), called).await.expect("the tool hangs")
}

async fn get(reply: Reply) -> Result<Value, Error> {
    get_by(client(), reply).await
}

async fn fetch(path: &str, reply: Reply) -> Result<Fetched, Error> {
    let server = Server::start(move |_| reply.clone()).await;
    let (source, uri) = (WebSource::new(client()), server.url(path));
    let fetched = source.fetch(&uri);
    tokio::time::timeout(Duration::from_secs(40), fetched).await.expect("the source hangs")
}

fn unavailable(error: &Error, code: &str) {
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, code), "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn the_tool_gives_the_answer_as_text() {
    let server =
        Server::start(|_| Reply::new(404, b"Gr\xc3\xbc\xffe").with("Content-Type", "text/plain")).await;
    let tool = http_get_tool(client());
    let url = server.url("/a/../b?c=d#e");
    let answer = tool.call(&ToolContext::default(), json!({"url": url})).await.unwrap();
    let expected = json!({
        "url": server.url("/b?c=d"),
        "status": 404,
        "content_type": "text/plain",
        "content": "Grü\u{fffd}e",
        "truncated": false,
    });
    assert_eq!(answer, expected);
    assert_eq!(get(Reply::new(200, "")).await.unwrap()["content_type"], Value::Null);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_an_answer() {
    for reply in [Reply::new(302, "moved"), Reply::new(304, ""), Reply::new(300, "").with("Location", "/a")] {
        assert!(get(reply).await.unwrap()["status"].as_u64().unwrap() >= 300);
    }
}

#[tokio::test]
async fn long_text_is_cut_and_said_to_be() {
    let whole = get(Reply::new(200, vec![b'x'; MIB / 4])).await.unwrap();
    assert_eq!((whole["content"].as_str().unwrap().len(), &whole["truncated"]), (MIB / 4, &json!(false)));
    for body in [vec![b'x'; MIB / 4 + 1], vec![b'x'; 5 * MIB], vec![0xff; MIB]] {
        let cut = get(Reply::new(200, body)).await.unwrap();
        let length = cut["content"].as_str().unwrap().len();
        assert!(cut["truncated"] == true && (MIB / 4 - 3..=MIB / 4).contains(&length), "{length}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_whatever_was_announced() {
    let announced = Reply::raw(200, "abc").with("Content-Length", &(5 * MIB + 1).to_string());
    for reply in [
        announced,
        Reply::new(200, vec![b'x'; 5 * MIB + 1]),
        Reply::raw(200, vec![b'x'; 5 * MIB + 1]),
        Reply::endless(),
    ] {
        let error = get(reply).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "too_large"), "{error:?}");
        assert!(error.message().contains("5 MiB"), "{error}");
    }
}

#[tokio::test]
async fn a_lie_about_the_length_brings_no_more_than_was_announced() {
    let more = Reply::raw(200, vec![b'x'; 6 * MIB]).with("Content-Length", "3");
    assert_eq!(get(more).await.unwrap()["content"], "xxx");
    let less = Reply::raw(200, "abc").with("Content-Length", "10");
    unavailable(&get(less).await.unwrap_err(), "unreachable");
}

#[tokio::test]
async fn a_slow_answer_ends_in_time() {
    for reply in [Reply::stalls(), Reply::silence()] {
        let begun = Instant::now();
        let error = get_by(client().with_timeout(Duration::from_millis(300)), reply).await.unwrap_err();
        unavailable(&error, "timeout");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn redirects_share_the_time_of_the_call() {
    let server = Server::start(|path| match path {
        "/" => Reply::redirect("/slow"),
        _ => Reply::silence(),
    })
    .await;
    let tool = http_get_tool(client().with_timeout(Duration::from_millis(300)));
    let called = tool.call(&ToolContext::default(), json!({"url": server.url("/")})).await;
    unavailable(&called.unwrap_err(), "timeout");
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn an_endless_head_and_noise_break_off() {
    unavailable(&get(Reply::endless_head()).await.unwrap_err(), "unreachable");
    let compressed = Reply::new(200, "abc").with("Content-Encoding", "gzip");
    assert_eq!(get(compressed).await.unwrap_err().code(), "unreadable");
    let plain = Reply::new(200, "abc").with("Content-Encoding", "identity");
    assert_eq!(get(plain).await.unwrap()["content"], "abc");
}

#[tokio::test]
async fn a_cancelled_context_ends_the_call() {
    let server = Server::start(|_| Reply::silence()).await;
    let (tool, context) = (http_get_tool(client()), ToolContext::default());
    let cancelled = context.cancelled.clone();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancelled.cancel();
    };
    let (called, ()) = tokio::join!(tool.call(&context, json!({"url": server.url("/")})), cancel);
    assert_eq!(called.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_document_comes_with_its_name_date_and_type() {
    let bytes: Vec<u8> = (0..6 * MIB).map(|number| (number % 251) as u8).collect();
    let reply = Reply::new(200, bytes.clone())
        .with("Content-Type", "application/pdf")
        .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    let fetched = fetch("/a/Bericht%20Mai.pdf?version=2#page=3", reply).await.unwrap();
    assert!(fetched.bytes == bytes);
    assert_eq!(fetched.name, "Bericht Mai.pdf");
    assert_eq!(fetched.modified, Some(Timestamp::from_millis(784_111_777_000)));
    assert_eq!(fetched.media_type.as_deref(), Some("application/pdf"));

    let bare = fetch("/", Reply::new(200, "abc").with("Last-Modified", "yesterday")).await.unwrap();
    assert_eq!((bare.name.as_str(), bare.modified, bare.media_type), ("127.0.0.1", None, None));
}

#[tokio::test]
async fn a_document_that_is_not_there_says_why() {
    for (status, kind, code) in [
        (404, ErrorKind::NotFound, "not_found"),
        (410, ErrorKind::NotFound, "not_found"),
        (401, ErrorKind::Denied, "denied"),
        (403, ErrorKind::Denied, "denied"),
        (206, ErrorKind::Invalid, "unreadable"),
        (503, ErrorKind::Unavailable, "unreadable"),
    ] {
        let error = fetch("/a.txt", Reply::new(status, "no")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{status}");
    }
}

#[tokio::test]
async fn a_document_over_the_cap_is_refused() {
    let announced = Reply::raw(200, "abc").with("Content-Length", &(64 * MIB + 1).to_string());
    for reply in [announced, Reply::endless()] {
        assert_eq!(fetch("/a", reply).await.unwrap_err().code(), "too_large");
    }
}

#[tokio::test]
async fn the_source_is_guarded_too() {
    let source = WebSource::new(client());
    for (uri, code) in [
        ("http://169.254.169.254/", "egress_denied"),
        ("http://127.0.0.2/", "egress_denied"),
        ("https://1.1.1.1:8443/", "egress_denied"),
        ("http://user@127.0.0.1/", "invalid_uri"),
        ("file:///etc/passwd", "invalid_uri"),
    ] {
        assert_eq!(source.fetch(uri).await.unwrap_err().code(), code, "{uri}");
    }
}

#[test]
fn spellings_of_one_document_become_one() {
    let source = WebSource::new(client());
    assert_eq!(source.schemes(), ["http", "https"]);
    for (spelling, one) in [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/#top", "http://example.com/"),
        ("https://example.com:443/a/./b/../c?d#e", "https://example.com/a/c?d"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com/%2e%2E/a", "http://example.com/a"),
        ("http://example.com/a b/ü", "http://example.com/a%20b/%C3%BC"),
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://[0:0::1]:80/", "http://[::1]/"),
    ] {
        assert_eq!(source.normalize(spelling).unwrap(), one, "{spelling}");
        assert_eq!(source.normalize(one).unwrap(), one);
    }
    for wrong in ["", "a", "/a", "file:///a", "ftp://example.com/", "http://", "http://user@example.com/"] {
        assert_eq!(source.normalize(wrong).unwrap_err().code(), "invalid_uri", "{wrong}");
    }
}

mod conformance {
    use std::sync::Arc;

    use operone_core::conformance::tool::ToolUnderTest;

    use super::*;

    async fn fresh() -> (Arc<ToolUnderTest>, Server) {
        let server = Server::start(|_| Reply::new(200, "hello")).await;
        let (fitting, unfitting) = (json!({"url": server.url("/")}), json!({"url": 7}));
        (Arc::new(ToolUnderTest::new(http_get_tool(client()), fitting, unfitting)), server)
    }

    operone_core::tool_conformance!(fresh);
}
