//! The project's own commands: `cargo xtask test` runs every check there is, `cargo xtask chaos` kills, `cargo xtask
//! bench` measures.

mod bench;
mod chaos;
mod checks;
mod debian;
mod local_model;
mod mcp_servers;
mod model_service;
mod openai_clients;
mod packages;
mod postgres;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test     format, lints, tests, the suites of real services, and documentation
cargo xtask chaos    kills of the server and of workers in the middle of runs
                     [--server-kills N] [--worker-kills N] [--seed S] [--server PATH]
cargo xtask bench relay
                     what the relay of a model's answer costs, beside a bare proxy
                     [--requests N] [--tokens N] [--streams N] [--server PATH]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => checks::run(),
        ["chaos", options @ ..] => chaos::Options::parse(options).and_then(|options| checks::chaos(&options)),
        ["bench", "relay", options @ ..] => bench::relay(options),
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
