//! How much of the evidence for questions about long conversations is recalled.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use operone_core::clock::SystemClock;
use operone_core::id::{MemoryId, SystemIds, TenantId};
use operone_core::in_process::InProcessMemoryStore;
use operone_core::memory::{NewMemory, Recall, RecallQuery, Scope, ScopeKey};
use operone_memory::Memory;
use serde_json::Value;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/locomo-dev");

fn lines(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(DATA).join(file)).expect("the data folder");
    text.lines().map(str::to_owned).collect()
}

fn objects(file: &str) -> Vec<Value> {
    lines(file).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn scope(of: &Value) -> ScopeKey {
    let scope = format!("session/{}", of["conv"].as_str().unwrap());
    ScopeKey::new(TenantId::local(), Scope::new(scope).unwrap())
}

fn id(of: &str) -> MemoryId {
    MemoryId::new(of.replace('|', ".")).unwrap()
}

mod with_data {
    use super::*;

    #[tokio::test]
    #[ignore = "needs the data folder"]
    async fn evidence_is_among_the_first_ten() {
        let memory = Memory::new(
            Arc::new(InProcessMemoryStore::default()),
            Arc::new(SystemClock),
            Arc::new(SystemIds),
        );
        for turn in objects("corpus.jsonl") {
            let said = NewMemory::new(turn["text"].as_str().unwrap())
                .with_id(id(turn["_id"].as_str().unwrap()))
                .with_actor(turn["title"].as_str().unwrap())
                .with_thread(turn["session"].to_string());
            memory.remember(&scope(&turn), vec![said]).await.unwrap();
        }
        let mut evidence: BTreeMap<String, Vec<MemoryId>> = BTreeMap::new();
        for line in lines("qrels.tsv").iter().skip(1) {
            let mut columns = line.split('\t');
            let question = columns.next().unwrap().to_owned();
            evidence.entry(question).or_default().push(id(columns.next().unwrap()));
        }
        let (mut questions, mut recalled) = (0.0, 0.0);
        for question in objects("queries.jsonl") {
            let Some(wanted) = evidence.get(question["_id"].as_str().unwrap()) else {
                continue;
            };
            let query = RecallQuery::new(scope(&question), question["text"].as_str().unwrap());
            let found = memory.recall(query).await.unwrap().memories;
            let hits = wanted.iter().filter(|id| found.iter().any(|found| found.entry.id == **id)).count();
            questions += 1.0;
            recalled += hits as f64 / wanted.len() as f64;
        }
        let recall = recalled / questions;
        println!("recall@10 {recall:.4} over {questions} questions");
        assert!(recall >= 0.77, "recall@10 is {recall:.4}");
    }
}
