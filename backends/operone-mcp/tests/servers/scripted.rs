//! A server as a shell script: it answers the greeting and the list as it should, and calls as a test wants.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use operone_core::tool::{ToolContext, ToolHandle, ToolSet};
use operone_core::{Error, Result};
use operone_mcp::{McpCommand, McpConfig, McpServer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a script is made of. `$id` is the id of the request; `answer` sends a result, `content` a text.
const SCRIPT: &str = r#"
printf '%s\n' "$$" >> "$FOLDER/started"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
content() { answer '{"content":[{"type":"text","text":"'"$1"'"}]}'; }
tool() { printf '{"name":"%s","inputSchema":{"type":"object"}}' "$1"; }
greet() { answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"scripted","version":"1"}}'; }
list() { answer '{"tools":['"$(tool t)"']}'; }
call() { content hello; }
"#;

const LOOP: &str = r#"
while IFS= read -r line; do
  printf '%s\n' "$line" >> "$FOLDER/received"
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*) greet ;;
    *'"method":"tools/list"'*) list ;;
    *'"method":"tools/call"'*) call ;;
  esac
done
"#;

pub(crate) struct Scripted {
    folder: TempDir,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server whose script ends in these lines, which may replace `greet`, `list` and `call`.
    pub(crate) fn config(&self, lines: &str) -> McpConfig {
        let command = McpCommand::new("sh")
            .with_arguments(["-c".to_owned(), format!("{SCRIPT}\n{lines}\n{LOOP}")])
            .with_variable("FOLDER", self.folder.path());
        McpConfig::new("s", command)
    }

    pub(crate) fn server(&self, lines: &str) -> McpServer {
        McpServer::new(self.config(lines)).unwrap()
    }

    /// The lines of a file that the script has written.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The processes that were started so far.
    pub(crate) fn started(&self) -> Vec<u32> {
        self.lines("started").iter().map(|line| line.parse().unwrap()).collect()
    }

    pub(crate) fn received(&self, method: &str) -> Vec<Value> {
        let method = json!(method);
        let messages = self.lines("received").into_iter().map(|line| serde_json::from_str(&line).unwrap());
        messages.filter(|message: &Value| message["method"] == method).collect()
    }
}

pub(crate) async fn tool(server: &McpServer, name: &str) -> ToolHandle {
    let tools = server.tools().await.unwrap();
    tools
        .iter()
        .find(|tool| tool.spec().name == name)
        .unwrap_or_else(|| panic!("no {name} in {tools:?}"))
        .clone()
}

pub(crate) async fn call(tool: &ToolHandle, input: Value) -> Result<Value> {
    tool.call(&ToolContext::default(), input).await
}

pub(crate) async fn failure(tool: &ToolHandle) -> Error {
    call(tool, json!({})).await.unwrap_err()
}

/// Whether there is such a process that is no corpse.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

pub(crate) async fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: this takes too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
