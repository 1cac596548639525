//! Answers as a cassette has it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::difference::differences;
use super::{Header, RecordedEnd, Recording, damaged, unreadable};
use crate::cache::ContentHash;
use crate::error::{Error, Result};
use crate::model::layers::canonical::{canonical, hash};
use crate::model::{LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};

/// How many differences an error names.
const NAMED: usize = 5;

/// A model that gives the answers of a cassette, which [`Recorder`](super::Recorder) wrote, and asks nobody.
///
/// - A request is answered with what an equal request was answered with, events, errors and broken ends included. Equal
///   are requests of the same JSON. Several recordings of an equal request come in their order, and the last of them
///   again and again.
/// - A request that is not in the cassette is `NotFound` with code `cassette_has_no_answer`. The message names the
///   fields in which it differs from the nearest recorded one, such as `messages[2].content`, and never what is in
///   them.
/// - Events come at once, without the pauses that they had. An answer that its caller dropped ends, cut off, where it
///   was dropped.
/// - [`LanguageModel::info`] is that of the recorded model. The cassette is read once, and kept in memory.
#[derive(Debug)]
pub struct Replayer {
    info: ModelInfo,
    answers: HashMap<ContentHash, Answers>,
    /// The recorded requests, in their order.
    requests: Vec<Value>,
}

#[derive(Debug, Default)]
struct Answers {
    recorded: Vec<(Vec<ModelEvent>, RecordedEnd)>,
    given: AtomicUsize,
}

impl Replayer {
    /// Reads a cassette. A last line that was never finished is passed over.
    ///
    /// Errors: `cassette_unreadable`, which is `NotFound` where there is no file; `Invalid` with code
    /// `cassette_damaged`; `Unsupported` with code `cassette_format_unsupported`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let text = std::fs::read(path).map_err(unreadable)?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
        let (_, first) = lines.next().ok_or_else(|| damaged(1))?;
        let info = Header::read(&String::from_utf8_lossy(first))?.info;
        let mut replayer = Self { info, answers: HashMap::new(), requests: Vec::new() };
        for (number, line) in lines.filter(|(_, line)| line.ends_with(b"\n")) {
            let recording: Recording =
                serde_json::from_slice(line).map_err(|error| damaged(number + 1).with_source(error))?;
            replayer.add(recording)?;
        }
        Ok(replayer)
    }

    fn add(&mut self, recording: Recording) -> Result<()> {
        let request = canonical(&recording.request)?;
        let answers = self.answers.entry(hash(&request)).or_default();
        if answers.recorded.is_empty() {
            self.requests.push(request);
        }
        answers.recorded.push((recording.events, recording.end));
        Ok(())
    }

    fn unknown(&self, request: &Value) -> Error {
        let nearest =
            self.requests.iter().map(|recorded| differences(request, recorded)).min_by_key(Vec::len);
        let detail = match nearest {
            None => "the cassette has no answers at all: record them".into(),
            Some(different) => {
                let more = different.len().saturating_sub(NAMED);
                let mut named = different.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
                if more > 0 {
                    named.push_str(&format!(" and {more} more"));
                }
                format!(
                    "the cassette has no answer to this request, which differs from the nearest one in {named}: \
                     record it anew"
                )
            }
        };
        Error::not_found(detail).with_code("cassette_has_no_answer")
    }
}

#[async_trait]
impl LanguageModel for Replayer {
    fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let request = canonical(&request)?;
        let answers = self.answers.get(&hash(&request)).ok_or_else(|| self.unknown(&request))?;
        let (events, end) = answers.next().ok_or_else(|| self.unknown(&request))?;
        let mut items: Vec<Result<ModelEvent>> = events.iter().cloned().map(Ok).collect();
        if let RecordedEnd::Failed(report) = end {
            let error = Error::from(report.clone());
            if items.is_empty() {
                return Err(error);
            }
            items.push(Err(error));
        }
        Ok(stream::iter(items).boxed())
    }
}

impl Answers {
    fn next(&self) -> Option<&(Vec<ModelEvent>, RecordedEnd)> {
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        self.recorded.get(given).or_else(|| self.recorded.last())
    }
}
