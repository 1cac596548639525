//! The scopes that the memory tools may reach.

use operone_core::memory::{Scope, ScopeKey};
use operone_core::tool::ToolContext;
use operone_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

/// The scope that [`tools`](super::tools) reads and writes by default.
const DEFAULT_SCOPE: &str = "longterm";

/// Lists the scopes that the tools of [`tools_in`](crate::tools_in) may read and write.
///
/// Scopes match exactly: granting `user/ada` doesn't grant `user/ada/notes`. Order matters, since the first scope of
/// each list is the default. Duplicates are ignored.
///
/// # Examples
///
/// An agent that reads its user's memories and the team's, but writes only the user's:
///
/// ```
/// use operone_core::memory::Scope;
/// use operone_memory::MemoryAccess;
///
/// let (ada, team) = (Scope::new("user/ada")?, Scope::new("team")?);
/// let access = MemoryAccess::new().with_read([ada.clone(), team]).with_write([ada]);
/// assert_eq!((access.read.len(), access.write.len()), (2, 1));
/// # Ok::<(), operone_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryAccess {
    /// Scopes that `memory.read` may read; if empty, there is no such tool.
    pub read: Vec<Scope>,
    /// Scopes that `memory.write` may write; if empty, there is no such tool.
    pub write: Vec<Scope>,
}

impl MemoryAccess {
    /// Creates an access that grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an access that grants reading and writing the same scopes.
    pub fn read_write(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let read: Vec<Scope> = scopes.into_iter().collect();
        Self { write: read.clone(), read }
    }

    /// Sets the scopes that may be read, replacing any set before.
    #[must_use]
    pub fn with_read(mut self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        self.read = scopes.into_iter().collect();
        self
    }

    /// Sets the scopes that may be written, replacing any set before.
    #[must_use]
    pub fn with_write(mut self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        self.write = scopes.into_iter().collect();
        self
    }
}

/// The scopes that one tool accepts.
pub(super) enum Scopes {
    /// Any scope of the tenant.
    Any,
    /// These alone, without duplicates; the first is the default.
    Granted(Vec<Scope>),
}

impl Scopes {
    /// Limits a tool to `scopes`; `None` if there are none.
    pub(super) fn granted(scopes: Vec<Scope>) -> Option<Self> {
        let mut unique: Vec<Scope> = Vec::with_capacity(scopes.len());
        for scope in scopes {
            if !unique.contains(&scope) {
                unique.push(scope);
            }
        }
        (!unique.is_empty()).then_some(Self::Granted(unique))
    }

    /// Returns the scope that a call asked for, or the default.
    pub(super) fn resolve(&self, context: &ToolContext, asked: Option<String>) -> Result<ScopeKey> {
        let scope = match self {
            Self::Any => {
                let asked = asked.filter(|scope| !scope.is_empty());
                Scope::new(asked.unwrap_or_else(|| DEFAULT_SCOPE.to_owned()))?
            }
            Self::Granted(scopes) => {
                let found = match &asked {
                    Some(name) => scopes.iter().find(|scope| scope.as_str() == name),
                    None => scopes.first(),
                };
                found.cloned().ok_or_else(|| not_granted(&asked.unwrap_or_default(), scopes))?
            }
        };
        Ok(ScopeKey::new(context.tenant.clone(), scope))
    }

    /// Returns the schema of the input `scope`; `None` if the model has no choice.
    pub(super) fn property(&self) -> Option<Value> {
        match self {
            Self::Any => {
                let description = format!("such as longterm or session/42; defaults to {DEFAULT_SCOPE}");
                Some(json!({"type": "string", "description": description}))
            }
            Self::Granted(scopes) => {
                let [first, _, ..] = scopes.as_slice() else { return None };
                let description = format!("defaults to {}", first.as_str());
                Some(json!({"type": "string", "enum": scopes, "description": description}))
            }
        }
    }
}

fn not_granted(asked: &str, scopes: &[Scope]) -> Error {
    let granted: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    let detail = format!("the scope '{asked}' is not granted; granted scopes: {}", granted.join(", "));
    Error::new(ErrorKind::Denied, detail).with_code("scope_not_granted")
}
