//! The server as its users meet it: a process, asked over HTTP.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

mod agents;
mod approvals;
mod collections;
mod commands;
mod control;
mod crash;
mod database;
mod events;
mod ingest_in_files;
mod mcp;
mod memory;
mod memory_service;
mod models;
mod openai;
mod operations;
mod problems;
mod rag;
mod rag_jobs;
mod readme;
mod slow_readers;
mod support;
mod uploads;
mod workers;
