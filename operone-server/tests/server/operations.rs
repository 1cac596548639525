//! Starting, telling what it is, and stopping.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, command, folder};

#[test]
fn the_ready_line_says_where_what_and_who_answers() {
    let data = folder();
    let server = Server::start(data.path());
    for part in [&*server.address, &*data.path().to_string_lossy(), "no language model"] {
        assert!(server.ready_line.contains(part), "{:?} lacks {part}", server.ready_line);
    }
    assert_eq!(server.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(server.get("/readyz").json()["status"], "ready");
    let info = server.get("/info").json();
    assert_eq!(
        (&info["model"]["is_language_model"], &info["model"]["name"]),
        (&json!(false), &json!("extractive"))
    );
    assert!(info["model"]["note"].as_str().unwrap().contains("no language model"));
    assert!(info["embedder"]["tokenizer"].is_string() && info["version"].is_string());
}

#[test]
fn an_interrupt_stops_it_cleanly_with_a_stream_open() {
    let data = folder();
    let server = Server::start(data.path());
    let mut stream = server.stream("GET", "/events", &[]);
    let begun = Instant::now();
    assert_eq!(server.interrupt(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(stream.next(), None);
}

#[test]
fn a_data_folder_has_one_server() {
    let data = folder();
    let _first = Server::start(data.path());
    let second = command(data.path(), &[], &[]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another") && second.stdout.is_empty(), "{error}");
}

#[test]
fn a_wrong_configuration_is_refused_with_what_to_do() {
    let data = folder();
    for (arguments, environment, expected) in [
        (vec!["--listen", "0.0.0.0:0"], vec![], "OPERONE_INSECURE"),
        (vec!["--role", "api"], vec![], "--role all"),
        (vec![], vec![("DATABASE_URL", "postgresql://user:pass@localhost/db")], "unset DATABASE_URL"),
        (vec![], vec![("API_URL", "localhost")], "API_URL"),
        (vec!["--nonsense"], vec![], "--nonsense"),
    ] {
        let output = command(data.path(), &arguments, &environment).stderr(Stdio::piped()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {environment:?}");
        assert!(error.contains(expected) && !error.contains("pass@"), "{error}");
    }
}

#[test]
fn check_says_what_each_part_uses_and_makes_nothing() {
    let data = folder();
    let folder = data.path().join("none");
    let environment = [("OPENAI_API_KEY", "sk-very-secret"), ("OPENAI_MODEL", "some-model")];
    let output = command(&folder, &["check"], &environment).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("some-model") && text.contains("SQLite"), "{text}");
    assert!(!text.contains("sk-very-secret") && !folder.exists());
}

#[test]
fn on_a_network_internal_requests_need_the_token_and_the_other_listener() {
    let data = folder();
    let environment = [("OPERONE_INSECURE", "1"), ("OPERONE_INTERNAL_TOKEN", "let-me-in")];
    let internal = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["--listen", "0.0.0.0:0", "--internal-listen", &internal];
    let mut server = Server::start_with(data.path(), &arguments, &environment);
    server.address = server.address.replace("0.0.0.0", "127.0.0.1");
    let body = json!({"type": "agent_runtime", "payload": {"agent_id": "none"}});
    assert_eq!(server.post("/internal/workers", body.clone()).status, 404);
    let denied = server.post("/rag/ingest/batch", json!({"documents": [{"source": "file:///etc/hostname"}]}));
    let job = server.wait_for_job(denied.json()["job_id"].as_str().unwrap());
    assert_eq!(job["documents"][0]["error"]["code"], "denied", "{job}");

    server.address = internal;
    assert_eq!(server.post("/internal/workers", body.clone()).status, 401);
    let headers = [("content-type", "application/json"), ("authorization", "Bearer let-me-in")];
    let answer = server.request("POST", "/internal/workers", &headers, Some(body.to_string().as_bytes()));
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}
