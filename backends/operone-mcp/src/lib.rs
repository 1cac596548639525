//! MCP servers as tools for Operone: over a child's standard input and output, and over streamable HTTP.
//!
//! An [`McpServer`] is a [`ToolSet`](operone_core::tool::ToolSet): each tool of the server becomes a tool named
//! `<server>.<tool>` with the server's own description and schema. The server is started, or called, when its tools are first
//! asked for, and again after it was lost; what it does to itself does not hurt the host: messages, answers and waits
//! are bounded, and a child dies with its whole process group when the `McpServer` is dropped.
//!
//! ```no_run
//! use operone_core::tool::{ToolContext, ToolSet};
//! use operone_mcp::{McpCommand, McpConfig, McpServer};
//! use serde_json::json;
//!
//! # async fn example() -> operone_core::Result<()> {
//! let command = McpCommand::new("mcp-server-filesystem").with_arguments(["/srv/files"]);
//! let server = McpServer::new(McpConfig::new("files", command))?;
//! for tool in server.tools().await? {
//!     println!("{}: {}", tool.spec().name, tool.spec().description);
//!     if tool.spec().name == "files.read_text_file" {
//!         let text = tool.call(&ToolContext::default(), json!({"path": "/srv/files/a.txt"})).await?;
//!         println!("{text}");
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! What a tool may do is taken from its annotations: `readOnlyHint` makes it `read`, `idempotentHint` `idempotent`,
//! and what declares neither is `once`. Unless `openWorldHint` is false its input leaves this system. What it returns is
//! always taken as written by strangers. A [`ToolPolicy`] overrides each of the three for one tool.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connection;
mod error;
mod http;
mod output;
mod server;
mod stdio;
mod tool;

pub use config::{McpCommand, McpConfig, McpEndpoint, McpTransport, ToolPolicy};
pub use server::McpServer;
