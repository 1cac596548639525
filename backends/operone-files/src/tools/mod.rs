//! The tools of a folder, and how bytes travel in JSON.

mod list;
mod read;
#[cfg(unix)]
mod write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use operone_core::{Error, Result};
use serde::Deserialize;

pub(crate) use list::ListFiles;
pub(crate) use read::ReadFile;
#[cfg(unix)]
pub(crate) use write::WriteFile;

/// How the bytes of a file are written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    #[default]
    Text,
    Base64,
}

impl Encoding {
    fn decode(self, content: String) -> Result<Vec<u8>> {
        match self {
            Self::Text => Ok(content.into_bytes()),
            Self::Base64 => STANDARD.decode(content).map_err(|error| {
                Error::invalid("the content is not base64").with_code("invalid_input").with_source(error)
            }),
        }
    }

    /// As text, bytes that are no UTF-8 are replaced.
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}
