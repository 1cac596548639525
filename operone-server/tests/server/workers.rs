//! Runs in processes of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, ServerEvent, file, folder, wait_until};

fn command_line(pid: u64) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())
}

/// A worker of this server that is running now.
fn worker_of(server: &Server) -> Option<u64> {
    child_of(server, "worker")
}

/// A process that this server has started to do something.
fn child_of(server: &Server, task: &str) -> Option<u64> {
    let mut children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u64 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent: u32 = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        (parent == server.pid()).then_some(pid)
    });
    children.find(|pid| command_line(*pid).is_some_and(|line| line.split('\0').nth(1) == Some(task)))
}

/// By what the kernel says of a process: it gains no rights, and its system calls are filtered.
#[cfg(target_os = "linux")]
fn assert_shut_off(status: &str) {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), (Some("1"), Some("2")), "{status}");
}

/// A model service that in each turn says much and lists the files. Gives its URL.
fn talkative_model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut length = 0;
                for line in reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()) {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
                let line = |delta: Value, finish: Value| {
                    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
                    format!("data: {}\n\n", json!({"choices": [choice]}))
                };
                let part = line(json!({"content": "word ".repeat(100_000)}), Value::Null);
                let function = json!({"name": "file_list", "arguments": "{}"});
                let calls = json!([{"index": 0, "id": "1", "type": "function", "function": function}]);
                let call = line(json!({"tool_calls": calls}), Value::Null);
                let stop = line(json!({}), json!("tool_calls"));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let answer = format!("{head}{}{call}{stop}data: [DONE]\n\n", part.repeat(7));
                let _ = connection.write_all(answer.as_bytes());
            });
        }
    });
    url
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_needs_more_memory_than_it_has_ends_its_run() {
    let data = folder();
    let model = talkative_model();
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", model.as_str())]);
    let resources = json!({"cpu": "1", "ram": "32MiB"});
    let agent_id =
        server.create_agent(json!({"goal": "x", "capabilities": ["ai", "fs"], "resources": resources}));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    let pid = wait_until(|| worker_of(&server));
    wait_until(|| command_line(pid).is_none().then_some(()));
    let died = Instant::now();
    let agent = server.wait_for_agent(&agent_id);
    assert!(died.elapsed() < Duration::from_secs(1), "known after {:?}", died.elapsed());
    assert_eq!(
        (&agent["status"], &agent["error"]["code"]),
        (&json!("failed"), &json!("resource_exceeded")),
        "{agent}"
    );
    let events = server.durable_events(&format!("/agents/{agent_id}/events"), &[]);
    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["error"]["code"]), ("end", &json!("resource_exceeded")));
    assert!(worker_of(&server).is_none(), "it is tried again");
}

#[cfg(target_os = "linux")]
#[test]
fn a_parser_is_shut_off() {
    let data = folder();
    let server = Server::start(data.path());
    let document = file(data.path(), "a.md", "# Title\n\nSome text.");
    assert_eq!(server.ingest(&[&document])["status"], "completed");
    let pid = child_of(&server, "parse").expect("there is no parser");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert_shut_off(&status);
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(line.contains(&(1_u64 << 30).to_string()), "{limits}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_server_says_what_is_enforced() {
    let data = folder();
    let server = Server::start(data.path());
    let info = server.get("/info").json();
    let layers = &info["sandbox"]["layers"];
    for layer in ["affinity", "rlimit_data", "seccomp", "watchdog"] {
        assert_eq!(layers[layer], json!({"active": true}), "{layer}");
    }
    let abi = info["sandbox"]["landlock_abi"].as_i64().unwrap_or(0);
    assert_eq!(layers["landlock_files"]["active"], abi >= 1);
    assert_eq!(layers["landlock_tcp"]["active"], abi >= 4);
    let enforced = |resources: Value| {
        let body = json!({"goal": "x", "resources": resources, "require_enforcement": true});
        let answer = server.post("/agents", body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["enforced"].clone()
    };
    let half = enforced(json!({"cpu": "0.5"}));
    assert!(half["cpu"].as_str().unwrap().contains("affinity") && half["ram"].is_null(), "{half}");
    assert_eq!(half["files"], if abi >= 1 { "landlock" } else { "none" });
    assert_eq!(half["network"], if abi >= 4 { "seccomp+landlock" } else { "seccomp" });

    let output = crate::support::command(data.path(), &["check"], &[]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("fence          seccomp: yes"), "{said}");
}

#[test]
fn a_worker_is_a_real_process_that_takes_the_run() {
    let data = folder();
    let server = Server::start(data.path());
    let workspace = data.path().join("workspace/local");
    std::fs::create_dir_all(&workspace).unwrap();
    file(&workspace, "notes.txt", "The launch is planned for May.");
    server.post(
        "/memory/batch",
        json!({"scope": "longterm", "entries": [{"content": "The launch site is Kourou"}]}),
    );
    let agent_id = server.create_agent(json!({
        "goal": "When and where is the launch, says notes.txt?", "capabilities": ["fs", "memory", "rag", "ai"]
    }));
    let answer =
        server.post("/internal/workers", json!({"type": "agent_runtime", "payload": {"agent_id": agent_id}}));
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let pid = body["worker_pid"].as_u64().unwrap();
    assert_ne!(pid, u64::from(server.pid()));
    if cfg!(target_os = "linux") {
        assert!(command_line(pid).is_some_and(|line| line.contains("worker")), "the process is gone already");
    }
    assert!(body["worker_id"].is_string() && body["host"].is_string());
    let events: Vec<ServerEvent> = server.stream("GET", &format!("/agents/{agent_id}/events"), &[]).collect();
    let end = events.last().unwrap();
    let output = end.data["output"].as_str().unwrap();
    assert!(output.contains("May") && output.contains("Kourou"), "{output}");
    // It leaves when its run has ended.
    wait_until(|| command_line(pid).is_none().then_some(()));
}

#[test]
fn a_worker_writes_files_up_to_the_quota() {
    let data = folder();
    let write = |path: &str, content: &str| ("file_write", json!({"path": path, "content": content}));
    let model = crate::support::calling_model(vec![write("a/b.txt", "12345"), write("c/d.txt", "123456")]);
    let environment = [("OPENAI_BASE_URL", model.as_str()), ("OPERONE_WORKSPACE_QUOTA", "10")];
    let server = Server::start_with(data.path(), &[], &environment);
    let agent_id = server.create_agent(json!({
        "goal": "x", "capabilities": ["ai", "fs"], "resources": {"cpu": "1", "ram": "256MB"}
    }));
    let path = format!("/agents/{agent_id}/start?stream=true");
    let results: Vec<Value> = server
        .stream("POST", &path, &[])
        .filter(|event| event.name == "tool_result")
        .map(|event| event.data)
        .collect();
    assert_eq!(results.len(), 2, "{results:?}");
    assert_eq!(results[0]["output"]["change"], "created", "{results:?}");
    assert_eq!(results[1]["error"]["code"], "quota_exceeded", "{results:?}");
    let workspace = data.path().join("workspace/local");
    assert_eq!(std::fs::read_to_string(workspace.join("a/b.txt")).unwrap(), "12345");
    assert!(!workspace.join("c").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_agent_with_resources_runs_under_its_limits() {
    let data = folder();
    let (model, requests) = crate::support::slow_model(Duration::from_secs(30));
    let environment = [("OPENAI_BASE_URL", model.as_str())];
    let server = Server::start_with(data.path(), &[], &environment);
    let agent_id = server.create_agent(json!({"goal": "x", "resources": {"cpu": "1", "ram": "128MiB"}}));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    requests.recv_timeout(Duration::from_secs(20)).expect("the model was not asked");
    let pid = worker_of(&server).expect("there is no worker");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("Max data size").contains(&(128 << 20).to_string()), "{limits}");
    assert!(line("Max core file size").split_whitespace().nth(4) == Some("0"), "{limits}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    assert!(cores.parse::<u32>().is_ok(), "more than one core: {cores}");
    // Nobody but root may read it.
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    assert!(environ.is_empty(), "{}", String::from_utf8_lossy(&environ));
    assert_shut_off(&status);

    let answer = server.post(&format!("/agents/{agent_id}/cancel"), json!({}));
    assert_eq!(answer.status, 202);
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "cancelled");
    wait_until(|| command_line(pid).is_none().then_some(()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_dies_with_its_server_and_the_run_goes_on_with_the_next() {
    let data = folder();
    let (model, requests) = crate::support::slow_model(Duration::from_millis(1500));
    let environment = [("OPENAI_BASE_URL", model.as_str())];
    let server = Server::start_with(data.path(), &[], &environment);
    let agent_id =
        server.create_agent(json!({"goal": "x", "capabilities": ["ai"], "resources": {"ram": "128MiB"}}));
    server.post(&format!("/agents/{agent_id}/start"), json!({}));
    requests.recv_timeout(Duration::from_secs(20)).expect("the model was not asked");
    let pid = worker_of(&server).expect("there is no worker");
    server.kill();
    wait_until(|| command_line(pid).is_none().then_some(()));

    let server = Server::start_with(data.path(), &[], &environment);
    let agent = server.wait_for_agent(&agent_id);
    assert_eq!((&agent["status"], &agent["output"]), (&json!("completed"), &json!("Hello.")), "{agent}");
    let events = server.durable_events(&format!("/agents/{agent_id}/events"), &[]);
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["step_start", "step_end", "end"]);
}

#[test]
fn a_worker_by_hand_says_that_it_is_none() {
    let output = Command::new(env!("CARGO_BIN_EXE_operone-server")).arg("worker").output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn a_run_that_a_worker_has_is_not_given_to_another() {
    let data = folder();
    let (model, requests) = crate::support::slow_model(Duration::from_secs(5));
    let server = Server::start_with(data.path(), &[], &[("OPENAI_BASE_URL", model.as_str())]);
    let agent_id = server.create_agent(json!({"goal": "x"}));
    let start = || {
        server.post("/internal/workers", json!({"type": "agent_runtime", "payload": {"agent_id": agent_id}}))
    };
    assert_eq!(start().status, 201);
    requests.recv_timeout(Duration::from_secs(20)).expect("the model was not asked");
    let second = start();
    assert_eq!((second.status, &second.json()["code"]), (409, &Value::from("already_running")));
}
