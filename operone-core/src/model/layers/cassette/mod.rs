//! Cassettes: what models answered, in a file of JSON lines.
//!
//! The first line is the header: the format's name, its version and what the model says it is. Each line after it is
//! one call: the request, the events of the answer and how it ended. No key can be in it, because requests carry none;
//! the conversations are, so keep a cassette as you would keep them.

mod difference;
mod recorder;
mod replayer;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, ErrorReport, Result};
use crate::model::{ModelEvent, ModelInfo, ModelRequest};

pub use recorder::Recorder;
pub use replayer::Replayer;

const FORMAT: &str = "operone-cassette";
const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    info: ModelInfo,
}

/// A line after the first.
#[derive(Debug, Serialize, Deserialize)]
struct Recording {
    request: ModelRequest,
    events: Vec<ModelEvent>,
    end: RecordedEnd,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedEnd {
    Done,
    Failed(ErrorReport),
    CutOff,
    /// The caller wanted no more of it.
    Dropped,
}

impl Header {
    fn new(info: ModelInfo) -> Self {
        Self { format: FORMAT.into(), version: VERSION, info }
    }

    fn read(line: &str) -> Result<Self> {
        let header: Self = serde_json::from_str(line).map_err(|error| damaged(1).with_source(error))?;
        if header.format != FORMAT {
            return Err(damaged(1));
        }
        if header.version != VERSION {
            let version = header.version;
            let detail = format!("the cassette has format {version}, and {VERSION} is what can be read here");
            return Err(Error::new(ErrorKind::Unsupported, detail).with_code("cassette_format_unsupported"));
        }
        Ok(header)
    }
}

fn damaged(line: usize) -> Error {
    Error::invalid(format!("line {line} of the cassette is not what a recorder writes"))
        .with_code("cassette_damaged")
}

fn unreadable(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, "the cassette cannot be read").with_code("cassette_unreadable").with_source(error)
}
