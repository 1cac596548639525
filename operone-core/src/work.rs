//! Workers: claim due work from a journal, run it under a lease that is renewed, and give it back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::id::WorkId;
use crate::journal::{Append, Claim, Claimed, Journal, Lease, NewEvent, Outcome, WorkKind};

/// How long work rests after its first try failed for a reason that may pass; each further rest is four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Runs one kind of work.
#[async_trait]
pub trait WorkHandler: fmt::Debug + Send + Sync + 'static {
    /// Runs claimed work and finishes it in the journal.
    ///
    /// - `cancelled` ends when the end of the work was asked for: the handler finishes it as cancelled, soon.
    /// - The future is dropped when the lease is lost or the workers stop; the work is then taken up again, here
    ///   or elsewhere, from what the journal has.
    /// - After an error that is retryable the work is taken up again: soon after its first try, and later after
    ///   each further one, at the latest when the lease would have passed. Any other error ends it as failed.
    async fn run(&self, claimed: Claimed, cancelled: CancellationToken) -> Result<()>;
}

/// Tells workers of this process that work was queued. A ring that nobody hears costs the poll interval, never
/// work. Clones share the bell.
#[derive(Clone, Debug, Default)]
pub struct Doorbell(Arc<Notify>);

impl Doorbell {
    /// Wakes a worker, or the next one that listens.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    async fn wait(&self) {
        self.0.notified().await;
    }
}

/// Claims and runs work until it is stopped. Clones share what runs.
#[derive(Clone, Debug)]
pub struct Workers {
    journal: Arc<dyn Journal>,
    doorbell: Doorbell,
    handlers: HashMap<WorkKind, (Arc<dyn WorkHandler>, usize)>,
    holder: String,
    lease_for: Duration,
    poll: Duration,
    // Held for single look-ups only, never across an await.
    running: Arc<Mutex<HashMap<WorkId, CancellationToken>>>,
}

impl Workers {
    /// Workers without handlers, with leases of 30 seconds, that look for work every 5 seconds besides the
    /// doorbell. `holder` names them to people.
    pub fn new(journal: Arc<dyn Journal>, doorbell: Doorbell, holder: impl Into<String>) -> Self {
        Self {
            journal,
            doorbell,
            handlers: HashMap::new(),
            holder: holder.into(),
            lease_for: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            running: Arc::default(),
        }
    }

    /// Runs work of a kind with a handler, at most `concurrency` (at least 1) at once.
    #[must_use]
    pub fn with_handler(mut self, kind: WorkKind, handler: Arc<dyn WorkHandler>, concurrency: usize) -> Self {
        self.handlers.insert(kind, (handler, concurrency.max(1)));
        self
    }

    /// Sets how long a lease lasts; it is renewed after a third of it.
    #[must_use]
    pub fn with_lease_for(mut self, lease_for: Duration) -> Self {
        self.lease_for = lease_for;
        self
    }

    /// Claims and runs work until `stop` ends; then drops what runs, gives its leases back and returns. Must be
    /// called within a tokio runtime. Dropping the future stops everything too, but leaves the leases to pass.
    pub async fn run(&self, stop: CancellationToken) {
        let mut running: JoinSet<WorkKind> = JoinSet::new();
        let mut busy: HashMap<WorkKind, usize> = HashMap::new();
        while !stop.is_cancelled() {
            let free: Vec<WorkKind> = self
                .handlers
                .iter()
                .filter(|(kind, (_, concurrency))| busy.get(kind).copied().unwrap_or(0) < *concurrency)
                .map(|(kind, _)| kind.clone())
                .collect();
            if !free.is_empty() {
                match self.claim(free).await {
                    Ok(Some(claimed)) => {
                        let kind = claimed.work.new.kind.clone();
                        let Some((handler, _)) = self.handlers.get(&kind).cloned() else { continue };
                        *busy.entry(kind.clone()).or_default() += 1;
                        let (workers, stop) = (self.clone(), stop.clone());
                        running.spawn(async move {
                            workers.run_claimed(claimed, handler.as_ref(), stop).await;
                            kind
                        });
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, code = error.code(), "work cannot be claimed"),
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.doorbell.wait() => {}
                () = tokio::time::sleep(self.poll) => {}
                Some(ended) = running.join_next() => if let Ok(kind) = ended {
                    busy.entry(kind).and_modify(|count| *count = count.saturating_sub(1));
                } else {
                    // A handler panicked: which kind it was is not known, so the counts begin anew.
                    busy.clear();
                },
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn claim(&self, kinds: Vec<WorkKind>) -> Result<Option<Claimed>> {
        self.journal.claim(Claim::new(kinds, self.holder.as_str()).with_lease_for(self.lease_for)).await
    }

    /// Runs work that was claimed already with a handler of the caller's, as [`Workers::run`] does.
    pub async fn run_claimed(&self, claimed: Claimed, handler: &dyn WorkHandler, stop: CancellationToken) {
        let (lease, attempts) = (claimed.lease.clone(), claimed.work.attempts);
        let cancelled = CancellationToken::new();
        if claimed.work.cancel_requested {
            cancelled.cancel();
        }
        let _running = self.register(&lease.work, &cancelled);
        // The renewal is a task of its own, so that a handler that computes for long does not lose its lease.
        let mut renewal = JoinSet::new();
        renewal.spawn(keep_lease(
            Arc::clone(&self.journal),
            lease.clone(),
            self.lease_for,
            cancelled.clone(),
        ));
        let result = tokio::select! {
            biased;
            result = handler.run(claimed, cancelled) => result,
            _ = renewal.join_next() => return,
            () = stop.cancelled() => {
                if let Err(error) = self.journal.release(&lease, None).await
                    // The work has ended, or someone else has it.
                    && error.code() != "lease_lost"
                {
                    tracing::warn!(work = %lease.work, %error, "a lease was not given back and has to pass");
                }
                return;
            }
        };
        if let Err(error) = result {
            renewal.shutdown().await;
            if let Some(pause) = self.settle_error(&lease, attempts, &error).await {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => self.doorbell.ring(),
                }
            }
        }
    }

    /// Tells work that runs here to end, at once instead of with its next renewal. The journal must have been
    /// asked for the end before; work that does not run here is not touched.
    pub fn cancel(&self, work: &WorkId) {
        if let Some(cancelled) = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(work) {
            cancelled.cancel();
        }
    }

    fn register(&self, work: &WorkId, cancelled: &CancellationToken) -> Registered {
        let running = Arc::clone(&self.running);
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(work.clone(), cancelled.clone());
        Registered { running, work: work.clone() }
    }

    /// Ends work that failed, or says after which pause it is due again.
    async fn settle_error(&self, lease: &Lease, attempts: u32, error: &Error) -> Option<Duration> {
        tracing::warn!(work = %lease.work, code = error.code(), %error, "work was interrupted by an error");
        if error.code() == "lease_lost" {
            return None;
        }
        if error.is_retryable() {
            // The lease is kept for a moment, so that nobody else is in a hurry; its attempt stays counted.
            let pause = FIRST_PAUSE.saturating_mul(4_u32.saturating_pow(attempts.saturating_sub(1)));
            let pause = pause.min(self.lease_for);
            return match self.journal.renew(lease, pause).await {
                Ok(_) => Some(pause),
                Err(error) => {
                    tracing::warn!(work = %lease.work, %error, "the work is taken up again when its lease passes");
                    None
                }
            };
        }
        let outcome = Outcome::failed(error.report());
        let events: Vec<NewEvent> = vec![outcome.end_event()];
        if let Err(error) = self.journal.finish(lease, Append::new(events), outcome).await {
            tracing::warn!(work = %lease.work, %error, "the failure was not journalled; the work is tried again");
        }
        None
    }
}

struct Registered {
    running: Arc<Mutex<HashMap<WorkId, CancellationToken>>>,
    work: WorkId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.work);
    }
}

/// Renews a lease until it is lost.
async fn keep_lease(
    journal: Arc<dyn Journal>,
    lease: Lease,
    lease_for: Duration,
    cancelled: CancellationToken,
) {
    let mut last_renewed = Instant::now();
    loop {
        tokio::time::sleep(lease_for / 3).await;
        match journal.renew(&lease, lease_for).await {
            Ok(renewed) => {
                last_renewed = Instant::now();
                if renewed.cancel_requested {
                    cancelled.cancel();
                }
            }
            Err(error) if error.is_retryable() && last_renewed.elapsed() < lease_for * 2 / 3 => {
                tracing::warn!(work = %lease.work, %error, "the lease was not renewed yet");
            }
            Err(error) => {
                tracing::warn!(work = %lease.work, %error, "the lease is lost: the work stops here");
                return;
            }
        }
    }
}
