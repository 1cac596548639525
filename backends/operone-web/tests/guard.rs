//! The egress guard as an attacker meets it: spellings of hosts, ports, schemes, and redirects inwards.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses a part")]
mod fake;

use std::error::Error as _;
use std::time::Duration;

use fake::{Canary, Reply, Server};
use operone_core::egress::{EgressPolicy, Network};
use operone_core::tool::ToolContext;
use operone_core::{Error, ErrorKind};
use operone_web::{WebClient, http_get_tool};
use serde_json::{Value, json};

fn client(allowed: &[&str]) -> WebClient {
    let policy = allowed
        .iter()
        .fold(EgressPolicy::public(), |policy, network| policy.allowing(Network::parse(network).unwrap()));
    WebClient::new(policy).unwrap()
}

async fn get(client: &WebClient, url: &str) -> Result<Value, Error> {
    let (tool, context) = (http_get_tool(client.clone()), ToolContext::default());
    let called = tool.call(&context, json!({"url": url}));
    tokio::time::timeout(Duration::from_secs(20), called).await.expect("the tool hangs")
}

async fn refusal(client: &WebClient, url: &str) -> Error {
    match get(client, url).await {
        Ok(answer) => panic!("{url} was answered: {answer}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn no_spelling_of_an_inner_host_gets_through() {
    let client = client(&[]);
    for url in [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "http://127.0.0.1:443/",
        "http://127.0.0.1./",
        "http://127.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://%31%32%37.0.0.1/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http:127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "HTTP://127.0.0.1/",
        " http://127.0.0.1/ ",
        "ht\ntp://127.0.0.1/",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1?@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://[::]/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::169.254.169.254]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.100.100.200/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
        "http://localhost/",
        "https://localhost/",
        "http://LOCALHOST/",
        "http://ⓛocalhost/",
        "http://localhost:8080/",
        "http://127.0.0.1:22/",
        // Public, but at another port.
        "http://1.1.1.1:22/",
        "https://1.1.1.1:8443/",
        "http://[2606:4700:4700::1111]:6379/",
    ] {
        let error = refusal(&client, url).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, "egress_denied"), "{url}: {error:?}");
        assert!(!error.is_retryable(), "{url}");
    }
}

/// Whether a name server knows names such as these differs from system to system.
#[tokio::test]
async fn odd_names_of_this_host_are_refused_or_unknown() {
    let client = client(&[]);
    for url in [
        "http://localhost./",
        "http://a.localhost/",
        "http://ip6-localhost/",
        "http://localhost.localdomain/",
    ] {
        let error = refusal(&client, url).await;
        assert!(matches!(error.code(), "egress_denied" | "unreachable" | "timeout"), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_web_address_is_invalid() {
    // Everything is allowed: it is the form that is refused.
    let client = client(&["0.0.0.0/0", "::/0"]);
    let long = format!("http://127.0.0.1/{}", "a".repeat(9000));
    for url in [
        "",
        "localhost",
        "/path",
        "//127.0.0.1/",
        "http://",
        "http://:80/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
        "http://a b/",
        "http://xn--a/",
        "http://127.0.0.1:99999/",
        "http://user@127.0.0.1/",
        "http://user:s3cret@127.0.0.1/",
        "http://:s3cret@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:6379/_INFO",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "ws://127.0.0.1/",
        "unix:///run/docker.sock",
        "view-source:http://127.0.0.1/",
        &long,
    ] {
        let error = refusal(&client, url).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "invalid_url"), "{url}: {error:?}");
        assert!(!error.message().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn an_allowed_network_opens_its_hosts_at_any_port() {
    let server = Server::start(|_| Reply::new(200, "hello")).await;
    let client = client(&["127.0.0.1/32"]);
    for host in ["127.0.0.1", "2130706433", "localhost"] {
        let url = format!("http://{host}:{}/", server.port);
        assert_eq!(get(&client, &url).await.unwrap()["content"], "hello", "{url}");
    }
    let other = Canary::start().await;
    let error = refusal(&client, &format!("http://127.0.0.2:{}/", other.port)).await;
    assert_eq!((error.code(), other.calls()), ("egress_denied", 0));
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    let proxy = Canary::start().await;
    let address = format!("http://127.0.0.2:{}", proxy.port);
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "an_allowed_network_opens_its_hosts_at_any_port"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, &address);
    }
    let output = again.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.calls(), 0);
}

#[tokio::test]
async fn a_network_that_is_not_allowed_is_not_connected() {
    let server = Server::start(|_| Reply::new(200, "hello")).await;
    for allowed in [&[][..], &["::1/128"], &["127.0.0.2/32"]] {
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{}/", server.port);
            assert_eq!(refusal(&client(allowed), &url).await.code(), "egress_denied");
        }
    }
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn redirects_inwards_are_refused_and_nobody_is_called() {
    let canary = Canary::start().await;
    let canary_url = format!("http://127.0.0.2:{}/", canary.port);
    let inner = [
        (canary_url.clone(), "egress_denied"),
        (format!("//127.0.0.2:{}/", canary.port), "egress_denied"),
        (format!("http://2130706434:{}/", canary.port), "egress_denied"),
        (format!("http://0x7f.0.0.2:{}/", canary.port), "egress_denied"),
        (format!("http://[::ffff:127.0.0.2]:{}/", canary.port), "egress_denied"),
        ("http://127.0.0.2/".to_owned(), "egress_denied"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "egress_denied"),
        ("http://[fd00:ec2::254]/".to_owned(), "egress_denied"),
        ("https://1.1.1.1:8443/".to_owned(), "egress_denied"),
        (format!("http://user@127.0.0.2:{}/", canary.port), "invalid_url"),
        ("file:///etc/passwd".to_owned(), "invalid_url"),
        ("gopher://127.0.0.2:70/".to_owned(), "invalid_url"),
        ("data:text/plain,hello".to_owned(), "invalid_url"),
        ("http://[".to_owned(), "invalid_url"),
    ];
    let targets: Vec<String> = inner.iter().map(|(target, _)| target.clone()).collect();
    let server = Server::start(move |path| match path.split('/').collect::<Vec<_>>()[..] {
        ["", "twice", number] => Reply::redirect(&format!("/once/{number}")),
        ["", _, number] => Reply::redirect(&targets[number.parse::<usize>().unwrap()]),
        _ => Reply::new(404, ""),
    })
    .await;
    let guarded = client(&["127.0.0.1/32"]);
    for (number, (target, code)) in inner.iter().enumerate() {
        for path in ["once", "twice"] {
            let error = refusal(&guarded, &server.url(&format!("/{path}/{number}"))).await;
            assert_eq!(error.code(), *code, "{path} to {target}: {error:?}");
        }
    }
    assert_eq!(canary.calls(), 0);
    assert_eq!(server.heads().len(), 3 * inner.len());

    // The canary would have sung.
    let open = client(&["127.0.0.0/8"]).with_timeout(Duration::from_millis(500));
    assert_eq!(refusal(&open, &server.url("/once/0")).await.kind(), ErrorKind::Unavailable);
    assert_eq!(canary.calls(), 1);
}

#[tokio::test]
async fn at_most_five_redirects_are_followed() {
    let server = Server::start(|path| match path.trim_start_matches('/') {
        "0" => Reply::new(200, "there"),
        left => Reply::redirect(&(left.parse::<u32>().unwrap() - 1).to_string()),
    })
    .await;
    let client = client(&["127.0.0.1/32"]);
    let answer = get(&client, &server.url("/5#part")).await.unwrap();
    assert_eq!((&answer["content"], &answer["url"]), (&json!("there"), &json!(server.url("/0"))));
    assert_eq!(server.heads().len(), 6);
    let error = refusal(&client, &server.url("/6")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "too_many_redirects"));
    assert_eq!(server.heads().len(), 12);
}

#[tokio::test]
async fn requests_carry_nothing_from_one_hop_to_the_next() {
    let server = Server::start(|path| match path {
        "/from?secret" => Reply::redirect("/to").with("Set-Cookie", "a=b; Path=/"),
        _ => Reply::new(200, ""),
    })
    .await;
    get(&client(&["127.0.0.1/32"]), &server.url("/from?secret")).await.unwrap();
    let heads = server.heads();
    let last = heads[1].to_lowercase();
    assert!(last.starts_with("get /to http/1.1"), "{last}");
    assert!(last.contains(&format!("user-agent: operone/{}\r\n", env!("CARGO_PKG_VERSION"))), "{last}");
    for unwanted in ["cookie:", "referer:", "authorization:", "secret"] {
        assert!(!last.contains(unwanted), "{last}");
    }
}

#[tokio::test]
async fn an_error_does_not_say_what_a_name_resolves_to() {
    let closed = {
        let server = Server::start(|_| Reply::new(200, "")).await;
        server.port
    };
    // The port is free again once the server has gone.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let denied = refusal(&client(&[]), "http://localhost/").await;
    let unreachable = refusal(&client(&["127.0.0.1/32"]), &format!("http://localhost:{closed}/")).await;
    assert_eq!((denied.code(), unreachable.code()), ("egress_denied", "unreachable"));
    assert!(denied.source().is_none());
    assert!(unreachable.is_retryable());
    for error in [denied, unreachable] {
        assert!(error.message().contains("'localhost'"), "{error}");
        assert!(!error.message().contains("127.") && !error.message().contains("::1"), "{error}");
    }
}
