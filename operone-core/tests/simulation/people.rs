//! People and accidents around the runs: bells, decisions, cancellations, readers, and the clock.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use operone_core::agent::{Cursor, Live, RunEvent, run_events};
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{ApprovalFilter, ApprovalReason, Decision, Journal, JournalEvent, Verdict};
use operone_core::work::Doorbell;

use crate::world::World;

/// Rings the bells: too often, too seldom, for nothing.
pub(crate) async fn ring(world: Arc<World>, bells: Vec<Doorbell>) {
    loop {
        tokio::time::sleep(Duration::from_millis(500 + world.random.below(10_000))).await;
        for bell in &bells {
            (0..world.random.below(3)).for_each(|_| bell.ring());
        }
    }
}

/// Decides on what is asked, or lets it expire.
pub(crate) async fn decide(world: Arc<World>) {
    let tenant = TenantId::local();
    loop {
        tokio::time::sleep(Duration::from_millis(1_000 + world.random.below(20_000))).await;
        let asked = world.journal.approvals(&tenant, ApprovalFilter::pending(10)).await.unwrap();
        for approval in asked {
            let verdict = match world.random.below(3) {
                0 => Verdict::Approve,
                1 => Verdict::Deny,
                _ => continue,
            };
            let new = &approval.new;
            // Whoever decides twice, or the other way the second time, changes nothing.
            for verdict in [verdict, *world.random.pick(&[Verdict::Approve, Verdict::Deny])] {
                let decided = world.journal.decide(&tenant, &new.id, Decision::new(verdict)).await;
                let Ok(decided) = decided else { continue };
                assert_eq!(decided.decided.unwrap().verdict, verdict);
            }
            let mut seen = world.seen();
            if verdict == Verdict::Deny {
                seen.denied.insert(approval.work.clone());
            } else if new.reason == ApprovalReason::OutcomeUnknown {
                *seen.allowed_again.entry((approval.work.clone(), new.step)).or_default() += 1;
            }
        }
    }
}

/// Cancels a run now and then.
pub(crate) async fn cancel(world: Arc<World>, runs: Vec<WorkId>) {
    let tenant = TenantId::local();
    for _ in 0..world.random.below(3) {
        tokio::time::sleep(Duration::from_millis(world.random.below(60_000))).await;
        let run = world.random.pick(&runs).clone();
        world.journal.cancel(&tenant, &run).await.unwrap();
        let last_seq = world.journal.work(&tenant, &run).await.unwrap().last_seq;
        world.seen().cancelled_at.entry(run).or_insert(last_seq);
    }
    std::future::pending().await
}

/// Sets the clock forward or back by up to an hour, while things go wrong.
pub(crate) async fn set_the_clock(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10 + world.random.below(100))).await;
        if world.faulty.load(Ordering::SeqCst) && world.random.one_in(3) {
            let by = Duration::from_secs(world.random.below(3_600));
            world.clock.step(by, world.random.one_in(2));
        }
    }
}

/// Reads a run to its end, leaving and coming back on the way; gives the durable events as they came.
pub(crate) async fn read(world: Arc<World>, live: Live, run: WorkId) -> (WorkId, Vec<JournalEvent>) {
    let mut read: Vec<JournalEvent> = Vec::new();
    loop {
        let cursor = Cursor::after(read.last().map_or(0, |event| event.seq));
        let journal = Arc::new(world.journal.clone());
        let mut events = pin!(run_events(journal, &live, run.clone(), cursor));
        while let Some(event) = events.next().await {
            if let RunEvent::Durable(event) = event.unwrap() {
                let ended = event.event.kind == "end";
                read.push(event);
                if ended {
                    return (run, read);
                }
            }
            if world.faulty.load(Ordering::SeqCst) && world.random.one_in(10) {
                tokio::time::sleep(Duration::from_millis(world.random.below(3_000))).await;
                break;
            }
        }
    }
}
