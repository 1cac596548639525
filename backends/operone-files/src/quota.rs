//! How much the tools may put into a folder, and how much is in it.

use std::ffi::OsStr;
use std::path::PathBuf;

use cap_std::fs::Dir;
use operone_core::{Error, ErrorKind, Result};

use crate::blocking::Stop;
use crate::unfinished;

/// What `file.write` may bring a folder to. Beyond it a write is `Denied` with code `quota_exceeded`.
///
/// What people put into the folder counts too. A write that adds nothing is allowed also where more than the quota is
/// there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The bytes of all files together, by their lengths: a file with holes counts in full, and a file with two names
    /// counts twice.
    pub bytes: u64,
    /// The bytes of one file.
    pub file_bytes: u64,
    /// How many files, folders, links and others there may be.
    pub files: u64,
    /// How many folders may be inside each other.
    pub depth: usize,
    /// The bytes of one name.
    pub name_bytes: usize,
}

impl Default for Quota {
    /// 1 GiB in all, 16 MiB in one file, 10,000 files and folders, 32 folders deep, names of 255 bytes.
    fn default() -> Self {
        Self { bytes: 1 << 30, file_bytes: 16 << 20, files: 10_000, depth: 32, name_bytes: 255 }
    }
}

impl Quota {
    /// Sets the bytes of all files together; 0 allows no content.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the bytes of one file. A write holds about twice as much in memory.
    #[must_use]
    pub fn with_file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets how many files and folders there may be.
    #[must_use]
    pub fn with_files(mut self, files: u64) -> Self {
        self.files = files;
        self
    }

    /// Sets how many folders may be inside each other.
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the bytes of one name.
    #[must_use]
    pub fn with_name_bytes(mut self, bytes: usize) -> Self {
        self.name_bytes = bytes;
        self
    }

    /// Refuses a file that is too deep or a name that is too long.
    pub(crate) fn check_path(&self, shown: &str, names: &[&OsStr]) -> Result<()> {
        let (depth, allowed) = (names.len().saturating_sub(1), self.depth);
        if depth > allowed {
            return Err(exceeded(format!("'{shown}' is {depth} folders deep; {allowed} are allowed")));
        }
        let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
        if longest > self.name_bytes {
            let allowed = self.name_bytes;
            return Err(exceeded(format!("a name has {longest} bytes; {allowed} are allowed")));
        }
        Ok(())
    }

    /// Refuses a file that is too large.
    pub(crate) fn check_file(&self, shown: &str, bytes: u64) -> Result<()> {
        if bytes > self.file_bytes {
            let allowed = self.file_bytes;
            return Err(exceeded(format!("'{shown}' would have {bytes} bytes; one file may have {allowed}")));
        }
        Ok(())
    }

    /// Refuses to add to `used` what would not fit.
    pub(crate) fn check_growth(&self, used: Usage, growth: Usage) -> Result<()> {
        for (what, used, more, allowed) in [
            ("bytes", used.bytes, growth.bytes, self.bytes),
            ("files and folders", used.files, growth.files, self.files),
        ] {
            if more > 0 && used.saturating_add(more) > allowed {
                return Err(exceeded(format!(
                    "{more} more {what} do not fit: {used} of {allowed} are used in the whole folder"
                )));
            }
        }
        Ok(())
    }
}

/// What is in a folder, or what is to come into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    /// Files, folders, links and others.
    pub(crate) files: u64,
}

impl Usage {
    /// Counts what is in the folder, links not followed, and clears away what broken writes left.
    ///
    /// Only for whoever holds the folder's lock: what is unfinished then is nobody's any more. What cannot be looked
    /// at does not count.
    pub(crate) fn measure(folder: &Dir, stop: &Stop) -> Result<Self> {
        let mut usage = Self::default();
        let mut folders = vec![PathBuf::from(".")];
        while let Some(path) = folders.pop() {
            let Ok(entries) = folder.read_dir(&path) else { continue };
            for entry in entries {
                stop.check()?;
                let Ok(entry) = entry else { continue };
                let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
                if kind.is_file() && unfinished::is(&name) && entry.remove_file().is_ok() {
                    continue;
                }
                usage.files += 1;
                if kind.is_dir() {
                    folders.push(path.join(name));
                } else if kind.is_file() {
                    let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                    usage.bytes = usage.bytes.saturating_add(bytes);
                }
            }
        }
        Ok(usage)
    }
}

fn exceeded(detail: String) -> Error {
    Error::new(ErrorKind::Denied, detail).with_code("quota_exceeded")
}
