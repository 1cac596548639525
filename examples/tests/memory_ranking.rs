//! The same log gives the same answers, byte for byte, on every store, today and in later versions.
//!
//! The answers are kept in `golden/memory.jsonl`. After a wanted change of the ranking run this test with
//! `OPERONE_WRITE_GOLDEN=1`, and say in the changelog what changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a broken promise fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use operone_core::clock::{Clock, ManualClock, Timestamp};
use operone_core::filter::Filter;
use operone_core::id::{Ids, MemoryId, TenantId};
use operone_core::in_process::InProcessMemoryStore;
use operone_core::memory::{
    MemoryStore, NewMemory, Recall, RecallMode, RecallQuery, Recency, Scope, ScopeKey,
};
use operone_memory::{Memory, MemoryPatch, Selection};
use operone_sqlite::SqliteMemoryStore;
use serde_json::{Value, json};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/memory.jsonl");

/// Ids that count up.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Ids for Counted {
    fn next(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

fn scope(name: &str) -> ScopeKey {
    ScopeKey::new(TenantId::local(), Scope::new(name).unwrap())
}

/// Sentences from a small vocabulary, the same each time.
fn sentences(count: usize) -> Vec<String> {
    let who = ["Ada", "Grace", "Linus", "the user", "my sister", "nobody"];
    let does = ["prefers", "bought", "was painting", "forgot", "talked about", "loves"];
    let what = [
        "dark mode",
        "a red bicycle",
        "the sunrise in Lisbon",
        "green tea",
        "two cats",
        "Zoë's café",
        "the garden",
    ];
    let when = ["yesterday", "in the morning", "again and again", "last summer", "", "on 3 May 2023"];
    (0..count)
        .map(|number| {
            let of = |words: &[&str], step: usize| {
                words[(number * step + number / words.len()) % words.len()].to_owned()
            };
            format!("{} {} {} {}.", of(&who, 5), of(&does, 7), of(&what, 3), of(&when, 11))
        })
        .collect()
}

/// Writes, changes and erases, then asks.
async fn answers(store: Arc<dyn MemoryStore>) -> Vec<String> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let memory = Memory::new(store, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(Counted::default()))
        .with_embedder(Arc::new(operone_embed::bundled()))
        .with_default_mode(RecallMode::Lexical);
    let mut ids: Vec<MemoryId> = Vec::new();
    for (place, batch) in sentences(300).chunks(25).enumerate() {
        let memories = batch.iter().enumerate().map(|(number, sentence)| {
            let mut memory = NewMemory::new(sentence.as_str());
            memory.tags = vec![["home", "work", "travel"][number % 3].to_owned()];
            memory.importance = Some((number % 5) as f64 / 4.0);
            memory.actor = (number % 2 == 0).then(|| "Ada".to_owned());
            memory.thread = (place % 2 == 0).then(|| format!("talk {place}"));
            memory
        });
        for name in ["longterm", "session/1"] {
            let written = memory.remember(&scope(name), memories.clone().collect()).await.unwrap();
            if name == "longterm" {
                ids.extend(written.ids);
            }
        }
        clock.advance(Duration::from_secs(3_600));
    }
    for id in ids.iter().step_by(17) {
        let mut patch = MemoryPatch::default();
        patch.content = Some(format!("{id} was corrected: the garden is green"));
        memory.update(&TenantId::local(), id, &patch).await.unwrap();
    }
    let erased = ids.iter().skip(5).step_by(13).cloned().collect();
    memory.erase(&scope("longterm"), &Selection::ids(erased), false).await.unwrap();

    let mut answers = Vec::new();
    for text in [
        "Who prefers dark mode?",
        "sunrise in Lisbon",
        "green garden",
        "Zoë's cats",
        "Ada's bicycle",
        "quarks",
        "",
    ] {
        for name in ["longterm", "session/1"] {
            let plain = RecallQuery::new(scope(name), text).with_explain();
            let mut recent = plain.clone();
            recent.recency = Some(Recency { weight: 0.5, half_life: Duration::from_secs(7_200) });
            let asked = [
                ("plain", plain.clone()),
                ("filtered", plain.clone().with_filter(Filter::eq("tags", "travel"))),
                ("recent", recent),
                (
                    "earlier",
                    plain.clone().with_as_of(Timestamp::from_millis(1_700_000_000_000 + 4 * 3_600_000)),
                ),
                ("hybrid", plain.with_mode(RecallMode::Hybrid)),
            ];
            for (kind, query) in asked {
                answers.push(answer(&memory, kind, query).await);
            }
        }
    }
    answers
}

async fn answer(memory: &Memory, kind: &str, query: RecallQuery) -> String {
    let (text, scope) = (query.text.clone(), query.scope.scope.as_str().to_owned());
    let recalled = memory.recall(query).await.unwrap();
    let memories: Vec<Value> = recalled
        .memories
        .iter()
        .map(|found| {
            let explanation = found.explanation.clone().map(|explained| {
                json!([
                    explained.lexical,
                    explained.thread,
                    explained.dense,
                    explained.relevance,
                    explained.prior
                ])
            });
            json!([found.entry.id, found.entry.content, found.score, explanation])
        })
        .collect();
    let next = recalled.next.map(|next| next.rsplit_once('.').map(|(position, _)| position.to_owned()));
    json!({
        "asked": [kind, scope, text],
        "revision": recalled.revision,
        "coverage": recalled.coverage,
        "next": next,
        "memories": memories,
    })
    .to_string()
}

#[tokio::test]
async fn the_same_log_gives_the_same_answers_on_every_store() {
    let in_process = answers(Arc::new(InProcessMemoryStore::default())).await;
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteMemoryStore::open(folder.path().join("memory.db")).unwrap();
    let sqlite = answers(Arc::new(sqlite)).await;
    for (one, other) in in_process.iter().zip(&sqlite) {
        assert_eq!(one, other);
    }
    let lines = format!("{}\n", in_process.join("\n"));
    if std::env::var_os("OPERONE_WRITE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    // Another crate of a program may make JSON keep the order of its keys.
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    for (found, expected) in lines.lines().zip(golden.lines()) {
        assert_eq!(read(found), read(expected));
    }
    assert_eq!(lines.lines().count(), golden.lines().count());
}
