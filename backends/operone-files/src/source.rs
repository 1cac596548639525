//! Documents from the file system, named by `file://` URIs.

use std::fs::File;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use operone_core::source::{Fetched, Source};
use operone_core::{Error, ErrorKind, Result};

use crate::blocking::{self, Stop};
use crate::error::{from_io, not_a_file};
use crate::regular;
use crate::root::Root;
use crate::uri;

/// The largest file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Folders of the kernel and of devices.
const NEVER: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Reads regular files of at most 64 MiB.
///
/// A URI is `file:///path` or `file://localhost/path`; the path is percent-decoded once. Codes: `invalid_uri`,
/// `not_found`, `not_a_file`, `denied`, `too_large`, `unreadable`.
#[derive(Clone, Debug)]
pub struct FileSource {
    allowed: Allowed,
}

#[derive(Clone, Debug)]
enum Allowed {
    AnyReadable,
    Below(Vec<PathBuf>),
}

impl FileSource {
    /// Any regular file that the process can read, except below `/dev`, `/proc` and `/sys`, also where a
    /// symbolic link leads there. For programs that serve none but their own user.
    pub fn any_readable() -> Self {
        Self { allowed: Allowed::AnyReadable }
    }

    /// Only files below these folders; symbolic links that lead out of them are `Denied`. No folder allows no
    /// file. The folders are opened at each fetch: one that does not exist yet may come later.
    pub fn below(roots: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { allowed: Allowed::Below(roots.into_iter().map(Into::into).collect()) }
    }
}

#[async_trait]
impl Source for FileSource {
    fn schemes(&self) -> &[&str] {
        &["file"]
    }

    fn normalize(&self, uri: &str) -> Result<String> {
        uri::normalize(uri)
    }

    async fn fetch(&self, uri: &str) -> Result<Fetched> {
        let (path, allowed) = (uri::path(uri)?, self.allowed.clone());
        blocking::run(move |stop| {
            let shown = path.to_string_lossy();
            let file = match &allowed {
                Allowed::AnyReadable => open_readable(&path, &shown),
                Allowed::Below(roots) => open_below(roots, &path, &shown),
            }?;
            read(file, &path, &shown, stop)
        })
        .await
    }
}

fn open_readable(path: &Path, shown: &str) -> Result<File> {
    let path = std::fs::canonicalize(path).map_err(|error| from_io(shown, error))?;
    if NEVER.iter().any(|never| path.starts_with(never)) {
        return Err(denied(format!("'{shown}' is in a folder of devices or of the kernel")));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(not_a_file(shown));
    };
    // From here on the path has no links; below its folder none that came meanwhile is followed out.
    let folder = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|error| from_io(shown, error))?;
    regular::open(&folder, Path::new(name), shown)
}

fn open_below(roots: &[PathBuf], path: &Path, shown: &str) -> Result<File> {
    let mut refused = denied(match roots {
        [] => "no folder is allowed to be read from".to_owned(),
        _ => format!("'{shown}' is in none of the folders that may be read"),
    });
    for root in roots.iter().filter_map(|root| Root::open(root).ok()) {
        let opened = root.relative(path).and_then(|relative| regular::open(&root.folder, &relative, shown));
        match opened {
            Ok(file) => return Ok(file),
            // Another folder may allow it.
            Err(error) if error.code() == "outside_root" => {}
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn read(file: File, path: &Path, shown: &str, stop: &Stop) -> Result<Fetched> {
    let too_large = || {
        Error::invalid(format!("'{shown}' is larger than {} MiB", MAX_FILE / 1024 / 1024))
            .with_code("too_large")
    };
    let metadata = file.metadata().map_err(|error| from_io(shown, error))?;
    if metadata.len() > MAX_FILE {
        return Err(too_large());
    }
    // The file may grow while it is read.
    let bytes = regular::read(file, 0, MAX_FILE + 1, shown, stop)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large());
    }
    Ok(Fetched::new(uri::name(path), bytes).with_modified(metadata.modified().ok().map(Into::into)))
}

fn denied(detail: String) -> Error {
    Error::new(ErrorKind::Denied, detail).with_code("denied")
}
