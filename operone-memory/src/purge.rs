//! Erases what has expired, scope by scope, for a host that calls it now and then.

use std::collections::HashMap;
use std::sync::Arc;

use operone_core::Result;
use operone_core::clock::Timestamp;
use operone_core::id::TenantId;
use operone_core::memory::{Revision, Scope, ScopeKey};

use crate::memory::Memory;

/// How many names of tenants or scopes are read at once.
const PAGE: usize = 100;

/// Erases expired memories of all tenants. It remembers when the next one expires, so that a scope in which nothing
/// happens is not read again.
#[derive(Debug)]
pub struct Purge {
    memory: Arc<Memory>,
    seen: HashMap<ScopeKey, (Revision, Option<Timestamp>)>,
}

impl Purge {
    /// Purges this memory.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory, seen: HashMap::new() }
    }

    /// Goes through all scopes once, and gives how many memories were erased. Stopping it halfway is safe.
    pub async fn run(&mut self) -> Result<usize> {
        let mut erased = 0;
        let mut last_tenant: Option<TenantId> = None;
        loop {
            let tenants = self.memory.store.tenants(last_tenant.as_ref(), PAGE).await?;
            for tenant in &tenants {
                let mut last: Option<Scope> = None;
                loop {
                    let scopes = self.memory.store.scopes(tenant, last.as_ref(), PAGE).await?;
                    for scope in &scopes {
                        erased += self.scope(ScopeKey::new(tenant.clone(), scope.clone())).await?;
                    }
                    last = scopes.last().cloned();
                    if scopes.len() < PAGE {
                        break;
                    }
                }
            }
            last_tenant = tenants.last().cloned();
            if tenants.len() < PAGE {
                return Ok(erased);
            }
        }
    }

    async fn scope(&mut self, scope: ScopeKey) -> Result<usize> {
        let now = self.memory.clock.now();
        let revision = self.memory.store.revision(&scope).await?;
        if let Some((seen, next)) = self.seen.get(&scope)
            && *seen == revision
            && next.is_none_or(|next| now < next)
        {
            return Ok(0);
        }
        let erased = self.memory.purge(&scope).await?;
        let index = self.memory.index(&scope, None).await?;
        self.seen.insert(scope, (index.revision(), index.next_expiry(now)));
        Ok(erased)
    }
}

impl Memory {
    /// Erases what has expired in a scope, and gives how many memories that were. What was made from them stays.
    pub async fn purge(&self, scope: &ScopeKey) -> Result<usize> {
        let index = self.index(scope, None).await?;
        let now = self.clock.now();
        let expired = index.unreadable(now);
        drop(index);
        if expired.is_empty() {
            return Ok(0);
        }
        let erased = self.store.erase(scope, &expired, now).await?;
        self.drop_erased(scope).await?;
        Ok(erased.ids.len())
    }
}
