//! Events: the three topics as streams.

use serde_json::json;

use crate::support::{Server, ServerEvent, file, folder};

#[test]
fn runs_tell_their_starts_steps_and_ends() {
    let data = folder();
    let server = Server::start(data.path());
    let mut lifecycle = server.stream("GET", "/events?topic=agent.lifecycle", &[]);
    let mut trace = server.stream("GET", "/events?topic=agent.trace", &[]);
    let agent_id = server.create_agent(json!({"goal": "Hello"}));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));

    let started: ServerEvent = lifecycle.next().unwrap();
    assert_eq!((started.name.as_str(), &started.data["event"]), ("agent.started", &json!("agent.started")));
    assert_eq!(started.data["payload"]["agent_id"], json!(agent_id));
    assert!(started.data["payload"]["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
    assert_eq!(lifecycle.next().unwrap().data["event"], "agent.completed");

    let step = trace.next().unwrap();
    assert_eq!((&step.data["event"], &step.data["payload"]["step_id"]), (&json!("step.complete"), &json!(1)));
    assert!(
        step.data["payload"]["duration_ms"].is_u64() && step.data["payload"]["agent_id"] == json!(agent_id)
    );
}

#[test]
fn a_finished_ingest_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    let mut events = server.stream("GET", "/events?topic=rag.events", &[]);
    let job = server.ingest(&[&file(data.path(), "a.txt", "Some text to find.")]);
    let complete = events.find(|event| event.name == "ingest.complete").unwrap();
    assert_eq!(complete.data["payload"]["job_id"], job["job_id"]);
    assert_eq!(complete.data["payload"]["docs_indexed"], 1);
}

#[test]
fn an_unknown_topic_is_refused_by_name() {
    let data = folder();
    let server = Server::start(data.path());
    let answer = server.get("/events?topic=agent.lifecycle,weather");
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("unknown_topic")));
}
