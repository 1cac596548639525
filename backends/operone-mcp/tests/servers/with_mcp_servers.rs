//! The reference servers of the protocol: everything (over both transports) and filesystem.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use operone_core::tool::{ToolClass, ToolContext, ToolSet};
use operone_mcp::{McpCommand, McpConfig, McpEndpoint, McpServer};
use serde_json::json;

use crate::scripted::{call, tool};

/// The folder of the servers' programs.
fn program(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("OPERONE_TEST_MCP_PROGRAMS").expect("OPERONE_TEST_MCP_PROGRAMS"))
        .join(name)
}

fn everything() -> McpServer {
    let command = McpCommand::new(program("mcp-server-everything")).with_arguments(["stdio"]);
    McpServer::new(McpConfig::new("everything", command)).unwrap()
}

fn everything_behind_a_url() -> McpServer {
    let url = std::env::var("OPERONE_TEST_MCP_URL").expect("OPERONE_TEST_MCP_URL");
    McpServer::new(McpConfig::new("everything", McpEndpoint::new(url))).unwrap()
}

async fn tells_everything(server: McpServer) {
    let tools = server.tools().await.unwrap();
    assert!(tools.len() >= 10, "{tools:?}");
    let echo = tool(&server, "everything.echo").await;
    assert!(echo.spec().description.to_lowercase().contains("echo"));
    assert_eq!(echo.spec().input_schema["properties"]["message"]["type"], "string");
    assert_eq!(call(&echo, json!({"message": "grüße"})).await.unwrap(), "Echo: grüße");
    let sum = tool(&server, "everything.get-sum").await;
    let text = call(&sum, json!({"a": 2, "b": 40})).await.unwrap();
    assert!(text.as_str().unwrap().contains("42"), "{text}");
    let structured = tool(&server, "everything.get-structured-content").await;
    let weather = call(&structured, json!({"location": "Chicago"})).await.unwrap();
    assert!(weather["temperature"].is_number(), "{weather}");
    let image = tool(&server, "everything.get-tiny-image").await;
    let text = call(&image, json!({})).await.unwrap();
    assert!(text.as_str().unwrap().contains("[image, image/png, "), "{text}");
    let error = call(&sum, json!({"a": "x"})).await.unwrap_err();
    assert!(["tool_failed", "invalid_input"].contains(&error.code()), "{error:?}");

    let long = tool(&server, "everything.trigger-long-running-operation").await;
    let context = ToolContext::default();
    let begun = Instant::now();
    let (result, ()) = tokio::join!(long.call(&context, json!({"duration": 30, "steps": 3})), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        context.cancelled.cancel();
    });
    assert_eq!(result.unwrap_err().code(), "cancelled");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(call(&echo, json!({"message": "still"})).await.unwrap(), "Echo: still");
    server.close().await;
}

#[tokio::test]
#[ignore = "needs the reference MCP servers"]
async fn everything_over_standard_input_and_output() {
    tells_everything(everything()).await;
}

#[tokio::test]
#[ignore = "needs the reference MCP servers"]
async fn everything_over_streamable_http() {
    tells_everything(everything_behind_a_url()).await;
}

#[tokio::test]
#[ignore = "needs the reference MCP servers"]
async fn files_are_written_read_and_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let command = McpCommand::new(program("mcp-server-filesystem")).with_arguments([&root]);
    let server = McpServer::new(McpConfig::new("files", command)).unwrap();
    let write = tool(&server, "files.write_file").await;
    let read = tool(&server, "files.read_text_file").await;
    assert_eq!(read.spec().class, ToolClass::Read);
    assert_ne!(write.spec().class, ToolClass::Read);
    assert!(read.spec().untrusted);
    let path = root.join("a.txt");
    call(&write, json!({"path": path, "content": "forty-two"})).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "forty-two");
    let output = call(&read, json!({"path": path})).await.unwrap();
    assert!(output.to_string().contains("forty-two"), "{output}");
    let error = call(&read, json!({"path": "/etc/passwd"})).await.unwrap_err();
    assert_eq!(error.code(), "tool_failed", "{error:?}");
    assert!(!error.message().is_empty());
}
