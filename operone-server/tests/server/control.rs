//! Runs under control: attached to, queued, resumed, deleted, left, and asked for twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Server, calling_model, file, folder, slow_model, wait_until};

fn start(server: &Server, agent_id: &str, query: &str) -> Answer {
    server.post(&format!("/agents/{agent_id}/start{query}"), json!({}))
}

fn keyed(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.request("POST", path, &headers, Some(body.to_string().as_bytes()))
}

#[test]
fn a_start_while_a_run_goes_on_is_refused_attached_or_queued() {
    let data = folder();
    let (url, asked) = slow_model(Duration::from_millis(700));
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let agent_id = server.create_agent(json!({"goal": "Say hello", "capabilities": ["ai"]}));
    let first = start(&server, &agent_id, "").json();
    asked.recv().unwrap();

    let refused = start(&server, &agent_id, "?if_running=reject");
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("already_running")));
    let attached = start(&server, &agent_id, "?if_running=attach");
    assert_eq!((attached.status, &attached.json()["run_id"]), (202, &first["run_id"]));
    let queued = start(&server, &agent_id, "?if_running=queue").json();
    assert_ne!(queued["run_id"], first["run_id"]);
    assert_eq!(start(&server, &agent_id, "?if_running=wait").status, 422);

    let followed =
        server.stream("POST", &format!("/agents/{agent_id}/start?stream=true&if_running=attach"), &[]);
    let last = followed.last().unwrap();
    assert_eq!(last.name, "end");
    assert!(last.id.starts_with(queued["run_id"].as_str().unwrap()), "{last:?}");
    let run = format!("/agents/{agent_id}/events?run={}", first["run_id"].as_str().unwrap());
    assert_eq!(server.durable_events(&run, &[]).last().unwrap().name, "end");
}

#[test]
fn a_run_whose_client_leaves_goes_on_or_is_cancelled_as_asked() {
    for (query, status) in [("", "completed"), ("&on_disconnect=cancel", "cancelled")] {
        let data = folder();
        let (url, asked) = slow_model(Duration::from_millis(500));
        let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
        let agent_id = server.create_agent(json!({"goal": "Say hello", "capabilities": ["ai"]}));
        let stream = server.stream("POST", &format!("/agents/{agent_id}/start?stream=true{query}"), &[]);
        asked.recv().unwrap();
        drop(stream);
        assert_eq!(server.wait_for_agent(&agent_id)["status"], status);
    }
    let data = folder();
    let server = Server::start(data.path());
    let agent_id = server.create_agent(json!({"goal": "Say hello"}));
    assert_eq!(start(&server, &agent_id, "?on_disconnect=cancel").status, 422);
}

#[test]
fn an_ended_run_is_resumed_with_what_was_said() {
    let data = folder();
    let url = calling_model(vec![("file_list", json!({})), ("file_list", json!({"path": "."}))]);
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let agent_id = server.create_agent(json!({"goal": "Look", "capabilities": ["fs", "ai"], "max_steps": 1}));
    let resume = |body: Option<Value>| match body {
        Some(body) => server.post(&format!("/agents/{agent_id}/resume"), body),
        None => server.request("POST", &format!("/agents/{agent_id}/resume"), &[], None),
    };
    assert_eq!((resume(None).status, resume(None).json()["code"].clone()), (409, json!("not_started")));
    start(&server, &agent_id, "");
    let first = server.wait_for_agent(&agent_id);
    assert_eq!(first["status"], "max_steps");
    // The call that was open is run now, and the model is asked once more; then the third turn answers.
    for status in ["max_steps", "completed"] {
        let resumed = resume(None);
        assert_eq!(resumed.status, 202, "{resumed:?}");
        let agent = server.wait_for_agent(&agent_id);
        assert_eq!(
            (&agent["run_id"], &agent["status"]),
            (&resumed.json()["run_id"], &json!(status)),
            "{agent}"
        );
    }
    let nothing_to_do = resume(None);
    assert_eq!((nothing_to_do.status, &nothing_to_do.json()["code"]), (409, &json!("completed")));
    assert_eq!(resume(Some(json!({"message": " "}))).status, 422);
    assert_eq!(resume(Some(json!({"message": "Look again"}))).status, 202);
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
}

#[test]
fn an_agent_is_deleted_with_everything_of_it() {
    let data = folder();
    let (url, asked) = slow_model(Duration::from_secs(30));
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let path = |agent_id: &str| format!("/agents/{agent_id}");
    let delete = |path: &str| server.request("DELETE", path, &[], None);
    let agent_id = server.create_agent(json!({"goal": "Say hello", "capabilities": ["ai"]}));
    let run_id = start(&server, &agent_id, "").json()["run_id"].as_str().unwrap().to_owned();
    asked.recv().unwrap();
    let refused = delete(&path(&agent_id));
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("running")));
    let begun = Instant::now();
    assert_eq!(delete(&format!("{}?force=true", path(&agent_id))).status, 204);
    assert!(begun.elapsed() < Duration::from_secs(3), "the run was not stopped at once");
    assert_eq!(server.get(&path(&agent_id)).status, 404);
    assert_eq!(server.get(&format!("{}/events?run={run_id}", path(&agent_id))).status, 404);
    assert_eq!(delete(&path(&agent_id)).status, 404);
    assert_eq!(server.get("/agents").json()["agents"], json!([]));
}

#[test]
fn a_repeated_request_gets_its_first_answer() {
    let data = folder();
    let server = Server::start(data.path());
    let body = json!({"goal": "Say hello"});
    let first = keyed(&server, "/agents", "key-1", &body);
    let again = keyed(&server, "/agents", "key-1", &body);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((first.json(), first.header("location")), (again.json(), again.header("location")));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(server.get("/agents").json()["agents"].as_array().unwrap().len(), 1);

    let reused = keyed(&server, "/agents", "key-1", &json!({"goal": "Say something else"}));
    assert_eq!((reused.status, &reused.json()["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(keyed(&server, "/agents", &"k".repeat(256), &body).json()["code"], "invalid_idempotency_key");
    // A refusal is not kept: the request is looked at anew.
    let wrong = keyed(&server, "/agents", "key-2", &json!({"goal": ""}));
    assert_eq!((wrong.status, keyed(&server, "/agents", "key-2", &json!({"goal": ""})).status), (422, 422));

    let agent_id = first.json()["agent_id"].as_str().unwrap().to_owned();
    let start = format!("/agents/{agent_id}/start");
    let runs = [0, 1].map(|_| keyed(&server, &start, "start-1", &json!({})).json()["run_id"].clone());
    assert_eq!(runs[0], runs[1]);
    for (path, body, id) in [
        ("/agents/batch", json!({"agents": [{"goal": "A"}, {"goal": "B"}]}), "agent_ids"),
        ("/rag/ingest/batch", json!({"documents": [{"source": "file:///nowhere"}]}), "job_id"),
        ("/memory/batch", json!({"scope": "session", "entries": [{"content": "Fact A"}]}), "ids"),
    ] {
        let answers = [0, 1].map(|_| keyed(&server, path, path, &body));
        assert_eq!(answers[0].json()[id], answers[1].json()[id], "{path}");
        assert_eq!(answers[1].header("idempotency-replayed"), "true", "{path}");
    }
}

/// Of a request whose answer was lost in a crash, the second try finds what the first has done.
#[test]
fn a_request_repeated_after_a_kill_does_nothing_twice() {
    let data = folder();
    let document = file(data.path(), "a.txt", "The Flyers won two Stanley Cups.");
    let body = json!({"goal": "Say hello"});
    for round in 0..6 {
        let key = format!("round-{round}");
        let server = Server::start(data.path());
        let address = server.address.clone();
        let (sent_key, sent) = (key.clone(), body.to_string());
        let asking = std::thread::spawn(move || {
            use std::io::Write;
            let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
            let head = format!(
                "POST /agents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 idempotency-key: {sent_key}\r\ncontent-length: {}\r\n\r\n{sent}",
                sent.len()
            );
            let _ = stream.write_all(head.as_bytes());
            std::thread::sleep(Duration::from_millis(200));
        });
        std::thread::sleep(Duration::from_micros(300 * round));
        server.kill();
        asking.join().unwrap();
        let server = Server::start(data.path());
        let before = server.get("/agents").json()["agents"].as_array().unwrap().len();
        let answer = keyed(&server, "/agents", &key, &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        let after = server.get("/agents").json()["agents"].as_array().unwrap().len();
        assert_eq!(after, usize::try_from(round).unwrap() + 1, "{before} before");
        if round == 5 {
            server.ingest(&[&document]);
        }
    }
}

#[test]
fn a_budget_ends_a_run_and_tells_which() {
    let data = folder();
    let url = calling_model(vec![("file_list", json!({})); 9]);
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let agent_id = server
        .create_agent(json!({"goal": "Look", "capabilities": ["fs", "ai"], "budget": {"tool_calls": 3}}));
    start(&server, &agent_id, "");
    let agent = server.wait_for_agent(&agent_id);
    assert_eq!((&agent["status"], &agent["error"]["code"]), (&json!("failed"), &json!("budget_exceeded")));
    assert!(agent["error"]["detail"].as_str().unwrap().contains("3 tool calls"), "{agent}");
    for (budget, code) in [
        (json!({"tokens": 0}), "invalid_budget"),
        (json!({"cost_micros": 10}), "no_price"),
        (json!({"token": 10}), "invalid_body"),
    ] {
        let answer = server.post("/agents", json!({"goal": "g", "budget": budget}));
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!(code)), "{answer:?}");
    }
}

#[test]
fn an_agent_gives_tasks_to_its_sub_agents() {
    for resources in [Value::Null, json!({"ram": "512MB"})] {
        let data = folder();
        let task = json!({"task": "Look around"});
        let url = calling_model(vec![("agent_looker", task)]);
        let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
        let mut body = json!({
            "goal": "Look", "capabilities": ["fs", "ai"],
            "agents": [{"name": "looker", "description": "Looks", "capabilities": ["fs"]}]
        });
        if !resources.is_null() {
            body["resources"] = resources;
        }
        let agent_id = server.create_agent(body);
        start(&server, &agent_id, "");
        assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
        let steps = server.get(&format!("/agents/{agent_id}/steps")).json()["steps"].clone();
        let steps = steps.as_array().unwrap();
        let inner: Vec<&Value> = steps.iter().filter(|step| step["agent"] == "agent.looker").collect();
        assert!(!inner.is_empty() && inner.iter().all(|step| step["parent_step_id"] == 2), "{steps:?}");
    }
    let data = folder();
    let server = Server::start(data.path());
    for (agents, code) in [
        (json!([{"name": "a b", "description": "", "capabilities": []}]), "invalid_name"),
        (json!([{"name": "a", "description": "", "capabilities": ["fs"]}]), "capability_not_granted"),
        (json!([{"name": "a", "description": ""}]), "invalid_body"),
    ] {
        let answer = server.post("/agents", json!({"goal": "g", "capabilities": ["ai"], "agents": agents}));
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!(code)), "{answer:?}");
    }
}

/// From the cancel to the last effect less than a second passes, for each of many runs.
#[test]
fn a_cancelled_run_stops_at_once() {
    let data = folder();
    let (url, asked) = slow_model(Duration::from_secs(30));
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    for _ in 0..10 {
        let agent_id = server.create_agent(json!({"goal": "Say hello", "capabilities": ["ai"]}));
        start(&server, &agent_id, "");
        asked.recv().unwrap();
        let begun = Instant::now();
        assert_eq!(server.post(&format!("/agents/{agent_id}/cancel"), json!({})).status, 202);
        wait_until(|| {
            (server.get(&format!("/agents/{agent_id}")).json()["status"] == "cancelled").then_some(())
        });
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
