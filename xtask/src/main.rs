//! The project's own commands: `cargo xtask test` runs every check there is.

mod checks;
mod debian;
mod local_model;
mod mcp_servers;
mod model_service;
mod postgres;

use std::process::ExitCode;

const USAGE: &str =
    "cargo xtask test    format, lints, tests, the suites of real services, and documentation";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => checks::run(),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
