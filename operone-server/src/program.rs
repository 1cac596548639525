//! The server as a program: its two runtimes, its ready line, and its stop.

use std::fs;
use std::io::Write;
use std::path::Path;

use operone_core::error::{Error, ErrorKind, Result};
use operone_models::Secret;
use operone_sandbox::Probe;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Internal};
use crate::databases;
use crate::{Listeners, assemble, serve};

/// Serves on the configuration until SIGINT or SIGTERM, having printed one line with the URL when it is ready.
pub fn serve_until_stopped(config: &Config) -> Result<()> {
    // Requests and background work have a runtime each: neither can hold up the other.
    let requests = runtime("operone-api")?;
    let background = runtime("operone-work")?;
    let result = requests.block_on(async {
        let public = bind(config.listen).await?;
        let address = public.local_addr().map_err(not_bound(config.listen))?;
        let parts = assemble(config, background.handle().clone()).await?;
        let internal = match &config.internal {
            Some(internal) => Some((bind(internal.listen).await?, token(internal, &config.data)?)),
            None => None,
        };
        let mut stop = signals()?;
        println!(
            "operone-server {} on http://{address} · data in {} · answers come from the {}",
            env!("CARGO_PKG_VERSION"),
            parts.info.data.display(),
            parts.info.model_note(),
        );
        let stopped = async move {
            tokio::select! {
                _ = stop.0.recv() => {}
                _ = stop.1.recv() => {}
            }
        };
        serve(Listeners { public, internal }, parts, stopped).await;
        Ok(())
    });
    background.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// What each part of the server would use, one line each; nothing is opened or made.
pub fn check(config: &Config) -> Result<Vec<String>> {
    let model = match &config.model {
        Some(model) => {
            config.models.choose(model)?;
            model.clone()
        }
        None => "extractive: no language model (name one with --model)".to_owned(),
    };
    let files = match &config.files_roots {
        None => "any file that this user can read".to_owned(),
        Some(roots) if roots.is_empty() => "none (name folders with --files-root)".to_owned(),
        Some(roots) => roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    let networks: Vec<String> = config.allow_egress.iter().map(ToString::to_string).collect();
    let web = match networks.as_slice() {
        [] => "public addresses".to_owned(),
        some => format!("public addresses, and {}", some.join(", ")),
    };
    let internal = match &config.internal {
        None => "beside the public routes, for this machine only".to_owned(),
        Some(internal) => format!("http://{} with a token", internal.listen),
    };
    Ok([
        format!("listen         http://{}", config.listen),
        format!("internal       {internal}"),
        format!("data           {}", config.data.display()),
        format!(
            "workspace      {}, at most {} bytes per tenant",
            config.workspace.display(),
            config.workspace_quota
        ),
        format!("file sources   {files}"),
        format!("web            {web}"),
        format!("model          {model}"),
        format!("embedder       {}", crate::embedder::describe(config)),
        "journal        SQLite in the data folder".to_owned(),
        "memory         SQLite in the data folder".to_owned(),
        "chunks         SQLite in the data folder".to_owned(),
        "events         within the process".to_owned(),
    ]
    .into_iter()
    .chain(databases_of(config)?)
    .chain(
        config
            .mcp_servers
            .iter()
            .map(|server| format!("mcp            {} by {}, not asked", server.name, server.transport)),
    )
    .chain(fences(&Probe::of(&config.program, "probe")))
    .collect())
}

/// Each database for agents, asked whether it is there.
fn databases_of(config: &Config) -> Result<Vec<String>> {
    let opened = runtime("operone-check")?.block_on(databases::open(&config.databases))?;
    let lines = opened.iter().map(|database| {
        let away = database.away.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("database       {} on {}{away}", database.name, database.shown)
    });
    Ok(lines.collect())
}

/// Each layer that is tried without changing anything; control groups are taken over when the server starts.
fn fences(probe: &Probe) -> Vec<String> {
    let tried = probe.layers.iter().filter(|(name, _)| name.as_str() != "cgroup");
    tried
        .map(|(name, layer)| match (&layer.reason, probe.landlock_abi) {
            (Some(reason), _) => format!("fence          {name}: no, {reason}"),
            (None, Some(abi)) if name.starts_with("landlock") => {
                format!("fence          {name}: yes (Landlock ABI {abi})")
            }
            (None, _) => format!("fence          {name}: yes"),
        })
        .collect()
}

fn runtime(name: &str) -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().thread_name(name).build().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "the server's threads cannot be started").with_source(error)
    })
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(not_bound(address))
}

fn not_bound(address: std::net::SocketAddr) -> impl FnOnce(std::io::Error) -> Error {
    move |error| {
        let detail = format!("cannot listen on {address} (--listen names another address)");
        Error::new(ErrorKind::Unavailable, detail).with_code("address_in_use").with_source(error)
    }
}

fn signals() -> Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    let wait_for = |kind| {
        signal(kind).map_err(|error| Error::internal("signals cannot be waited for").with_source(error))
    };
    Ok((wait_for(SignalKind::interrupt())?, wait_for(SignalKind::terminate())?))
}

/// The internal token: given, kept from before, or made anew in a file that only this user reads.
fn token(internal: &Internal, data: &Path) -> Result<String> {
    if let Some(token) = &internal.token {
        return Ok(token.expose().to_owned());
    }
    let path = data.join("internal.token");
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "the internal token cannot be kept in the data folder")
            .with_source(error)
    };
    if let Ok(kept) = fs::read_to_string(&path)
        && !kept.trim().is_empty()
    {
        return Ok(kept.trim().to_owned());
    }
    let made = Secret::new(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    file.write_all(made.expose().as_bytes()).map_err(failed)?;
    Ok(made.expose().to_owned())
}
