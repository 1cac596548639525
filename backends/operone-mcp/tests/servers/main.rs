//! Servers of every kind behind the tools of this crate: scripted ones that keep and break the rules, and real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod child;
mod http;
mod scripted;
mod with_mcp_servers;
