//! The command line and the environment: the only place that reads either.

use std::cell::Cell;
use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use operone_core::egress::Network;
use operone_core::error::{Error, Result};
use operone_core::journal::Durability;
use operone_core::model::Price;
use operone_files::Quota;
use operone_mcp::McpConfig;
use operone_models::{Models, Secret};

use crate::cli::{EvalArguments, IngestArguments, ModelsArguments, QueryArguments, ReembedArguments};
use crate::mcp;

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

    /// The folder below which agents read and write files, one folder in it per tenant [default: DATA/workspace]
    #[arg(long, env = "OPERONE_WORKSPACE", value_name = "DIR", global = true)]
    workspace: Option<PathBuf>,

    /// How much agents may write into the folder of one tenant; 0 lets them read only
    #[arg(long, env = "OPERONE_WORKSPACE_QUOTA", value_name = "BYTES", global = true)]
    #[arg(default_value_t = Quota::default().bytes)]
    workspace_quota: u64,

    /// A folder below which file:// sources may be read; give it again for another [default: any file, as long as
    /// only this machine can ask]
    #[arg(long, env = "OPERONE_FILES_ROOT", value_name = "DIR", value_delimiter = ':', global = true)]
    files_root: Vec<PathBuf>,

    /// A network that http(s) sources and the http tool may reach although it is private, 10.0.0.0/8 for instance;
    /// give it again for another
    #[arg(long, env = "OPERONE_ALLOW_EGRESS", value_name = "CIDR", value_delimiter = ',', global = true)]
    #[arg(value_parser = Network::parse)]
    allow_egress: Vec<Network>,

    /// A database that agents with the capability db may read: NAME=sqlite:///path/to.db or
    /// NAME=postgresql://user:password@host/database; give it again for another
    #[arg(long, env = "OPERONE_DB", value_name = "NAME=URL", value_delimiter = ',', global = true)]
    #[arg(hide_env_values = true, value_parser = kept_secret)]
    db: Vec<Secret>,

    /// An MCP server whose tools the capability mcp:NAME grants: NAME=COMMAND ARGUMENTS or NAME=https://URL; give it again
    /// for another [env: OPERONE_MCP, one a line or parted by ;]
    #[arg(long, value_name = "NAME=COMMAND|URL", global = true, value_parser = kept_secret)]
    mcp: Vec<Secret>,

    /// What makes the vectors: bundled, hashing, openai:MODEL of the model service, the folder of a model, or the name of
    /// one that was pulled
    /// [default: bundled]
    #[arg(long, env = "OPERONE_EMBEDDER", value_name = "NAME|DIR", global = true)]
    embedder: Option<String>,

    /// What a step that was acknowledged survives: a loss of power (strict), or the end of the process (process,
    /// faster)
    #[arg(long, env = "OPERONE_DURABILITY", value_enum, default_value_t = KeepSteps::Strict, global = true)]
    durability: KeepSteps,

    /// How many seconds work stays with a worker that gives no sign of life
    #[arg(long, env = "OPERONE_LEASE", default_value_t = 30, value_name = "SECONDS", global = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease: u64,

    /// The model of agents with ai: SERVICE:MODEL, for instance openai:gpt-4.1-mini, anthropic:claude-sonnet-4-6 or
    /// ollama:qwen3, or extractive
    /// [default: openai:$OPENAI_MODEL where OPENAI_API_KEY or OPENAI_BASE_URL is set, else extractive]
    #[arg(long, env = "OPERONE_MODEL", value_name = "SERVICE:MODEL", global = true)]
    model: Option<String>,

    /// What a million tokens of the model cost, read and written: 2.50,10 for instance; that of another model:
    /// anthropic:claude-sonnet-4-6=3,15. Give it again for another. Needed for budgets of cost
    /// [env: OPERONE_MODEL_PRICE, several parted by ;]
    #[arg(long, env = "OPERONE_MODEL_PRICE", value_name = "[SERVICE:MODEL=]INPUT,OUTPUT", global = true)]
    #[arg(hide_env = true, value_delimiter = ';', value_parser = parse_price)]
    model_price: Vec<ModelPrice>,

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
    /// Measures how well retrieval does on a judged collection
    Eval(EvalArguments),
    /// Takes files, folders and URLs in
    Ingest(IngestArguments),
    /// Fetches models that run on this machine
    Models(ModelsArguments),
    /// Finds passages in what was taken in
    Query(QueryArguments),
    /// Makes vectors anew that come from another embedder
    Reembed(ReembedArguments),
    /// Drives one run for a server that has started this process
    #[command(hide = true)]
    Worker {
        /// Bytes of memory
        #[arg(long)]
        ram_bytes: Option<u64>,
        /// Thousandths of a processor core
        #[arg(long)]
        cpu_millicores: Option<u32>,
        /// Milliseconds to stay after the end of the run
        #[arg(long, default_value_t = 0)]
        linger_ms: u64,
    },
    /// Parses documents for a server that has started this process
    #[command(hide = true)]
    Parse,
    /// Tries on itself what this host enforces, for a server that has started this process
    #[command(hide = true)]
    Probe,
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
    /// The bytes that one tenant's folder may come to hold by what agents write.
    pub workspace_quota: u64,
    /// The folders below which `file://` sources may be read; `None` allows any file.
    pub files_roots: Option<Vec<PathBuf>>,
    /// The private networks that may be reached.
    pub allow_egress: Vec<Network>,
    /// The databases that agents may read.
    pub databases: Vec<DatabaseConfig>,
    /// The MCP servers whose tools agents may be granted.
    pub mcp_servers: Vec<McpConfig>,
    /// What makes the vectors: `bundled`, `hashing`, or a model on this machine; `None` is `bundled`.
    pub embedder: Option<String>,
    /// The model that answers agents with `ai`, by a name that [`Config::models`] knows; `None` answers by rules.
    pub model: Option<String>,
    /// The models that agents may choose.
    pub models: Models,
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

/// A database that agents may read by SQL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseConfig {
    /// How agents name it: letters, digits, `_` and `-`.
    pub name: String,
    /// Where it is, `sqlite:///path/to.db` or `postgresql://user:password@host/database`.
    pub url: Secret,
}

impl DatabaseConfig {
    /// A database. It is opened with the server.
    pub fn new(name: impl Into<String>, url: Secret) -> Self {
        Self { name: name.into(), url }
    }
}

/// What the tokens of a model cost.
#[derive(Clone, Debug)]
struct ModelPrice {
    /// The model that it is the price of; the default one where absent.
    choice: Option<String>,
    price: Price,
}

/// The model that is meant where only OpenAI's key or address is given.
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
            workspace_quota: Quota::default().bytes,
            data,
            files_roots: None,
            allow_egress: Vec::new(),
            databases: Vec::new(),
            mcp_servers: Vec::new(),
            embedder: None,
            model: None,
            models: Models::new(),
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
            workspace_quota,
            files_root,
            allow_egress,
            db,
            mcp,
            embedder,
            durability,
            lease,
            model,
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
        let model = match model.filter(|model| !model.is_empty()) {
            Some(model) => Some(model),
            None => default_model()?,
        };
        let models = priced(models()?, model.as_deref(), model_price)?;
        let program = std::env::current_exe()
            .map_err(|error| Error::internal("the server's own program is not found").with_source(error))?;
        Ok(Self {
            listen,
            internal: (!local).then_some(Internal { listen: internal_listen, token }),
            api_url,
            workspace: workspace.unwrap_or_else(|| data.join("workspace")),
            workspace_quota,
            data,
            files_roots: (!local || !files_root.is_empty()).then_some(files_root),
            allow_egress,
            databases: databases(&db)?,
            mcp_servers: mcp::configured(&mcp, variable)?,
            embedder: embedder.filter(|embedder| !embedder.is_empty()),
            model,
            models,
            durability: match durability {
                KeepSteps::Strict => Durability::Strict,
                KeepSteps::Process => Durability::Process,
            },
            lease: Duration::from_secs(lease),
            program,
        })
    }
}

/// Takes anything: an error of the command line's parser would repeat the value.
fn kept_secret(value: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(value))
}

/// The databases of `NAME=URL` each. The values hold passwords and are not repeated.
fn databases(given: &[Secret]) -> Result<Vec<DatabaseConfig>> {
    let mut databases: Vec<DatabaseConfig> = Vec::new();
    for (number, value) in given.iter().enumerate() {
        let named = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
        let (name, url) = value
            .expose()
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && name.chars().all(named))
            .ok_or_else(|| {
                wrong(format!(
                    "database {} of --db is not of the form NAME=URL, where the name has letters, digits, _ and -",
                    number + 1
                ))
            })?;
        if databases.iter().any(|database| database.name == name) {
            return Err(wrong(format!("--db names two databases '{name}'")));
        }
        databases.push(DatabaseConfig::new(name, Secret::new(url)));
    }
    Ok(databases)
}

/// The model that OpenAI's variables name, where any is set.
fn default_model() -> Result<Option<String>> {
    if variable("OPENAI_BASE_URL")?.is_none() && variable("OPENAI_API_KEY")?.is_none() {
        return Ok(None);
    }
    let model = variable("OPENAI_MODEL")?.unwrap_or_else(|| DEFAULT_MODEL.to_owned());
    Ok(Some(format!("openai:{model}")))
}

/// The services that the environment names.
fn models() -> Result<Models> {
    let unreadable = Cell::new(None);
    let models = Models::from_variables(|name| {
        variable(name).unwrap_or_else(|error| {
            unreadable.set(Some(error));
            None
        })
    })?;
    match unreadable.take() {
        Some(error) => Err(error),
        None => Ok(models),
    }
}

fn priced(mut models: Models, default: Option<&str>, prices: Vec<ModelPrice>) -> Result<Models> {
    for ModelPrice { choice, price } in prices {
        let Some(choice) = choice.as_deref().or(default) else {
            return Err(wrong("--model-price is given, but no model: name one with --model"));
        };
        models = models.with_price(choice, price);
    }
    Ok(models)
}

/// Two amounts with at most six decimals, and the model before them where it is not the default one.
fn parse_price(text: &str) -> Result<ModelPrice, String> {
    let wrong =
        || format!("'{text}' is no price such as 2.50,10: what a million tokens read and written cost");
    let (choice, text) = match text.rsplit_once('=') {
        Some((choice, amounts)) => (Some(choice.trim().to_owned()), amounts),
        None => (None, text),
    };
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
    let price = Price::new(micros(input).ok_or_else(wrong)?, micros(output).ok_or_else(wrong)?);
    Ok(ModelPrice { choice, price })
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

pub(crate) fn wrong(message: impl Into<String>) -> Error {
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
    fn databases_have_names_and_keep_their_passwords() {
        let given = |values: &[&str]| values.iter().map(|value| Secret::new(*value)).collect::<Vec<_>>();
        let url = "postgresql://agents:canary@host/db?sslmode=require";
        let read = databases(&given(&["sales=sqlite:///sales.db", &format!("more-2={url}")])).unwrap();
        assert_eq!((read[0].name.as_str(), read[1].name.as_str()), ("sales", "more-2"));
        assert_eq!(read[1].url.expose(), url);
        assert!(!format!("{read:?}").contains("canary"));
        for wrong in [vec![url], vec!["=canary"], vec!["a b=canary"], vec!["a=canary", "a=canary"]] {
            let error = databases(&given(&wrong)).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        let arguments = Arguments::parse_from(["operone-server", "--db", "a=canary,b=canary"]);
        assert_eq!(arguments.serve.db.len(), 2);
        assert!(!format!("{arguments:?}").contains("canary"));
    }

    #[test]
    fn a_price_is_read_exactly() {
        assert_eq!(parse_price("2.50,10").unwrap().price, Price::new(2_500_000, 10_000_000));
        assert!(parse_price("2.50,10").unwrap().choice.is_none());
        assert_eq!(parse_price("ollama:a=b=1,2").unwrap().choice.as_deref(), Some("ollama:a=b"));
        assert_eq!(parse_price("0.000001, 0").unwrap().price, Price::new(1, 0));
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
