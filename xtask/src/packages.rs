//! Packages of the Python and npm indexes, installed in folders of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::{self, run};

/// Makes a Python environment in a folder and gives its interpreter.
pub(crate) fn python(folder: &Path) -> Result<PathBuf, String> {
    let make = || run(Command::new("python3").args(["-m", "venv"]).arg(folder));
    if make().is_err() {
        // Debian's python3 comes without venv.
        debian::install("python3-venv")?;
        make()?;
    }
    Ok(folder.join("bin/python"))
}

/// A command of pip in such an environment; arguments are to be added.
pub(crate) fn pip(python: &Path, command: &str) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", command, "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Installs npm packages in a folder, unless they were installed there before.
pub(crate) fn npm(folder: &Path, packages: &[&str]) -> Result<(), String> {
    let (installed, wanted) = (folder.join("installed"), packages.join("\n"));
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    debian::ensure("npm")?;
    let failed = |error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut install = Command::new("npm");
    install.args(["install", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix"]).arg(folder);
    run(install.args(packages))?;
    // A half-made folder would be taken for a whole one the next time.
    std::fs::write(&installed, wanted).map_err(failed)
}
