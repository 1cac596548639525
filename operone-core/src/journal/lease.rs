//! The right to write to a work, and who may get it.

use std::time::Duration;

use super::{Work, WorkKind};
use crate::id::WorkId;

/// Which work to lease, and how.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The kinds the caller can run.
    pub kinds: Vec<WorkKind>,
    /// Only this work.
    pub work: Option<WorkId>,
    /// Who asks, for people.
    pub holder: String,
    /// How long the lease lasts.
    pub lease_for: Duration,
    /// How often work may be tried without getting on.
    pub max_attempts: u32,
}

impl Claim {
    /// Asks for work of these kinds, for 30 seconds and at most 5 attempts.
    pub fn new(kinds: Vec<WorkKind>, holder: impl Into<String>) -> Self {
        Self { kinds, work: None, holder: holder.into(), lease_for: Duration::from_secs(30), max_attempts: 5 }
    }

    /// Asks for this work only.
    #[must_use]
    pub fn with_work(mut self, work: WorkId) -> Self {
        self.work = Some(work);
        self
    }

    /// Sets how long the lease lasts.
    #[must_use]
    pub fn with_lease_for(mut self, lease_for: Duration) -> Self {
        self.lease_for = lease_for;
        self
    }
}

/// The right to write to a work until it passes or a later one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The work.
    pub work: WorkId,
    /// Higher than that of every earlier lease of the work.
    pub epoch: u64,
}

impl Lease {
    /// A lease of a work.
    pub fn new(work: WorkId, epoch: u64) -> Self {
        Self { work, epoch }
    }
}

/// Work with the right to write to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The right to write.
    pub lease: Lease,
    /// The work as it stands.
    pub work: Work,
}

impl Claimed {
    /// Work with its lease.
    pub fn new(lease: Lease, work: Work) -> Self {
        Self { lease, work }
    }
}

/// What a renewal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// Whether the end of the work was asked for.
    pub cancel_requested: bool,
}

impl Renewed {
    /// What a renewal tells.
    pub fn new(cancel_requested: bool) -> Self {
        Self { cancel_requested }
    }
}
