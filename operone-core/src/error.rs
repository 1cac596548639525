//! One error for every contract: its kind, a stable code, whether to try again, and the cause.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What every contract returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the caller's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named thing does not exist, or the caller may not know of it.
    NotFound,
    /// The state is not the one the caller relied on: a lost lease, an id taken, a run already running.
    Conflict,
    /// The input is wrong and will stay wrong.
    Invalid,
    /// This implementation does not offer the ability; its capabilities say so.
    Unsupported,
    /// The caller may not do this.
    Denied,
    /// Too much was asked in too short a time.
    RateLimited,
    /// An outside system did not answer; the same call may succeed later.
    Unavailable,
    /// The work was stopped on request.
    Cancelled,
    /// A fault of the implementation or of its data.
    Internal,
}

impl ErrorKind {
    /// The code of an error that has none of its own.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Denied => "denied",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// The error of every contract.
///
/// The message is meant for people and holds no secret and no prompt text; [`Error::code`] is stable and
/// meant for programs. The driver's own error, where there is one, is the [`source`](StdError::source) and
/// is not repeated in the message.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: String,
    operation: Option<&'static str>,
    retryable: bool,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` whose code is the kind's own.
    ///
    /// `RateLimited` and `Unavailable` are retryable unless said otherwise.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: Cow::Borrowed(kind.code()),
            message: message.into(),
            operation: None,
            retryable: matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable),
            retry_after: None,
            source: None,
        }))
    }

    /// Input that is wrong and will stay wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A thing that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A state other than the one relied on.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A fault of the implementation or of its data.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names the cause more precisely than the kind does, for instance `encrypted` or `crash_loop`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// Names the operation that failed, for instance `journal.append`.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Keeps the time after which the other side wants to be asked again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self.0.retryable = true;
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong, in the caller's terms.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code for programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The message for people, without the operation and the cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// When the other side wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The error with its causes, for a log or a console: causes are the drivers' own words.
    pub fn with_causes(&self) -> impl fmt::Display {
        causes(self).fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// What of this error may cross a process or be stored: everything but the operation, the causes as text.
    pub fn report(&self) -> ErrorReport {
        ErrorReport {
            kind: self.0.kind,
            code: self.0.code.to_string(),
            detail: self.0.message.clone(),
            retryable: self.0.retryable,
            causes: causes(self).take(MAX_CAUSES).map(|cause| cause.to_string()).collect(),
        }
    }
}

/// The most causes that a report keeps.
const MAX_CAUSES: usize = 8;

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(StdError::source(error), |cause: &&(dyn StdError + 'static)| (*cause).source())
}

/// A cause that came with a report, and the causes below it.
#[derive(Debug)]
struct ReportedCause {
    text: String,
    below: Option<Box<Self>>,
}

impl ReportedCause {
    fn chain(causes: Vec<String>) -> Option<Box<Self>> {
        causes.into_iter().rev().fold(None, |below, text| Some(Box::new(Self { text, below })))
    }
}

impl fmt::Display for ReportedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ReportedCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.below.as_deref().map(|below| below as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.operation {
            Some(operation) => write!(f, "{operation}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The part of an [`Error`] that is stored with a run and crosses process boundaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What went wrong, in the caller's terms.
    pub kind: ErrorKind,
    /// The stable code for programs.
    pub code: String,
    /// The message for people.
    pub detail: String,
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The chain of causes as text, nearest first, each in the words of the system that reported it. Meant for logs
    /// and operators; don't show them to clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl ErrorReport {
    /// A report with a code of its own.
    pub fn new(kind: ErrorKind, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind, code: code.into(), detail: detail.into(), retryable: false, causes: Vec::new() }
    }
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        error.report()
    }
}

impl From<ErrorReport> for Error {
    fn from(report: ErrorReport) -> Self {
        let error =
            Self::new(report.kind, report.detail).with_code(report.code).with_retryable(report.retryable);
        match ReportedCause::chain(report.causes) {
            Some(cause) => error.with_source(cause as Box<dyn StdError + Send + Sync>),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gives_the_error_back() {
        let error = Error::invalid("the file is encrypted").with_code("encrypted");
        let back = Error::from(error.report());
        assert_eq!(
            (back.kind(), back.code(), back.message()),
            (ErrorKind::Invalid, "encrypted", "the file is encrypted")
        );
    }

    #[test]
    fn causes_survive_a_report() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let inner = Error::internal("connecting to 10.0.0.1:80").with_source(refused);
        let error = Error::new(ErrorKind::Unavailable, "the service cannot be reached").with_source(inner);
        let stored = serde_json::to_string(&error.report()).unwrap();
        let back = Error::from(serde_json::from_str::<ErrorReport>(&stored).unwrap());
        let expected = "the service cannot be reached: connecting to 10.0.0.1:80: connection refused";
        assert_eq!(back.with_causes().to_string(), expected);
    }

    #[test]
    fn the_cause_is_not_repeated_in_the_message() {
        let error = Error::internal("the file cannot be written").with_source("token=abc");
        assert_eq!(error.to_string(), "the file cannot be written");
        assert!(error.source().is_some());
        assert_eq!(error.with_causes().to_string(), "the file cannot be written: token=abc");
    }
}
