//! Runs of agents in processes of their own.
//!
//! The process holds the driver and the file tools, nothing else: journal, model, retrieval, memory and readers
//! are served to it by its parent over a socket that it inherits. It never opens the data folder and knows no key.

mod limits;
mod protocol;
mod supervisor;
mod worker;

pub(crate) use limits::Limits;
pub(crate) use supervisor::{Processes, RunHandler};
pub use worker::run_worker;

/// Limits a process that parses untrusted files.
pub(crate) fn fence_parser(ram: u64) -> std::io::Result<()> {
    Limits { ram: Some(ram), cores: None }.apply()
}
