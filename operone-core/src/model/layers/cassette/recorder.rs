//! Writes down what a model answers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;

use super::super::watch::{End, Watch, watched};
use super::{Header, RecordedEnd, Recording, damaged, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};

/// A model whose calls are written to a cassette, for [`Replayer`](super::Replayer).
///
/// - Each call is one line, written at once when it ends, and before its end is given out: a process that is killed
///   loses the calls that were going on, and calls at the same time do not mix. The lines stand in the order in which
///   the calls ended.
/// - Errors are recorded, without their cause and without the wait they ask for. An answer that its caller dropped is
///   recorded as far as it came, and a call that was dropped before its first event is not.
/// - Where a line cannot be written, an error takes the place of the answer's end: `Internal` with code
///   `cassette_not_written`.
/// - An existing cassette is continued, also by several recorders at once; a last line that was never finished is cut
///   away when it is opened.
/// - Conversations are in it as they are; keys are not, because requests carry none. Writing blocks the thread for as
///   long as the file system takes: this is for tests and for looking into things.
#[derive(Debug)]
pub struct Recorder {
    model: Arc<dyn LanguageModel>,
    file: Arc<Mutex<File>>,
}

impl Recorder {
    /// Creates the cassette, or opens it to continue it. Its folder must exist.
    ///
    /// Errors: `Conflict` with code `cassette_of_another_model` where it holds the answers of a model with another
    /// provider or name; `cassette_damaged`, `cassette_format_unsupported`, `cassette_unreadable` and
    /// `cassette_not_written`.
    pub fn new(model: Arc<dyn LanguageModel>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(unreadable)?,
        };
        let info = model.info();
        let header = line(&Header::new(info.clone()))?;
        let whole_lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        match text.get(..whole_lines).unwrap_or_default().split(|byte| *byte == b'\n').next() {
            Some(first) if whole_lines > 0 => {
                let recorded = Header::read(&String::from_utf8_lossy(first))?.info;
                if (&recorded.provider, &recorded.name) != (&info.provider, &info.name) {
                    let detail = format!("the cassette holds answers of '{}'", recorded.name);
                    return Err(Error::conflict(detail).with_code("cassette_of_another_model"));
                }
            }
            _ if !header.starts_with(&text) => return Err(damaged(1)),
            _ => {}
        }
        // Nothing of a file is changed before it is known to be a cassette.
        if whole_lines < text.len() {
            let torn = OpenOptions::new().write(true).open(path).map_err(not_written)?;
            torn.set_len(whole_lines as u64).map_err(not_written)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(not_written)?;
        if whole_lines == 0 {
            file.write_all(&header).map_err(not_written)?;
        }
        Ok(Self { model, file: Arc::new(Mutex::new(file)) })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Recorder {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let call = Call { file: Arc::clone(&self.file), request: request.clone(), events: Vec::new() };
        watched(self.model.stream(request), call).await
    }
}

/// A call that goes on.
struct Call {
    file: Arc<Mutex<File>>,
    request: ModelRequest,
    events: Vec<ModelEvent>,
}

impl Watch for Call {
    fn part(&mut self, part: &ModelEvent) {
        self.events.push(part.clone());
    }

    fn end(mut self, end: End<'_>) -> Result<()> {
        let end = match end {
            End::Done(finish) => {
                self.events.push(ModelEvent::Done(finish.clone()));
                RecordedEnd::Done
            }
            End::Failed(error) => RecordedEnd::Failed(error.report()),
            End::CutOff => RecordedEnd::CutOff,
            End::Dropped if self.events.is_empty() => return Ok(()),
            End::Dropped => RecordedEnd::Dropped,
        };
        let recording = Recording { request: self.request, events: self.events, end };
        let written = line(&recording).and_then(|line| {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&line).map_err(not_written)
        });
        if let Err(error) = &written {
            tracing::error!(code = error.code(), "a call is missing in the cassette");
        }
        written
    }
}

/// Written with one call of the operating system, where it takes it whole.
fn line(content: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(content).map_err(not_written)?;
    line.push(b'\n');
    Ok(line)
}

fn not_written(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let detail = "the cassette cannot be written";
    Error::new(ErrorKind::Internal, detail).with_code("cassette_not_written").with_source(error)
}
