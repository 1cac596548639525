//! The tool `file.list`.

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
use crate::root::Root;
use crate::unfinished;

/// The most entries of one `file.list`.
const MAX_ENTRIES: usize = 1000;

/// The most entries of a folder that are looked at.
const MAX_LOOKED_AT: usize = 100_000;

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
        let name = entry.file_name();
        if !unfinished::is(&name) {
            first.insert(name, entry);
        }
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
