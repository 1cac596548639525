//! Memory: written in batches, read by words, apart by scope, kept across restarts.

use serde_json::{Value, json};

use crate::support::{Server, folder};

fn write(server: &Server, scope: &str, entries: Value) -> Value {
    let answer = server.post("/memory/batch", json!({"scope": scope, "entries": entries}));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

#[test]
fn what_is_written_is_found_by_words_and_scope() {
    let data = folder();
    let server = Server::start(data.path());
    let written = write(
        &server,
        "longterm",
        json!([{"content": "Fact A", "tags": ["t1"]}, {"content": "Fact B", "tags": ["t2"]}]),
    );
    let ids = written["ids"].as_array().unwrap();
    assert!(ids.len() == 2 && ids.iter().all(|id| id.as_str().unwrap().starts_with("mem-")), "{written}");
    write(&server, "session", json!([{"content": "User prefers dark mode"}, {"content": "It rained"}]));

    let answer = server.get("/memory?query=preferences&scope=session");
    let entries = answer.json()["entries"].as_array().unwrap().clone();
    assert_eq!((entries.len(), &entries[0]["content"]), (1, &json!("User prefers dark mode")));
    let score = entries[0]["score"].as_f64().unwrap();
    assert!(score > 0.0 && score <= 1.0);
    assert!(
        server.get("/memory?query=preferences&scope=longterm").json()["entries"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let searched = server.post("/memory/search", json!({"query": "preferences", "scope": "session"}));
    assert_eq!(searched.json(), answer.json());
    let newest = server.get("/memory?scope=session&limit=1").json();
    assert_eq!(newest["entries"][0]["content"], "It rained");
}

#[test]
fn a_read_may_be_kept_for_a_minute_and_is_asked_for_again_by_its_tag() {
    let data = folder();
    let server = Server::start(data.path());
    write(&server, "longterm", json!([{"content": "The sky is blue"}]));
    let path = "/memory?query=sky&scope=longterm";
    let first = server.get(path);
    assert_eq!(first.header("cache-control"), "private, max-age=60");
    assert!(first.header("vary").to_ascii_lowercase().contains("authorization"));
    let etag = first.header("etag").to_owned();
    let again = |headers: &[(&str, &str)]| server.request("GET", path, headers, None);
    assert_eq!(again(&[("if-none-match", &etag)]).status, 304);
    assert_eq!(again(&[("if-none-match", &etag), ("cache-control", "no-cache")]).status, 200);
    write(&server, "longterm", json!([{"content": "The sky is grey today"}]));
    let changed = again(&[("if-none-match", &etag)]);
    assert_eq!((changed.status, changed.json()["entries"].as_array().unwrap().len()), (200, 2));
}

#[test]
fn memories_survive_a_kill() {
    let data = folder();
    let server = Server::start(data.path());
    write(&server, "longterm", json!([{"content": "User lives in Lisbon"}]));
    let before = server.get("/memory?query=lisbon&scope=longterm").json();
    server.kill();
    let server = Server::start(data.path());
    assert_eq!(server.get("/memory?query=lisbon&scope=longterm").json(), before);
}

#[test]
fn a_memory_is_shown_and_erased_from_the_files_too() {
    let data = folder();
    let server = Server::start(data.path());
    let written =
        write(&server, "longterm", json!([{"content": "The code word is xylophone", "tags": ["secret"]}]));
    let path = format!("/memory/{}", written["ids"][0].as_str().unwrap());
    let shown = server.get(&path).json();
    assert_eq!(
        (&shown["content"], &shown["scope"]),
        (&json!("The code word is xylophone"), &json!("longterm"))
    );
    assert_eq!(
        server.get("/memory?query=xylophone&scope=longterm").json()["entries"].as_array().unwrap().len(),
        1
    );
    assert_eq!(server.request("DELETE", &path, &[], None).status, 204);
    assert_eq!((server.get(&path).status, server.request("DELETE", &path, &[], None).status), (404, 404));
    assert!(
        server.get("/memory?query=xylophone&scope=longterm").json()["entries"].as_array().unwrap().is_empty()
    );
    for file in std::fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"xylophone"), "{}", file.display());
    }
}

#[test]
fn a_batch_with_a_fault_writes_nothing_and_names_each_fault() {
    let data = folder();
    let server = Server::start(data.path());
    let entries = json!([{"content": "good"}, {"content": "  "}, {"content": "x".repeat(65_537)}]);
    let answer = server.post("/memory/batch", json!({"scope": "longterm", "entries": entries}));
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_memory")));
    let pointers: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/entries/1/content", "/entries/2/content"]);
    assert!(server.get("/memory?scope=longterm").json()["entries"].as_array().unwrap().is_empty());
    let scope = server.post("/memory/batch", json!({"scope": "a b", "entries": [{"content": "x"}]}));
    assert_eq!((scope.status, &scope.json()["errors"][0]["pointer"]), (422, &json!("/scope")));
}
