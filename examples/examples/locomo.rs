//! How much of the evidence for questions about long conversations is recalled, turn by turn, with no model and with
//! vectors of the bundled table.
//!
//!     cargo run --release -p operone-examples --example locomo -- FOLDER [lexical|hybrid|dense]
//!
//! FOLDER holds `corpus.jsonl` (`_id`, `title` for the speaker, `text`, `conv`, `session`), `queries.jsonl` (`_id`,
//! `text`, `conv`, `category`) and `qrels.tsv` (question, turn). Each conversation is a scope, each session a thread.
//! R@k is the share of a question's evidence among the first k, at the mean over the questions that have evidence.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use operone_core::clock::SystemClock;
use operone_core::error::{Error, Result};
use operone_core::id::{MemoryId, SystemIds, TenantId};
use operone_core::in_process::InProcessMemoryStore;
use operone_core::memory::{NewMemory, Recall, RecallMode, RecallQuery, Scope, ScopeKey};
use operone_memory::Memory;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CUTS: [usize; 4] = [1, 5, 10, 20];

/// The category of questions whose answer is not in the conversation.
const ADVERSARIAL: u32 = 5;

#[derive(Deserialize)]
struct Turn {
    _id: String,
    title: String,
    text: String,
    conv: String,
    session: u32,
}

#[derive(Deserialize)]
struct Question {
    _id: String,
    text: String,
    conv: String,
    category: u32,
}

/// Recall at each cut, summed over questions.
#[derive(Clone, Copy, Default)]
struct Sum {
    questions: usize,
    recall: [f64; CUTS.len()],
    /// How far the best match covers the question, in sum.
    coverage: f64,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.questions += other.questions;
        self.coverage += other.coverage;
        self.recall.iter_mut().zip(other.recall).for_each(|(sum, recall)| *sum += recall);
    }

    fn line(&self, name: &str) -> String {
        let of = |sum: f64| 100.0 * sum / self.questions.max(1) as f64;
        let recall: String = self.recall.iter().map(|sum| format!("{:8.1}", of(*sum))).collect();
        format!("{name:24}{:6}{recall}{:10.1}", self.questions, of(self.coverage))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or_else(|| Error::invalid("name the folder of the conversations"))?;
    let folder = Path::new(&folder);
    let modes: Vec<(&str, RecallMode)> =
        [("lexical", RecallMode::Lexical), ("hybrid", RecallMode::Hybrid), ("dense", RecallMode::Dense)]
            .into_iter()
            .filter(|(name, _)| arguments.len() == 0 || arguments.next().as_deref() == Some(*name))
            .collect();
    let memory =
        Memory::new(Arc::new(InProcessMemoryStore::default()), Arc::new(SystemClock), Arc::new(SystemIds))
            .with_embedder(Arc::new(operone_embed::bundled()));

    let mut turns: BTreeMap<String, Vec<NewMemory>> = BTreeMap::new();
    for turn in lines::<Turn>(&folder.join("corpus.jsonl"))? {
        let said = NewMemory::new(turn.text)
            .with_id(id(&turn._id)?)
            .with_actor(turn.title)
            .with_thread(turn.session.to_string());
        turns.entry(turn.conv).or_default().push(said);
    }
    for (conversation, turns) in turns {
        let scope = scope(&conversation)?;
        for batch in turns.chunks(operone_memory::MAX_BATCH) {
            memory.remember(&scope, batch.to_vec()).await?;
        }
    }
    let evidence = evidence(&folder.join("qrels.tsv"))?;
    let questions = lines::<Question>(&folder.join("queries.jsonl"))?;
    for (name, mode) in modes {
        let mut by_category: BTreeMap<u32, Sum> = BTreeMap::new();
        for question in &questions {
            if let Some(evidence) = evidence.get(&question._id) {
                let sum = ask(&memory, question, evidence, mode).await?;
                by_category.entry(question.category).or_default().add(&sum);
            }
        }
        print(name, &by_category);
    }
    Ok(())
}

async fn ask(memory: &Memory, question: &Question, evidence: &[MemoryId], mode: RecallMode) -> Result<Sum> {
    let most = CUTS.iter().copied().max().unwrap_or(1);
    let query = RecallQuery::new(scope(&question.conv)?, question.text.as_str()).with_limit(most);
    let recalled = memory.recall(query.with_mode(mode)).await?;
    let found: Vec<&MemoryId> = recalled.memories.iter().map(|found| &found.entry.id).collect();
    let at = |cut: usize| {
        let hits = evidence.iter().filter(|id| found.iter().take(cut).any(|found| found == id));
        hits.count() as f64 / evidence.len() as f64
    };
    Ok(Sum { questions: 1, recall: CUTS.map(at), coverage: recalled.coverage })
}

fn print(mode: &str, by_category: &BTreeMap<u32, Sum>) {
    let cuts: String = CUTS.iter().map(|cut| format!("{:>8}", format!("R@{cut}"))).collect();
    println!("{:24}{:>6}{cuts}{:>10}", mode, "n", "coverage");
    let (mut answerable, mut all) = (Sum::default(), Sum::default());
    for (category, sum) in by_category {
        println!("{}", sum.line(&format!("  category {category}")));
        all.add(sum);
        if *category != ADVERSARIAL {
            answerable.add(sum);
        }
    }
    println!("{}", answerable.line("  without adversarial"));
    println!("{}\n", all.line("  all with evidence"));
}

fn evidence(file: &Path) -> Result<HashMap<String, Vec<MemoryId>>> {
    let mut evidence: HashMap<String, Vec<MemoryId>> = HashMap::new();
    for line in read(file)?.lines().skip(1) {
        let mut columns = line.split('\t');
        if let (Some(question), Some(turn)) = (columns.next(), columns.next()) {
            evidence.entry(question.to_owned()).or_default().push(id(turn)?);
        }
    }
    Ok(evidence)
}

fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    let wrong = |error| Error::invalid("a line is not what it should be").with_source(error);
    read(file)?.lines().map(|line| serde_json::from_str(line).map_err(wrong)).collect()
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file)
        .map_err(|error| Error::invalid(format!("{} cannot be read", file.display())).with_source(error))
}

fn scope(conversation: &str) -> Result<ScopeKey> {
    Ok(ScopeKey::new(TenantId::local(), Scope::new(format!("session/{conversation}"))?))
}

/// The separator of the data is none that an id may have.
fn id(name: &str) -> Result<MemoryId> {
    MemoryId::new(name.replace('|', "."))
}
