//! Which server, how it is reached, and how far its tools are trusted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use operone_core::tool::ToolClass;
use operone_core::{Error, Result};
use reqwest::Url;
use reqwest::header::HeaderValue;

/// The longest name of a server, in bytes.
const MAX_NAME: usize = 32;

/// One MCP server and how its tools are called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct McpConfig {
    /// What its tools are named after: 1 to 32 ASCII letters, digits, `-` or `_`.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// The longest time of one call, a start of the server included; a minute by default.
    pub call_timeout: Duration,
    /// The longest time from a start to the end of the greeting, and of one listing of the tools; half a minute by
    /// default.
    pub start_timeout: Duration,
    /// The longest message that is read, in bytes; 16 MiB by default. A server that sends a longer one is lost.
    pub max_message: usize,
    /// What the host knows better than the server, by the server's own name of the tool.
    pub policies: BTreeMap<String, ToolPolicy>,
}

impl McpConfig {
    /// A server by this name, with the usual times and limits.
    pub fn new(name: impl Into<String>, transport: impl Into<McpTransport>) -> Self {
        Self {
            name: name.into(),
            transport: transport.into(),
            call_timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            max_message: 16 << 20,
            policies: BTreeMap::new(),
        }
    }

    /// Sets the longest time of one call.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets the longest time of a start, and of one listing of the tools.
    #[must_use]
    pub fn with_start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Sets the longest message that is read, in bytes.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Overrides what the server says of one of its tools, which is named as the server names it.
    #[must_use]
    pub fn with_policy(mut self, tool: impl Into<String>, policy: ToolPolicy) -> Self {
        self.policies.insert(tool.into(), policy);
        self
    }

    /// Refuses what cannot work: a name that no tool could be named after, a URL or a token that is none. Nothing is
    /// started or called.
    ///
    /// Errors: `Invalid` with code `invalid_mcp_name`, `invalid_mcp_url` or `invalid_mcp_token`.
    pub fn check(&self) -> Result<()> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.bytes().all(allowed) {
            let detail = format!("the name of an MCP server has 1 to {MAX_NAME} letters, digits, '-' or '_'");
            return Err(Error::invalid(detail).with_code("invalid_mcp_name"));
        }
        match &self.transport {
            McpTransport::Command(_) => Ok(()),
            McpTransport::Endpoint(endpoint) => endpoint.check(),
        }
    }
}

/// How a server is reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum McpTransport {
    /// A child process that is spoken to over its standard input and output.
    Command(McpCommand),
    /// A URL that speaks streamable HTTP.
    Endpoint(McpEndpoint),
}

/// The program without its arguments, or the URL's scheme, host and port: what may be shown.
impl fmt::Display for McpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "the command {}", command.program.display()),
            Self::Endpoint(endpoint) => f.write_str(&endpoint.origin()),
        }
    }
}

impl From<McpCommand> for McpTransport {
    fn from(command: McpCommand) -> Self {
        Self::Command(command)
    }
}

impl From<McpEndpoint> for McpTransport {
    fn from(endpoint: McpEndpoint) -> Self {
        Self::Endpoint(endpoint)
    }
}

/// A child process. It gets the host's `PATH` and the variables that are named here, and nothing else of the host's
/// environment. `Debug` shows no argument and no variable's value.
#[derive(Clone)]
pub struct McpCommand {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: BTreeMap<OsString, OsString>,
}

impl McpCommand {
    /// A program, found by `PATH` where it is no path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: BTreeMap::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn with_arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl fmt::Debug for McpCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpCommand")
            .field("program", &self.program)
            .field("arguments", &self.arguments.len())
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A URL and the token that it wants. `Debug` shows neither the token nor the URL's path and query.
#[derive(Clone)]
pub struct McpEndpoint {
    pub(crate) url: String,
    pub(crate) bearer: Option<String>,
}

impl McpEndpoint {
    /// An `http` or `https` URL. It is called as it stands: redirects are not followed, no proxy is used, and no
    /// egress guard applies, since the host chose it.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), bearer: None }
    }

    /// Sends `Authorization: Bearer <token>` with each request.
    #[must_use]
    pub fn with_bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    fn check(&self) -> Result<()> {
        let url = Url::parse(&self.url).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let detail = "the URL of an MCP server begins with http:// or https:// and names a host";
            return Err(Error::invalid(detail).with_code("invalid_mcp_url"));
        }
        if self.bearer.as_ref().is_some_and(|token| HeaderValue::from_str(token).is_err()) {
            let detail = "the token of an MCP server holds characters that no header can hold";
            return Err(Error::invalid(detail).with_code("invalid_mcp_token"));
        }
        Ok(())
    }

    fn origin(&self) -> String {
        Url::parse(&self.url)
            .map_or_else(|_| "an invalid URL".to_owned(), |url| url.origin().ascii_serialization())
    }
}

impl fmt::Debug for McpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpEndpoint")
            .field("origin", &self.origin())
            .field("bearer", &self.bearer.is_some())
            .finish()
    }
}

/// What the host knows better of one tool than the server's annotations say. What is `None` stays as annotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// What may happen when it is run twice.
    pub class: Option<ToolClass>,
    /// Whether what it is called with leaves this system.
    pub egress: Option<bool>,
    /// Whether strangers may have written what it returns; true where nothing else is said.
    pub untrusted: Option<bool>,
}

impl ToolPolicy {
    /// Overrides nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what may happen when the tool is run twice.
    #[must_use]
    pub fn with_class(mut self, class: ToolClass) -> Self {
        self.class = Some(class);
        self
    }

    /// Sets whether what the tool is called with leaves this system.
    #[must_use]
    pub fn with_egress(mut self, egress: bool) -> Self {
        self.egress = Some(egress);
        self
    }

    /// Sets whether strangers may have written what the tool returns.
    #[must_use]
    pub fn with_untrusted_output(mut self, untrusted: bool) -> Self {
        self.untrusted = Some(untrusted);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        let endpoint =
            McpEndpoint::new("https://user:sesame@a.example/mcp?key=sesame").with_bearer_token("sesame");
        let command = McpCommand::new("x").with_arguments(["sesame"]).with_variable("TOKEN", "sesame");
        for shown in
            [format!("{:?}", McpConfig::new("a", endpoint)), format!("{:?}", McpConfig::new("a", command))]
        {
            assert!(!shown.contains("sesame"), "{shown}");
        }
    }

    #[test]
    fn a_name_has_no_dot() {
        for name in ["", "a.b", "a b", "größe", &"a".repeat(33)] {
            let config = McpConfig::new(name, McpCommand::new("x"));
            assert_eq!(config.check().unwrap_err().code(), "invalid_mcp_name", "{name}");
        }
        assert!(McpConfig::new("a-B_1", McpCommand::new("x")).check().is_ok());
    }
}
