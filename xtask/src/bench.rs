//! Measurements against servers that were built as they are shipped.

use std::process::Command;

use crate::checks::{cargo, step, target_folder};

/// Measures the relay of a model's answer; the options are those of `relay-bench run`. Builds the server unless the
/// options name one.
pub(crate) fn relay(options: &[&str]) -> Result<(), String> {
    let mut packages = vec!["--package", "relay-bench"];
    let mut measured = Command::new(target_folder().join("distribution/relay-bench"));
    measured.arg("run").args(options);
    if !options.contains(&"--server") {
        packages.extend(["--package", "operone-server"]);
        measured.arg("--server").arg(target_folder().join("distribution/operone-server"));
    }
    let mut build = cargo(&["build", "--profile", "distribution"]);
    build.args(packages);
    step("the programs to measure", build)?;
    step("relay", measured)
}
