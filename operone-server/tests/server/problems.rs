//! Errors: every one is a problem, with a code, a request id, and the place of the fault.

use serde_json::{Value, json};

use crate::support::{Answer, Server, folder};

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    for key in ["type", "title", "detail", "instance"] {
        assert!(body[key].as_str().is_some_and(|text| !text.is_empty()), "{key} is missing: {body}");
    }
}

#[test]
fn every_error_is_a_problem() {
    let data = folder();
    let server = Server::start(data.path());
    let json_type = ("content-type", "application/json");
    let post =
        |path: &str, headers: &[(&str, &str)], body: &[u8]| server.request("POST", path, headers, Some(body));

    assert_problem(&server.get("/nowhere"), 404, "not_found");
    let answer = server.request("DELETE", "/memory", &[], None);
    assert_problem(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").contains("GET"));
    assert_problem(&post("/agents", &[json_type], b"{"), 400, "malformed_json");
    assert_problem(&post("/agents", &[json_type], b"{\"goal\": \"x\"} x"), 400, "malformed_json");
    assert_problem(&post("/agents", &[json_type], b"\xff\xfe"), 400, "malformed_json");
    assert_problem(&post("/agents", &[], b"{\"goal\": \"x\"}"), 415, "unsupported_media_type");
    assert_problem(&post("/agents", &[("content-type", "text/plain")], b"{}"), 415, "unsupported_media_type");
    assert_problem(&post("/agents", &[json_type], &vec![b' '; (1 << 20) + 1]), 413, "body_too_large");
    assert_problem(&server.get("/agents/no-such-agent"), 404, "not_found");
    assert_problem(&server.get("/agents/a%20b"), 404, "not_found");
    assert_problem(&server.get("/rag/jobs/job-0"), 404, "not_found");
    assert_problem(&server.get("/memory?query=x"), 422, "invalid_query");
    assert_problem(&server.get("/memory?query=x&scope=longterm&limit=0"), 422, "invalid_limit");
    assert_problem(&server.post("/rag/query", json!({"query": "x", "top_k": 0})), 422, "invalid_top_k");
    assert_problem(&server.post("/rag/query", json!({"query": "  "})), 422, "blank_query");
    let range = json!({"query": "x", "filters": {"date_range": ["2023-01-01", "soon"]}});
    assert_problem(&server.post("/rag/query", range), 422, "invalid_date");
    let options =
        json!({"documents": [{"source": "file:///x"}], "options": {"chunk_size": 10, "overlap": 10}});
    assert_problem(&server.post("/rag/ingest/batch", options), 422, "invalid_chunk_options");
}

#[test]
fn a_fault_in_the_body_is_named_by_its_place() {
    let data = folder();
    let server = Server::start(data.path());
    for (path, body, pointer) in [
        ("/agents", json!({"goal": 7}), "/goal"),
        ("/agents", json!({"goal": "x", "tenant": "other"}), "/tenant"),
        (
            "/agents/batch",
            json!({"agents": [{"goal": "x"}, {"goal": "y", "max_steps": "many"}]}),
            "/agents/1/max_steps",
        ),
        (
            "/memory/batch",
            json!({"scope": "s", "entries": [{"content": "x", "tags": "t"}]}),
            "/entries/0/tags",
        ),
        ("/rag/ingest/batch", json!({"documents": []}), "/documents"),
        ("/memory/batch", json!({"scope": "s", "entries": []}), "/entries"),
        ("/internal/workers", json!({"type": "other", "payload": {"agent_id": "x"}}), "/type"),
    ] {
        let answer = server.post(path, body);
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{answer:?}"
        );
    }
}

#[test]
fn a_request_keeps_the_id_it_came_with() {
    let data = folder();
    let server = Server::start(data.path());
    let answer = server.request("GET", "/nowhere", &[("x-request-id", "mine-1")], None);
    assert_eq!((answer.header("x-request-id"), &answer.json()["request_id"]), ("mine-1", &json!("mine-1")));
    let healthy = server.get("/healthz");
    assert!(!healthy.header("x-request-id").is_empty());
}

#[test]
fn web_pages_of_other_sites_are_kept_out() {
    let data = folder();
    let server = Server::start(data.path());
    let get = |headers: &[(&str, &str)]| server.request("GET", "/info", headers, None);
    assert_problem(&get(&[("host", "evil.example:3000")]), 403, "host_not_allowed");
    assert_problem(&get(&[("origin", "https://evil.example")]), 403, "origin_not_allowed");
    assert_eq!(get(&[("origin", "http://localhost:5173")]).status, 200);
}

#[test]
fn large_answers_are_compressed_and_streams_are_not() {
    let data = folder();
    let server = Server::start(data.path());
    let get =
        |path: &str, encoding: &str| server.request("GET", path, &[("accept-encoding", encoding)], None);
    let plain = server.get("/tools");
    assert!(plain.body.len() > 1024 && plain.header("content-encoding").is_empty());
    for encoding in ["gzip", "br"] {
        let answer = get("/tools", encoding);
        assert_eq!(answer.header("content-encoding"), encoding);
        assert!(answer.body.len() < plain.body.len());
    }
    assert!(get("/healthz", "gzip").header("content-encoding").is_empty());
    let stream = server.stream("GET", "/events", &[("accept-encoding", "gzip, br")]);
    assert!(!stream.headers.contains_key("content-encoding"));
    let _: Value = plain.json();
}
