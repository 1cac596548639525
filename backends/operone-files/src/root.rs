//! A folder that is held open, and paths below it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use operone_core::Result;
use operone_core::tool::{ToolHandle, ToolSet};

use crate::error::{from_io, outside};
use crate::quota::Quota;
#[cfg(unix)]
use crate::tools::WriteFile;
use crate::tools::{ListFiles, ReadFile};

/// The file tools of one folder: `file.read`, `file.list` and, on Unix, `file.write`. Clones share the folder.
///
/// Paths are relative to the folder. An absolute path is accepted if it begins with the folder's own path. What
/// leads out of the folder, by `..` or by a symbolic link, is `Denied` with code `outside_root`. Other codes:
/// `not_found`, `not_a_file` (folders, devices, pipes, sockets, files of the kernel), `not_a_folder`,
/// `unreadable`, `invalid_path`.
///
/// `file.write` makes the folders that are missing and puts a whole file in place at once, so that a reader never sees
/// half of it. It writes through no symbolic link, and a file with a second name keeps its content under that one. A
/// repeat of the same call finds its content there and changes nothing; that holds for `append` too, which says at
/// which byte its content begins. One write at a time happens in a folder, also among processes; the others wait, at
/// most 30 seconds. A call that is dropped leaves nothing behind, unless its file is in place already. Its codes are
/// besides those above `exists`, `changed`, `quota_exceeded`, `unwritable`, `storage_full` and `busy`.
#[derive(Clone, Debug)]
pub struct FileRoot {
    root: Arc<Root>,
    quota: Quota,
}

impl FileRoot {
    /// Opens a folder, which must exist. If it is renamed later, the tools stay with it. Blocks for a moment.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { root: Arc::new(Root::open(path.as_ref())?), quota: Quota::default() })
    }

    /// Sets what `file.write` may bring the folder to.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }
}

#[async_trait]
impl ToolSet for FileRoot {
    async fn tools(&self) -> Result<Vec<ToolHandle>> {
        Ok(vec![
            ToolHandle::new(ListFiles::new(Arc::clone(&self.root))),
            ToolHandle::new(ReadFile::new(Arc::clone(&self.root))),
            #[cfg(unix)]
            ToolHandle::new(WriteFile::new(Arc::clone(&self.root), self.quota)),
        ])
    }
}

/// A folder that is held open, with the paths that name it.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) folder: Dir,
    names: [PathBuf; 2],
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error| from_io(&path.to_string_lossy(), error);
        let folder = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let resolved = std::fs::canonicalize(path).map_err(failed)?;
        let given = std::path::absolute(path).map_err(failed)?;
        Ok(Self { folder, names: [given, resolved] })
    }

    /// The path relative to the folder. Whether it stays inside is seen when it is opened.
    pub(crate) fn relative(&self, path: &Path) -> Result<PathBuf> {
        let relative = if path.is_absolute() {
            self.names.iter().find_map(|name| path.strip_prefix(name).ok())
        } else {
            Some(path)
        };
        let relative = relative.ok_or_else(|| outside(&path.to_string_lossy()))?;
        if relative.components().any(|part| matches!(part, Component::Prefix(_) | Component::RootDir)) {
            return Err(outside(&path.to_string_lossy()));
        }
        Ok(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative.to_owned() })
    }
}
