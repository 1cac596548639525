//! Contracts, value types, the agent state machine and in-process backends of Operone.
//!
//! Everything an agent needs is a contract, object-safe and taken as `Arc<dyn …>`: a [`LanguageModel`](model), tools
//! ([`tool`]), documents ([`chunk`], [`retrieve`]), memory ([`memory`]), a durable [`journal`] and an event bus
//! ([`event`]). Backends are crates of their own; those in [`in_process`] need nothing besides this crate.
//!
//! ```
//! use std::sync::Arc;
//! use operone_core::agent::Agent;
//! use operone_core::in_process::{ScriptedModel, ScriptedTurn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let model = ScriptedModel::new(vec![ScriptedTurn::text(["Hello", " there."])]);
//! let answer = Agent::new(Arc::new(model)).run("Say hello").await?.into_text()?;
//! assert_eq!(answer, "Hello there.");
//! # Ok::<(), operone_core::Error>(()) }).unwrap();
//! ```
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `approximate` | dense queries that compare only part of the vectors of a collection with millions: `ChunkIndex::with_approximate` |
//! | `conformance` | each contract as tests that any backend can run: the module `conformance` |
//! | `jsonschema` (default) | typed answers and tools' inputs checked against their JSON schema: the module `schema`, `Agent::with_output_schema` |
//! | `schemars` (default) | the schema of a tool's input, derived from its type: `ToolHandle::typed`, `ToolSpec::with_schema_of` |
//! | `simd` | scans of vectors in the widest instructions of the processor, chosen at run time |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod clock;
pub mod error; // read this first: every contract returns it
pub mod filter;
pub mod id;
pub mod metadata;

pub mod backoff;
pub mod cache;
pub mod chunk;
pub mod egress;
pub mod embed;
pub mod event;
pub mod journal;
pub mod memory;
pub mod model;
pub mod query;
pub mod retrieve;
#[cfg(feature = "jsonschema")]
pub mod schema;
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
#[cfg(feature = "schemars")]
pub use schemars;
