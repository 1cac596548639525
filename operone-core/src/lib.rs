//! Contracts, value types, the agent state machine and in-process backends of Operone.

pub mod clock;
pub mod error; // read this first: every contract returns it
pub mod filter;
pub mod id;
pub mod metadata;

pub mod cache;
pub mod chunk;
pub mod egress;
pub mod embed;
pub mod event;
pub mod journal;
pub mod memory;
pub mod model;
pub mod retrieve;
pub mod source;
pub mod tool;

pub mod text;

pub mod agent;
pub mod in_process;
pub mod work;

#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a broken promise fails the test")]
pub mod conformance;

pub use error::{Error, ErrorKind, Result};
