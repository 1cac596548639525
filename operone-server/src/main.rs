//! The program `operone-server`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use operone_core::Error;
use operone_server::{Arguments, Command, Config, Task, parse, run_task, run_worker, serve_until_stopped};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What `OPERONE_LOG` says where it is not set. What the MCP driver complains of, the server says in its own words.
const DEFAULT_LOG: &str = "warn,rmcp=off";

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    log_to_stderr();
    let result = match arguments.command.take() {
        Some(Command::Worker { ram_bytes, cpu_millicores, linger_ms }) => {
            return run_worker(ram_bytes, cpu_millicores, Duration::from_millis(linger_ms));
        }
        Some(Command::Probe) => return operone_sandbox::run_probe(),
        Some(Command::Parse) => return parse::run_parser(),
        Some(Command::Check) => Config::new(arguments).and_then(|config| {
            operone_server::check(&config)?.iter().for_each(|line| println!("{line}"));
            Ok(())
        }),
        Some(Command::Eval(asked)) => return run(arguments, &Task::Eval(asked)),
        Some(Command::Ingest(asked)) => return run(arguments, &Task::Ingest(asked)),
        Some(Command::Models(asked)) => return run(arguments, &Task::Models(asked)),
        Some(Command::Query(asked)) => return run(arguments, &Task::Query(asked)),
        Some(Command::Reembed(asked)) => return run(arguments, &Task::Reembed(asked)),
        None => Config::new(arguments).and_then(|config| serve_until_stopped(&config)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run(arguments: Arguments, task: &Task) -> ExitCode {
    let result = Config::new(arguments).and_then(|config| run_task(&config, task));
    result.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("operone-server: {}", error.with_causes());
    ExitCode::from(2)
}

fn log_to_stderr() {
    let wanted = std::env::var("OPERONE_LOG").unwrap_or_else(|_| DEFAULT_LOG.to_owned());
    let targets: Targets = wanted.parse().unwrap_or_else(|error| {
        eprintln!("operone-server: OPERONE_LOG is not understood ({error}); using {DEFAULT_LOG}");
        Targets::new().with_default(tracing::Level::WARN)
    });
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    tracing_subscriber::registry().with(targets).with(lines).init();
}
