//! The commands that do one thing and end: on the data folder, and through a server that has it.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::support::{Server, command, file, folder};

/// Runs a command on a data folder; the standard output is no terminal.
fn run(data: &Path, listen: &str, arguments: &[&str]) -> Output {
    let mut all = vec!["--listen", listen];
    all.extend(arguments);
    command(data, &all, &[]).stderr(Stdio::piped()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr));
    })
}

/// A port where nothing listens.
const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn documents_are_ingested_and_found_with_and_without_a_server() {
    let root = folder();
    let documents = root.path().join("documents");
    std::fs::create_dir(&documents).unwrap();
    file(&documents, "q3 sales.md", "# Sales\n\nQ3 sales were $1M.");
    file(&documents, "empty.txt", " ");
    let data = root.path().join("data");
    let listed = documents.display().to_string();
    let missing = root.path().join("missing.txt").display().to_string();

    let output = run(&data, NOWHERE, &["ingest", &listed, &missing]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {}", text(&output.stderr));
    assert!(said.contains("3 documents: 1 indexed, 0 updated, 0 unchanged, 2 failed"), "{said}");
    assert!(said.contains("empty.txt (empty)") && said.contains("missing.txt (not_found)"), "{said}");
    assert!(!said.contains('\u{1b}'), "no bar where nobody looks on");

    let asked = ["query", "What", "were", "the", "Q3", "sales?"];
    let said = text(&run(&data, NOWHERE, &asked).stdout);
    assert!(said.starts_with("1. file://") && said.contains("q3%20sales.md, Sales"), "{said}");
    assert!(said.contains("   Q3 sales were $1M."), "{said}");

    let server = Server::start(&data);
    let output = run(&data, &server.address, &["ingest", &listed, "--json"]);
    let report = answer(&output);
    assert_eq!((&report["count"], &report["failed"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!(report["documents"][1]["status"], "unchanged", "{report}");
    let through_server = answer(&run(&data, &server.address, &[&asked[..], &["--json"]].concat()));
    let refused = run(&data, &server.address, &["query", "x", "--top-k", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("invalid_top_k"), "{}", text(&refused.stderr));

    let unknown = run(&data, NOWHERE, &["query", "x"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("--listen"), "{}", text(&unknown.stderr));

    drop(server);
    let in_folder = answer(&run(&data, NOWHERE, &[&asked[..], &["--json"]].concat()));
    assert_eq!(in_folder["results"], through_server["results"]);
    assert_eq!(in_folder["results"][0]["source"]["heading"], json!(["Sales"]));
}

#[test]
fn where_nothing_could_be_ingested_the_exit_code_says_so() {
    let root = folder();
    let data = root.path().join("data");
    let missing = root.path().join("missing.txt").display().to_string();
    let output = run(&data, NOWHERE, &["ingest", &missing, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(answer(&output)["documents"][0]["error"]["code"], "not_found");
    for wrong in [
        ["ingest", &missing, "--chunk-size=5", "--overlap=5"],
        ["ingest", &missing, "--metadata={", "--json"],
        ["query", "x", "--mode=sparse", "--json"],
        ["query", "x", "--filters=[", "--json"],
    ] {
        assert_eq!(run(&data, NOWHERE, &wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_judged_collection_is_measured() {
    let root = folder();
    let set = root.path().join("set");
    std::fs::create_dir(&set).unwrap();
    file(
        &set,
        "corpus.jsonl",
        "{\"_id\": \"a\", \"title\": \"Wings\", \"text\": \"Lift.\"}\n{\"_id\": \"b\", \"text\": \"A cat.\"}\n",
    );
    file(&set, "queries.jsonl", "{\"_id\": \"q\", \"text\": \"lift of wings\"}\n");
    file(&set, "qrels.tsv", "query-id\tcorpus-id\tscore\nq\ta\t1\n");
    let data = root.path().join("data");
    let listed = set.display().to_string();
    let report = answer(&run(&data, NOWHERE, &["eval", &listed, "--json"]));
    assert_eq!((&report["documents"], &report["queries"]), (&json!(2), &json!(1)));
    for mode in ["lexical", "dense", "hybrid", "rerank"] {
        assert_eq!(report["modes"][mode]["ndcg@10"], json!(1.0), "{report}");
        assert!(report["modes"][mode]["p99_ms"].is_number());
    }
    let table = text(&run(&data, NOWHERE, &["eval", &listed]).stdout);
    assert!(table.contains("nDCG@10") && table.contains("hybrid"), "{table}");

    let one = file(root.path(), "one.json", r#"{"chunk_size": 64, "retrieval": {"dense_weight": 0}}"#);
    let two = file(root.path(), "two.json", r#"{"name": "second"}"#);
    let (one, two) = (one.display().to_string(), two.display().to_string());
    let compared = answer(&run(&data, NOWHERE, &["eval", &listed, "--json", "--config", &one, &two]));
    assert_eq!(compared["configs"][0]["name"], "one");
    assert_eq!(compared["configs"][1]["name"], "second");
    assert_eq!(compared["configs"][1]["modes"]["hybrid"]["mrr"], json!(1.0));

    let bad = file(root.path(), "bad.json", r#"{"retrieval": {"dense_wait": 0}}"#).display().to_string();
    let output = run(&data, NOWHERE, &["eval", &listed, "--config", &bad]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("dense_wait"), "{}", text(&output.stderr));
    file(&set, "qrels.tsv", "q\ta\t1\nq a 1\n");
    let output = run(&data, NOWHERE, &["eval", &listed]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("qrels.tsv, line 2"), "{}", text(&output.stderr));
    assert!(!data.exists(), "measuring touches no data folder");
}
