//! Agents that call tools of MCP servers.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Server, calling_model, command, folder, wait_until};

/// A server as a shell script with one tool, which shouts what it gets.
const SCRIPT: &str = r#"
echo "$$" > "$1"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$2"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*)
      answer "$id" '{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}' ;;
    *'"method":"tools/list"'*)
      answer "$id" '{"tools":[{"name":"shout","description":"Shouts","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"annotations":{"idempotentHint":true}}]}' ;;
    *'"method":"tools/call"'*)
      text=${line#*\"text\":\"}; text=${text%%\"*}
      answer "$id" '{"content":[{"type":"text","text":"'"$(printf %s "$text" | tr a-z A-Z)$SUFFIX"'"}]}' ;;
  esac
done
"#;

/// The value of `--mcp` for the scripted server, which writes its process id to a file.
fn scripted(folder: &Path) -> String {
    let script = folder.join("mcp server.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    format!("voice=sh '{}' '{}'", script.display(), pid_file(folder).display())
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("mcp.pid")
}

fn results(server: &Server, agent_id: &str) -> Vec<Value> {
    let path = format!("/agents/{agent_id}/start?stream=true");
    let events = server.stream("POST", &path, &[]);
    events.filter(|event| event.name == "tool_result").map(|event| event.data).collect()
}

#[test]
fn an_agent_calls_a_tool_of_a_granted_server() {
    let (data, files) = (folder(), folder());
    let model = calling_model(vec![("voice_shout", json!({"text": "hello"}))]);
    let environment = [
        ("OPENAI_BASE_URL", model.as_str()),
        ("PATH", "/usr/bin:/bin"),
        ("OPERONE_MCP_VOICE_ENV", "SUFFIX='! !'"),
    ];
    let server = Server::start_with(data.path(), &["--mcp", &scripted(files.path())], &environment);

    let tools = server.get("/tools").json();
    let tool = tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "voice.shout").unwrap();
    assert_eq!((&tool["capability"], &tool["class"]), (&json!("mcp:voice"), &json!("idempotent")));
    assert_eq!((&tool["egress"], &tool["untrusted"]), (&json!(true), &json!(true)));
    let info = server.get("/info").json();
    assert_eq!(info["capabilities"]["mcp:voice"], json!(["voice.shout"]));
    assert_eq!(
        info["mcp_servers"],
        json!([{"name": "voice", "transport": "stdio", "server": "the command sh"}])
    );

    let goal = |capabilities: Value| json!({"goal": "x", "capabilities": capabilities});
    let agent_id = server.create_agent(goal(json!(["ai", "mcp:voice"])));
    let answers = results(&server, &agent_id);
    assert_eq!(answers[0]["output"], "HELLO! !", "{answers:?}");

    // The same in a process of its own.
    let mut body = goal(json!(["ai", "mcp:voice"]));
    body["resources"] = json!({"cpu": "1", "ram": "256MB"});
    let answers = results(&server, &server.create_agent(body));
    assert_eq!(answers[0]["output"], "HELLO! !", "{answers:?}");

    let call = |agent_id: &str| {
        server.post(
            "/tools/invoke",
            json!({"tool": "voice.shout", "inputs": {"text": "a"}, "agent_id": agent_id}),
        )
    };
    assert_eq!(call(&agent_id).json()["output"], "A! !");
    let other = server.create_agent(goal(json!(["ai"])));
    assert_eq!((call(&other).status, call(&other).json()["code"].clone()), (403, json!("tool_not_granted")));
    let unknown = server.post("/agents", goal(json!(["mcp:nobody"])));
    assert_eq!(unknown.status, 422);
    assert!(unknown.json().to_string().contains("mcp:voice"), "{unknown:?}");

    let pid = std::fs::read_to_string(pid_file(files.path())).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists() || !cfg!(target_os = "linux"));
    assert_eq!(server.interrupt(), Some(0));
    wait_until(|| (!process.exists()).then_some(()));
}

#[test]
fn a_run_goes_on_without_a_server_that_cannot_be_reached() {
    let data = folder();
    let model = calling_model(vec![("gone_shout", json!({}))]);
    let environment = [
        ("OPENAI_BASE_URL", model.as_str()),
        ("OPERONE_MCP", "gone=/no/such/program --x; far='http://127.0.0.1:9/mcp?key=sesame'"),
        ("OPERONE_MCP_FAR_TOKEN", "sesame"),
    ];
    let server = Server::start_with(data.path(), &[], &environment);
    let tools = server.get("/tools");
    assert_eq!(tools.status, 200);
    assert!(tools.json()["tools"].as_array().unwrap().iter().all(|tool| tool["capability"] != "mcp:gone"));
    let info = server.get("/info").json();
    assert_eq!(info["capabilities"]["mcp:far"], json!([]));
    assert!(!info.to_string().contains("sesame"), "{info}");
    let agent_id = server.create_agent(json!({"goal": "x", "capabilities": ["ai", "mcp:gone", "mcp:far"]}));
    let answers = results(&server, &agent_id);
    assert_eq!(answers[0]["error"]["code"], "unknown_tool", "{answers:?}");
    assert_eq!(server.wait_for_agent(&agent_id)["status"], "completed");
}

#[test]
fn check_says_what_is_configured_and_refuses_what_is_wrong() {
    let data = folder();
    let check = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["check"]).collect();
        command(data.path(), &arguments, &[]).stderr(Stdio::piped()).output().unwrap()
    };
    let output =
        check(&["--mcp", "a=npx -y server --key=sesame", "--mcp", "b=https://b.example/mcp?key=sesame"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("a by the command npx") && text.contains("b by https://b.example"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    let output = check(&["--mcp", "file=sesame"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("'file'") && !text.contains("sesame"), "{text}");
}

mod with_mcp_servers {
    use super::*;

    #[test]
    #[ignore = "needs the reference MCP servers"]
    fn an_agent_calls_the_reference_server() {
        let programs = std::env::var("OPERONE_TEST_MCP_PROGRAMS").expect("OPERONE_TEST_MCP_PROGRAMS");
        let url = std::env::var("OPERONE_TEST_MCP_URL").expect("OPERONE_TEST_MCP_URL");
        let path = std::env::var("PATH").unwrap();
        let data = folder();
        let message = json!({"message": "hello"});
        let model = calling_model(vec![("everything_echo", message.clone()), ("far_echo", message)]);
        let environment = [("OPENAI_BASE_URL", model.as_str()), ("PATH", path.as_str())];
        let near = format!("everything='{programs}/mcp-server-everything' stdio");
        let far = format!("far={url}");
        let server = Server::start_with(data.path(), &["--mcp", &near, "--mcp", &far], &environment);
        for resources in [Value::Null, json!({"ram": "256MB"})] {
            let mut body = json!({"goal": "x", "capabilities": ["ai", "mcp:everything", "mcp:far"]});
            if !resources.is_null() {
                body["resources"] = resources;
            }
            let answers = results(&server, &server.create_agent(body));
            let outputs: Vec<&Value> = answers.iter().map(|answer| &answer["output"]).collect();
            assert_eq!(outputs, ["Echo: hello", "Echo: hello"], "{answers:?}");
        }
    }
}
