//! Memory beyond writing and reading: versions, time, filters, pages, erasure, promotion, export, the feed.

use serde_json::{Value, json};

use crate::support::{Answer, Server, folder};

fn write(server: &Server, scope: &str, entries: Value) -> Vec<String> {
    let answer = server.post("/memory/batch", json!({"scope": scope, "entries": entries}));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
    server.request(method, path, &headers, Some(body.to_string().as_bytes()))
}

fn import(server: &Server, lines: &str) -> Answer {
    let headers = [("content-type", "application/x-ndjson")];
    server.request("POST", "/memory/import?scope=longterm", &headers, Some(lines.as_bytes()))
}

fn contents(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let entries = body["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["content"].as_str().unwrap().to_owned()).collect()
}

fn patch(server: &Server, id: &str, body: Value) -> Answer {
    send(server, "PATCH", &format!("/memory/{id}"), &[], &body)
}

#[test]
fn a_memory_is_changed_in_versions_and_seen_as_it_was() {
    let data = folder();
    let server = Server::start(data.path());
    let id =
        write(&server, "longterm", json!([{"content": "User lives in Porto", "kind": "fact"}])).remove(0);
    let shown = server.get(&format!("/memory/{id}")).json();
    assert_eq!((&shown["version"], &shown["kind"]), (&json!(1), &json!("fact")));
    let before = shown["created_at"].as_i64().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let changed =
        patch(&server, &id, json!({"content": "User lives in Lisbon", "kind": null, "expected_version": 1}));
    assert_eq!((changed.status, &changed.json()["version"]), (200, &json!(2)));
    assert_eq!((&changed.json()["kind"], &changed.json()["revision"]), (&Value::Null, &json!(2)));
    let stale = patch(&server, &id, json!({"content": "User lives in Faro", "expected_version": 1}));
    assert_eq!((stale.status, &stale.json()["code"]), (409, &json!("version_conflict")));
    assert_eq!(patch(&server, &id, json!({"content": " "})).json()["errors"][0]["pointer"], "/content");
    assert_eq!(patch(&server, "mem-unknown", json!({"content": "x"})).status, 404);
    assert_eq!(contents(&server.get("/memory?query=lives&scope=longterm")), ["User lives in Lisbon"]);
    let as_of = format!("/memory?query=lives&scope=longterm&as_of={before}");
    assert_eq!(contents(&server.get(&as_of)), ["User lives in Porto"]);
    let history = server.get(&format!("/memory/{id}/history")).json();
    let versions: Vec<&Value> =
        history["versions"].as_array().unwrap().iter().map(|v| &v["content"]).collect();
    assert_eq!(versions, ["User lives in Porto", "User lives in Lisbon"]);
}

#[test]
fn a_batch_relies_on_versions_revisions_and_keys() {
    let data = folder();
    let server = Server::start(data.path());
    let first = json!({"scope": "longterm", "entries": [{"content": "Fact A"}, {"content": "Fact A"}]});
    let answer = send(&server, "POST", "/memory/batch", &[("idempotency-key", "k")], &first);
    let ids = answer.json()["ids"].clone();
    assert_eq!((answer.status, &ids[0], &answer.json()["revision"]), (201, &ids[1], &json!(1)));
    let again = send(&server, "POST", "/memory/batch", &[("idempotency-key", "k")], &first);
    assert_eq!((again.header("idempotency-replayed"), &again.json()["ids"]), ("true", &ids));
    let batch = |entries: Value, revision: Value| {
        server.post(
            "/memory/batch",
            json!({"scope": "longterm", "entries": entries, "expected_revision": revision}),
        )
    };
    let next = json!([{"content": "Fact B"}, {"id": ids[0], "content": "Fact A2", "expected_version": 5}]);
    let conflict = batch(next, Value::Null);
    assert_eq!((conflict.status, &conflict.json()["code"]), (409, &json!("version_conflict")));
    assert!(conflict.json()["detail"].as_str().unwrap().starts_with("/entries/1"), "{conflict:?}");
    assert_eq!(batch(json!([{"content": "x"}]), json!(0)).json()["code"], "revision_conflict");
    assert_eq!(contents(&server.get("/memory?scope=longterm")), ["Fact A"]);
    let next = json!([{"id": ids[0], "content": "Fact A2", "expected_version": 1}]);
    assert_eq!(batch(next, json!(1)).json()["revision"], 2);
    assert_eq!(contents(&server.get("/memory?scope=longterm&min_revision=2")), ["Fact A2"]);
    let later = server.get("/memory?scope=longterm&min_revision=9");
    assert_eq!((later.status, &later.json()["code"]), (503, &json!("revision_not_reached")));
    let faults = batch(
        json!([{"content": "x", "importance": 2}, {"content": "y", "metadata": {"tags": "z"}}]),
        Value::Null,
    );
    assert_eq!(
        (faults.status, &faults.json()["errors"][0]["pointer"]),
        (422, &json!("/entries/0/importance"))
    );
}

#[test]
fn filters_pages_budgets_and_explanations() {
    let data = folder();
    let server = Server::start(data.path());
    let entries: Vec<Value> = (0..30)
        .map(|number| {
            json!({"content": format!("trip number {number}"), "tags": [if number % 2 == 0 { "even" } else { "odd" }],
                   "metadata": {"year": 2000 + number / 10}, "occurred_at": format!("2020-01-{:02}", number + 1)})
        })
        .collect();
    write(&server, "longterm", json!(entries));
    let search = |body: Value| {
        let mut whole = json!({"scope": "longterm", "query": "trip", "limit": 100});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        server.post("/memory/search", whole)
    };
    assert_eq!(contents(&search(json!({"tags": ["odd"]}))).len(), 15);
    assert_eq!(contents(&search(json!({"filters": {"year": 2001}}))).len(), 10);
    let both = json!({"tags": ["odd"], "filters": {"where": {"lt": {"year": 2001}}}});
    assert_eq!(contents(&search(both)).len(), 5);
    assert_eq!(contents(&search(json!({"filters": {"date_range": ["2020-01-05", "2020-01-06"]}}))).len(), 2);
    assert_eq!(contents(&server.get("/memory?scope=longterm&query=trip&tags=odd&limit=100")).len(), 15);
    assert_eq!(search(json!({"filters": {"where": {"like": {}}}})).status, 422);

    let whole = contents(&search(json!({})));
    let (mut pages, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = search(json!({"limit": 7, "cursor": cursor}));
        pages.extend(contents(&page));
        write(&server, "longterm", json!([{"content": format!("trip that came later {}", pages.len())}]));
        cursor = page.json()["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(pages, whole);
    assert_eq!(search(json!({"cursor": "1.2.3"})).json()["code"], "invalid_cursor");
    let cut = search(json!({"max_tokens": 10})).json();
    assert!(cut["truncated"] == true && cut["entries"].as_array().unwrap().len() < 5, "{cut}");
    let explained = search(json!({"explain": true, "limit": 1})).json();
    assert_eq!(
        (&explained["entries"][0]["explain"]["terms"], &explained["coverage"]),
        (&json!(["trip"]), &json!(1.0))
    );
    let hybrid = search(json!({"mode": "hybrid", "query": "journey", "limit": 3}));
    assert_eq!(hybrid.status, 200, "{hybrid:?}");
}

#[test]
fn what_expires_is_not_read_and_not_answered_as_unchanged() {
    let data = folder();
    let server = Server::start(data.path());
    let ids = write(
        &server,
        "longterm",
        json!([{"content": "the code is 1234", "ttl_seconds": 1}, {"content": "the code"}]),
    );
    let path = "/memory?query=code&scope=longterm";
    let first = server.get(path);
    let etag = first.header("etag").to_owned();
    assert_eq!(contents(&first).len(), 2);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let later = server.request("GET", path, &[("if-none-match", &etag)], None);
    assert_eq!(contents(&later), ["the code"]);
    assert_eq!(server.get(&format!("/memory/{}", ids[0])).status, 404);
}

#[test]
fn an_erasure_has_a_dry_run_and_a_receipt() {
    let data = folder();
    let server = Server::start(data.path());
    let ids = write(
        &server,
        "session/1",
        json!([{"content": "my xylophone", "tags": ["private"]}, {"content": "xylophones again", "tags": ["private"]},
               {"content": "the weather"}]),
    );
    patch(&server, &ids[0], json!({"content": "my old xylophone"}));
    let promoted =
        server.post("/memory/promote", json!({"from": "session/1", "to": "longterm", "ids": [ids[0]]}));
    assert_eq!(promoted.status, 201, "{promoted:?}");
    assert_eq!(contents(&server.get("/memory?query=xylophone&scope=longterm")), ["my old xylophone"]);
    let erase = |body: Value| server.post("/memory/erase", body);
    let dry = erase(json!({"scope": "session/1", "tags": ["private"], "dry_run": true})).json();
    assert_eq!((&dry["erased"], &dry["derived"], &dry["dry_run"]), (&json!(3), &json!(1), &json!(true)));
    assert_eq!(contents(&server.get("/memory?scope=session/1")).len(), 3);
    let receipt = erase(json!({"scope": "session/1", "tags": ["private"]})).json();
    assert_eq!((&receipt["erased"], &receipt["ids_hash"]), (&json!(3), &dry["ids_hash"]));
    assert!(
        receipt["receipt_id"].as_str().unwrap().starts_with("era-") && receipt["revision"] == 6,
        "{receipt}"
    );
    assert_eq!(contents(&server.get("/memory?scope=session/1")), ["the weather"]);
    assert!(contents(&server.get("/memory?query=xylophone&scope=longterm")).is_empty());
    for file in
        std::fs::read_dir(data.path()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"xylophone"), "{}", file.display());
    }
    assert_eq!(erase(json!({"scope": "session/1", "ids": []})).json()["erased"], 0);
    let later = erase(json!({"scope": "session/1", "after": "2999-01-01"})).json();
    assert_eq!(later["erased"], 0);
    assert_eq!(erase(json!({"scope": "session/1", "before": "2999-01-01"})).json()["erased"], 1);
    assert_eq!(
        erase(json!({"scope": "session/1", "before": "soon"})).json()["errors"][0]["pointer"],
        "/before"
    );
}

#[test]
fn a_scope_is_exported_imported_and_followed() {
    let data = folder();
    let server = Server::start(data.path());
    for begin in [0, 200, 400] {
        let entries: Vec<Value> =
            (begin..begin + 200).map(|number| json!({"content": format!("fact {number}")})).collect();
        write(&server, "longterm", json!(entries));
    }
    let exported = server.get("/memory/export?scope=longterm");
    assert_eq!((exported.status, exported.header("content-type")), (200, "application/x-ndjson"));
    let lines = String::from_utf8(exported.body).unwrap();
    assert_eq!(lines.lines().count(), 600);

    let other_data = folder();
    let other = Server::start(other_data.path());
    let imported = import(&other, &lines);
    assert_eq!(imported.json(), json!({"created": 600, "passed_over": 0, "revision": 600}));
    assert_eq!(import(&other, &lines).json()["passed_over"], 600);
    assert_eq!(other.get("/memory/export?scope=longterm").body, lines.as_bytes());
    let wrong = import(&other, "{\"id\": 1}");
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!("/lines/0")));

    let id =
        lines.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).unwrap();
    let id = id.as_str().unwrap();
    patch(&other, id, json!({"tags": ["first"]}));
    assert_eq!(other.request("DELETE", &format!("/memory/{id}"), &[], None).status, 204);
    let changes = other.get("/memory/changes?scope=longterm&after=600&content=true").json();
    let events: Vec<(&Value, &Value)> = changes["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (&change["revision"], &change["event"]))
        .collect();
    assert_eq!(events, [(&json!(602), &json!("erased"))], "the change before it is gone with its text");
    assert_eq!((&changes["next"], &changes["has_more"]), (&json!(602), &json!(false)));
    let first = other.get("/memory/changes?scope=longterm&limit=2").json();
    assert_eq!((&first["next"], &first["has_more"]), (&json!(2), &json!(true)));
    assert_eq!(other.get("/memory/scopes").json()["scopes"], json!(["longterm"]));
}
