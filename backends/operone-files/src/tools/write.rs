//! The tool `file.write`.

use std::ffi::OsStr;
use std::path::{Component, Path};
use std::sync::Arc;

use operone_core::tool::{Tool, ToolClass, ToolContext, ToolSpec};
use operone_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Encoding;
use crate::blocking::{self, Stop};
use crate::error::{invalid_path, not_a_file, outside};
use crate::lock::WriteLock;
use crate::place::{Existing, Place};
use crate::quota::{Quota, Usage};
use crate::root::Root;
use crate::unfinished;

/// Writes a file.
pub(crate) struct WriteFile {
    root: Arc<Root>,
    quota: Quota,
}

impl WriteFile {
    pub(crate) fn new(root: Arc<Root>, quota: Quota) -> Self {
        Self { root, quota }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct WriteInput {
    path: String,
    content: String,
    #[serde(default)]
    mode: Mode,
    /// Where appended content begins.
    #[serde(default)]
    at: u64,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Create,
    #[default]
    Replace,
    Append,
}

/// What became of the file.
#[derive(Debug, Serialize)]
pub(crate) struct WriteOutput {
    path: String,
    change: Change,
    /// The bytes of the whole file: what is appended next begins here.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Created,
    Replaced,
    Appended,
    /// The content was there already.
    Unchanged,
}

impl Tool for WriteFile {
    type Input = WriteInput;
    type Output = WriteOutput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "file.write",
            "Writes a file, and makes the folders that are missing. 'replace' gives the file this content whatever was \
             there, 'create' fails with code 'exists' if another file is there, 'append' adds to its end. Gives the \
             bytes of the whole file.",
        )
        .with_class(ToolClass::Idempotent)
        .with_input_schema(json!({
            "type": "object",
            "required": ["path", "content"],
            "properties": {
                "path": {"type": "string", "description": "the file, relative to the folder"},
                "content": {"type": "string", "description": "the content"},
                "mode": {"enum": ["replace", "create", "append"], "description": "replace if left out"},
                "at": {
                    "type": "integer", "minimum": 0,
                    "description": "for append: the bytes that the file has now; 0 if left out"
                },
                "encoding": {
                    "enum": ["text", "base64"],
                    "description": "base64 if the content is base64 of bytes that are no text; text if left out"
                }
            }
        }))
    }

    async fn call(&self, _: &ToolContext, input: WriteInput) -> Result<WriteOutput> {
        let (root, quota) = (Arc::clone(&self.root), self.quota);
        blocking::run(move |stop| write(&root, quota, input, stop)).await
    }
}

fn write(root: &Root, quota: Quota, input: WriteInput, stop: &Stop) -> Result<WriteOutput> {
    let WriteInput { path, content, mode, at, encoding } = input;
    let content = encoding.decode(content)?;
    let relative = root.relative(Path::new(&path))?;
    let names = names(&path, &relative)?;
    quota.check_path(&path, &names)?;
    quota.check_file(&path, content.len() as u64)?;

    let _lock = WriteLock::acquire(&root.folder, stop)?;
    let place = Place::open(&root.folder, &names, &path)?;
    let earlier = place.existing()?;
    let (change, content) = match (mode, earlier) {
        (Mode::Append, Some(earlier)) => append(&path, &place, earlier, quota, at, content, stop)?,
        (Mode::Append, None) if at > 0 => return Err(changed(&path, 0, at)),
        (_, None) => (Change::Created, content),
        (_, Some(earlier)) if holds(&place, earlier, &content, stop)? => (Change::Unchanged, content),
        (Mode::Create, Some(_)) => {
            let detail = format!("'{path}' exists and holds something else; mode 'replace' replaces it");
            return Err(Error::conflict(detail).with_code("exists"));
        }
        (Mode::Replace, Some(_)) => (Change::Replaced, content),
    };
    let bytes = content.len() as u64;
    if matches!(change, Change::Unchanged) {
        place.keep()?;
    } else {
        check_growth(root, quota, &place, earlier, bytes, stop)?;
        place.put(&content, earlier, stop)?;
    }
    Ok(WriteOutput { path, change, bytes })
}

/// The names of the folders and of the file, one by one.
fn names<'a>(path: &str, relative: &'a Path) -> Result<Vec<&'a OsStr>> {
    if path.contains(|character: char| character.is_control() || character == '\\') {
        return Err(invalid_path(path, "holds a control character or a backslash"));
    }
    let (mut names, mut ups) = (Vec::new(), 0);
    for part in relative.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir => ups += 1,
            Component::Prefix(_) | Component::RootDir => return Err(outside(path)),
        }
        if ups > names.len() {
            return Err(outside(path));
        }
    }
    if ups > 0 {
        return Err(invalid_path(path, "holds '..'; to write, name the file without"));
    }
    if names.is_empty() || path.ends_with('/') || path.ends_with("/.") {
        return Err(not_a_file(path));
    }
    if names.iter().copied().any(unfinished::is) {
        return Err(invalid_path(path, "holds a name that is reserved for files on their way"));
    }
    Ok(names)
}

/// The whole content with the new one at its end, unless it is there already.
fn append(
    path: &str,
    place: &Place<'_>,
    earlier: Existing,
    quota: Quota,
    at: u64,
    content: Vec<u8>,
    stop: &Stop,
) -> Result<(Change, Vec<u8>)> {
    quota.check_file(path, earlier.bytes.max(at.saturating_add(content.len() as u64)))?;
    let mut whole = place.read(quota.file_bytes.saturating_add(1), stop)?;
    quota.check_file(path, whole.len() as u64)?;
    let behind = usize::try_from(at).ok().and_then(|at| whole.get(at..));
    match behind {
        Some(behind) if behind.starts_with(&content) => Ok((Change::Unchanged, whole)),
        Some([]) => {
            whole.extend_from_slice(&content);
            Ok((Change::Appended, whole))
        }
        _ => Err(changed(path, whole.len() as u64, at)),
    }
}

/// Whether the file holds exactly this.
fn holds(place: &Place<'_>, earlier: Existing, content: &[u8], stop: &Stop) -> Result<bool> {
    let length = content.len() as u64;
    Ok(earlier.bytes == length && place.read(length + 1, stop)? == content)
}

fn check_growth(
    root: &Root,
    quota: Quota,
    place: &Place<'_>,
    earlier: Option<Existing>,
    bytes: u64,
    stop: &Stop,
) -> Result<()> {
    let made = place.made_folders();
    let growth = Usage {
        bytes: bytes.saturating_sub(earlier.map_or(0, |earlier| earlier.bytes)),
        files: made + u64::from(earlier.is_none()),
    };
    if growth == Usage::default() {
        return Ok(());
    }
    let mut used = Usage::measure(&root.folder, stop)?;
    used.files = used.files.saturating_sub(made);
    quota.check_growth(used, growth)
}

fn changed(path: &str, bytes: u64, at: u64) -> Error {
    let detail = format!("'{path}' has {bytes} bytes: what is appended begins there, and 'at' says {at}");
    Error::conflict(detail).with_code("changed")
}
