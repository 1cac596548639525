//! OpenAI's wire: the same models and embedder for clients that know nothing of Operone, with retrieval on request.

use serde_json::{Value, json};

use crate::support::{Server, calling_model, file, folder};

fn chat(server: &Server, body: Value) -> (u16, Value) {
    let answer = server.post("/v1/chat/completions", body);
    (answer.status, answer.json())
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[test]
fn models_and_the_embedder_are_listed() {
    let data = folder();
    let server = Server::start(data.path());
    let listed = server.get("/v1/models").json();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&json!("list"), &json!("extractive")));
    let embedder = listed["data"][1]["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/models/{embedder}")).json()["object"], "model");
    let unknown = server.get("/v1/models/gpt-x");
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[test]
fn an_answer_quotes_what_was_looked_up() {
    let data = folder();
    let server = Server::start(data.path());
    let lease = file(data.path(), "lease.txt", "The lease was signed in March. It runs for two years.");
    server.ingest(&[&lease]);
    server.post(
        "/memory/batch",
        json!({"scope": "longterm", "entries": [{"content": "Leases run for years."}]}),
    );
    let body = json!({
        "model": "extractive", "messages": user("When was the lease signed?"),
        "operone": {"capabilities": ["rag", "memory"]}
    });
    let (status, answer) = chat(&server, body);
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert!(choice["message"]["content"].as_str().unwrap().contains("signed in March"), "{answer}");
    assert_eq!((&choice["finish_reason"], &answer["object"]), (&json!("stop"), &json!("chat.completion")));
    assert_eq!(answer["operone"]["rag"]["results"][0]["source"]["title"], json!(null));
    assert!(answer["operone"]["rag"]["results"][0]["source"]["uri"].as_str().unwrap().ends_with("lease.txt"));
    assert!(answer["operone"]["memory"]["entries"].is_array());
    assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 0);

    let (_, without) =
        chat(&server, json!({"model": "extractive", "messages": user("When was the lease signed?")}));
    assert!(!without["choices"][0]["message"]["content"].as_str().unwrap().contains("March"));
    assert_eq!(without["operone"], Value::Null);
}

#[test]
fn a_stream_comes_in_chunks_and_ends_with_done() {
    let data = folder();
    let server = Server::start(data.path());
    let body = json!({
        "model": "extractive", "messages": user("Hello?"), "stream": true, "stream_options": {"include_usage": true}
    });
    let answer = server.post("/v1/chat/completions", body);
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let text = String::from_utf8(answer.body).unwrap();
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    let written: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(written.starts_with("I answer with sentences"), "{written}");
    let [.., last, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["choices"], usage["usage"]["completion_tokens"].is_u64()), (&json!([]), true));
}

#[test]
fn calls_of_tools_are_the_clients() {
    let data = folder();
    let url = calling_model(vec![("weather", json!({"city": "Lisbon"}))]);
    let server =
        Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url), ("OPENAI_MODEL", "stand-in")]);
    let tools = json!([{"type": "function", "function": {
        "name": "weather", "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}
    }}]);
    let mut messages = user("Is it sunny in Lisbon?");
    let body = |messages: &Value| json!({"model": "stand-in", "messages": messages, "tools": tools});
    let (status, first) = chat(&server, body(&messages));
    assert_eq!(status, 200, "{first}");
    let choice = &first["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        (&call["function"]["name"], &call["function"]["arguments"]),
        (&json!("weather"), &json!(r#"{"city":"Lisbon"}"#))
    );
    // What the server said goes back as it is, as clients send it.
    let messages_list = messages.as_array_mut().unwrap();
    messages_list.push(choice["message"].clone());
    messages_list.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"}));
    let (_, second) = chat(&server, body(&messages));
    assert_eq!(second["choices"][0]["message"]["content"], "Done.");
}

#[test]
fn what_cannot_be_honoured_is_refused_in_openais_shape() {
    let data = folder();
    let server = Server::start(data.path());
    let refused = |more: Value| {
        let mut body = json!({"model": "extractive", "messages": user("Hello?")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = chat(&server, body);
        (status, answer["error"]["code"].clone(), answer["error"]["param"].clone())
    };
    let unsupported = json!("unsupported_parameter");
    assert_eq!(refused(json!({"n": 2})), (400, unsupported.clone(), json!("n")));
    assert_eq!(refused(json!({"tool_choice": "some"})), (400, unsupported.clone(), json!("tool_choice")));
    let any_json = json!({"response_format": {"type": "json_object"}});
    assert_eq!(refused(any_json), (400, unsupported.clone(), json!("response_format")));
    // These are told to the model, which is the one that cannot.
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(refused(json!({"tool_choice": "required"})).1, "unknown_tool_choice", "there is none");
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}}});
    for beyond in [
        json!({"stop": ["."]}),
        json!({"stop": "."}),
        json!({"tool_choice": "required", "tools": tools}),
        json!({"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": tools}),
        json!({"response_format": schema}),
        json!({"reasoning_effort": "low"}),
    ] {
        assert_eq!(refused(beyond), (400, unsupported.clone(), Value::Null));
    }
    assert_eq!(refused(json!({"model": "gpt-x"})), (404, json!("model_not_found"), Value::Null));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    assert_eq!(refused(json!({"messages": image})), (400, unsupported, json!("messages.0.content.0")));
    let orphan = json!([{"role": "tool", "tool_call_id": "c", "content": "x"}]);
    assert_eq!(refused(json!({"messages": orphan})).2, json!("messages.0.tool_call_id"));
    let looked_up = refused(json!({"operone": {"capabilities": ["fs"]}}));
    assert_eq!(looked_up, (400, json!("invalid_body"), json!("operone.capabilities.0")));
    let defaults = json!({"n": 1, "top_p": 1, "seed": 7, "user": "me", "stop": null, "response_format": {"type": "text"}});
    assert_eq!(refused(defaults), (200, Value::Null, Value::Null));
}

#[test]
fn texts_become_vectors_in_both_formats() {
    let data = folder();
    let server = Server::start(data.path());
    let model = server.get("/v1/models").json()["data"][1]["id"].clone();
    let embed = |more: Value| {
        let mut body = json!({"model": model, "input": ["a lease", "a contract"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post("/v1/embeddings", body);
        (answer.status, answer.json())
    };
    let (status, floats) = embed(json!({}));
    assert_eq!(status, 200, "{floats}");
    let vector: Vec<f64> = serde_json::from_value(floats["data"][1]["embedding"].clone()).unwrap();
    let length: f64 = vector.iter().map(|number| number * number).sum();
    assert!((length - 1.0).abs() < 1e-3 && vector.len() > 100);
    assert!(floats["usage"]["prompt_tokens"].as_u64().unwrap() >= 2);
    let (_, packed) = embed(json!({"encoding_format": "base64"}));
    assert_eq!(packed["data"][1]["embedding"].as_str().unwrap().len(), (vector.len() * 4).div_ceil(3) * 4);
    assert_eq!(embed(json!({"input": "a lease"})).1["data"][0], floats["data"][0]);
    assert_eq!(embed(json!({"input": [[1, 2]]})).1["error"]["param"], "input");
    assert_eq!(embed(json!({"input": ["", "x"]})).0, 400);
    assert_eq!(embed(json!({"dimensions": 3})).1["error"]["param"], "dimensions");
}

#[test]
fn a_server_takes_its_vectors_and_answers_from_another() {
    let (data, other_data) = (folder(), folder());
    let other = Server::start(other_data.path());
    let embedder = other.get("/v1/models").json()["data"][1]["id"].as_str().unwrap().to_owned();
    let url = format!("http://{}/v1", other.address);
    let environment = [("OPENAI_BASE_URL", url.as_str()), ("OPENAI_MODEL", "extractive")];
    let named = format!("openai:{embedder}");
    let server = Server::start_with(data.path(), &["--embedder", &named], &environment);
    server.ingest(&[&file(data.path(), "lease.txt", "The contract for the flat was signed in March.")]);
    let found = server.post("/rag/query", json!({"query": "contract for the flat", "mode": "dense"})).json();
    assert!(found["results"][0]["content"].as_str().unwrap().contains("March"), "{found}");
    assert_eq!(server.get("/rag/collections").json()["collections"][0]["embedder"], named);
    let (status, answer) = chat(&server, json!({"model": "extractive", "messages": user("Hello?")}));
    assert_eq!(status, 200, "{answer}");
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("I answer with"));
}

mod with_openai_clients {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    fn given(name: &str) -> String {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
    }

    /// A script beside this file, told the folder of its modules if it has one, the server's URL and a model.
    fn passes(mut program: Command, script: &str, modules: Option<PathBuf>, server: &Server, model: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/openai_clients/");
        program.arg(format!("{folder}{script}")).args(modules);
        program.arg(format!("http://{}/v1", server.address)).arg(model);
        let output = program.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Against a server that knows one document.
    fn passes_with_a_document(program: Command, script: &str, modules: Option<PathBuf>) {
        let data = folder();
        let server = Server::start(data.path());
        server.ingest(&[&file(
            data.path(),
            "lease.txt",
            "The lease was signed in March. It runs for two years.",
        )]);
        let embedder = server.get("/v1/models").json()["data"][1]["id"].as_str().unwrap().to_owned();
        passes(program, script, modules, &server, &embedder);
    }

    /// Against a server that passes on to a real model service.
    fn passes_with_a_model(program: Command, script: &str, modules: Option<PathBuf>) {
        let data = folder();
        let (url, key) = (given("OPERONE_TEST_OPENAI_URL"), given("OPERONE_TEST_OPENAI_KEY"));
        let environment = [("OPENAI_BASE_URL", &*url), ("OPENAI_API_KEY", &*key), ("OPENAI_MODEL", "tiny")];
        let server = Server::start_with(data.path(), &[], &environment);
        passes(program, script, modules, &server, "tiny");
    }

    fn python() -> Command {
        Command::new(given("OPERONE_TEST_OPENAI_PYTHON"))
    }

    fn modules() -> Option<PathBuf> {
        Some(given("OPERONE_TEST_OPENAI_MODULES").into())
    }

    #[test]
    #[ignore = "needs OpenAI's client for Python"]
    fn the_client_for_python_works_unchanged() {
        passes_with_a_document(python(), "client.py", None);
    }

    #[test]
    #[ignore = "needs OpenAI's client for npm"]
    fn the_client_for_javascript_works_unchanged() {
        passes_with_a_document(Command::new("node"), "client.mjs", modules());
    }

    #[test]
    #[ignore = "needs OpenAI's client for Python and a model service"]
    fn the_client_for_python_has_a_real_model_call_tools() {
        passes_with_a_model(python(), "model.py", None);
    }

    #[test]
    #[ignore = "needs OpenAI's client for npm and a model service"]
    fn the_client_for_javascript_has_a_real_model_call_tools() {
        passes_with_a_model(Command::new("node"), "model.mjs", modules());
    }
}
