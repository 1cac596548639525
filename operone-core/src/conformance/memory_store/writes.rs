//! What a write may rely on, and what a repeat of it does.

use std::sync::Arc;

use super::{
    append, changed, content, entries, entry, erase, id, later, longterm, outcomes, scanned, scope, write,
};
use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::id::{MemoryId, TenantId};
use crate::memory::{
    Batch, MemoryStore, Operation, Receipt, Revision, Scope, ScopeKey, WriteKey, WriteOutcome,
};

/// An id belongs to one scope of a tenant.
pub(super) async fn an_id_of_another_scope_is_refused(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries([1])).await.unwrap();
    let refused = append(&*store, &scope("session/1"), entries([2, 1])).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Conflict, "id_taken"));
    assert!(refused.message().starts_with("/entries/1"), "{refused}");
    assert_eq!(store.revision(&scope("session/1")).await.unwrap(), Revision(0));
    assert!(scanned(&*store, &scope("session/1")).await.is_empty());
}

/// A new version keeps id and first time, counts up, and stands at the end of the log.
pub(super) async fn versions_are_counted_and_kept(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    let mut next = changed(1, "corrected");
    next.recorded_at = Timestamp::from_millis(99);
    next.updated_at = Some(Timestamp::from_millis(99));
    let receipt = write(&*store, &longterm(), vec![Operation::replace(next, Some(1))]).await.unwrap();
    assert_eq!(outcomes(&receipt), [(id(1), 2, WriteOutcome::Updated)]);
    assert_eq!(receipt.revision, Revision(3));
    let current = store.get(&longterm(), &id(1)).await.unwrap().unwrap();
    assert_eq!((current.version, current.recorded_at), (2, entry(1).recorded_at));
    assert_eq!(store.history(&longterm(), &id(1)).await.unwrap(), [entry(1), current.clone()]);
    assert_eq!(scanned(&*store, &longterm()).await[2].entry(), Some(&current));
    // Several versions in one batch build on each other.
    let twice =
        vec![Operation::replace(changed(2, "b"), Some(1)), Operation::replace(changed(2, "c"), Some(2))];
    let receipt = write(&*store, &longterm(), twice).await.unwrap();
    assert_eq!(receipt.written.iter().map(|written| written.version).collect::<Vec<_>>(), [2, 3]);
}

/// A batch with one operation that cannot be done writes nothing and names the place.
pub(super) async fn a_batch_is_whole_or_not_there(store: Arc<dyn MemoryStore>) {
    append(&*store, &longterm(), entries(1..=2)).await.unwrap();
    let before = scanned(&*store, &longterm()).await;
    for (last, kind, code) in [
        (Operation::replace(changed(2, "x"), Some(7)), ErrorKind::Conflict, "version_conflict"),
        (Operation::replace(entry(9), None), ErrorKind::NotFound, "not_found"),
    ] {
        let batch = vec![
            Operation::put(entry(5)),
            Operation::replace(changed(1, "lost"), Some(1)),
            last,
            Operation::put(entry(6)),
        ];
        let error = write(&*store, &longterm(), batch).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code));
        assert!(error.message().starts_with("/entries/2"), "{error}");
        assert_eq!(scanned(&*store, &longterm()).await, before);
        assert_eq!(store.get(&longterm(), &id(5)).await.unwrap(), None);
        assert_eq!(store.get(&longterm(), &id(1)).await.unwrap(), Some(entry(1)));
    }
    append(&*store, &scope("session/1"), entries([5])).await.expect("the id was not taken");
}

/// A write that relies on a revision is refused at another one.
pub(super) async fn an_expected_revision_is_checked(store: Arc<dyn MemoryStore>) {
    let batch =
        |number, revision| Batch::of(later(), entries([number])).with_expected_revision(Revision(revision));
    assert_eq!(store.write(&longterm(), batch(1, 0)).await.unwrap().revision, Revision(1));
    let error = store.write(&longterm(), batch(2, 0)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "revision_conflict"));
    assert_eq!(content(&*store, &longterm()).await, entries([1]));
    assert_eq!(store.write(&longterm(), batch(2, 1)).await.unwrap().revision, Revision(2));
}

/// Of those who write the same next version at once one wins, and no other's write is lost unnoticed.
pub(super) async fn of_competing_versions_one_wins(store: Arc<dyn MemoryStore>) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 5;
    append(&*store, &longterm(), entries([1])).await.unwrap();
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut added = 0;
                while added < EACH {
                    let current = store.get(&longterm(), &id(1)).await.unwrap().unwrap();
                    let next = changed(1, &format!("{}+", current.content));
                    let next = Operation::replace(next, Some(current.version));
                    match write(&*store, &longterm(), vec![next]).await {
                        Ok(_) => added += 1,
                        Err(error) => assert_eq!(error.code(), "version_conflict"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let last = store.get(&longterm(), &id(1)).await.unwrap().unwrap();
    assert_eq!(last.version, 1 + WRITERS * EACH);
    assert_eq!(last.content.matches('+').count() as u32, WRITERS * EACH);
}

/// A write under a key that was used gives the first receipt and writes nothing.
pub(super) async fn a_key_makes_a_repeat_harmless(store: Arc<dyn MemoryStore>) {
    let key = |key: &str, of: &str| WriteKey { key: key.into(), fingerprint: ContentHash::of(of) };
    let batch =
        |numbers: std::ops::RangeInclusive<usize>, key| Batch::of(later(), entries(numbers)).with_key(key);
    let first = store.write(&longterm(), batch(1..=2, key("k", "a"))).await.unwrap();
    assert!(!first.replayed);
    append(&*store, &longterm(), entries([3])).await.unwrap();
    // Ids may differ in the repeat: what counts is the fingerprint.
    let again = store.write(&longterm(), batch(7..=8, key("k", "a"))).await.unwrap();
    assert_eq!(again, Receipt { replayed: true, ..first.clone() });
    let reused = store.write(&longterm(), batch(7..=8, key("k", "b"))).await.unwrap_err();
    assert_eq!((reused.kind(), reused.code()), (ErrorKind::Invalid, "idempotency_key_reused"));
    assert_eq!(content(&*store, &longterm()).await, entries(1..=3));
    // A key is its scope's own; and a write that failed leaves none.
    let elsewhere = store.write(&scope("session/1"), batch(4..=4, key("k", "b"))).await.unwrap();
    assert!(!elsewhere.replayed);
    store.write(&longterm(), batch(4..=5, key("f", "a"))).await.unwrap_err();
    let now = store.write(&longterm(), batch(5..=5, key("f", "b"))).await.unwrap();
    assert_eq!(outcomes(&now), [(id(5), 1, WriteOutcome::Created)]);
    // An erasure between does not make the repeat write again.
    erase(&*store, &longterm(), &[1, 2]).await;
    let again = store.write(&longterm(), batch(1..=2, key("k", "a"))).await.unwrap();
    assert!(again.replayed);
    assert_eq!(content(&*store, &longterm()).await, entries([3, 5]));
}

/// Of repeats that come at once one writes.
pub(super) async fn of_concurrent_repeats_one_writes(store: Arc<dyn MemoryStore>) {
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let key = WriteKey { key: "k".into(), fingerprint: ContentHash::of("a") };
                let batch = Batch::of(later(), entries([number])).with_key(key);
                store.write(&longterm(), batch).await.unwrap()
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for task in tasks {
        receipts.push(task.await.unwrap());
    }
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.written == receipts[0].written));
    assert_eq!(content(&*store, &longterm()).await.len(), 1);
}

/// Asked to, a store passes over what the scope holds already, and gives its id; else it keeps both.
pub(super) async fn duplicates_are_passed_over_where_asked(store: Arc<dyn MemoryStore>) {
    let said = |number| changed(number, "the same");
    let unique = |number| Operation::put_unique(said(number));
    let receipt =
        write(&*store, &longterm(), vec![unique(1), unique(2), Operation::put(said(3))]).await.unwrap();
    let expected = [
        (id(1), 1, WriteOutcome::Created),
        (id(1), 1, WriteOutcome::Existing),
        (id(3), 1, WriteOutcome::Created),
    ];
    assert_eq!(outcomes(&receipt), expected);
    let again = write(&*store, &longterm(), vec![unique(4)]).await.unwrap();
    assert_eq!((outcomes(&again)[0].0.clone(), again.revision), (id(1), Revision(2)));
    let mut kind = said(5);
    kind.kind = Some("preference".into());
    let other = write(&*store, &longterm(), vec![Operation::put_unique(kind)]).await.unwrap();
    assert_eq!(outcomes(&other), [(id(5), 1, WriteOutcome::Created)]);
    let elsewhere = write(&*store, &scope("longterm/b"), vec![unique(6)]).await.unwrap();
    assert_eq!(outcomes(&elsewhere), [(id(6), 1, WriteOutcome::Created)]);
}

/// What cannot be read any more is no duplicate: superseded, expired, or changed to say something else.
pub(super) async fn what_is_out_of_date_is_no_duplicate(store: Arc<dyn MemoryStore>) {
    let mut expiring = changed(1, "one");
    expiring.expires_at = Some(Timestamp::from_millis(100));
    let written = vec![expiring, changed(2, "two"), changed(3, "three")];
    append(&*store, &longterm(), written).await.unwrap();
    let mut superseded = changed(2, "two");
    superseded.superseded_by = Some(id(9));
    let changes = vec![Operation::replace(superseded, None), Operation::replace(changed(3, "drei"), None)];
    write(&*store, &longterm(), changes).await.unwrap();
    let unique = |number, text| Operation::put_unique(changed(number, text));
    for (at, number, text, outcome) in [
        (99, 11, "one", WriteOutcome::Existing),
        (100, 11, "one", WriteOutcome::Created),
        (100, 12, "two", WriteOutcome::Created),
        (100, 13, "three", WriteOutcome::Created),
        (100, 14, "drei", WriteOutcome::Existing),
    ] {
        let batch = Batch::new(Timestamp::from_millis(at), vec![unique(number, text)]);
        let receipt = store.write(&longterm(), batch).await.unwrap();
        assert_eq!(receipt.written[0].outcome, outcome, "{text} at {at}");
    }
}

/// What was made from a memory is found, in every scope of the tenant and in no other's.
pub(super) async fn what_was_derived_is_found(store: Arc<dyn MemoryStore>) {
    let from = |number: usize, origins: &[usize]| {
        let mut entry = entry(number);
        entry.derived_from = origins.iter().copied().map(id).collect();
        entry
    };
    append(&*store, &scope("session/1"), entries(1..=3)).await.unwrap();
    append(&*store, &longterm(), vec![from(10, &[1, 2]), from(11, &[2]), from(12, &[3])]).await.unwrap();
    let foreign = ScopeKey::new(TenantId::new("other").unwrap(), Scope::new("longterm").unwrap());
    append(&*store, &foreign, vec![from(13, &[1])]).await.unwrap();
    let found = |origins: Vec<usize>| {
        let store = Arc::clone(&store);
        async move {
            let origins: Vec<MemoryId> = origins.into_iter().map(id).collect();
            let found = store.derived(&TenantId::local(), &origins).await.unwrap();
            assert!(found.iter().all(|(at, _)| *at == longterm()));
            let mut ids: Vec<MemoryId> = found.into_iter().map(|(_, id)| id).collect();
            ids.sort();
            ids
        }
    };
    assert_eq!(found(vec![1]).await, [id(10)]);
    assert_eq!(found(vec![1, 2]).await, [id(10), id(11)]);
    let changes = vec![Operation::replace(from(11, &[3]), None)];
    write(&*store, &longterm(), changes).await.unwrap();
    erase(&*store, &longterm(), &[10]).await;
    assert_eq!(found(vec![1, 2]).await, []);
    assert_eq!(found(vec![3]).await, [id(11), id(12)]);
}

/// A mark is kept with its batch, or not at all.
pub(super) async fn a_mark_is_kept_with_its_batch(store: Arc<dyn MemoryStore>) {
    let mark = |store: Arc<dyn MemoryStore>, name: &'static str| async move {
        store.mark(&longterm(), name).await.unwrap()
    };
    store.write(&longterm(), Batch::of(later(), entries([1])).with_mark("a", 7)).await.unwrap();
    store.write(&longterm(), Batch::of(later(), Vec::new()).with_mark("b", 1)).await.unwrap();
    assert_eq!((mark(Arc::clone(&store), "a").await, mark(Arc::clone(&store), "b").await), (7, 1));
    let failing = Batch::new(later(), vec![Operation::replace(entry(9), None)]).with_mark("a", 8);
    store.write(&longterm(), failing).await.unwrap_err();
    assert_eq!(mark(Arc::clone(&store), "a").await, 7);
    store.write(&longterm(), Batch::of(later(), Vec::new()).with_mark("a", 2)).await.unwrap();
    assert_eq!((mark(Arc::clone(&store), "a").await, store.mark(&scope("b"), "a").await.unwrap()), (2, 0));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(1));
}
