//! The memory file under kill -9, in the hands of two processes at once, and as an earlier version left it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise fails the test")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use operone_core::cache::ContentHash;
use operone_core::clock::Timestamp;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{
    Batch, Change, Entry, MemoryStore, Operation, Revision, Scope, ScopeKey, WriteKey, WriteOutcome,
};
use operone_sqlite::SqliteMemoryStore;

const FOLDER: &str = "OPERONE_TEST_MEMORY_FOLDER";
const ROLE: &str = "OPERONE_TEST_MEMORY_ROLE";
/// How many memories a batch of the writing child has.
const BATCH: usize = 4;
const ROUNDS: u64 = 25;
const INCREMENTS: usize = 60;

fn at() -> Timestamp {
    Timestamp::from_millis(1)
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

fn id(name: impl std::fmt::Display) -> MemoryId {
    MemoryId::new(format!("mem-{name}")).unwrap()
}

fn entry(name: impl std::fmt::Display, content: impl Into<String>) -> Entry {
    Entry::new(id(name), content, Vec::new(), at())
}

fn open(folder: &Path) -> SqliteMemoryStore {
    SqliteMemoryStore::open(folder.join("memory.db")).unwrap()
}

fn child(folder: &Path, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_a_child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: what the other processes do.
#[tokio::test]
#[ignore = "run by the tests of this file"]
async fn as_a_child() {
    let (Some(folder), Ok(role)) = (std::env::var_os(FOLDER), std::env::var(ROLE)) else { return };
    let store = open(Path::new(&folder));
    match role.split_once(' ') {
        Some(("write", round)) => write_until_killed(&store, round).await,
        Some(("increment", name)) => increment(&store, name).await,
        _ => panic!("there is no role {role}"),
    }
}

/// Writes, changes and erases, and says what was acknowledged.
async fn write_until_killed(store: &SqliteMemoryStore, round: &str) {
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nack {line}").unwrap();
        out.flush().unwrap();
    };
    for number in 0.. {
        let name = |place: usize| format!("{round}-{number}-{place}");
        let entries = (0..BATCH).map(|place| {
            entry(name(place), format!("<text {}>{}", name(place), "x".repeat(place * number % 3_000)))
        });
        let key = WriteKey { key: format!("{round}-{number}"), fingerprint: ContentHash::of(round) };
        let batch = Batch::of(at(), entries.collect()).with_key(key).with_mark("writer", number as u64 + 1);
        store.write(&scope("longterm"), batch).await.unwrap();
        say(format!("written {round}-{number}"));
        let changed = Operation::replace(entry(name(1), format!("<changed {}>", name(1))), Some(1));
        store.write(&scope("longterm"), Batch::new(at(), vec![changed])).await.unwrap();
        say(format!("changed {}", name(1)));
        let erased = store.erase(&scope("longterm"), &[id(name(1)), id(name(2))], at()).await.unwrap();
        assert_eq!(erased.ids.len(), 2);
        say(format!("erased {round}-{number}"));
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_wherever_it_strikes() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    let mut revision = Revision(0);
    for round in 0..ROUNDS {
        let mut writer = child(folder.path(), &format!("write {round}"));
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // Once it writes, some hundredths of a millisecond more each time.
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with("ack "))
            .map(|line| acknowledged.insert(line));
        std::thread::sleep(Duration::from_micros(900 + round * 1_370));
        writer.kill().unwrap();
        writer.wait().unwrap();
        acknowledged.extend(lines.map(Result::unwrap).filter(|line| line.starts_with("ack ")));

        let store = open(folder.path());
        let records = store.scan(&scope("longterm"), Revision(0), usize::MAX).await.unwrap();
        let revisions: Vec<u64> = records.iter().map(|record| record.revision.0).collect();
        assert_eq!(revisions, (1..=records.len() as u64).collect::<Vec<_>>());
        assert!(store.revision(&scope("longterm")).await.unwrap() >= revision, "nothing is lost");
        revision = Revision(records.len() as u64);
        let (mut written, mut erased) = (BTreeSet::new(), BTreeSet::new());
        for record in &records {
            let name = record.id.as_str().trim_start_matches("mem-").to_owned();
            match &record.change {
                Change::Erased(_) => erased.insert(name),
                _ => written.insert(name),
            };
        }
        let left = marks(&contents(folder.path()));
        for line in &acknowledged {
            let (what, name) = line.trim_start_matches("ack ").split_once(' ').unwrap();
            match what {
                "written" => assert!((0..BATCH).all(|place| written.contains(&format!("{name}-{place}")))),
                "changed" => assert!(written.contains(name)),
                _ => {
                    for place in [1, 2] {
                        let name = format!("{name}-{place}");
                        assert!(erased.contains(&name), "{line}");
                        for text in [format!("text {name}"), format!("changed {name}")] {
                            assert!(!left.contains(&text), "{text} is left");
                        }
                    }
                }
            }
        }
        // A batch is whole or not there, and so is an erasure.
        let batches: BTreeSet<&str> =
            written.iter().filter_map(|name| Some(name.rsplit_once('-')?.0)).collect();
        for batch in batches {
            assert!((0..BATCH).all(|place| written.contains(&format!("{batch}-{place}"))), "{batch}");
            assert_eq!(erased.contains(&format!("{batch}-1")), erased.contains(&format!("{batch}-2")));
        }
    }
    let of = |what: &str| acknowledged.iter().filter(|line| line.starts_with(&format!("ack {what}"))).count();
    assert!(of("written") as u64 >= ROUNDS && of("erased") > 0, "{acknowledged:?}");
}

/// What a process writes goes to the end of the log until it is folded into the file: whoever is killed there leaves a
/// part of it.
#[tokio::test]
async fn a_write_that_is_cut_off_at_any_point_is_whole_or_not_there() {
    let (folder, cut_off) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path());
    store.write(&scope("longterm"), Batch::of(at(), vec![entry("base", "there before")])).await.unwrap();
    let log = folder.path().join("memory.db-wal");
    let begin = std::fs::metadata(&log).unwrap().len() as usize;
    let added = (0..BATCH).map(|place| Operation::put(entry(place, "x".repeat(3_000))));
    let changed = Operation::replace(entry("base", "changed"), Some(1));
    store.write(&scope("longterm"), Batch::new(at(), added.chain([changed]).collect())).await.unwrap();
    let (file, log) = (std::fs::read(folder.path().join("memory.db")).unwrap(), std::fs::read(log).unwrap());
    assert!(log.len() > begin, "the write is in the log alone");

    let mut seen = BTreeSet::new();
    for end in (begin..log.len()).step_by(331).chain([log.len()]) {
        std::fs::write(cut_off.path().join("memory.db"), &file).unwrap();
        std::fs::write(cut_off.path().join("memory.db-wal"), &log[..end]).unwrap();
        let _ = std::fs::remove_file(cut_off.path().join("memory.db-shm"));
        let store = open(cut_off.path());
        let records = store.scan(&scope("longterm"), Revision(0), usize::MAX).await.unwrap();
        let base = store.get(&scope("longterm"), &id("base")).await.unwrap().unwrap();
        match records.len() {
            1 => assert_eq!(base.content, "there before", "cut at {end}"),
            all => assert_eq!((all, base.content.as_str()), (2 + BATCH, "changed"), "cut at {end}"),
        }
        // And it goes on from there.
        store.write(&scope("longterm"), Batch::of(at(), vec![entry("next", "after")])).await.unwrap();
        seen.insert(records.len());
    }
    assert_eq!(seen, BTreeSet::from([1, 2 + BATCH]), "both were met");
}

async fn increment(store: &SqliteMemoryStore, name: &str) {
    let (own, counter) = (scope("longterm"), id("counter"));
    for number in 0..INCREMENTS {
        loop {
            let current = store.get(&own, &counter).await.unwrap().unwrap();
            let next =
                Operation::replace(entry("counter", format!("{}+", current.content)), Some(current.version));
            let added = Operation::put(entry(format!("{name}-{number}"), format!("of {name}")));
            match store.write(&own, Batch::new(at(), vec![next, added])).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.code(), "version_conflict"),
            }
        }
    }
}

#[tokio::test]
async fn two_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&scope("longterm"), Batch::of(at(), vec![entry("counter", "")])).await.unwrap();
    let mut children = ["a", "b"].map(|name| child(folder.path(), &format!("increment {name}")));
    // This one reads beside them, and sees whole states only.
    let mut followed = Revision(0);
    loop {
        let records = store.scan(&scope("longterm"), followed, 7).await.unwrap();
        for record in &records {
            assert_eq!(record.revision.0, followed.0 + 1);
            followed = record.revision;
        }
        if records.is_empty() && children.iter_mut().all(|child| child.try_wait().unwrap().is_some()) {
            break;
        }
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let counter = store.get(&scope("longterm"), &id("counter")).await.unwrap().unwrap();
    assert_eq!(counter.content.len(), 2 * INCREMENTS);
    assert_eq!(counter.version as usize, 1 + 2 * INCREMENTS);
    let revision = store.revision(&scope("longterm")).await.unwrap();
    assert_eq!(revision.0 as usize, 1 + 4 * INCREMENTS);
    let check = rusqlite::Connection::open(folder.path().join("memory.db")).unwrap();
    let sound: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn what_another_process_erases_is_gone_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()), open(folder.path()));
    one.write(&scope("longterm"), Batch::of(at(), vec![entry(1, "<text>"), entry(2, "kept")])).await.unwrap();
    assert_eq!(other.scan(&scope("longterm"), Revision(0), 10).await.unwrap().len(), 2);
    one.erase(&scope("longterm"), &[id(1)], at()).await.unwrap();
    assert!(!holds(&contents(folder.path()), "<text>"));
    assert_eq!(other.get(&scope("longterm"), &id(1)).await.unwrap(), None);
    let seen = other.scan(&scope("longterm"), Revision(0), 10).await.unwrap();
    assert_eq!(seen.iter().filter_map(|record| record.entry()).count(), 1);
}

#[tokio::test]
async fn history_origins_and_receipts_keep_no_erased_text() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let own = scope("longterm");
    let mut said = entry(1, "<first version>");
    said.tags = vec!["<tag>".into()];
    said.actor = Some("<actor>".into());
    said.metadata.insert("place".into(), "<place>".into());
    let key = WriteKey { key: "k".into(), fingerprint: ContentHash::of("request") };
    store.write(&own, Batch::of(at(), vec![said.clone(), entry(2, "kept")]).with_key(key)).await.unwrap();
    for version in ["<second version>".to_owned(), format!("<third version>{}", "x".repeat(9_000))] {
        said.content = version;
        store.write(&own, Batch::new(at(), vec![Operation::replace(said.clone(), None)])).await.unwrap();
    }
    for mark in ["<first", "<second", "<third", "<tag>", "<actor>", "<place>"] {
        assert!(holds(&contents(folder.path()), mark), "{mark} was never there");
    }
    store.erase(&own, &[id(1)], at()).await.unwrap();
    let files = contents(folder.path());
    for mark in ["<first", "<second", "<third", "<tag>", "<actor>", "<place>"] {
        assert!(!holds(&files, mark), "{mark} is left");
    }
    assert_eq!(store.get(&own, &id(2)).await.unwrap(), Some(entry(2, "kept")));
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join("memory.db")).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(include_str!("../migrations/memory-1.sql")).unwrap();
    old.execute("INSERT INTO scopes VALUES (1, 'local', 'longterm', 5)", []).unwrap();
    let put = |revision: i64, name: &str, kept: bool, entry: Option<Vec<u8>>| {
        let values = (revision, name, kept, entry);
        old.execute(
            "INSERT INTO records (scope, revision, id, kept, entry) VALUES (1, ?1, ?2, ?3, ?4)",
            values,
        )
        .unwrap();
    };
    let stored = |name: &str, content: &str| {
        let json = format!(r#"{{"id":"{name}","content":"{content}","tags":["t"],"recorded_at":7}}"#);
        Some(json.into_bytes())
    };
    put(1, "mem-1", true, stored("mem-1", "<one>"));
    put(2, "mem-2", false, Some(vec![0; 60]));
    put(3, "mem-3", true, stored("mem-3", "<three>"));
    put(4, "mem-2", false, None);
    put(5, "mem-4", true, stored("mem-4", "<four>"));
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);

    let own = scope("longterm");
    for _ in 0..2 {
        let store = open(folder.path());
        let records = store.scan(&own, Revision(0), 10).await.unwrap();
        let contents: Vec<_> =
            records.iter().map(|record| record.entry().map(|entry| entry.content.as_str())).collect();
        assert_eq!(contents, [Some("<one>"), None, Some("<three>"), None, Some("<four>")]);
        assert_eq!(records[3].change, Change::Erased(Timestamp::from_millis(0)));
        assert_eq!(store.locate(&TenantId::local(), &id(3)).await.unwrap(), Some(own.clone()));
        // Duplicates are known, and what was erased stays erased.
        let again = vec![Operation::put_unique(entry(9, "<one>")), Operation::put(entry(2, "back"))];
        let receipt = store.write(&own, Batch::new(at(), again)).await.unwrap();
        assert_eq!(
            (receipt.written[0].id.clone(), receipt.written[0].outcome),
            (id(1), WriteOutcome::Existing)
        );
        assert_eq!((receipt.written[1].outcome, receipt.revision), (WriteOutcome::Erased, Revision(5)));
    }
    let store = open(folder.path());
    let next = Operation::replace(entry(3, "<three again>"), Some(1));
    assert_eq!(store.write(&own, Batch::new(at(), vec![next])).await.unwrap().written[0].version, 2);
    store.erase(&own, &[id(1), id(3)], at()).await.unwrap();
    let files = contents(folder.path());
    assert!(!holds(&files, "<one>") && !holds(&files, "<three") && holds(&files, "<four>"));
}

/// Every byte of the folder.
fn contents(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        all.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    all
}

/// Whatever stands between angle brackets.
fn marks(bytes: &[u8]) -> BTreeSet<String> {
    let parts = bytes.split(|byte| *byte == b'<').skip(1);
    let marks = parts.filter_map(|part| part.split(|byte| *byte == b'>').next());
    marks.map(|mark| String::from_utf8_lossy(mark).into_owned()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let text = text.as_bytes();
    bytes.windows(text.len()).any(|window| window == text)
}
