//! Databases that agents may read: a file by the tool's route, by an agent and by a worker; what is refused, and what
//! is never shown.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Server, calling_model, command, folder};

/// A database file with the table `records` of one row: what another server has kept, copied from its folder.
fn database_file(root: &Path) -> PathBuf {
    let data = root.join("other");
    let server = Server::start(&data);
    let entries = json!([{"content": "Q3 sales were 42 lamps"}]);
    assert_eq!(server.post("/memory/batch", json!({"scope": "longterm", "entries": entries})).status, 201);
    assert_eq!(server.interrupt(), Some(0));
    let path = root.join("sales.db");
    for suffix in ["", "-wal"] {
        let from = data.join(format!("memory.db{suffix}"));
        if from.exists() {
            std::fs::copy(from, root.join(format!("sales.db{suffix}"))).unwrap();
        }
    }
    path
}

fn invoke(server: &Server, agent_id: &str, inputs: Value) -> Value {
    let answer =
        server.post("/tools/invoke", json!({"tool": "db.query", "inputs": inputs, "agent_id": agent_id}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn an_agent_reads_a_file_also_in_a_worker() {
    let root = folder();
    let path = database_file(root.path());
    let named = format!("sales=sqlite://{}", path.display());
    let sql = "SELECT count(*) AS kept FROM records WHERE kept = ?1";
    let query = json!({"database": "sales", "sql": sql, "parameters": [1]});
    let model = calling_model(vec![("db_query", json!({"database": "sales"})), ("db_query", query.clone())]);
    let environment = [("OPENAI_BASE_URL", model.as_str()), ("OPERONE_DB", named.as_str())];
    let server = Server::start_with(&root.path().join("data"), &[], &environment);
    let rows = json!({"columns": ["kept"], "rows": [[1]], "truncated": false, "row_count": 1});

    let agent_id = server.create_agent(json!({"goal": "Summarize sales data", "capabilities": ["db", "ai"]}));
    assert_eq!(invoke(&server, &agent_id, query.clone()), json!({"status": "ok", "output": rows}));
    let schema = invoke(&server, &agent_id, json!({"database": "sales"}));
    let tables = schema["output"]["tables"].as_array().unwrap();
    assert!(tables.iter().any(|table| table["name"] == "records" && !table["columns"].is_null()), "{schema}");
    for (inputs, code) in [
        (json!({"database": "sales", "sql": "DELETE FROM records"}), "read_only"),
        (json!({"database": "sales", "sql": "SELEC"}), "query_failed"),
        (json!({"database": "other", "sql": "SELECT 1"}), "unknown_database"),
    ] {
        let answer = invoke(&server, &agent_id, inputs);
        assert_eq!(
            (&answer["status"], &answer["error"]["code"]),
            (&json!("error"), &json!(code)),
            "{answer}"
        );
    }

    for resources in [Value::Null, json!({"ram": "512MB"})] {
        let mut agent = json!({"goal": "Summarize sales data", "capabilities": ["db", "ai"]});
        if !resources.is_null() {
            agent["resources"] = resources;
        }
        let agent_id = server.create_agent(agent);
        let events: Vec<_> =
            server.stream("POST", &format!("/agents/{agent_id}/start?stream=true"), &[]).collect();
        let results: Vec<_> = events.iter().filter(|event| event.name == "tool_result").collect();
        assert_eq!(results.len(), 2, "{events:?}");
        assert!(results[0].data["output"]["tables"].is_array(), "{:?}", results[0]);
        assert_eq!(results[1].data["output"], rows, "{:?}", results[1]);
    }

    let tools = server.get("/tools").json();
    let tool = tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "db.query").unwrap();
    assert!(tool["description"].as_str().unwrap().contains("Databases: sales."), "{tool}");
}

#[test]
fn without_a_database_the_tool_says_so() {
    let data = folder();
    let server = Server::start(data.path());
    let agent_id = server.create_agent(json!({"goal": "Summarize sales data", "capabilities": ["db"]}));
    let answer = invoke(&server, &agent_id, json!({"database": "sales", "sql": "SELECT 1"}));
    assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!("error"), &json!("no_database")));
}

#[test]
fn a_database_that_is_away_is_told_and_its_password_is_not() {
    let root = folder();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let named = format!("sales=postgresql://agents:canary@{closed}/sales");
    let output = command(root.path(), &["check"], &[("OPERONE_DB", &named), ("OPERONE_LOG", "trace")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains("does not answer"), "{text}");
    assert!(text.contains(&format!("agents@{closed}/sales")) && !text.contains("canary"), "{text}");

    let server = Server::start_with(root.path(), &["--db", &named], &[]);
    let agent_id = server.create_agent(json!({"goal": "Summarize sales data", "capabilities": ["db"]}));
    let answer = invoke(&server, &agent_id, json!({"database": "sales", "sql": "SELECT 1"}));
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    for text in
        [answer.to_string(), server.get("/info").json().to_string(), server.get("/tools").json().to_string()]
    {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn what_is_no_database_for_agents_stops_the_start() {
    let root = folder();
    let data = root.path().join("data");
    drop(Server::start(&data));
    let own = format!("own=sqlite://{}", data.join("journal.db").display());
    for (named, expected) in [
        (own.as_str(), "data folder"),
        ("gone=sqlite:///nonexistent/canary-free.db", "does not exist"),
        ("relative=sqlite://sales.db", "from the root"),
        ("other=mysql://user:canary@host/db", "'other'"),
        ("wrong=postgresql://user:canary@host:port/db", "'wrong'"),
        ("postgresql://user:canary@host/db", "NAME=URL"),
        ("=canary", "NAME=URL"),
    ] {
        for arguments in [&["--db", named][..], &["check", "--db", named]] {
            let mut command = command(&data, arguments, &[]);
            let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{named}: {error}");
            assert!(error.contains(expected) && !error.contains("user:canary"), "{named}: {error}");
        }
    }
}
