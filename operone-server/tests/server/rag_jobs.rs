//! Jobs of retrieval as they go on: their events, what they prune, and embedding a collection again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Server, file, folder};

/// Files with many chunks each, as the documents of a batch.
fn documents(folder: &std::path::Path, count: usize) -> Vec<Value> {
    let words = |number: usize| format!("Document {number} tells of topic{number} at length. ").repeat(150);
    (0..count)
        .map(|number| {
            let path = file(folder, &format!("{number}.txt"), &words(number));
            json!({"source": format!("file://{}", path.display())})
        })
        .collect()
}

#[test]
fn a_job_is_followed_to_its_end_and_from_any_place() {
    let data = folder();
    let server = Server::start(data.path());
    let documents = documents(data.path(), 20);
    let started = server.post("/rag/ingest/batch", json!({"documents": documents})).json();
    let job_id = started["job_id"].as_str().unwrap();
    let path = format!("/rag/jobs/{job_id}/events");
    let events: Vec<_> = server.stream("GET", &path, &[]).collect();
    let kept: Vec<_> = events.iter().filter(|event| event.name != "progress").collect();
    let names: Vec<&str> = kept.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[20]), (21, "document", "end"));
    for (index, event) in kept[..20].iter().enumerate() {
        assert_eq!((&event.data["index"], &event.data["status"]), (&json!(index), &json!("indexed")));
        assert_eq!(event.id, format!("{job_id}.{}", index + 1));
    }
    let chunks: u64 = kept[..20].iter().map(|event| event.data["chunks"].as_u64().unwrap()).sum();
    let end = &kept[20].data;
    assert_eq!(
        (&end["status"], &end["done"], &end["chunks"]),
        (&json!("completed"), &json!(20), &json!(chunks))
    );
    let last = events.iter().rfind(|event| event.name == "progress");
    let last = &last.unwrap_or_else(|| panic!("no progress in {} events", events.len())).data;
    assert!(
        last["chunks_per_second"].as_f64().unwrap() > 0.0 && last["eta_seconds"].as_f64().unwrap() >= 0.0
    );

    let rest: Vec<_> = server.stream("GET", &path, &[("last-event-id", &kept[17].id)]).collect();
    assert_eq!(rest.iter().collect::<Vec<_>>(), kept[18..], "a job that has ended tells what is kept");
    let job = server.get(&format!("/rag/jobs/{job_id}")).json();
    assert_eq!((&job["chunks"], &job["chunks_embedded"]), (&json!(chunks), &json!(chunks)));
    assert_eq!(job["eta_seconds"], Value::Null, "it has ended");
    assert_eq!(server.get("/rag/jobs/job-0/events").status, 404);
}

#[test]
fn what_is_gone_from_a_folder_is_pruned_if_the_request_asks() {
    let data = folder();
    let (docs, others) = (folder(), folder());
    let server = Server::start(data.path());
    let all = documents(docs.path(), 5);
    let elsewhere = file(others.path(), "other.txt", "Another folder.");
    let mut asked = all.clone();
    asked.push(json!({"source": format!("file://{}", elsewhere.display())}));
    let run = |body: Value| {
        let started = server.post("/rag/ingest/batch", body);
        server.wait_for_job(started.json()["job_id"].as_str().unwrap())
    };
    assert_eq!(run(json!({"documents": asked}))["done"], 6);
    std::fs::remove_file(docs.path().join("1.txt")).unwrap();
    std::fs::remove_file(docs.path().join("3.txt")).unwrap();
    std::fs::remove_file(&elsewhere).unwrap();
    // Documents that are there but not named in the request stay.
    let prune = json!([format!("file://{}", docs.path().display())]);
    let job = run(json!({"documents": [all[0]], "options": {"prune": prune}}));
    assert_eq!((&job["removed"], &job["documents"][0]["status"]), (&json!(2), &json!("unchanged")), "{job}");
    let left = server.get("/rag/documents").json();
    let left: BTreeSet<String> = left["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|document| document["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), ["0.txt", "2.txt", "4.txt", "other.txt"]);
    let job_id = job["job_id"].as_str().unwrap();
    let removed: Vec<_> = server
        .stream("GET", &format!("/rag/jobs/{job_id}/events"), &[])
        .filter(|event| event.name == "removed")
        .collect();
    assert_eq!(removed.len(), 2);
    let many = vec!["file:///x"; 101];
    let refused =
        server.post("/rag/ingest/batch", json!({"documents": [all[0]], "options": {"prune": many}}));
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("too_many_folders")));
}

#[test]
fn a_collection_of_another_embedder_is_searched_by_words_until_it_is_embedded_again() {
    let data = folder();
    let docs = folder();
    let server = Server::start_with(data.path(), &["--embedder", "hashing"], &[]);
    let all = documents(docs.path(), 30);
    let started = server.post("/rag/ingest/batch", json!({"documents": all})).json();
    let before = server.wait_for_job(started["job_id"].as_str().unwrap());
    assert_eq!(before["failed"], 0);
    let lexical = json!({"query": "topic7", "mode": "lexical", "top_k": 20});
    let by_words = server.post("/rag/query", lexical.clone()).json()["results"].clone();
    server.interrupt();

    let server = Server::start(data.path());
    let query = |mode: &str| server.post("/rag/query", json!({"query": "topic7", "mode": mode}));
    let hybrid = query("hybrid").json();
    assert_eq!(hybrid["degraded"]["code"], "embedder_mismatch");
    assert!(hybrid["degraded"]["detail"].as_str().unwrap().contains("reembed"), "{hybrid}");
    assert!(hybrid["results"][0]["source"]["uri"].as_str().unwrap().ends_with("/7.txt"));
    assert_eq!((query("dense").status, &query("dense").json()["code"]), (409, &json!("embedder_mismatch")));
    assert_eq!(query("lexical").json()["degraded"], Value::Null, "words are all that was asked for");
    assert_eq!(server.get("/rag/collections").json()["collections"][0]["needs_reembed"], true);
    let new = file(docs.path(), "new.txt", "Something new.");
    let refused = server.ingest(&[&new]);
    let error = &refused["documents"][0]["error"];
    assert_eq!(error["code"], "embedder_mismatch");
    assert!(error["detail"].as_str().unwrap().contains("/rag/reembed"), "{error}");

    let started = server.post("/rag/reembed", json!({}));
    assert_eq!((started.status, &started.json()["count"]), (202, &json!(30)));
    let path = format!("/rag/jobs/{}", started.json()["job_id"].as_str().unwrap());
    // Queries go on meanwhile, and see the earlier vectors or the new ones.
    let job = loop {
        let found = query("hybrid").json();
        assert!(found["results"][0]["source"]["uri"].as_str().unwrap().ends_with("/7.txt"), "{found}");
        let job = server.get(&path).json();
        if job["status"] != "processing" {
            break job;
        }
    };
    assert_eq!(
        (&job["status"], &job["kind"], &job["done"]),
        (&json!("completed"), &json!("reembed"), &json!(30))
    );
    assert_eq!(query("hybrid").json()["degraded"], Value::Null);
    assert_eq!(query("dense").status, 200);
    let collections = server.get("/rag/collections").json();
    assert_eq!(collections["collections"].as_array().unwrap().len(), 1, "what stood beside is gone");
    assert_eq!(collections["collections"][0]["needs_reembed"], false);
    assert_eq!(server.post("/rag/query", lexical).json()["results"], by_words, "words are as they were");
    // The same sources are known still, and new ones are taken in.
    let again = server.post("/rag/ingest/batch", json!({"documents": all})).json();
    let again = server.wait_for_job(again["job_id"].as_str().unwrap());
    let known = |document: &Value| document["status"] == "unchanged" || document["status"] == "updated";
    assert!(again["documents"].as_array().unwrap().iter().all(known), "{again}");
    assert_eq!(server.ingest(&[&new])["documents"][0]["status"], "indexed");
    assert_eq!(server.post("/rag/reembed", json!({"collection": "none"})).status, 404);
}

#[test]
fn embedding_again_is_a_command_and_survives_a_kill() {
    let data = folder();
    let docs = folder();
    let server = Server::start_with(data.path(), &["--embedder", "hashing"], &[]);
    let started = server.post("/rag/ingest/batch", json!({"documents": documents(docs.path(), 60)})).json();
    server.wait_for_job(started["job_id"].as_str().unwrap());
    server.interrupt();

    let server = Server::start(data.path());
    let started = server.post("/rag/reembed", json!({})).json();
    let path = format!("/rag/jobs/{}", started["job_id"].as_str().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(30));
    server.kill();
    let server = Server::start(data.path());
    let job = server.wait_for_job(started["job_id"].as_str().unwrap());
    assert_eq!((&job["status"], &job["failed"]), (&json!("completed"), &json!(0)), "{path}: {job}");
    let collections = server.get("/rag/collections").json();
    assert_eq!(
        (&collections["collections"][0]["documents"], &collections["collections"][0]["needs_reembed"]),
        (&json!(60), &json!(false))
    );
    server.interrupt();

    let run = |embedder: &str, arguments: &[&str]| {
        let output = crate::support::command(data.path(), &["--embedder", embedder], &[])
            .args(arguments)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("hashing", &["reembed"]), (true, "default: 60 documents embedded again\n".into()));
    assert_eq!(
        run("hashing", &["reembed", "--collection", "default"]).1,
        "default: is of the present embedder\n"
    );
    assert!(!run("hashing", &["reembed", "--collection", "none"]).0);
    let found = run("hashing", &["query", "topic7", "--mode", "dense", "--json"]).1;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["results"].as_array().unwrap().len(), 5);
}

#[test]
fn a_cancelled_job_leaves_what_it_had_not_done_pending_and_not_stored() {
    let data = folder();
    let docs = folder();
    let server = Server::start(data.path());
    let started = server.post("/rag/ingest/batch", json!({"documents": documents(docs.path(), 300)})).json();
    let path = format!("/rag/jobs/{}", started["job_id"].as_str().unwrap());
    let mut events = server.stream("GET", &format!("{path}/events"), &[]);
    assert!(events.any(|event| event.name == "document"));
    for _ in 0..2 {
        assert_eq!(server.post(&format!("{path}/cancel"), json!({})).status, 202);
    }
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("end", &json!("cancelled")));
    let job = server.get(&path).json();
    let done = job["done"].as_u64().unwrap() as usize;
    assert!(job["status"] == "cancelled" && (1..300).contains(&done), "{done}");
    let documents = job["documents"].as_array().unwrap();
    // One that was given up is told before one that was stored, and else not at all.
    let given_up = |document: &Value| document["error"]["code"] == "cancelled";
    assert!(documents[..done].iter().all(|one| one["status"] == "indexed" || given_up(one)), "{job}");
    assert!(documents[done..].iter().all(|one| one["status"] == "pending"));
    let stored = documents.iter().filter(|one| one["status"] == "indexed").count();
    assert_eq!(server.get("/rag/collections/default").json()["documents"], stored);
}
