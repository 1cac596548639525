//! The place of a file that is written: its folder, what is there, and how new content takes its place at once.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, MetadataExt, OpenOptions};
use operone_core::Result;

use crate::blocking::Stop;
use crate::error::{from_write, not_a_file, unwritable};
use crate::regular;
use crate::unfinished;

/// How much is written between two looks at whether anyone still waits, in bytes.
const BLOCK: usize = 1024 * 1024;

/// Who may do what with a file; the bits that change the user are left behind with the old content.
const PERMISSIONS: u32 = 0o777;

/// Where a file goes. The folder is held open: whatever its path leads to later, the file goes into this one.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    shown: &'a str,
    name: &'a OsStr,
    folder: Dir,
    made: MadeFolders,
}

/// The file that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing {
    pub(crate) bytes: u64,
    permissions: u32,
}

impl<'a> Place<'a> {
    /// Opens the folder of the file that `names` lead to, and makes what is missing. What was made goes again when
    /// this is dropped before [`Place::put`] succeeds. `shown` is the path in errors.
    pub(crate) fn open(root: &Dir, names: &[&'a OsStr], shown: &'a str) -> Result<Self> {
        let Some((name, folders)) = names.split_last() else {
            return Err(not_a_file(shown));
        };
        let mut made = MadeFolders::default();
        let mut path = PathBuf::from(".");
        for folder in folders {
            made.add(root, &path, folder, shown)?;
            path.push(folder);
        }
        let folder = open_folder(root, &path, shown)?;
        Ok(Self { shown, name, folder, made })
    }

    /// How many folders had to be made.
    pub(crate) fn made_folders(&self) -> u64 {
        self.made.folders.len() as u64
    }

    /// The regular file that is there. Links, devices, pipes, sockets and folders are refused: nothing is written
    /// through a link, since it may lead anywhere.
    pub(crate) fn existing(&self) -> Result<Option<Existing>> {
        match self.folder.symlink_metadata(self.name) {
            Ok(there) if there.is_file() => {
                Ok(Some(Existing { bytes: there.len(), permissions: there.mode() & PERMISSIONS }))
            }
            Ok(_) => Err(not_a_file(self.shown)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(from_write(self.shown, error)),
        }
    }

    /// At most `limit` bytes of the file that is there.
    pub(crate) fn read(&self, limit: u64, stop: &Stop) -> Result<Vec<u8>> {
        let file = regular::open(&self.folder, Path::new(self.name), self.shown)?;
        regular::read(file, 0, limit, self.shown, stop)
    }

    /// Puts the content there: others see the earlier file or this one, whole, also after a crash.
    ///
    /// The earlier file's permissions are kept; a file that nobody may write is refused. A file with another name too
    /// keeps its earlier content under that name.
    pub(crate) fn put(self, content: &[u8], earlier: Option<Existing>, stop: &Stop) -> Result<()> {
        let failed = |error| from_write(self.shown, error);
        if earlier.is_some_and(|earlier| earlier.permissions & 0o222 == 0) {
            return Err(unwritable(self.shown));
        }
        let unfinished = Unfinished::new(&self.folder, self.shown)?;
        let mut options = OpenOptions::new();
        // Follows no link, and takes nothing over.
        options.write(true).create_new(true);
        let mut file = self.folder.open_with(unfinished::NAME, &options).map_err(failed)?.into_std();
        for block in content.chunks(BLOCK) {
            stop.check()?;
            file.write_all(block).map_err(failed)?;
        }
        if let Some(Existing { permissions, .. }) = earlier {
            file.set_permissions(std::fs::Permissions::from_mode(permissions)).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        stop.check()?;
        self.folder.rename(unfinished::NAME, &self.folder, self.name).map_err(failed)?;
        unfinished.placed();
        self.keep()
    }

    /// Leaves what is there as it is, and sees that it stays there through a loss of power: an earlier try of the same
    /// call may have broken off before that.
    pub(crate) fn keep(mut self) -> Result<()> {
        let failed = |error| from_write(self.shown, error);
        let made = std::mem::take(&mut self.made.folders);
        sync(&self.folder).map_err(failed)?;
        for (parent, _) in made.iter().rev() {
            sync(parent).map_err(failed)?;
        }
        Ok(())
    }
}

/// Folders that were made for a file; removed on drop if they are empty.
#[derive(Debug, Default)]
struct MadeFolders {
    /// Each with the folder that it is in.
    folders: Vec<(Dir, OsString)>,
}

impl MadeFolders {
    fn add(&mut self, root: &Dir, parent: &Path, name: &OsStr, shown: &str) -> Result<()> {
        let parent = open_folder(root, parent, shown)?;
        match parent.create_dir(name) {
            Ok(()) => self.folders.push((parent, name.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(from_write(shown, error)),
        }
        Ok(())
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for (parent, name) in self.folders.drain(..).rev() {
            // One that someone uses meanwhile is not empty and stays.
            let _ = parent.remove_dir(name);
        }
    }
}

/// The file under its first name; removed on drop unless it got its own.
struct Unfinished<'a>(Option<&'a Dir>);

impl<'a> Unfinished<'a> {
    /// Clears away what a broken write left.
    fn new(folder: &'a Dir, shown: &str) -> Result<Self> {
        match folder.remove_file(unfinished::NAME) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(from_write(shown, error)),
            _ => Ok(Self(Some(folder))),
        }
    }

    fn placed(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0 {
            // If it cannot be removed now, the next write does it.
            let _ = folder.remove_file(unfinished::NAME);
        }
    }
}

/// Opens a folder below the root to put something into it; none that the kernel makes up.
fn open_folder(root: &Dir, path: &Path, shown: &str) -> Result<Dir> {
    let folder = root.open_dir(path).map_err(|error| from_write(shown, error))?;
    if regular::is_made_up(&folder).map_err(|error| from_write(shown, error))? {
        return Err(unwritable(shown));
    }
    Ok(folder)
}

fn sync(folder: &Dir) -> std::io::Result<()> {
    folder.open(".")?.sync_all()
}
