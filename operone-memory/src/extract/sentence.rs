//! An extractor that follows rules: sentences in which someone speaks of themselves.

use async_trait::async_trait;
use operone_core::Result;
use operone_core::memory::{Entry, NewMemory};
use operone_core::text::sentences;

use super::{Extractor, Finding};

/// How a sentence begins that is kept.
const BEGINNINGS: [&str; 6] = ["I ", "I'm ", "I've ", "My ", "We ", "Our "];

/// Keeps the sentences in which somebody speaks of themselves, as facts. It needs no model and finds the same each
/// time: for tests, and where a crude profile is enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct SentenceExtractor;

#[async_trait]
impl Extractor for SentenceExtractor {
    fn name(&self) -> String {
        "sentences".to_owned()
    }

    async fn extract(&self, new: &[Entry], _known: &[Entry]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for entry in new {
            for span in sentences(&entry.content) {
                let sentence = entry.content.get(span).unwrap_or_default().trim();
                if BEGINNINGS.iter().any(|begin| sentence.starts_with(begin)) {
                    let mut memory = NewMemory::new(sentence);
                    memory.kind = Some("fact".to_owned());
                    memory.actor.clone_from(&entry.actor);
                    memory.occurred_at = Some(entry.occurred_at.unwrap_or(entry.recorded_at));
                    findings.push(Finding::new(memory, vec![entry.id.clone()]));
                }
            }
        }
        Ok(findings)
    }
}
