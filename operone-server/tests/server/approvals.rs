//! Calls that wait for a person, over HTTP.

use serde_json::{Value, json};

use crate::support::{Server, calling_model, folder, wait_until};

/// A server whose model writes a file and then is done.
fn writing_server(data: &std::path::Path) -> Server {
    let url = calling_model(vec![("file_write", json!({"path": "note.txt", "content": "hello"}))]);
    Server::start_with(data, &[], &[("OPENAI_BASE_URL", &url)])
}

fn guarded_agent(server: &Server, approval: Value) -> String {
    let agent_id = server
        .create_agent(json!({"goal": "Write it down", "capabilities": ["fs", "ai"], "approval": approval}));
    assert_eq!(server.post(&format!("/agents/{agent_id}/start"), json!({})).status, 202);
    agent_id
}

fn pending(server: &Server) -> Value {
    wait_until(|| {
        let listed = server.get("/approvals").json();
        listed["approvals"].get(0).cloned()
    })
}

fn decide(server: &Server, approval: &Value, body: Value) -> crate::support::Answer {
    server.post(&format!("/approvals/{}", approval["approval_id"].as_str().unwrap()), body)
}

#[test]
fn an_approved_call_runs_and_a_denied_one_does_not() {
    for (decision, written) in [("approve", true), ("deny", false)] {
        let data = folder();
        let server = writing_server(data.path());
        let agent_id = guarded_agent(&server, json!({"tools": ["file.write"]}));
        let approval = pending(&server);
        let agent = server.get(&format!("/agents/{agent_id}")).json();
        assert_eq!(agent["status"], "waiting_approval");
        for (key, value) in [
            ("agent_id", json!(agent_id)),
            ("run_id", agent["run_id"].clone()),
            ("tool", json!("file.write")),
            ("inputs", json!({"path": "note.txt", "content": "hello"})),
            ("reason", json!("config")),
            ("status", json!("pending")),
        ] {
            assert_eq!(approval[key], value, "{key}");
        }
        let hash = approval["arguments_hash"].clone();
        let other = json!({"decision": "approve", "arguments_hash": "0".repeat(64)});
        let refused = decide(&server, &approval, other);
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("arguments_changed")));
        let said = json!({"decision": decision, "comment": "so be it", "arguments_hash": hash});
        assert_eq!(decide(&server, &approval, said.clone()).status, 200);
        assert_eq!(decide(&server, &approval, said).status, 200);

        assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
        assert_eq!(data.path().join("workspace/local/note.txt").exists(), written);
        let late = decide(&server, &approval, json!({"decision": if written { "deny" } else { "approve" }}));
        assert_eq!((late.status, &late.json()["code"]), (409, &json!("already_decided")));
        let events = server.durable_events(&format!("/agents/{agent_id}/events"), &[]);
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        let expected = ["step_start", "step_end", "approval_required", "approval_decided", "step_start"];
        assert_eq!(names[..5], expected);
        let all = server.get("/approvals?status=all").json();
        let word = if written { "approved" } else { "denied" };
        assert_eq!(
            (&all["approvals"][0]["status"], &all["approvals"][0]["comment"]),
            (&json!(word), &json!("so be it"))
        );
        assert_eq!(server.get("/approvals").json()["approvals"], json!([]));
    }
}

/// The wait survives the server, and so does the stream: whoever watches sees one sequence.
#[test]
fn an_approval_survives_a_kill_of_the_server() {
    let data = folder();
    let server = writing_server(data.path());
    let agent_id = guarded_agent(&server, json!({"classes": ["idempotent"]}));
    let approval = pending(&server);
    server.kill();

    let server = writing_server(data.path());
    let again = pending(&server);
    assert_eq!(approval, again);
    assert!(!data.path().join("workspace/local/note.txt").exists());
    let stream = server.stream("GET", &format!("/agents/{agent_id}/events"), &[]);
    assert_eq!(decide(&server, &again, json!({"decision": "approve"})).status, 200);
    let names: Vec<String> = stream.filter(|event| event.name != "token").map(|event| event.name).collect();
    assert_eq!(names.iter().filter(|name| *name == "approval_required").count(), 1);
    assert_eq!(names.last().unwrap(), "end");
    assert!(data.path().join("workspace/local/note.txt").exists());
}

#[test]
fn an_approval_that_nobody_decides_counts_as_denied() {
    let data = folder();
    let server = writing_server(data.path());
    let agent_id = guarded_agent(&server, json!({"tools": ["file.write"], "expires_in": 1}));
    let approval = pending(&server);
    // The sweeper looks every five seconds.
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
    assert!(!data.path().join("workspace/local/note.txt").exists());
    let late = decide(&server, &approval, json!({"decision": "approve"}));
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(server.get("/approvals?status=all").json()["approvals"][0]["status"], "expired");
}

#[test]
fn a_waiting_run_can_be_cancelled_and_its_approval_with_it() {
    let data = folder();
    let server = writing_server(data.path());
    let agent_id = guarded_agent(&server, json!({"tools": ["file.write"]}));
    let approval = pending(&server);
    let cancelled = server.post(&format!("/agents/{agent_id}/cancel"), json!({}));
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (202, &json!("cancelled")));
    let late = decide(&server, &approval, json!({"decision": "approve"}));
    assert_eq!((late.status, &late.json()["code"]), (409, &json!("run_ended")));
}

/// A worker process gives the run back while it waits, and another one goes on with it.
#[test]
fn a_run_in_a_worker_process_waits_without_its_process() {
    let data = folder();
    let server = writing_server(data.path());
    let agent_id = server.create_agent(json!({
        "goal": "Write it down", "capabilities": ["fs", "ai"], "resources": {"ram": "512MB"},
        "approval": {"tools": ["file.write"]}
    }));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let approval = pending(&server);
    assert_eq!(decide(&server, &approval, json!({"decision": "approve"})).status, 200);
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
    assert!(data.path().join("workspace/local/note.txt").exists());
}

#[test]
fn what_cannot_be_decided_is_told() {
    let data = folder();
    let server = Server::start(data.path());
    let unknown = server.post("/approvals/apr-1", json!({"decision": "approve"}));
    assert_eq!(unknown.status, 404);
    for body in [json!({}), json!({"decision": "maybe"}), json!({"decision": "approve", "by": "me"})] {
        assert_eq!(server.post("/approvals/apr-1", body.clone()).status, 422, "{body}");
    }
    for approval in [json!({"expires_in": 0}), json!({"classes": ["sometimes"]}), json!({"tool": []})] {
        let answer = server.post("/agents", json!({"goal": "g", "approval": approval}));
        assert_eq!(answer.status, 422, "{answer:?}");
    }
}
