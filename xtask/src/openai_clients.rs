//! OpenAI's own clients for tests, from the Python and npm indexes.

use std::path::{Path, PathBuf};

use crate::debian::run;
use crate::packages;

const PYTHON_PACKAGE: &str = "openai==3.54.0";
const NPM_PACKAGE: &str = "openai@7.57.0";

/// Installs what is missing below `target`; gives the Python interpreter and the folder of the npm packages.
pub(crate) fn install(target: &Path) -> Result<(PathBuf, PathBuf), String> {
    let folder = target.join("openai-clients");
    println!("── installing OpenAI's clients");
    packages::npm(&folder.join("npm"), &[NPM_PACKAGE])?;
    let python = packages::python(&folder.join("python"))?;
    run(packages::pip(&python, "install").arg(PYTHON_PACKAGE))?;
    Ok((python, folder.join("npm/node_modules")))
}
