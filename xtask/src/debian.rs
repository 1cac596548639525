//! Packages of Debian that checks need and a bare machine lacks.

use std::process::Command;

/// Installs the package of this name, with a list of packages that is fetched if the present one does not know it.
pub(crate) fn install(package: &str) -> Result<(), String> {
    println!("── installing {package}");
    let install =
        || run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", package]));
    install().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| install()))
}

/// Installs the package of this name unless there is a program of this name.
pub(crate) fn ensure(program: &str) -> Result<(), String> {
    if run(Command::new(program).arg("--version")).is_ok() { Ok(()) } else { install(program) }
}

/// Runs a command and gives the last line of its error output where it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output =
        command.output().map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let last = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{} failed: {last}", command.get_program().to_string_lossy()))
}
