//! Kills in the middle: what was begun is finished by the next server, and no step is done twice.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, file, folder, slow_model};

#[test]
fn a_run_killed_in_the_middle_goes_on_and_no_step_is_doubled() {
    let data = folder();
    let (model, requests) = slow_model(Duration::from_millis(700));
    let environment = [("OPENAI_BASE_URL", model.as_str())];
    let server = Server::start_with(data.path(), &[], &environment);
    let agent_id = server.create_agent(json!({"goal": "Hello", "capabilities": ["ai"]}));
    let mut stream = server.stream("POST", &format!("/agents/{agent_id}/start?stream=true"), &[]);
    let first = stream.next().unwrap();
    requests.recv_timeout(Duration::from_secs(20)).expect("the model was not asked");
    server.kill();

    let server = Server::start_with(data.path(), &[], &environment);
    let path = format!("/agents/{agent_id}/events");
    let rest = server.durable_events(&path, &[("last-event-id", &first.id)]);
    let whole = server.durable_events(&path, &[]);
    assert_eq!([&first].into_iter().chain(&rest).collect::<Vec<_>>(), whole.iter().collect::<Vec<_>>());
    let names: Vec<&str> = whole.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["step_start", "step_end", "end"]);
    assert_eq!(whole[1].data["output"], "Hello.");
}

#[test]
fn an_ingest_killed_in_the_middle_goes_on_and_no_document_is_done_twice() {
    const COUNT: usize = 120;
    let data = folder();
    let server = Server::start(data.path());
    let words = |number: usize| format!("Document {number} tells of topic{number}. ").repeat(200);
    let documents: Vec<Value> = (0..COUNT)
        .map(|number| {
            let path = file(data.path(), &format!("{number}.txt"), &words(number));
            json!({"source": format!("file://{}", path.display())})
        })
        .collect();
    let job_id = server.post("/rag/ingest/batch", json!({"documents": documents})).json()["job_id"].clone();
    let path = format!("/rag/jobs/{}", job_id.as_str().unwrap());
    let done = |server: &Server| server.get(&path).json()["done"].as_u64().unwrap();
    let mut server = server;
    for kill_after in [1, 20, 50] {
        while done(&server) < kill_after {
            std::thread::sleep(Duration::from_millis(2));
        }
        server.kill();
        server = Server::start(data.path());
    }
    let job = server.wait_for_job(job_id.as_str().unwrap());
    assert_eq!(
        (&job["status"], &job["done"], &job["failed"]),
        (&json!("completed"), &json!(COUNT), &json!(0))
    );
    let outcomes = job["documents"].as_array().unwrap();
    let ids: HashSet<&str> = outcomes.iter().map(|document| document["doc_id"].as_str().unwrap()).collect();
    assert_eq!((outcomes.len(), ids.len()), (COUNT, COUNT));
    // A document that was stored and then done again would be unchanged or updated.
    assert!(outcomes.iter().all(|document| document["status"] == "indexed"), "{job}");
    let found = server.post("/rag/query", json!({"query": "topic77", "top_k": 50})).json();
    assert!(found["results"][0]["source"]["uri"].as_str().unwrap().ends_with("/77.txt"), "{found}");
}
