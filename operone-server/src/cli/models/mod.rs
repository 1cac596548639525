//! `operone-server models`: models that run on this machine, fetched into the data folder.

mod fetch;
mod manifest;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use operone_core::egress::{EgressPolicy, Network};
use operone_core::error::Result;
use operone_web::WebClient;

use super::print;
use super::progress::bytes;
use crate::config::Config;

use fetch::{Fetched, fetch};
use manifest::Manifest;

/// What to do with models.
#[derive(Debug, clap::Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Fetches a model into DATA/models/NAME and checks every file; what is there already is not fetched again
    Pull(PullArguments),
}

#[derive(Debug, clap::Args)]
struct PullArguments {
    /// all-minilm-l6-v2, or how to call a model of your own
    name: String,

    /// The URL of the folder that has the files, if it is not the one that is known for the name
    #[arg(long, value_name = "URL")]
    from: Option<String>,

    /// A file of a model of your own and the SHA-256 that it must have; give it again for each file
    #[arg(long, value_name = "FILE=HASH")]
    sha256: Vec<String>,

    /// Instead of --sha256, a JSON file {"from"?, "files": {FILE: HASH}}
    #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
    manifest: Option<PathBuf>,
}

pub(super) async fn models(config: &Config, arguments: &ModelsArguments) -> Result<ExitCode> {
    let ModelsCommand::Pull(arguments) = &arguments.command;
    let manifest = Manifest::find(
        &arguments.name,
        arguments.from.as_deref(),
        &arguments.sha256,
        arguments.manifest.as_deref(),
    )?;
    let folder = model_folder(&config.data, &arguments.name)
        .ok_or_else(|| super::wrong("a model's name has letters, digits, '-', '_' and '.' only"))?;
    // Who can start this program can reach whatever this machine reaches.
    let everywhere = ["0.0.0.0/0", "::/0"].iter().try_fold(EgressPolicy::public(), |policy, network| {
        Network::parse(network).map(|network| policy.allowing(network))
    })?;
    let client = WebClient::new(everywhere)?;
    for file in &manifest.files {
        let bar = bytes();
        bar.set_message(file.name.clone());
        let fetched = fetch(&client, &manifest.from, &folder, file, &bar).await;
        bar.finish_and_clear();
        match fetched? {
            Fetched::Already => print(format_args!("there     {}", file.name)),
            Fetched::Now(bytes) => print(format_args!("fetched   {} ({bytes} bytes)", file.name)),
        }
    }
    print(format_args!("{} is complete: serve with --embedder {}", folder.display(), arguments.name));
    Ok(ExitCode::SUCCESS)
}

/// Where a model of this name is kept; `None` for what is no name.
pub(crate) fn model_folder(data: &Path, name: &str) -> Option<PathBuf> {
    let named = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_name = !name.is_empty() && !name.starts_with('.') && name.chars().all(named);
    is_name.then(|| data.join("models").join(name))
}
