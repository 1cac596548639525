//! Collections: apart from each other, listed, dropped, and granted to agents one by one.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, calling_model, command, file, folder, wait_until};

fn ingest(server: &Server, collection: &str, path: &Path) -> Value {
    let documents = json!([{"source": format!("file://{}", path.display())}]);
    let started = server.post("/rag/ingest/batch", json!({"collection": collection, "documents": documents}));
    assert_eq!(started.status, 202, "{started:?}");
    server.wait_for_job(started.json()["job_id"].as_str().unwrap())
}

fn contents(server: &Server, body: Value) -> Vec<String> {
    let found = server.post("/rag/query", body).json();
    let results = found["results"].as_array().unwrap_or_else(|| panic!("{found}"));
    results.iter().map(|hit| hit["content"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn collections_are_apart_listed_and_dropped() {
    let data = folder();
    let server = Server::start(data.path());
    let cats = file(data.path(), "cats.txt", "The animal is a cat.");
    let dogs = file(data.path(), "dogs.txt", "The animal is a dog.");
    assert_eq!(server.get("/rag/collections").json(), json!({"collections": []}));
    let in_cats = ingest(&server, "cats", &cats);
    assert_eq!((&in_cats["collection"], &in_cats["kind"]), (&json!("cats"), &json!("ingest")));
    ingest(&server, "dogs", &dogs);
    let in_dogs = ingest(&server, "dogs", &cats);
    assert_ne!(in_cats["documents"][0]["doc_id"], in_dogs["documents"][0]["doc_id"]);

    assert_eq!(contents(&server, json!({"query": "animal", "collection": "cats"})), ["The animal is a cat."]);
    assert_eq!(contents(&server, json!({"query": "animal", "collection": "dogs"})).len(), 2);
    assert!(contents(&server, json!({"query": "animal"})).is_empty(), "the default one is empty");
    let count = |path: &str| server.get(path).json()["documents"].as_array().unwrap().len();
    assert_eq!((count("/rag/documents?collection=dogs"), count("/rag/documents")), (2, 0));

    let listed = server.get("/rag/collections").json();
    let listed = listed["collections"].as_array().unwrap();
    let shown: Vec<_> = listed.iter().map(|one| (&one["name"], &one["documents"], &one["chunks"])).collect();
    assert_eq!(shown, [(&json!("cats"), &json!(1), &json!(1)), (&json!("dogs"), &json!(2), &json!(2))]);
    let embedder = server.get("/info").json()["embedder"].clone();
    assert_eq!((&listed[0]["embedder"], &listed[0]["dimension"]), (&embedder["id"], &embedder["dimension"]));
    assert_eq!(listed[0]["needs_reembed"], false);
    assert_eq!(server.get("/rag/collections/dogs").json(), listed[1]);

    // A document goes from its own collection only.
    let doc_id = in_cats["documents"][0]["doc_id"].as_str().unwrap();
    let path = format!("/rag/documents/{doc_id}");
    assert_eq!(server.request("DELETE", &format!("{path}?collection=dogs"), &[], None).status, 404);
    assert_eq!(server.request("DELETE", "/rag/collections/dogs", &[], None).status, 204);
    assert_eq!(server.request("DELETE", "/rag/collections/dogs", &[], None).status, 404);
    assert!(contents(&server, json!({"query": "animal", "collection": "dogs"})).is_empty());
    assert_eq!(server.request("DELETE", &format!("{path}?collection=cats"), &[], None).status, 204);
    assert_eq!(server.get("/rag/collections").json(), json!({"collections": []}));

    for name in ["", "a b", "~cats", "../x", &"x".repeat(65)] {
        let refused = server.post("/rag/query", json!({"query": "animal", "collection": name}));
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_collection")), "{name}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/collection");
    }
}

#[test]
fn agents_search_the_collections_that_they_are_granted() {
    let data = folder();
    let call = |inputs: Value| ("rag.search", inputs);
    let model = calling_model(vec![
        call(json!({"query": "animal"})),
        call(json!({"query": "animal", "collection": "dogs"})),
        call(json!({"query": "animal", "collection": "secret"})),
    ]);
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", model.as_str())]);
    for (collection, text) in [
        ("cats", "The animal is a cat."),
        ("dogs", "The animal is a dog."),
        ("secret", "The animal is a mole."),
    ] {
        ingest(&server, collection, &file(data.path(), &format!("{collection}.txt"), text));
    }
    let capabilities = json!(["ai", "rag:cats", "rag:dogs"]);
    let agent_id = server.create_agent(
        json!({"goal": "Which animals?", "capabilities": capabilities, "approval": {"tainted": false}}),
    );
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    server.wait_for_agent(&agent_id);
    let steps = server.get(&format!("/agents/{agent_id}/steps")).json();
    let tools: Vec<String> = steps["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["action"] == "tool")
        .map(Value::to_string)
        .collect();
    assert_eq!(tools.len(), 3, "{steps}");
    assert!(tools[0].contains("a cat") && !tools[0].contains("a dog"), "{}", tools[0]);
    assert!(tools[1].contains("a dog") && !tools[1].contains("a cat"), "{}", tools[1]);
    assert!(!tools[2].contains("mole") && tools[2].contains("not granted"), "{}", tools[2]);

    let refused = server.post("/agents", json!({"goal": "x", "capabilities": ["rag:a b"]}));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/capabilities/0")));
}

#[test]
fn the_command_line_names_collections_and_prunes() {
    let data = folder();
    let files = folder();
    let (kept, gone) =
        (file(files.path(), "kept.txt", "The cat stays."), file(files.path(), "gone.txt", "The cat goes."));
    let run = |arguments: &[&str], data: &Path| -> String {
        let output = command(data, &[], &[]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let folder_name = files.path().to_str().unwrap();
    run(&["ingest", folder_name, "--collection", "cats"], data.path());
    std::fs::remove_file(&gone).unwrap();
    let said = run(&["ingest", folder_name, "--collection", "cats"], data.path());
    assert!(said.contains("1 unchanged") && !said.contains("removed"), "{said}");
    let found = |data: &Path| {
        run(&["query", "cat", "--collection", "cats", "--json"], data).matches("\"content\"").count()
    };
    assert_eq!(found(data.path()), 2, "nothing goes unasked");
    let said = run(&["ingest", folder_name, "--collection", "cats", "--prune"], data.path());
    assert!(said.contains("1 removed"), "{said}");
    assert_eq!(found(data.path()), 1);

    // The same through the server that has the folder.
    let server = Server::start(data.path());
    std::fs::rename(&kept, files.path().join("renamed.txt")).unwrap();
    let listen = ["--listen", server.address.as_str()];
    let output = command(data.path(), &listen, &[])
        .args(["ingest", folder_name, "--collection", "cats", "--prune", "--json"])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["removed"], &said["documents"][0]["status"]), (&json!(1), &json!("indexed")), "{said}");
}

/// What was removed is soon in no file of the data folder but the journal, which keeps the names of sources.
#[test]
fn a_removed_document_is_soon_in_no_file_of_its_text() {
    let data = folder();
    let server = Server::start(data.path());
    let elsewhere = folder();
    let body = |word: &str| format!("A paragraph about {word} and more. ").repeat(300);
    let secret = file(elsewhere.path(), "a.txt", &body("zyzzyvasecret"));
    let other = file(elsewhere.path(), "b.txt", &body("quokkaspublic"));
    let job = server.ingest(&[&secret, &other]);
    assert_eq!(
        server.post("/rag/query", json!({"query": "zyzzyvasecret"})).json()["results"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let holds = |word: &str| {
        std::fs::read_dir(data.path()).unwrap().flatten().filter(|entry| entry.path().is_file()).any(
            |entry| {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
            },
        )
    };
    assert!(holds("zyzzyvasecret") && holds("quokkaspublic"));
    let doc_id = job["documents"][0]["doc_id"].as_str().unwrap();
    assert_eq!(server.request("DELETE", &format!("/rag/documents/{doc_id}"), &[], None).status, 204);
    wait_until(|| (!holds("zyzzyva")).then_some(()));
    assert!(holds("quokkaspublic"));
    assert!(contents(&server, json!({"query": "zyzzyvasecret"})).is_empty());
}
