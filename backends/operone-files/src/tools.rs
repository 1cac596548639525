//! The tools `file.read` and `file.list`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use operone_core::Result;
use operone_core::tool::{Tool, ToolContext, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::blocking::{self, Stop};
use crate::error::{from_io, not_a_folder};
use crate::regular;
use crate::root::Root;

/// The most bytes of one `file.read`.
const MAX_READ: u64 = 256 * 1024;

/// The most entries of one `file.list`.
const MAX_ENTRIES: usize = 1000;

/// The most entries of a folder that are looked at.
const MAX_LOOKED_AT: usize = 100_000;

/// Reads a part of a text file.
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
}

/// A part of a file as text; bytes that are no UTF-8 are replaced.
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
            "Reads a text file. Gives at most 256 KiB at once: where 'truncated' is true the next part begins at \
             offset + bytes.",
        )
        .with_input_schema(json!({
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": {"type": "string", "description": "the file, relative to the folder"},
                "offset": {"type": "integer", "minimum": 0, "description": "the first byte; 0 if left out"},
                "limit": {"type": "integer", "minimum": 1, "description": "the most bytes; 262144 if left out"}
            }
        }))
    }

    async fn call(&self, _: &ToolContext, input: ReadInput) -> Result<ReadOutput> {
        let root = Arc::clone(&self.root);
        blocking::run(move |stop| read(&root, input, stop)).await
    }
}

fn read(root: &Root, input: ReadInput, stop: &Stop) -> Result<ReadOutput> {
    let ReadInput { path, offset, limit } = input;
    let relative = root.relative(Path::new(&path))?;
    let file = regular::open(&root.folder, &relative, &path)?;
    let limit = limit.unwrap_or(MAX_READ).min(MAX_READ);
    // One byte more tells whether the file goes on.
    let mut bytes = regular::read(file, offset.unwrap_or(0), limit + 1, &path, stop)?;
    let truncated = bytes.len() as u64 > limit;
    if truncated {
        bytes.pop();
        bytes.truncate(whole_characters(&bytes));
    }
    Ok(ReadOutput {
        content: String::from_utf8_lossy(&bytes).into_owned(),
        bytes: bytes.len() as u64,
        path,
        truncated,
    })
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

/// Lists a folder.
pub(crate) struct ListFiles {
    root: Arc<Root>,
}

impl ListFiles {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListInput {
    #[serde(default)]
    path: Option<String>,
}

/// The entries of a folder by name.
#[derive(Debug, Serialize)]
pub(crate) struct ListOutput {
    entries: Vec<Listed>,
    /// Whether there are more entries than these.
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    kind: Kind,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Folder,
    Link,
    Other,
}

impl Tool for ListFiles {
    type Input = ListInput;
    type Output = ListOutput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new("file.list", "Lists the files and folders in a folder, at most 1,000, by name.")
            .with_input_schema(json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "the folder; the top folder if left out"}
                }
            }))
    }

    async fn call(&self, _: &ToolContext, input: ListInput) -> Result<ListOutput> {
        let root = Arc::clone(&self.root);
        let path = input.path.filter(|path| !path.is_empty()).unwrap_or_else(|| ".".to_owned());
        blocking::run(move |stop| list(&root, &path, stop)).await
    }
}

fn list(root: &Root, path: &str, stop: &Stop) -> Result<ListOutput> {
    let failed = |error| from_io(path, error);
    let folder =
        root.folder.open_dir(root.relative(Path::new(path))?).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => not_a_folder(path),
            _ => failed(error),
        })?;
    let mut first = BTreeMap::new();
    let mut truncated = false;
    for (number, entry) in folder.entries().map_err(failed)?.enumerate() {
        stop.check()?;
        let entry = entry.map_err(failed)?;
        first.insert(entry.file_name(), entry);
        if first.len() > MAX_ENTRIES {
            first.pop_last();
            truncated = true;
        }
        if number == MAX_LOOKED_AT {
            truncated = true;
            break;
        }
    }
    let entries = first.into_iter().filter_map(|(name, entry)| {
        // What was removed meanwhile is left out. A link is not followed: it may lead anywhere.
        let metadata = entry.metadata().ok()?;
        let kind = match metadata.file_type() {
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_file() => Kind::File,
            _ => Kind::Other,
        };
        let bytes = if metadata.is_file() { metadata.len() } else { 0 };
        Some(Listed { name: name.to_string_lossy().into_owned(), kind, bytes })
    });
    Ok(ListOutput { entries: entries.collect(), truncated })
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
