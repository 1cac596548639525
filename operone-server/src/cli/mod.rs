//! The commands that do one thing and end: evaluate retrieval, ingest, query, embed again.

mod client;
mod eval;
mod ingest;
mod models;
mod place;
mod progress;
mod query;
mod reembed;
mod sources;

use std::io::Write;
use std::process::ExitCode;

use operone_core::error::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::config::Config;

pub use eval::EvalArguments;
pub use ingest::IngestArguments;
pub use models::ModelsArguments;
#[cfg(feature = "local-models")]
pub(crate) use models::model_folder;
pub use query::QueryArguments;
pub use reembed::ReembedArguments;

/// A command that does one thing and ends.
#[derive(Debug)]
pub enum Task {
    /// Measures retrieval on a judged collection.
    Eval(EvalArguments),
    /// Takes documents in.
    Ingest(IngestArguments),
    /// Fetches models.
    Models(ModelsArguments),
    /// Finds passages.
    Query(QueryArguments),
    /// Makes vectors anew.
    Reembed(ReembedArguments),
}

/// Does the task and gives the code to exit with: 1 where nothing that was asked for could be done.
pub fn run_task(config: &Config, task: &Task) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "the program's threads cannot be started").with_source(error)
    })?;
    let result = runtime.block_on(async {
        match task {
            Task::Eval(arguments) => eval::eval(config, arguments).await,
            Task::Ingest(arguments) => ingest::ingest(config, arguments).await,
            Task::Models(arguments) => models::models(config, arguments).await,
            Task::Query(arguments) => query::query(config, arguments).await,
            Task::Reembed(arguments) => reembed::reembed(config, arguments).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// Writes a line to the standard output. A reader that has gone away, `head` for instance, is no error.
fn print(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("the answer cannot be written as JSON").with_source(error))?;
    print(json);
    Ok(())
}

/// An error of the command line.
fn wrong(message: impl Into<String>) -> Error {
    Error::invalid(message).with_code("invalid_arguments")
}
