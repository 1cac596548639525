//! Runs of agents in processes of their own.
//!
//! The process holds the driver and the file tools, nothing else: journal, model, retrieval, memory and readers
//! are served to it by its parent over a socket that it inherits. It never opens the data folder and knows no key, and
//! the operating system keeps it from trying: see `operone-sandbox`.

mod last_words;
mod protocol;
mod sandbox;
mod supervisor;
mod worker;

pub(crate) use sandbox::Sandbox;
pub(crate) use supervisor::{Processes, RunHandler};
pub use worker::run_worker;
