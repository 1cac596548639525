//! What applies to a scope if nothing else is said, by the first part of its path.

use std::collections::BTreeMap;
use std::time::Duration;

use operone_core::memory::Scope;

/// What applies to the scopes of one root, such as `session`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// A memory that says what the scope holds already is passed over, and gives that one's id.
    pub unique: bool,
    /// The memories of a scope lapse this long after the last write to it; never if left out. A memory with a time
    /// of expiry of its own goes by that alone.
    pub idle_for: Option<Duration>,
    /// The whole scope is one conversation: a memory that names no thread is understood with the ones before and
    /// after it.
    pub is_conversation: bool,
}

impl Policy {
    /// Facts: duplicates are passed over, and nothing lapses.
    pub fn facts() -> Self {
        Self { unique: true, ..Self::default() }
    }

    /// A conversation: what is said twice is kept twice, and all of it lapses a day after the last word.
    pub fn conversation() -> Self {
        Self { unique: false, idle_for: Some(Duration::from_secs(24 * 60 * 60)), is_conversation: true }
    }

    /// Sets after what time without a write the memories lapse.
    #[must_use]
    pub fn with_idle_for(mut self, idle_for: Option<Duration>) -> Self {
        self.idle_for = idle_for;
        self
    }

    /// Sets whether duplicates are passed over.
    #[must_use]
    pub fn with_unique(mut self, unique: bool) -> Self {
        self.unique = unique;
        self
    }
}

/// Policies by root: `session` is a conversation, all others hold facts unless set otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Policies(BTreeMap<String, Policy>);

impl Default for Policies {
    fn default() -> Self {
        Self(BTreeMap::from([("session".to_owned(), Policy::conversation())]))
    }
}

impl Policies {
    pub(crate) fn set(&mut self, root: &str, policy: Policy) {
        self.0.insert(root.to_owned(), policy);
    }

    pub(crate) fn of(&self, scope: &Scope) -> Policy {
        self.0.get(scope.root()).copied().unwrap_or_else(Policy::facts)
    }
}
