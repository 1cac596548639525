//! The indexes of the scopes in use, within a budget of memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operone_core::memory::ScopeKey;
use tokio::sync::RwLock;

use crate::index::{Index, Until};
use crate::policy::Policy;

/// Which index: that of a scope, or of a scope as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IndexKey {
    pub(crate) scope: ScopeKey,
    pub(crate) until: Option<Until>,
}

/// Indexes by scope; those that were not used for the longest time go first.
#[derive(Debug)]
pub(crate) struct Indexes {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<IndexKey, Slot>,
    /// The scopes by their last use.
    by_use: BTreeMap<u64, IndexKey>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    index: Arc<RwLock<Index>>,
    bytes: usize,
    used: u64,
}

impl Indexes {
    /// Keeps indexes of about `budget` bytes, and the one in use whatever it takes.
    pub(crate) fn new(budget: usize) -> Self {
        Self { budget, kept: Mutex::default() }
    }

    /// The index of a scope; a new one knows nothing yet.
    pub(crate) fn of(&self, key: &IndexKey, policy: Policy) -> Arc<RwLock<Index>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        if let Some(slot) = kept.slots.get_mut(key) {
            let before = std::mem::replace(&mut slot.used, now);
            let index = Arc::clone(&slot.index);
            if let Some(key) = kept.by_use.remove(&before) {
                kept.by_use.insert(now, key);
            }
            return index;
        }
        let index = Arc::new(RwLock::new(Index::new(policy, key.until)));
        kept.slots.insert(key.clone(), Slot { index: Arc::clone(&index), bytes: 0, used: now });
        kept.by_use.insert(now, key.clone());
        index
    }

    /// Lets go of what a scope was at other times.
    pub(crate) fn forget_earlier(&self, scope: &ScopeKey) {
        let mut kept = self.kept();
        let earlier: Vec<(u64, IndexKey)> = kept
            .by_use
            .iter()
            .filter(|(_, key)| key.scope == *scope && key.until.is_some())
            .map(|(used, key)| (*used, key.clone()))
            .collect();
        for (used, key) in earlier {
            kept.by_use.remove(&used);
            if let Some(slot) = kept.slots.remove(&key) {
                kept.bytes = kept.bytes.saturating_sub(slot.bytes);
            }
        }
    }

    /// The index of a scope has grown or shrunk: others may have to go.
    pub(crate) fn resized(&self, key: &IndexKey, bytes: usize) {
        let mut kept = self.kept();
        let Some(slot) = kept.slots.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut slot.bytes, bytes);
        kept.bytes = kept.bytes.saturating_sub(before).saturating_add(bytes);
        while kept.bytes > self.budget {
            let oldest = kept.by_use.iter().find(|(_, other)| *other != key);
            let Some((used, oldest)) = oldest.map(|(used, oldest)| (*used, oldest.clone())) else {
                return;
            };
            kept.by_use.remove(&used);
            if let Some(slot) = kept.slots.remove(&oldest) {
                kept.bytes = kept.bytes.saturating_sub(slot.bytes);
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use operone_core::id::TenantId;
    use operone_core::memory::Scope;

    use super::*;

    fn key(name: &str) -> IndexKey {
        IndexKey { scope: ScopeKey::new(TenantId::local(), Scope::new(name).unwrap()), until: None }
    }

    fn of(indexes: &Indexes, name: &str) -> Arc<RwLock<Index>> {
        indexes.of(&key(name), Policy::facts())
    }

    #[test]
    fn the_scope_that_was_not_used_for_longest_goes() {
        let indexes = Indexes::new(100);
        for name in ["a", "b", "c"] {
            of(&indexes, name);
            indexes.resized(&key(name), 30);
        }
        let a = of(&indexes, "a");
        of(&indexes, "d");
        indexes.resized(&key("d"), 50);
        let names: Vec<String> =
            indexes.kept().by_use.values().map(|key| key.scope.scope.as_str().to_owned()).collect();
        assert_eq!(names, ["a", "d"], "b and c went");
        assert!(Arc::ptr_eq(&a, &of(&indexes, "a")));
        assert_eq!(indexes.kept().bytes, 80);
    }

    #[test]
    fn a_scope_that_alone_is_too_large_stays_while_it_is_used() {
        let indexes = Indexes::new(100);
        let large = of(&indexes, "large");
        indexes.resized(&key("large"), 1000);
        assert!(Arc::ptr_eq(&large, &of(&indexes, "large")));
        of(&indexes, "b");
        indexes.resized(&key("b"), 1);
        assert!(!Arc::ptr_eq(&large, &of(&indexes, "large")), "another scope drove it out");
        assert_eq!(indexes.kept().bytes, 1);
    }
}
