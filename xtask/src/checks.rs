//! Every check, in the order in which a fault is found soonest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::chaos;
use crate::debian;
use crate::local_model;
use crate::mcp_servers::McpServers;
use crate::model_service::ModelService;
use crate::openai_clients;
use crate::postgres::PostgresServer;

/// Tests in modules of this name read real documents and collections from the folder `shared/data` beside the
/// checkout.
const WITH_DATA: &str = "with_data";
/// Tests in modules of this name run a real sentence embedding model.
const WITH_LOCAL_MODEL: &str = "with_local_model";
/// Tests in modules of this name ask the reference MCP servers.
const WITH_MCP_SERVERS: &str = "with_mcp_servers";
/// Tests in modules of this name ask a real model service.
const WITH_MODEL_SERVICE: &str = "with_model_service";
/// Tests in modules of this name ask the server with OpenAI's own clients.
const WITH_OPENAI_CLIENTS: &str = "with_openai_clients";
/// Tests in modules of this name ask a real Postgres server.
const WITH_POSTGRES: &str = "with_postgres";

/// What the tests are built with: every feature but those of [`APART`].
const FEATURES: [&str; 7] = [
    "operone-core/approximate",
    "operone-core/conformance",
    "operone-core/schemars",
    "operone-core/simd",
    "operone-embed/bert",
    "operone-server/local-models",
    "operone-sqlite/approximate",
];

/// Packages with a feature that is tested by itself: what it depends on changes how other packages behave that are built
/// together with it.
const APART: [(&str, &str); 1] = [("operone-models", "genai")];

pub(crate) fn run() -> Result<(), String> {
    let mut skipped = Vec::new();
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]),
    )?;
    // The README's commands are run by a test.
    debian::ensure("curl")?;
    step("tests", tests(&["--no-fail-fast"]))?;
    for (package, feature) in APART {
        let tests = cargo(&["test", "--package", package, "--features", feature, "--tests"]);
        step(&format!("tests of {package} with {feature}"), tests)?;
    }
    chaos(&chaos::Options { server_kills: 10, worker_kills: 15, seed: 1, server: None })?;

    if data_folder().is_dir() {
        // Another reader of PDFs, to compare with.
        debian::run(Command::new("pdftotext").arg("-v")).or_else(|_| debian::install("poppler-utils"))?;
        step("tests with data", ignored(WITH_DATA))?;
    } else {
        skipped.extend(names(WITH_DATA)?);
    }
    let target = target_folder();
    suite("a local model", WITH_LOCAL_MODEL, &mut skipped, local_model::fetch(&target), |folder, tests| {
        tests.env("OPERONE_TEST_LOCAL_MODEL", folder);
    })?;
    let service = ModelService::start(&target);
    suite("a model service", WITH_MODEL_SERVICE, &mut skipped, service, ModelService::tell)?;
    let clients =
        openai_clients::install(&target).and_then(|clients| Ok((clients, ModelService::start(&target)?)));
    suite("OpenAI's clients", WITH_OPENAI_CLIENTS, &mut skipped, clients, |(clients, service), tests| {
        let (python, modules) = clients;
        tests.env("OPERONE_TEST_OPENAI_PYTHON", python).env("OPERONE_TEST_OPENAI_MODULES", modules);
        service.tell(tests);
    })?;
    suite("MCP servers", WITH_MCP_SERVERS, &mut skipped, McpServers::start(&target), |servers, tests| {
        tests.env("OPERONE_TEST_MCP_PROGRAMS", servers.programs());
        tests.env("OPERONE_TEST_MCP_URL", servers.url());
    })?;
    suite("Postgres", WITH_POSTGRES, &mut skipped, PostgresServer::start(&target), |server, tests| {
        tests.env("OPERONE_TEST_POSTGRES_URL", server.url());
    })?;

    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", documentation)?;

    for name in &skipped {
        println!("skipped: {name}");
    }
    println!("all checks passed, {} tests skipped", skipped.len());
    Ok(())
}

/// Runs the tests of a module with what they need, which lives as long as they run. Where it cannot be had they are
/// skipped by name, and in CI that is a failure.
fn suite<T>(
    what: &str,
    module: &str,
    skipped: &mut Vec<String>,
    needed: Result<T, String>,
    tell: impl FnOnce(&T, &mut Command),
) -> Result<(), String> {
    match needed {
        Ok(needed) => {
            let mut tests = ignored(module);
            tell(&needed, &mut tests);
            step(&format!("tests with {what}"), tests)
        }
        Err(error) if std::env::var_os("CI").is_some() => {
            Err(format!("the tests with {what} did not run: {error}"))
        }
        Err(error) => {
            println!("{what} cannot be had: {error}");
            skipped.extend(names(module)?);
            Ok(())
        }
    }
}

/// Kills the server, as it was built for the tests, and its workers.
pub(crate) fn chaos(options: &chaos::Options) -> Result<(), String> {
    if options.server.is_none() {
        step("the server to kill", cargo(&["build", "--package", "operone-server"]))?;
    }
    chaos::run(options, target_folder().join("debug/operone-server"))
}

pub(crate) fn step(name: &str, mut command: Command) -> Result<(), String> {
    println!("── {name}");
    let begun = Instant::now();
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if !status.success() {
        return Err(format!("{name}: failed ({status})"));
    }
    println!("── {name}: passed in {} s", begun.elapsed().as_secs());
    Ok(())
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    if std::env::var_os("CI").is_some() {
        // Nobody builds a second time there: what incremental builds keep would only fill the disk.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

fn tests(arguments: &[&str]) -> Command {
    let mut tests = cargo(&["test", "--workspace", "--features", &FEATURES.join(",")]);
    tests.args(arguments);
    tests
}

fn ignored(module: &str) -> Command {
    tests(&["--tests", "--", "--ignored", module, "--nocapture"])
}

/// The names of the tests in a module, for saying what was skipped.
fn names(module: &str) -> Result<Vec<String>, String> {
    let mut list = tests(&["--tests", "--quiet", "--", "--ignored", module, "--list"]);
    list.stderr(Stdio::null());
    let output = list.output().map_err(|error| format!("the tests cannot be listed: {error}"))?;
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn data_folder() -> PathBuf {
    root().parent().map(|beside| beside.join("shared/data")).unwrap_or_default()
}

pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
