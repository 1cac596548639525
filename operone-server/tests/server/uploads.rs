//! Documents whose bytes come with the request: stored like files, refused with the codes of an outcome.

use serde_json::{Value, json};

use crate::support::{Answer, Server, file, folder};

fn put(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    server.request("PUT", path, headers, Some(body))
}

fn results(server: &Server, body: Value) -> Vec<Value> {
    server.post("/rag/query", body).json()["results"].as_array().unwrap().clone()
}

#[test]
fn an_upload_is_stored_like_a_file_and_replaced_under_its_id() {
    let data = folder();
    let server = Server::start(data.path());
    let text = "# Report\n\nQ3 sales were $1M.\n";
    let path = "/rag/documents/q3?name=q3.md&metadata=%7B%22priority%22%3A%22high%22%7D";
    let first = put(&server, path, &[("content-type", "text/markdown")], text.as_bytes());
    assert_eq!((first.status, &first.json()["status"]), (201, &json!("indexed")), "{first:?}");
    assert_eq!(first.json()["chunks"], 1);
    let hits = results(&server, json!({"query": "sales", "filters": {"priority": "high"}}));
    assert_eq!(
        (&hits[0]["source"]["doc_id"], &hits[0]["source"]["uri"]),
        (&first.json()["doc_id"], &json!("upload:q3"))
    );
    assert_eq!(
        (&hits[0]["source"]["heading"], &hits[0]["source"]["title"]),
        (&json!(["Report"]), &json!("Report"))
    );

    // The file of the same bytes gives the same chunks.
    let same = file(data.path(), "q3.md", text);
    server.ingest(&[&same]);
    let contents: Vec<Value> = results(&server, json!({"query": "sales", "near_duplicates": "keep"}))
        .iter()
        .map(|hit| hit["content"].clone())
        .collect();
    assert_eq!(contents.len(), 2);
    assert_eq!(contents[0], contents[1]);

    let again = put(&server, path, &[("content-type", "text/markdown")], text.as_bytes());
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("unchanged")));
    let headers = [("x-metadata", r#"{"priority":"low"}"#), ("x-file-name", "q3.txt")];
    let changed = put(&server, "/rag/documents/q3", &headers, b"Q3 sales were $2M.");
    assert_eq!((changed.status, &changed.json()["status"]), (200, &json!("updated")), "{changed:?}");
    assert_eq!(changed.json()["doc_id"], first.json()["doc_id"]);
    assert!(results(&server, json!({"query": "sales", "filters": {"priority": "high"}})).is_empty());

    // By its doc_id, as by the name of the upload.
    let doc_id = first.json()["doc_id"].as_str().unwrap().to_owned();
    for id in [&doc_id, "q3"] {
        let shown = server.get(&format!("/rag/documents/{id}")).json();
        assert_eq!((&shown["doc_id"], &shown["metadata"]["priority"]), (&json!(doc_id), &json!("low")));
    }
    let by_doc_id = put(&server, &format!("/rag/documents/{doc_id}"), &headers, b"Q3 sales were $3M.");
    assert_eq!(by_doc_id.json()["doc_id"], json!(doc_id));
    assert_eq!(server.request("DELETE", "/rag/documents/q3", &[], None).status, 204);
    assert_eq!(server.get("/rag/documents/q3").status, 404);

    let named = put(&server, "/rag/documents?name=my%20notes.txt", &[], b"The cat sleeps.");
    assert_eq!(named.status, 201, "{named:?}");
    assert_eq!(results(&server, json!({"query": "cat"}))[0]["source"]["uri"], "upload:my notes.txt");
}

#[test]
fn what_cannot_be_taken_in_says_so_with_the_code_of_an_outcome() {
    let data = folder();
    let server = Server::start(data.path());
    let large = vec![b'x'; (64 << 20) + 1];
    let cases: [(&str, &[u8], u16, &str); 9] = [
        ("/rag/documents/blank.txt", b" \n ", 422, "empty"),
        ("/rag/documents/broken.pdf", b"%PDF-1.7 and nothing more", 422, "corrupt"),
        ("/rag/documents/picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 415, "unsupported_format"),
        ("/rag/documents/large.txt", &large, 413, "too_large"),
        ("/rag/documents/a.txt?metadata=7", b"text", 422, "invalid_metadata"),
        ("/rag/documents/a.txt?chunk_size=5&overlap=5", b"text", 422, "invalid_chunk_options"),
        ("/rag/documents/a.txt?collection=a%20b", b"text", 422, "invalid_collection"),
        ("/rag/documents", b"text", 422, "missing_name"),
        ("/rag/documents/a.txt?name=%0A", b"text", 422, "invalid_name"),
    ];
    for (path, body, status, code) in cases {
        let answer = put(&server, path, &[], body);
        assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (status, code), "{path}");
    }
    assert_eq!(server.get("/rag/documents").json()["documents"], json!([]));

    // What came from elsewhere cannot be uploaded.
    let path = file(data.path(), "note.txt", "A note.");
    let job = server.ingest(&[&path]);
    let doc_id = job["documents"][0]["doc_id"].as_str().unwrap();
    let answer = put(&server, &format!("/rag/documents/{doc_id}"), &[], b"Another note.");
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("not_uploaded")));
}
