//! Erased memories are in none of the store's files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise fails the test")]

use std::path::Path;

use operone_core::clock::{Clock, SystemClock, Timestamp};
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Batch, Entry, MemoryStore, Revision, Scope, ScopeKey};
use operone_sqlite::SqliteMemoryStore;

const MEMORIES: usize = 1_500;

fn id(number: usize) -> MemoryId {
    MemoryId::new(format!("mem-{number}")).unwrap()
}

/// Text of many lengths, up to several pages, with a mark in the middle and at the end.
fn entry(number: usize) -> Entry {
    let filling = "x".repeat((number * number * 7) % if number.is_multiple_of(10) { 20_000 } else { 900 });
    let content = format!("{filling}<mark-{number}>{filling}<mark-{number}>");
    Entry::new(id(number), content, vec![format!("<mark-{number}>")], Timestamp::from_millis(0))
}

/// Every mark in any file of the folder.
fn marks(folder: &Path) -> std::collections::BTreeSet<usize> {
    let mut marks = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for (place, _) in bytes.windows(6).enumerate().filter(|(_, window)| *window == b"<mark-") {
            let digits = bytes[place + 6..].iter().take_while(|byte| byte.is_ascii_digit());
            let number: String = digits.map(|byte| char::from(*byte)).collect();
            marks.extend(number.parse::<usize>());
        }
    }
    marks
}

#[tokio::test]
async fn erased_text_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap();
    let scopes = ["longterm", "session/1", "session/2"]
        .map(|scope| ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap()));
    for begin in (0..MEMORIES).step_by(10) {
        let scope = &scopes[(begin / 10) % scopes.len()];
        store
            .write(scope, Batch::of(SystemClock.now(), (begin..begin + 10).map(entry).collect()))
            .await
            .unwrap();
    }
    let erased: Vec<usize> = (0..MEMORIES).filter(|number| number % 3 != 0 || number % 7 == 0).collect();
    for batch in erased.chunks(400) {
        let ids: Vec<_> = batch.iter().copied().map(id).collect();
        let mut count = 0;
        for scope in &scopes {
            count += store.erase(scope, &ids, SystemClock.now()).await.unwrap().ids.len();
        }
        assert_eq!(count, batch.len());
        let left = marks(folder.path());
        assert!(batch.iter().all(|number| !left.contains(number)), "erased text is left");
    }
    let kept: std::collections::BTreeSet<usize> =
        (0..MEMORIES).filter(|number| number % 3 == 0 && number % 7 != 0).collect();
    assert_eq!(marks(folder.path()), kept);
    for number in kept {
        let scope = store.locate(&TenantId::local(), &id(number)).await.unwrap().unwrap();
        assert_eq!(store.get(&scope, &id(number)).await.unwrap(), Some(entry(number)));
    }
}

#[tokio::test]
async fn a_reader_does_not_keep_erased_text_alive() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap();
    let scope = ScopeKey::new(TenantId::local(), Scope::new("longterm").unwrap());
    store.write(&scope, Batch::of(SystemClock.now(), (0..50).map(entry).collect())).await.unwrap();
    let reading = tokio::spawn({
        let (store, scope) = (store.clone(), scope.clone());
        async move {
            for _ in 0..200 {
                store.scan(&scope, Revision(0), 50).await.unwrap();
            }
        }
    });
    for number in 0..20 {
        assert_eq!(store.erase(&scope, &[id(number)], SystemClock.now()).await.unwrap().ids.len(), 1);
        assert!(!marks(folder.path()).contains(&number));
    }
    reading.await.unwrap();
}
