//! The indexes of the scopes in use, within a budget of memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operone_core::memory::ScopeKey;
use tokio::sync::RwLock;

use crate::index::Index;

/// Indexes by scope; those that were not used for the longest time go first.
#[derive(Debug)]
pub(crate) struct Indexes {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<ScopeKey, Slot>,
    /// The scopes by their last use.
    by_use: BTreeMap<u64, ScopeKey>,
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
    pub(crate) fn of(&self, scope: &ScopeKey) -> Arc<RwLock<Index>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        if let Some(slot) = kept.slots.get_mut(scope) {
            let before = std::mem::replace(&mut slot.used, now);
            let index = Arc::clone(&slot.index);
            if let Some(scope) = kept.by_use.remove(&before) {
                kept.by_use.insert(now, scope);
            }
            return index;
        }
        let index = Arc::new(RwLock::new(Index::new(scope)));
        kept.slots.insert(scope.clone(), Slot { index: Arc::clone(&index), bytes: 0, used: now });
        kept.by_use.insert(now, scope.clone());
        index
    }

    /// The index of a scope has grown or shrunk: others may have to go.
    pub(crate) fn resized(&self, scope: &ScopeKey, bytes: usize) {
        let mut kept = self.kept();
        let Some(slot) = kept.slots.get_mut(scope) else {
            return;
        };
        let before = std::mem::replace(&mut slot.bytes, bytes);
        kept.bytes = kept.bytes.saturating_sub(before).saturating_add(bytes);
        while kept.bytes > self.budget {
            let oldest = kept.by_use.iter().find(|(_, other)| *other != scope);
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

    fn scope(name: &str) -> ScopeKey {
        ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
    }

    #[test]
    fn the_scope_that_was_not_used_for_longest_goes() {
        let indexes = Indexes::new(100);
        for name in ["a", "b", "c"] {
            indexes.of(&scope(name));
            indexes.resized(&scope(name), 30);
        }
        let a = indexes.of(&scope("a"));
        indexes.of(&scope("d"));
        indexes.resized(&scope("d"), 50);
        let names: Vec<String> =
            indexes.kept().by_use.values().map(|scope| scope.scope.as_str().to_owned()).collect();
        assert_eq!(names, ["a", "d"], "b and c went");
        assert!(Arc::ptr_eq(&a, &indexes.of(&scope("a"))));
        assert_eq!(indexes.kept().bytes, 80);
    }

    #[test]
    fn a_scope_that_alone_is_too_large_stays_while_it_is_used() {
        let indexes = Indexes::new(100);
        let large = indexes.of(&scope("large"));
        indexes.resized(&scope("large"), 1000);
        assert!(Arc::ptr_eq(&large, &indexes.of(&scope("large"))));
        indexes.of(&scope("b"));
        indexes.resized(&scope("b"), 1);
        assert!(!Arc::ptr_eq(&large, &indexes.of(&scope("large"))), "another scope drove it out");
        assert_eq!(indexes.kept().bytes, 1);
    }
}
