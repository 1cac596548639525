//! Where a memory belongs: a tenant and a path.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::TenantId;

/// A scope of one tenant: the key under which everything of memory is stored and read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// The scope.
    pub scope: Scope,
}

impl ScopeKey {
    /// A scope of a tenant.
    pub fn new(tenant: TenantId, scope: Scope) -> Self {
        Self { tenant, scope }
    }
}

/// What memories belong together: a path such as `longterm`, `session/42`, `user/7` or `agent/planner`.
///
/// A path names itself alone: `session` and `session/42` are two scopes, and reading one never shows the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// The longest scope, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// Checks a scope: parts of ASCII letters, digits, `-`, `_`, `.` or `:`, joined by `/`. Anything else is
    /// `Invalid` with code `invalid_scope`.
    pub fn new(scope: impl Into<String>) -> Result<Self> {
        let scope = scope.into();
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
        };
        if scope.len() > Self::MAX_LENGTH || !scope.split('/').all(part) {
            return Err(Error::invalid(format!(
                "'{scope}' is no scope: use parts of letters, digits, '-', '_', '.' or ':' joined by '/', such as longterm or session/42"
            ))
            .with_code("invalid_scope"));
        }
        Ok(Self(scope))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part of the path, which decides what applies by default: `session` of `session/42`.
    pub fn root(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
