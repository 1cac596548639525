//! The promises of [`MemoryStore`].

use std::sync::Arc;

use super::cases;
use crate::clock::Timestamp;
use crate::id::{MemoryId, TenantId};
use crate::memory::{Entry, MemoryStore, Record, Revision, Scope, ScopeKey};

cases! {
    dyn MemoryStore, memory_store_conformance, memory_store:
    a_new_scope_is_empty
    appended_entries_are_scanned_in_order
    a_scan_gives_what_came_after_a_revision
    a_repeated_append_changes_nothing
    an_entry_is_found_by_its_id
    what_was_erased_is_not_seen_again
    erasing_again_changes_nothing
    what_was_erased_is_not_appended_again
    scopes_and_tenants_are_apart
    every_text_comes_back_as_it_was
    concurrent_appends_leave_no_holes
    a_scan_never_sees_a_later_append_without_the_earlier_ones
}

fn id(number: usize) -> MemoryId {
    MemoryId::new(format!("mem-{number}")).unwrap()
}

fn entry(number: usize) -> Entry {
    let recorded_at = Timestamp::from_millis(number as i64);
    Entry::new(id(number), format!("fact {number}"), vec![format!("tag {number}")], recorded_at)
}

fn entries(numbers: impl IntoIterator<Item = usize>) -> Vec<Entry> {
    numbers.into_iter().map(entry).collect()
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

fn longterm() -> ScopeKey {
    scope("longterm")
}

async fn scanned(store: &dyn MemoryStore, scope: &ScopeKey) -> Vec<Record> {
    store.scan(scope, Revision(0), 10_000).await.unwrap()
}

async fn content(store: &dyn MemoryStore, scope: &ScopeKey) -> Vec<Entry> {
    scanned(store, scope).await.into_iter().filter_map(|record| record.entry).collect()
}

fn assert_dense(records: &[Record]) {
    let revisions: Vec<u64> = records.iter().map(|record| record.revision.0).collect();
    assert_eq!(revisions, (1..=records.len() as u64).collect::<Vec<_>>());
}

/// Where nothing was written the revision is zero, and nothing is found.
async fn a_new_scope_is_empty(store: Arc<dyn MemoryStore>) {
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(0));
    assert!(scanned(&*store, &longterm()).await.is_empty());
    assert_eq!(store.get(&TenantId::local(), &id(1)).await.unwrap(), None);
    assert_eq!(store.erase(&longterm(), &[id(1)]).await.unwrap(), (Revision(0), 0));
    assert_eq!(store.append(&longterm(), Vec::new()).await.unwrap(), Revision(0));
}

/// Entries keep their order and are numbered from 1 without holes; an append gives the new revision.
async fn appended_entries_are_scanned_in_order(store: Arc<dyn MemoryStore>) {
    assert_eq!(store.append(&longterm(), entries([3, 1, 2])).await.unwrap(), Revision(3));
    assert_eq!(store.append(&longterm(), entries([5, 4])).await.unwrap(), Revision(5));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(5));
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    let expected = [3, 1, 2, 5, 4].map(|number| (id(number), Some(entry(number))));
    assert_eq!(records.into_iter().map(|record| (record.id, record.entry)).collect::<Vec<_>>(), expected);
}

/// A scan begins after the given revision and ends at its limit.
async fn a_scan_gives_what_came_after_a_revision(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries(1..=7)).await.unwrap();
    let all = scanned(&*store, &longterm()).await;
    for after in 0..9 {
        for limit in 0..9 {
            let part = store.scan(&longterm(), Revision(after), limit).await.unwrap();
            let expected: Vec<_> = all.iter().skip(after as usize).take(limit).cloned().collect();
            assert_eq!(part, expected, "after {after}, at most {limit}");
        }
    }
}

/// An id that the scope holds is passed over, also within one append; the first entry stays.
async fn a_repeated_append_changes_nothing(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries(1..=3)).await.unwrap();
    let before = scanned(&*store, &longterm()).await;
    let mut changed = entry(2);
    changed.content = "another text".into();
    let repeated = store.append(&longterm(), vec![entry(3), changed, entry(1)]).await.unwrap();
    assert_eq!((repeated, scanned(&*store, &longterm()).await), (Revision(3), before));
    assert_eq!(store.append(&longterm(), entries([2, 4, 4, 1, 5])).await.unwrap(), Revision(5));
    assert_eq!(content(&*store, &longterm()).await, entries(1..=5));
}

/// An entry is found by tenant and id, with its scope.
async fn an_entry_is_found_by_its_id(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries([1])).await.unwrap();
    store.append(&scope("session/42"), entries([2])).await.unwrap();
    for (number, expected) in
        [(1, Some((longterm(), entry(1)))), (2, Some((scope("session/42"), entry(2)))), (3, None)]
    {
        assert_eq!(store.get(&TenantId::local(), &id(number)).await.unwrap(), expected);
    }
}

/// What was erased keeps its place without its content, and one tombstone each follows.
async fn what_was_erased_is_not_seen_again(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries(1..=4)).await.unwrap();
    let erased = store.erase(&longterm(), &[id(3), id(9), id(1), id(3)]).await.unwrap();
    assert_eq!(erased, (Revision(6), 2));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(6));
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    let seen: Vec<_> = records.iter().map(|record| (record.id.clone(), record.entry.clone())).collect();
    let log = [(id(1), None), (id(2), Some(entry(2))), (id(3), None), (id(4), Some(entry(4)))];
    assert_eq!(seen[..4], log);
    assert!(seen[4..].iter().all(|(_, entry)| entry.is_none()));
    let mut tombstones: Vec<_> = seen[4..].iter().map(|(id, _)| id.clone()).collect();
    tombstones.sort();
    assert_eq!(tombstones, [id(1), id(3)]);
    assert_eq!(store.get(&TenantId::local(), &id(1)).await.unwrap(), None);
    assert!(store.get(&TenantId::local(), &id(2)).await.unwrap().is_some());
}

/// Erasing what is erased, or never was, changes nothing.
async fn erasing_again_changes_nothing(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries(1..=2)).await.unwrap();
    store.erase(&longterm(), &[id(1)]).await.unwrap();
    let before = scanned(&*store, &longterm()).await;
    for ids in [vec![id(1)], vec![id(7), id(1), id(1)], Vec::new()] {
        assert_eq!(store.erase(&longterm(), &ids).await.unwrap(), (Revision(3), 0));
    }
    assert_eq!(scanned(&*store, &longterm()).await, before);
}

/// An append that is repeated after an erasure does not bring the entry back.
async fn what_was_erased_is_not_appended_again(store: Arc<dyn MemoryStore>) {
    store.append(&longterm(), entries(1..=2)).await.unwrap();
    store.erase(&longterm(), &[id(1)]).await.unwrap();
    assert_eq!(store.append(&longterm(), entries(1..=2)).await.unwrap(), Revision(3));
    assert_eq!(content(&*store, &longterm()).await, entries([2]));
    assert_eq!(store.get(&TenantId::local(), &id(1)).await.unwrap(), None);
}

/// Nothing crosses from one scope or tenant to another, also under the same ids.
async fn scopes_and_tenants_are_apart(store: Arc<dyn MemoryStore>) {
    let other = TenantId::new("other").unwrap();
    let foreign = ScopeKey::new(other.clone(), Scope::new("longterm").unwrap());
    let mut theirs = entry(1);
    theirs.content = "theirs".into();
    store.append(&longterm(), entries(1..=2)).await.unwrap();
    store.append(&scope("longterm/a"), entries([3])).await.unwrap();
    assert_eq!(store.append(&foreign, vec![theirs.clone()]).await.unwrap(), Revision(1));
    assert_eq!(content(&*store, &longterm()).await, entries(1..=2));
    assert_eq!(content(&*store, &scope("longterm/a")).await, entries([3]));
    assert_eq!(content(&*store, &foreign).await, [theirs.clone()]);
    assert_eq!(store.get(&other, &id(2)).await.unwrap(), None);
    assert_eq!(store.get(&other, &id(1)).await.unwrap(), Some((foreign.clone(), theirs)));
    assert_eq!(store.erase(&foreign, &[id(2)]).await.unwrap(), (Revision(1), 0));
    assert_eq!(store.erase(&foreign, &[id(1)]).await.unwrap(), (Revision(2), 1));
    assert_eq!(store.get(&TenantId::local(), &id(1)).await.unwrap(), Some((longterm(), entry(1))));
    assert_eq!(store.revision(&longterm()).await.unwrap(), Revision(2));
}

/// Texts come back byte for byte, whatever they hold.
async fn every_text_comes_back_as_it_was(store: Arc<dyn MemoryStore>) {
    let texts = [
        "".to_owned(),
        "Zoë läuft über die Straße; 猫は可愛い; 👩‍👩‍👧".to_owned(),
        "e\u{301} is not \u{e9}".to_owned(),
        "a\0b\r\n\t\"quoted\" 'single' \\ %_; DROP TABLE records".to_owned(),
        "long ".repeat(13_000),
    ];
    let written: Vec<Entry> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let recorded_at = Timestamp::from_millis(-1 - number as i64);
            Entry::new(id(number), text.as_str(), vec![text.chars().take(50).collect()], recorded_at)
        })
        .collect();
    store.append(&longterm(), written.clone()).await.unwrap();
    assert_eq!(content(&*store, &longterm()).await, written);
    for entry in written {
        let found = store.get(&TenantId::local(), &entry.id).await.unwrap();
        assert_eq!(found, Some((longterm(), entry)));
    }
}

/// Appends that come at once are each whole and in a row, numbered without holes.
async fn concurrent_appends_leave_no_holes(store: Arc<dyn MemoryStore>) {
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let batch = entries(task * 10..task * 10 + 4);
                store.append(&longterm(), batch).await.unwrap()
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap().0);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=16).map(|number| number * 4).collect::<Vec<_>>());
    let records = scanned(&*store, &longterm()).await;
    assert_dense(&records);
    for batch in records.chunks(4) {
        let first: usize = batch[0].id.as_str().trim_start_matches("mem-").parse().unwrap();
        let ids: Vec<_> = batch.iter().map(|record| record.id.clone()).collect();
        assert_eq!(ids, (first..first + 4).map(id).collect::<Vec<_>>());
    }
}

/// While others append, a reader that follows by revision misses nothing.
async fn a_scan_never_sees_a_later_append_without_the_earlier_ones(store: Arc<dyn MemoryStore>) {
    const WRITERS: usize = 8;
    const EACH: usize = 5;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..EACH {
                    store.append(&longterm(), entries([writer * EACH + number])).await.unwrap();
                }
            })
        })
        .collect();
    let mut followed = Vec::new();
    while followed.len() < WRITERS * EACH {
        let after = Revision(followed.len() as u64);
        followed.extend(store.scan(&longterm(), after, 3).await.unwrap());
        assert_dense(&followed);
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(followed, scanned(&*store, &longterm()).await);
}
