//! The command line and the environment: the only place that reads either.

use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use operone_core::egress::Network;
use operone_core::error::{Error, Result};
use operone_core::journal::Durability;
use operone_core::model::Price;
use operone_models::Secret;

/// Agents, retrieval and memory over HTTP.
#[derive(Debug, Parser)]
#[command(name = "operone-server", version)]
pub struct Arguments {
    #[command(flatten)]
    serve: Serve,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to answer [default: 127.0.0.1, on the port of API_URL or 3000]
    #[arg(long, env = "OPERONE_LISTEN", global = true)]
    listen: Option<SocketAddr>,

    /// Where to answer internal requests, if the public address is not this machine alone
    #[arg(long, env = "OPERONE_INTERNAL_LISTEN", default_value = "127.0.0.1:3001", global = true)]
    internal_listen: SocketAddr,

    /// The folder that holds everything; made if it is missing
    #[arg(long, env = "OPERONE_DATA", default_value = "operone-data", value_name = "DIR", global = true)]
    data: PathBuf,

    /// The folder below which agents read files, one folder in it per tenant [default: DATA/workspace]
    #[arg(long, env = "OPERONE_WORKSPACE", value_name = "DIR", global = true)]
    workspace: Option<PathBuf>,

    /// A folder below which file:// sources may be read; give it again for another [default: any file, as long as
    /// only this machine can ask]
    #[arg(long, env = "OPERONE_FILES_ROOT", value_name = "DIR", value_delimiter = ':', global = true)]
    files_root: Vec<PathBuf>,

    /// A network that http(s) sources and the http tool may reach although it is private, 10.0.0.0/8 for instance;
    /// give it again for another
    #[arg(long, env = "OPERONE_ALLOW_EGRESS", value_name = "CIDR", value_delimiter = ',', global = true)]
    #[arg(value_parser = Network::parse)]
    allow_egress: Vec<Network>,

    /// What a step that was acknowledged survives: a loss of power (strict), or the end of the process (process,
    /// faster)
    #[arg(long, env = "OPERONE_DURABILITY", value_enum, default_value_t = KeepSteps::Strict, global = true)]
    durability: KeepSteps,

    /// How many seconds work stays with a worker that gives no sign of life
    #[arg(long, env = "OPERONE_LEASE", default_value_t = 30, value_name = "SECONDS", global = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease: u64,

    /// What a million tokens of the model cost, read and written: 2.50,10 for instance. Needed for budgets of cost
    #[arg(long, env = "OPERONE_MODEL_PRICE", value_name = "INPUT,OUTPUT", global = true)]
    #[arg(value_parser = parse_price)]
    model_price: Option<Price>,

    /// What this process does
    #[arg(long, env = "OPERONE_ROLE", value_enum, default_value_t = Role::All, global = true)]
    role: Role,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answers requests and does the work.
    All,
    /// Answers requests only.
    Api,
    /// Does the work only.
    Worker,
}

/// What a step that was acknowledged survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeepSteps {
    /// A loss of power.
    Strict,
    /// The end of the process.
    Process,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks the configuration and says what each part would use
    Check,
    /// Drives one run for a server that has started this process
    #[command(hide = true)]
    Worker {
        /// Bytes of memory
        #[arg(long)]
        ram_bytes: Option<u64>,
        /// Processor cores
        #[arg(long)]
        cores: Option<u32>,
        /// Milliseconds to stay after the end of the run
        #[arg(long, default_value_t = 0)]
        linger_ms: u64,
    },
    /// Parses documents for a server that has started this process
    #[command(hide = true)]
    Parse,
}

/// What to serve, where, and on what: checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to answer.
    pub listen: SocketAddr,
    /// Where to answer internal requests; `None` answers them beside the public ones.
    pub internal: Option<Internal>,
    /// The URL by which clients reach the server.
    pub api_url: Option<String>,
    /// The folder that holds everything.
    pub data: PathBuf,
    /// The folder of the agents' files.
    pub workspace: PathBuf,
    /// The folders below which `file://` sources may be read; `None` allows any file.
    pub files_roots: Option<Vec<PathBuf>>,
    /// The private networks that may be reached.
    pub allow_egress: Vec<Network>,
    /// The service that answers; `None` answers by rules.
    pub model: Option<ModelConfig>,
    /// What a step that was acknowledged survives.
    pub durability: Durability,
    /// How long work stays with a worker that gives no sign of life.
    pub lease: Duration,
    /// The program to start for runs and parsers of their own.
    pub program: PathBuf,
}

/// Where internal requests are answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Internal {
    /// The address.
    pub listen: SocketAddr,
    /// The token from the environment; one is made where there is none.
    pub token: Option<Secret>,
}

/// An OpenAI-compatible service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Its URL, with `/v1`.
    pub base_url: String,
    /// Its key.
    pub api_key: Option<Secret>,
    /// The model's name.
    pub model: String,
    /// What its tokens cost, if it is known.
    pub price: Option<Price>,
}

/// The service and the model that are meant where only a key is given.
const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
const DEFAULT_MODEL: &str = "gpt-4.1-mini";

/// Variables that ask for a backend which this version does not have.
const SERVICES: [&str; 3] = ["DATABASE_URL", "REDIS_URL", "QDRANT_URL"];

impl Config {
    /// What a program that nests the server would use: everything in one folder, for this machine alone, no language
    /// model, no look at the environment. `program` is an `operone-server`, for runs and parsers of their own.
    pub fn local(data: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            internal: None,
            api_url: None,
            workspace: data.join("workspace"),
            data,
            files_roots: None,
            allow_egress: Vec::new(),
            model: None,
            durability: Durability::Strict,
            lease: Duration::from_secs(30),
            program: program.into(),
        }
    }

    /// Brings the command line and the environment together.
    pub fn new(arguments: Arguments) -> Result<Self> {
        let Serve {
            listen,
            internal_listen,
            data,
            workspace,
            files_root,
            allow_egress,
            durability,
            lease,
            model_price,
            role,
        } = arguments.serve;
        if role != Role::All {
            return Err(wrong(
                "--role api and --role worker share their work through services; on a data folder use --role all",
            ));
        }
        for name in SERVICES {
            if variable(name)?.is_some() {
                return Err(wrong(format!(
                    "{name} is set, but this version keeps everything in its data folder: unset {name}"
                )));
            }
        }
        let api_url = variable("API_URL")?;
        let port = api_url.as_deref().map_or(Ok(3000), port_of)?;
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
        let local = listen.ip().is_loopback();
        if !local && variable("OPERONE_INSECURE")?.as_deref() != Some("1") {
            return Err(wrong(format!(
                "{listen} can be reached from other machines and there are no keys: listen on 127.0.0.1, or set \
                 OPERONE_INSECURE=1 if something in front of the server keeps strangers out"
            )));
        }
        let token = variable("OPERONE_INTERNAL_TOKEN")?.map(Secret::new);
        let program = std::env::current_exe()
            .map_err(|error| Error::internal("the server's own program is not found").with_source(error))?;
        Ok(Self {
            listen,
            internal: (!local).then_some(Internal { listen: internal_listen, token }),
            api_url,
            workspace: workspace.unwrap_or_else(|| data.join("workspace")),
            data,
            files_roots: (!local || !files_root.is_empty()).then_some(files_root),
            allow_egress,
            model: model(model_price)?,
            durability: match durability {
                KeepSteps::Strict => Durability::Strict,
                KeepSteps::Process => Durability::Process,
            },
            lease: Duration::from_secs(lease),
            program,
        })
    }
}

fn model(price: Option<Price>) -> Result<Option<ModelConfig>> {
    let (base_url, api_key) = (variable("OPENAI_BASE_URL")?, variable("OPENAI_API_KEY")?);
    if base_url.is_none() && api_key.is_none() {
        return Ok(None);
    }
    Ok(Some(ModelConfig {
        base_url: base_url.unwrap_or_else(|| DEFAULT_BASE_URL.to_owned()),
        api_key: api_key.map(Secret::new),
        model: variable("OPENAI_MODEL")?.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
        price,
    }))
}

/// Two amounts with at most six decimals.
fn parse_price(text: &str) -> Result<Price, String> {
    let wrong =
        || format!("'{text}' is no price such as 2.50,10: what a million tokens read and written cost");
    let micros = |amount: &str| {
        let (whole, part) = amount.trim().split_once('.').unwrap_or((amount.trim(), "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let part: u64 = format!("{part:0<6}").parse().ok()?;
        whole.checked_mul(1_000_000)?.checked_add(part)
    };
    let (input, output) = text.split_once(',').ok_or_else(wrong)?;
    Ok(Price::new(micros(input).ok_or_else(wrong)?, micros(output).ok_or_else(wrong)?))
}

/// A variable of the environment; an empty one counts as unset.
fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(wrong(format!("{name} is not valid text"))),
    }
}

fn port_of(url: &str) -> Result<u16> {
    let wrong = || wrong(format!("API_URL is '{url}', which is no URL such as http://localhost:3000"));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().map_err(|_| wrong()),
        _ if scheme == "https" => Ok(443),
        _ => Ok(80),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::invalid(message).with_code("invalid_configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_price_is_read_exactly() {
        assert_eq!(parse_price("2.50,10").unwrap(), Price::new(2_500_000, 10_000_000));
        assert_eq!(parse_price("0.000001, 0").unwrap(), Price::new(1, 0));
        for wrong in ["", "1", "1,", "-1,1", "1e3,1", "0.0000001,1", "a,b"] {
            assert!(parse_price(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_port_of_a_url_is_found() {
        for (url, port) in [
            ("http://localhost:3000", 3000),
            ("http://[::1]:8080/x", 8080),
            ("https://agents.example", 443),
            ("http://[::1]/", 80),
        ] {
            assert_eq!(port_of(url).unwrap(), port, "{url}");
        }
        assert!(port_of("localhost:3000").is_err() && port_of("http://localhost:x").is_err());
    }
}
