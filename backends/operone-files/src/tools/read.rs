//! The tool `file.read`.

use std::path::Path;
use std::sync::Arc;

use operone_core::Result;
use operone_core::tool::{Tool, ToolContext, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Encoding;
use crate::blocking::{self, Stop};
use crate::error::does_not_exist;
use crate::regular;
use crate::root::Root;
use crate::unfinished;

/// The most bytes of one `file.read`.
const MAX_READ: u64 = 256 * 1024;

/// Reads a part of a file.
pub(crate) struct ReadFile {
    root: Arc<Root>,
}

impl ReadFile {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReadInput {
    path: String,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

/// A part of a file.
#[derive(Debug, Serialize)]
pub(crate) struct ReadOutput {
    path: String,
    content: String,
    /// How many bytes of the file the content stands for: the next part begins at `offset + bytes`.
    bytes: u64,
    /// Whether the file goes on.
    truncated: bool,
}

impl Tool for ReadFile {
    type Input = ReadInput;
    type Output = ReadOutput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "file.read",
            "Reads a file. Gives at most 256 KiB at once: where 'truncated' is true the next part begins at \
             offset + bytes.",
        )
        .with_input_schema(json!({
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": {"type": "string", "description": "the file, relative to the folder"},
                "offset": {"type": "integer", "minimum": 0, "description": "the first byte; 0 if left out"},
                "limit": {"type": "integer", "minimum": 1, "description": "the most bytes; 262144 if left out"},
                "encoding": {
                    "enum": ["text", "base64"],
                    "description": "base64 for a file that is no text; text if left out"
                }
            }
        }))
        .with_untrusted_output()
    }

    async fn call(&self, _: &ToolContext, input: ReadInput) -> Result<ReadOutput> {
        let root = Arc::clone(&self.root);
        blocking::run(move |stop| read(&root, input, stop)).await
    }
}

fn read(root: &Root, input: ReadInput, stop: &Stop) -> Result<ReadOutput> {
    let ReadInput { path, offset, limit, encoding } = input;
    let relative = root.relative(Path::new(&path))?;
    if relative.file_name().is_some_and(unfinished::is) {
        return Err(does_not_exist(&path));
    }
    let file = regular::open(&root.folder, &relative, &path)?;
    let limit = limit.unwrap_or(MAX_READ).min(MAX_READ);
    // One byte more tells whether the file goes on.
    let mut bytes = regular::read(file, offset.unwrap_or(0), limit + 1, &path, stop)?;
    let truncated = bytes.len() as u64 > limit;
    if truncated {
        bytes.pop();
        if encoding == Encoding::Text {
            bytes.truncate(whole_characters(&bytes));
        }
    }
    Ok(ReadOutput { content: encoding.encode(&bytes), bytes: bytes.len() as u64, path, truncated })
}

/// Where the last whole character ends; all bytes if not even one is whole.
fn whole_characters(bytes: &[u8]) -> usize {
    let begins = |byte: &u8| byte & 0xC0 != 0x80;
    let last = bytes.iter().rposition(begins).unwrap_or_default();
    match bytes.get(last..).map(std::str::from_utf8) {
        Some(Err(error)) if error.error_len().is_none() && last > 0 => last,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_with_a_whole_character() {
        for (bytes, whole) in [
            (&b"abc"[..], 3),
            ("aé".as_bytes(), 3),
            (&"aé".as_bytes()[..2], 1),
            (&"a🗼".as_bytes()[..4], 1),
            (b"a\xff", 2),
            (&"🗼".as_bytes()[..2], 2),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
