//! The data folder: one process has it at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use operone_core::{Error, Result};

/// A folder that this process alone uses, as long as this value lives.
///
/// The operating system frees the lock when the process ends, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // Holds the lock; it is freed when the file is closed.
    _lock: File,
}

impl DataFolder {
    /// The file in the folder that carries the lock.
    pub const LOCK_FILE: &str = "operone.lock";

    /// Creates the folder where it is missing, for the user alone where the system knows modes, and takes its lock.
    ///
    /// A folder that another process has, or another value in this one, is `Conflict` with code
    /// `data_folder_in_use`; a folder that cannot be created or written is `Internal` with code
    /// `data_folder_unwritable`. Returns at once: it does not wait for the other process.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        create(path).map_err(|error| unwritable(path, error))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join(Self::LOCK_FILE))
            .map_err(|error| unwritable(path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(Error::conflict(format!(
                "another process uses the data folder {}: stop it, or use another folder",
                path.display()
            ))
            .with_code("data_folder_in_use")),
            Err(TryLockError::Error(error)) => Err(unwritable(path, error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn join(&self, file: impl AsRef<Path>) -> PathBuf {
        self.path.join(file)
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("the data folder {} cannot be written", path.display()))
        .with_code("data_folder_unwritable")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_folder_until_the_value_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/data");
        let first = DataFolder::lock(&path).unwrap();
        let refused = DataFolder::lock(&path).unwrap_err();
        assert_eq!(refused.code(), "data_folder_in_use");
        assert!(refused.message().contains("stop it"), "{refused}");
        drop(first);
        assert_eq!(DataFolder::lock(&path).unwrap().path(), path);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(root.path().join("data")).unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        std::fs::write(&path, "not a folder").unwrap();
        assert_eq!(DataFolder::lock(&path).unwrap_err().code(), "data_folder_unwritable");
    }
}
