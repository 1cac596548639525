//! Agents: created, started, streamed, taken up again, cancelled, and given only what they were granted.

use serde_json::{Value, json};

use crate::support::{Server, ServerEvent, answering_model, file, folder};

#[test]
fn an_agent_is_created_started_and_answers() {
    let data = folder();
    let server = Server::start(data.path());
    let answer = server.post(
        "/agents",
        json!({"goal": "Summarize sales data", "capabilities": ["fs", "db", "ai"], "max_steps": 50,
               "resources": {"cpu": "1", "ram": "512MB"}}),
    );
    assert_eq!((answer.status, &answer.json()["status"]), (201, &json!("created")));
    let agent_id = answer.json()["agent_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/agents/{agent_id}"));
    if cfg!(target_os = "linux") {
        let enforced = &answer.json()["enforced"];
        assert!(enforced["cpu"].as_str().unwrap().contains("affinity"), "{enforced}");
        assert!(enforced["ram"].as_str().unwrap().contains("rlimit_data+watchdog"), "{enforced}");
    }
    assert_eq!(server.get(&format!("/agents/{agent_id}")).json()["status"], "created");

    let started = server.post(&format!("/agents/{agent_id}/start"), json!({}));
    assert_eq!((started.status, &started.json()["status"]), (202, &json!("queued")));
    let agent = server.wait_for_agent(&agent_id);
    assert_eq!(agent["status"], "completed", "{agent}");
    assert_eq!(agent["run_id"], started.json()["run_id"]);
    for (key, value) in [("goal", json!("Summarize sales data")), ("max_steps", json!(50))] {
        assert_eq!(agent[key], value);
    }
    assert!(agent["step_count"].as_u64().unwrap() >= 1 && agent["created_at"].as_i64().unwrap() > 0);
    assert!(agent["output"].is_string() && agent["usage"]["output_tokens"].is_u64(), "{agent}");
}

#[test]
fn a_batch_is_created_whole_or_not_at_all() {
    let data = folder();
    let server = Server::start(data.path());
    let answer = server.post("/agents/batch", json!({"agents": [{"goal": "Task A"}, {"goal": "Task B"}]}));
    assert_eq!(answer.status, 201);
    let ids: Vec<Value> = answer.json()["agent_ids"].as_array().unwrap().clone();
    let goals: Vec<Value> = ids
        .iter()
        .map(|id| server.get(&format!("/agents/{}", id.as_str().unwrap())).json()["goal"].clone())
        .collect();
    assert_eq!(goals, ["Task A", "Task B"]);

    let answer = server.post(
        "/agents/batch",
        json!({"agents": [{"goal": "C"}, {"goal": " "}, {"goal": "D", "max_steps": 0}]}),
    );
    assert_eq!(answer.status, 422);
    let pointers: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/agents/1/goal", "/agents/2/max_steps"]);
    assert_eq!(server.get("/agents").json()["agents"].as_array().unwrap().len(), 2);
}

fn remember(server: &Server) {
    let entries = json!([{"content": "User prefers dark mode"}, {"content": "User lives in Lisbon"}]);
    assert_eq!(server.post("/memory/batch", json!({"scope": "longterm", "entries": entries})).status, 201);
}

#[test]
fn the_stream_tells_each_step_and_ends_with_end() {
    let data = folder();
    let server = Server::start(data.path());
    remember(&server);
    let agent_id = server.create_agent(json!({"goal": "Which mode does the user prefer?"}));
    let stream = server.stream("POST", &format!("/agents/{agent_id}/start?stream=true"), &[]);
    assert_eq!((stream.status, stream.headers["content-type"].as_str()), (200, "text/event-stream"));
    let location = stream.headers["content-location"].clone();
    let events: Vec<ServerEvent> = stream.collect();

    assert_eq!(
        (events[0].name.as_str(), &events[0].data),
        ("step_start", &json!({"step_id": 1, "action": "think"}))
    );
    let tool = events.iter().find(|event| event.data["tool"] == "memory.read").expect("memory was not asked");
    assert_eq!((tool.name.as_str(), &tool.data["action"]), ("step_start", &json!("tool")));
    let token = events.iter().find(|event| event.name == "token").expect("there was no text");
    let text = |step: &Value| -> String {
        let tokens = events.iter().filter(|event| event.name == "token" && event.data["step_id"] == *step);
        tokens.map(|event| event.data["content"].as_str().unwrap()).collect()
    };
    let ended =
        events.iter().find(|e| e.name == "step_end" && e.data["step_id"] == token.data["step_id"]).unwrap();
    assert_eq!(
        (&ended.data["status"], &ended.data["output"]),
        (&json!("ok"), &json!(text(&token.data["step_id"])))
    );
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("end", &json!("completed")));
    let output = end.data["output"].as_str().unwrap();
    assert!(output.contains("dark mode") && output.contains("mem-"), "{output}");
    assert!(events.iter().all(|event| !event.id.is_empty()));

    // The same durable events for whoever comes later, from wherever they begin.
    let durable: Vec<&ServerEvent> = events.iter().filter(|event| event.name != "token").collect();
    let replayed = server.durable_events(&location, &[]);
    assert_eq!(replayed.iter().collect::<Vec<_>>(), durable);
    let seen = durable[2].id.as_str();
    let path = format!("/agents/{agent_id}/events");
    let rest = server.durable_events(&path, &[("last-event-id", seen)]);
    assert_eq!(rest.iter().collect::<Vec<_>>(), durable[3..]);
    let rest = server.durable_events(&format!("{path}?after={seen}"), &[]);
    assert_eq!(rest.iter().collect::<Vec<_>>(), durable[3..]);
}

#[test]
fn the_steps_of_a_run_are_listed() {
    let data = folder();
    let server = Server::start(data.path());
    remember(&server);
    let agent_id =
        server.create_agent(json!({"goal": "Which mode does the user prefer?", "capabilities": ["memory"]}));
    assert_eq!(server.get(&format!("/agents/{agent_id}/steps")).status, 404);
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    server.wait_for_agent(&agent_id);
    let steps = server.get(&format!("/agents/{agent_id}/steps")).json()["steps"].as_array().unwrap().clone();
    let shown: Vec<(&Value, &Value)> = steps.iter().map(|step| (&step["action"], &step["status"])).collect();
    let (think, tool, ok) = (json!("think"), json!("tool"), json!("ok"));
    assert_eq!(shown, [(&think, &ok), (&tool, &ok), (&think, &ok)]);
    assert_eq!((&steps[1]["tool"], &steps[1]["step_id"]), (&json!("memory.read"), &json!(2)));
    assert!(steps[1]["inputs"]["query"].is_string() && steps[1]["duration_ms"].is_u64());
}

#[test]
fn a_cursor_that_never_was_is_gone() {
    let data = folder();
    let server = Server::start(data.path());
    let agent_id = server.create_agent(json!({"goal": "Hello"}));
    let path = format!("/agents/{agent_id}/events");
    assert_eq!(server.get(&path).json()["code"], "not_started");
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let run_id = server.wait_for_agent(&agent_id)["run_id"].as_str().unwrap().to_owned();
    let answer = server.get(&format!("{path}?after={run_id}.9999"));
    assert_eq!((answer.status, &answer.json()["code"]), (410, &json!("unknown_event_id")));
    assert_eq!(server.get(&format!("{path}?after=nonsense")).status, 422);
    let other = server.create_agent(json!({"goal": "Hello"}));
    assert_eq!(server.get(&format!("/agents/{other}/events?run={run_id}")).status, 404);
}

#[test]
fn an_agent_reads_files_only_with_the_capability_and_only_in_its_folder() {
    let data = folder();
    let server = Server::start(data.path());
    let workspace = data.path().join("workspace/local");
    std::fs::create_dir_all(&workspace).unwrap();
    file(&workspace, "notes.txt", "The launch is planned for May. The budget is small.");
    file(data.path(), "secret.txt", "The launch code is 0000.");
    let goal = "When is the launch planned, says notes.txt?";
    let run = |capabilities: Value, goal: &str| {
        let agent_id = server.create_agent(json!({"goal": goal, "capabilities": capabilities}));
        let events: Vec<ServerEvent> =
            server.stream("POST", &format!("/agents/{agent_id}/start?stream=true"), &[]).collect();
        let tools = events.iter().filter(|event| event.name == "tool_call").count();
        (events.last().unwrap().data["output"].as_str().unwrap().to_owned(), tools)
    };
    let (answer, tools) = run(json!(["fs"]), goal);
    assert!(answer.contains("planned for May") && answer.contains("notes.txt") && tools >= 1, "{answer}");
    let (answer, tools) = run(json!([]), goal);
    assert!(!answer.contains("May") && tools == 0, "{answer}");
    let (answer, _) = run(json!(["fs"]), "What is the launch code in ../../secret.txt?");
    assert!(!answer.contains("0000"), "{answer}");

    let agent_id = server.create_agent(json!({"goal": "x", "capabilities": ["fs"]}));
    let invoke = |tool: &str, path: &str| {
        server.post(
            "/tools/invoke",
            json!({"tool": tool, "inputs": {"path": path}, "agent_id": agent_id, "step_id": "step-1"}),
        )
    };
    let read = invoke("file.read", "notes.txt").json();
    assert_eq!(
        (&read["status"], &read["output"]["content"]),
        (&json!("ok"), &json!("The launch is planned for May. The budget is small."))
    );
    let outside = invoke("file.read", "/etc/passwd").json();
    assert_eq!((&outside["status"], &outside["error"]["code"]), (&json!("error"), &json!("outside_root")));
    let denied = invoke("memory.read", "x");
    assert_eq!((denied.status, &denied.json()["code"]), (403, &json!("tool_not_granted")));
    let listed = invoke("file.list", ".").json();
    assert!(listed["output"]["entries"].to_string().contains("notes.txt"), "{listed}");
}

#[test]
fn an_agent_writes_files_up_to_the_quota_of_its_tenant() {
    let data = folder();
    let server = Server::start_with(data.path(), &["--workspace-quota", "20"], &[]);
    let agent_id = server.create_agent(json!({"goal": "x", "capabilities": ["fs"]}));
    let write = |path: &str, content: &str| {
        let inputs = json!({"path": path, "content": content});
        server
            .post("/tools/invoke", json!({"tool": "file.write", "inputs": inputs, "agent_id": agent_id}))
            .json()
    };
    for change in ["created", "unchanged"] {
        let output = json!({"path": "out/report.md", "change": change, "bytes": 12});
        assert_eq!(write("out/report.md", "The answer.\n"), json!({"status": "ok", "output": output}));
    }
    let report = data.path().join("workspace/local/out/report.md");
    assert_eq!(std::fs::read_to_string(report).unwrap(), "The answer.\n");
    let beyond = write("more/notes.txt", "123456789");
    assert_eq!((&beyond["status"], &beyond["error"]["code"]), (&json!("error"), &json!("quota_exceeded")));
    assert!(beyond["error"]["detail"].as_str().unwrap().contains("12 of 20 are used"), "{beyond}");
    assert!(!data.path().join("workspace/local/more").exists());
    assert_eq!(write("../../out.txt", "x")["error"]["code"], "outside_root");
    assert!(!data.path().join("out.txt").exists());
}

#[test]
fn a_second_start_is_a_conflict_and_a_later_one_a_new_run() {
    let data = folder();
    let server = Server::start(data.path());
    let agent_id = server.create_agent(json!({"goal": "Hello"}));
    let start = || server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let first = start().json()["run_id"].clone();
    server.wait_for_agent(&agent_id);
    let second = start();
    assert_eq!(second.status, 202);
    assert_ne!(second.json()["run_id"], first);
}

#[test]
fn cancel_is_idempotent() {
    let data = folder();
    let server = Server::start(data.path());
    let agent_id = server.create_agent(json!({"goal": "Hello"}));
    let cancel = || server.post(&format!("/agents/{agent_id}/cancel"), json!({}));
    assert_eq!((cancel().status, &cancel().json()["code"]), (409, &json!("not_started")));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    assert_eq!(cancel().status, 202);
    let status = server.wait_for_agent(&agent_id)["status"].clone();
    assert!(status == "cancelled" || status == "completed", "{status}");
    assert_eq!((cancel().status, &cancel().json()["status"]), (202, &status));
}

#[test]
fn agents_are_listed_newest_first_in_pages() {
    let data = folder();
    let server = Server::start(data.path());
    let ids: Vec<String> =
        (0..5).map(|number| server.create_agent(json!({"goal": format!("Task {number}")}))).collect();
    let (mut seen, mut path) = (Vec::new(), "/agents?limit=2".to_owned());
    loop {
        let page = server.get(&path).json();
        seen.extend(
            page["agents"]
                .as_array()
                .unwrap()
                .iter()
                .map(|agent| agent["agent_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/agents?limit=2&after={next}");
    }
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_granted_is_refused_by_name() {
    let data = folder();
    let server = Server::start(data.path());
    let answer = server.post("/agents", json!({"goal": "x", "capabilities": ["rag", "root"]}));
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("unknown_capability")));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/capabilities/1");
    assert!(answer.json()["errors"][0]["detail"].as_str().unwrap().contains("root"));
    for resources in [json!({"ram": "512"}), json!({"ram": "1MB"}), json!({"cpu": "0"}), json!({"gpu": "1"})]
    {
        assert_eq!(
            server.post("/agents", json!({"goal": "x", "resources": resources})).status,
            422,
            "{resources}"
        );
    }
}

#[test]
fn an_agent_chooses_its_model() {
    let (data, other_data) = (folder(), folder());
    let other = Server::start(other_data.path());
    let url = format!("http://{}/v1", other.address);
    let prices = ["--model", "extractive", "--model-price", "openai:extractive=1,2"];
    let server = Server::start_with(data.path(), &prices, &[("OPENAI_BASE_URL", url.as_str())]);
    assert_eq!(server.get("/info").json()["model"]["name"], "extractive", "the default is as it was named");
    let limits = json!({"cost_micros": 1000});
    let agent_id = server.create_agent(json!({
        "goal": "Say hello", "capabilities": ["ai"], "model": "openai:extractive", "budget": limits
    }));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let ended = server.wait_for_agent(&agent_id);
    assert_eq!(
        (&ended["status"], &ended["model"]),
        (&json!("completed"), &json!("openai:extractive")),
        "{ended}"
    );
    assert!(ended["usage"]["cost_micros"].as_u64().unwrap() > 0, "it was asked at its price: {ended}");

    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(metrics.body.clone()).unwrap();
    let counted = text.lines().any(|line| {
        line.starts_with("gen_ai_client_operation_duration_seconds_count{") && line.contains("\"extractive\"")
    });
    assert!(counted, "{}", text);

    let refused = |more: Value| {
        let mut body = json!({"goal": "g", "capabilities": ["ai"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post("/agents", body);
        let body = answer.json();
        (answer.status, body["code"].clone(), body["errors"][0]["pointer"].clone())
    };
    assert_eq!(refused(json!({"model": "gpt-x"})), (422, json!("unknown_model"), json!("/model")));
    let unset = refused(json!({"model": "anthropic:claude-x"}));
    assert_eq!(unset, (422, json!("model_not_configured"), json!("/model")));
    let idle = refused(json!({"model": "openai:extractive", "capabilities": ["rag"]}));
    assert_eq!(idle, (422, json!("capability_not_granted"), json!("/model")));
    let below = json!([{"name": "a", "description": "d", "capabilities": ["ai"], "model": "nobody"}]);
    assert_eq!(refused(json!({"agents": below})), (422, json!("unknown_model"), json!("/agents/0/model")));
    let free = json!({"model": "openai:other", "budget": limits});
    assert_eq!(refused(free), (422, json!("no_price"), json!("/budget/cost_micros")));
}

mod with_model_service {
    use super::*;

    /// The test service calls a tool first and answers when it has the tool's result. It speaks OpenAI's protocol and
    /// Anthropic's at one address.
    #[test]
    #[ignore = "needs a model service"]
    fn an_agent_loops_with_a_real_model_service_over_both_protocols() {
        let variable = |name: &str| std::env::var(name).unwrap();
        let (url, key) = (variable("OPERONE_TEST_OPENAI_URL"), variable("OPERONE_TEST_OPENAI_KEY"));
        let environment = [
            ("OPENAI_BASE_URL", url.as_str()),
            ("OPENAI_API_KEY", key.as_str()),
            ("ANTHROPIC_BASE_URL", url.as_str()),
            ("ANTHROPIC_API_KEY", key.as_str()),
        ];
        let data = folder();
        let server = Server::start_with(data.path(), &[], &environment);
        assert_eq!(server.get("/info").json()["model"]["is_language_model"], true);
        assert!(!server.ready_line.contains(&key));
        for model in ["openai:default", "anthropic:default"] {
            loops(&server, model);
        }
    }

    /// The model thinks, calls a tool as the service's grammar lets it, reads the result and answers.
    fn loops(server: &Server, model: &str) {
        let agent_id =
            server.create_agent(json!({"goal": "Say ok", "capabilities": ["ai", "memory"], "model": model}));
        let events: Vec<ServerEvent> =
            server.stream("POST", &format!("/agents/{agent_id}/start?stream=true"), &[]).collect();
        let (tokens, durable): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.name == "token");
        let happened: Vec<(&str, &Value)> =
            durable.iter().map(|event| (event.name.as_str(), &event.data["step_id"])).collect();
        let (first, tool, last, none) = (&json!(1), &json!(2), &json!(3), &Value::Null);
        let expected = [
            ("step_start", first),
            ("step_end", first),
            ("step_start", tool),
            ("tool_call", tool),
            ("tool_result", tool),
            ("step_end", tool),
            ("step_start", last),
            ("step_end", last),
            ("end", none),
        ];
        assert_eq!(happened, expected, "{model}: {events:?}");
        let of = |name: &str| &durable.iter().find(|event| event.name == name).unwrap().data;

        let (call, result) = (of("tool_call"), of("tool_result"));
        assert!(call["tool"].as_str().unwrap().starts_with("memory."), "{model}: {call}");
        assert!(call["inputs"].is_object(), "{model}: the grammar lets nothing else through: {call}");
        assert_eq!((&result["call_id"], &result["tool"]), (&call["call_id"], &call["tool"]), "{model}");
        assert!(result["output"].is_object() || result["error"].is_object(), "{model}: {result}");

        let answer: String = tokens.iter().filter_map(|token| token.data["content"].as_str()).collect();
        assert!(tokens.iter().all(|token| token.data["step_id"] == *last), "{model}: {tokens:?}");
        let end = of("end");
        assert_eq!((&end["status"], &end["output"]), (&json!("completed"), &json!(answer)), "{model}");
        assert_eq!(answer, "Ok!", "{model}");
        assert!(end["usage"]["input_tokens"].as_u64().unwrap() > 0, "{model}: {end}");

        let kept =
            server.get(&format!("/agents/{agent_id}/steps")).json()["steps"].as_array().unwrap().clone();
        let kept: Vec<_> = kept.iter().map(|step| (&step["step_id"], &step["tool"])).collect();
        assert_eq!(kept, [(first, none), (tool, &call["tool"]), (last, none)], "{model}");
    }
}

#[test]
fn instructions_are_told_and_an_answer_that_does_not_fit_is_corrected() {
    let data = folder();
    let (url, told) = answering_model(vec!["Lisbon, I think", r#"{"city": "Lisbon"}"#]);
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", &url)]);
    let schema = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let agent_id = server.create_agent(json!({
        "goal": "Which is the capital of Portugal?", "capabilities": ["ai"],
        "instructions": "You are a geographer.", "output_schema": schema,
    }));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let agent = server.wait_for_agent(&agent_id);
    assert_eq!(
        (&agent["status"], &agent["output"]),
        (&json!("completed"), &json!(r#"{"city": "Lisbon"}"#)),
        "{agent}"
    );
    assert_eq!((&agent["instructions"], &agent["output_schema"]), (&json!("You are a geographer."), &schema));
    assert_eq!(agent["step_count"], 2);
    let turns: Vec<Vec<Value>> = told.try_iter().collect();
    let instructions = turns[0][0]["content"].as_str().unwrap();
    assert!(
        instructions.contains("You are a geographer.") && instructions.contains("required"),
        "{instructions}"
    );
    assert!(turns[1].last().unwrap()["content"].as_str().unwrap().contains("not JSON"));

    let wrong = server.post(
        "/agents",
        json!({
            "goal": "go", "instructions": "x".repeat(64 * 1024 + 1), "output_schema": {"type": "objekt"},
        }),
    );
    let pointers: Vec<Value> =
        wrong.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!((wrong.status, pointers), (422, vec![json!("/instructions"), json!("/output_schema")]));
}
