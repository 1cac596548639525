//! The MCP servers that agents may be granted: from what the configuration names to their tools.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use operone_core::agent::AgentSpec;
use operone_core::error::Result;
use operone_core::tool::{ToolHandle, ToolSet, ToolSpec};
use operone_mcp::{McpCommand, McpConfig, McpEndpoint, McpServer, McpTransport};
use operone_models::Secret;
use serde_json::{Value, json};

use crate::config::wrong;

/// What the server's own tools begin with.
const RESERVED: [&str; 6] = ["agent", "db", "file", "http", "memory", "rag"];
/// How long a list of all tools waits for a server that is not connected yet.
const GLANCE: Duration = Duration::from_secs(3);
/// How long servers may take to leave.
const LEAVE: Duration = Duration::from_secs(5);

/// The MCP servers by capability.
#[derive(Debug, Default)]
pub(crate) struct McpServers(BTreeMap<String, McpServer>);

impl McpServers {
    /// Starts and calls none of them yet.
    pub(crate) fn new(configured: &[McpConfig]) -> Result<Self> {
        let servers = configured
            .iter()
            .map(|config| Ok((format!("mcp:{}", config.name), McpServer::new(config.clone())?)));
        Ok(Self(servers.collect::<Result<_>>()?))
    }

    /// The capabilities, one for each server.
    pub(crate) fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Connects to all of them.
    pub(crate) async fn connect(&self) {
        join_all(self.0.iter().map(|(capability, server)| tools(capability, server))).await;
    }

    /// The tools of those servers that the capabilities name. A run goes on without the tools of one that cannot be reached.
    pub(crate) async fn granted(&self, spec: &AgentSpec) -> Vec<ToolHandle> {
        let granted = self.0.iter().filter(|(capability, _)| spec.grants(capability));
        join_all(granted.map(|(capability, server)| tools(capability, server))).await.concat()
    }

    /// Each capability with the tools that it grants, as far as its server answers soon.
    pub(crate) async fn catalogue(&self) -> Vec<(String, Vec<ToolSpec>)> {
        join_all(self.0.iter().map(async |(capability, server)| {
            let tools = tokio::time::timeout(GLANCE, tools(capability, server)).await.unwrap_or_default();
            (capability.clone(), tools.iter().map(|tool| tool.spec().clone()).collect())
        }))
        .await
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        let leaving = join_all(self.0.values().map(McpServer::close));
        if tokio::time::timeout(LEAVE, leaving).await.is_err() {
            tracing::warn!("MCP servers did not leave in time and are killed");
        }
    }
}

async fn tools(capability: &str, server: &McpServer) -> Vec<ToolHandle> {
    server.tools().await.unwrap_or_else(|error| {
        tracing::warn!(capability, error = %error.with_causes(), "the tools of an MCP server are not there");
        Vec::new()
    })
}

/// What may be shown of each server.
pub(crate) fn shown(configured: &[McpConfig]) -> Value {
    let shown = configured.iter().map(|config| {
        let transport = match &config.transport {
            McpTransport::Endpoint(_) => "http",
            _ => "stdio",
        };
        json!({"name": config.name, "transport": transport, "server": config.transport.to_string()})
    });
    Value::Array(shown.collect())
}

/// The servers of `NAME=COMMAND ARGUMENTS` or `NAME=URL` each, or those of `OPERONE_MCP` where the command line names
/// none. The values may hold secrets and are not repeated.
pub(crate) fn configured(
    given: &[Secret],
    variable: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Vec<McpConfig>> {
    let (entries, source) = match given {
        [] => (entries(&variable("OPERONE_MCP")?.unwrap_or_default()), "OPERONE_MCP"),
        some => (some.iter().map(|value| value.expose().to_owned()).collect(), "--mcp"),
    };
    let mut servers: Vec<McpConfig> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let number = number + 1;
        let malformed = || {
            wrong(format!(
                "server {number} of {source} is not of the form NAME=COMMAND ARGUMENTS or NAME=https://URL"
            ))
        };
        let (name, rest) = entry.trim().split_once('=').ok_or_else(malformed)?;
        let words = words(rest)
            .ok_or_else(|| wrong(format!("server {number} of {source} has a quotation mark too few")))?;
        let (first, arguments) = words.split_first().ok_or_else(malformed)?;
        let prefix = format!("OPERONE_MCP_{}", name.to_ascii_uppercase().replace('-', "_"));
        let (token, environment) = (format!("{prefix}_TOKEN"), format!("{prefix}_ENV"));
        let (token_value, environment_value) = (variable(&token)?, variable(&environment)?);
        let config = if first.starts_with("http://") || first.starts_with("https://") {
            if !arguments.is_empty() {
                return Err(malformed());
            }
            if environment_value.is_some() {
                return Err(wrong(format!(
                    "{environment} is set, but the MCP server '{name}' is no command"
                )));
            }
            let endpoint = McpEndpoint::new(first);
            McpConfig::new(
                name,
                match token_value {
                    Some(token) => endpoint.with_bearer_token(token),
                    None => endpoint,
                },
            )
        } else {
            if token_value.is_some() {
                return Err(wrong(format!("{token} is set, but the MCP server '{name}' is no URL")));
            }
            let command = McpCommand::new(first).with_arguments(arguments);
            McpConfig::new(name, with_variables(command, &environment, environment_value)?)
        };
        config.check().map_err(|error| wrong(error.message()))?;
        let name_of = |other: &McpConfig| other.name.to_ascii_uppercase().replace('-', "_");
        if RESERVED.contains(&name) || servers.iter().any(|other| name_of(other) == name_of(&config)) {
            return Err(wrong(format!(
                "an MCP server cannot be named '{name}': another one is, or tools of this server begin so"
            )));
        }
        servers.push(config);
    }
    Ok(servers)
}

fn with_variables(command: McpCommand, source: &str, value: Option<String>) -> Result<McpCommand> {
    let malformed = || wrong(format!("{source} is no list of NAME=VALUE, parted by spaces"));
    let words = words(&value.unwrap_or_default()).ok_or_else(malformed)?;
    words.iter().try_fold(command, |command, word| {
        let (name, value) =
            word.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(malformed)?;
        Ok(command.with_variable(name, value))
    })
}

/// The parts of a text between line ends and semicolons that are not quoted; empty ones are left out.
fn entries(text: &str) -> Vec<String> {
    let (mut entries, mut entry, mut quote) = (Vec::new(), String::new(), None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\n' | ';', None) => {
                entries.push(std::mem::take(&mut entry));
                continue;
            }
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => {}
        }
        entry.push(character);
        if character == '\\' && quote != Some('\'') {
            entry.extend(characters.next());
        }
    }
    entries.push(entry);
    entries.retain(|entry| !entry.trim().is_empty());
    entries
}

/// Words as a shell would part them, which expands nothing: spaces part, single and double quotes hold together, a
/// backslash outside of single quotes takes the next character as it is. `None` if a quotation mark is missing.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (character, None) if character.is_whitespace() => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == character => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str], environment: &[(&str, &str)]) -> Result<Vec<McpConfig>> {
        let given: Vec<Secret> = given.iter().map(|value| Secret::new(*value)).collect();
        configured(&given, |name| {
            Ok(environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            (r#"'a b' "c 'd'" e\ f "#, vec!["a b", "c 'd'", "e f"]),
            (r#"--x="a b"c '' "\"" '\'"#, vec!["--x=a bc", "", "\"", "\\"]),
            ("", vec![]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert!(words("'a").is_none() && words("\"a").is_none());
    }

    #[test]
    fn commands_and_urls_are_told_apart() {
        let servers = parse(&["a=npx -y 'some server'", "b=https://b.example/mcp?x=1"], &[]).unwrap();
        let shown: Vec<String> = servers.iter().map(|server| server.transport.to_string()).collect();
        assert_eq!(shown, ["the command npx", "https://b.example"]);
    }

    #[test]
    fn the_environment_names_servers_tokens_and_variables() {
        let environment = [
            ("OPERONE_MCP", "a-b=x 'c;d';\n w=http://127.0.0.1:1/\n"),
            ("OPERONE_MCP_A_B_ENV", "KEY='a b' HOME=/x"),
            ("OPERONE_MCP_W_TOKEN", "sesame"),
        ];
        let servers = parse(&[], &environment).unwrap();
        let shown = format!("{servers:?}");
        assert!(shown.contains("arguments: 1, variables: [\"HOME\", \"KEY\"]"), "{shown}");
        assert!(shown.contains("bearer: true") && !shown.contains("sesame"), "{shown}");
        assert_eq!(parse(&["z=x"], &environment).unwrap().len(), 1, "the command line comes first");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        let token = [("OPERONE_MCP_A_TOKEN", "sesame")];
        let variables = [("OPERONE_MCP_A_ENV", "sesame")];
        for (given, environment) in [
            (vec!["sesame"], &[][..]),
            (vec!["a="], &[]),
            (vec!["a=x 'sesame"], &[]),
            (vec!["a.b=sesame"], &[]),
            (vec!["file=sesame"], &[]),
            (vec!["a-b=x", "A_B=sesame"], &[]),
            (vec!["a=https://"], &[]),
            (vec!["a=https://x.example sesame"], &[]),
            (vec!["a=x"], &token),
            (vec!["a=x"], &variables),
            (vec!["a=https://x.example"], &variables),
        ] {
            let error = parse(&given, environment).unwrap_err();
            assert_eq!(error.code(), "invalid_configuration", "{given:?}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
