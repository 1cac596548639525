//! The server as its users meet it: a process, asked over HTTP.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

mod agents;
mod approvals;
mod commands;
mod control;
mod crash;
mod database;
mod events;
mod mcp;
mod memory;
mod memory_service;
mod models;
mod operations;
mod problems;
mod rag;
mod readme;
mod slow_readers;
mod support;
mod workers;
